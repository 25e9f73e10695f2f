//! `reset`: every run finds the same broker, with the inputs and nothing else.

use serde_json::{Value, json};

use super::kafka::Admin;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Topics that stay.
    #[arg(long, value_delimiter = ',')]
    keep: Vec<String>,
    /// Topics to be made, empty.
    #[arg(long, value_delimiter = ',')]
    make: Vec<String>,
}

pub(crate) fn run(bootstrap: &str, arguments: &Arguments) -> anyhow::Result<Value> {
    let Arguments { keep, make } = arguments;
    let admin = Admin::new(bootstrap)?;
    admin.delete_groups(bootstrap)?;
    let mut topics = admin.topics()?;
    topics.retain(|topic| !keep.contains(topic));
    admin.delete(&topics)?;
    for topic in make {
        admin.make(topic, &[])?;
    }
    Ok(json!({ "deleted": topics, "made": make }))
}
