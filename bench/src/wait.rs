//! `wait`: a run is over when its group has committed all that there is to read.

use std::time::Duration;

use anyhow::bail;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;
use serde_json::{Value, json};

use super::kafka::{self, Admin, PATIENCE};

/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The group.
    #[arg(long)]
    group: String,
    /// What it reads from outside. What it reads of its own, repartition topics, is waited for, too.
    #[arg(long, value_delimiter = ',')]
    topics: Vec<String>,
    /// How long, in seconds.
    #[arg(long, default_value_t = 300)]
    within: u64,
}

pub(crate) fn run(bootstrap: &str, arguments: &Arguments) -> anyhow::Result<Value> {
    let Arguments { group, topics, within } = arguments;
    let consumer = kafka::consumer(bootstrap, group)?;
    let looks = within * 1_000 / STEP.as_millis() as u64;
    for _ in 0..looks {
        if left(&consumer, topics, 0)? == 0 && repartitioned(&consumer, bootstrap)? {
            return Ok(json!({ "group": group, "topics": topics }));
        }
        std::thread::park_timeout(STEP);
    }
    let left = left(&consumer, topics, 0)?;
    bail!("group {group} has {left} records left to commit after {within} s")
}

/// Whether repartition topics are read. The mark of the last transaction, which ends each of their
/// partitions, may be left.
fn repartitioned(consumer: &BaseConsumer, bootstrap: &str) -> anyhow::Result<bool> {
    let mut topics = Admin::new(bootstrap)?.topics()?;
    topics.retain(|topic| topic.ends_with("-repartition"));
    Ok(topics.is_empty() || left(consumer, &topics, 1)? == 0)
}

/// How many records the group has not committed, where a partition may have `spare` of them.
fn left(consumer: &BaseConsumer, topics: &[String], spare: i64) -> anyhow::Result<i64> {
    let partitions = kafka::beginnings(topics)?;
    let mut left = 0;
    for element in consumer.committed_offsets(partitions, PATIENCE)?.elements() {
        let committed = match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        let (_, end) = consumer.fetch_watermarks(element.topic(), element.partition(), PATIENCE)?;
        left += (end - committed - spare).max(0);
    }
    Ok(left)
}
