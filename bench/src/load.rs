//! `load`: the data goes to its topics.

use std::time::Duration;

use anyhow::bail;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

use super::data::{Kind, Record};
use super::kafka::{self, Admin, PATIENCE};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whose data.
    kind: Kind,
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(bootstrap: &str, arguments: &Arguments) -> anyhow::Result<Value> {
    let Arguments { kind, records, seed } = *arguments;
    let admin = Admin::new(bootstrap)?;
    for topic in kind.topics() {
        admin.make(topic, &[])?;
    }
    let producer = producer(bootstrap)?;
    let mut bytes = 0;
    for record in kind.records(seed, records) {
        bytes += record.value.len();
        send(&producer, &record)?;
    }
    producer.flush(PATIENCE)?;
    if producer.in_flight_count() > 0 {
        bail!("records were not delivered within {PATIENCE:?}");
    }
    Ok(json!({ "topics": kind.topics(), "records": records, "value_bytes": bytes }))
}

/// Keys go to the partitions that Java's clients would choose, uncompressed, as is their default.
fn producer(bootstrap: &str) -> anyhow::Result<BaseProducer> {
    let mut config = kafka::config(bootstrap);
    config.set("partitioner", "murmur2_random").set("enable.idempotence", "true");
    config.set("linger.ms", "20").set("batch.num.messages", "10000");
    Ok(config.create()?)
}

fn send(producer: &BaseProducer, record: &Record) -> anyhow::Result<()> {
    let outgoing = BaseRecord::to(record.topic).key(&record.key).payload(&record.value);
    let mut outgoing = outgoing.timestamp(record.timestamp_ms);
    loop {
        match producer.send(outgoing) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return Ok(());
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                producer.poll(Duration::from_millis(10));
                outgoing = again;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
