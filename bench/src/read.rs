//! `read`: the floor under everything that reads these topics with librdkafka.

use serde_json::{Value, json};

use super::kafka;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What is read.
    #[arg(long, value_delimiter = ',')]
    topics: Vec<String>,
}

pub(crate) fn run(bootstrap: &str, arguments: &Arguments) -> anyhow::Result<Value> {
    let (mut records, mut bytes) = (0_u64, 0);
    kafka::read_to_end(bootstrap, &arguments.topics, |message| {
        records += 1;
        bytes += message.payload_len();
        Ok(())
    })?;
    Ok(json!({ "records": records, "value_bytes": bytes }))
}
