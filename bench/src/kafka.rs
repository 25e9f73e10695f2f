//! Clients for the tools: plain librdkafka, not the clients of Millpond's log.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long a request may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Partitions of every topic.
pub(crate) const PARTITIONS: i32 = 4;

pub(crate) fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

/// A consumer of committed records that belongs to `group` only where it asks for its offsets.
pub(crate) fn consumer(bootstrap: &str, group: &str) -> anyhow::Result<BaseConsumer> {
    let mut config = config(bootstrap);
    config.set("group.id", group).set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "earliest").set("isolation.level", "read_committed");
    config.set("enable.partition.eof", "true").set("fetch.queue.backoff.ms", "5");
    config.set("queued.max.messages.kbytes", "16384");
    config.create().context("cannot make a consumer")
}

/// All partitions of `topics`, from their beginnings.
pub(crate) fn beginnings(topics: &[String]) -> anyhow::Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    Ok(list)
}

/// Hands every record of `topics` to `each`, until the ends of all partitions.
pub(crate) fn read_to_end(
    bootstrap: &str,
    topics: &[String],
    mut each: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let consumer = consumer(bootstrap, "bench-harness")?;
    let list = beginnings(topics)?;
    consumer.assign(&list)?;
    let mut open = list.count();
    while open > 0 {
        match consumer.poll(PATIENCE) {
            None => bail!("no record and no end of a partition within {PATIENCE:?}"),
            Some(Ok(message)) => each(&message)?,
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What makes and deletes topics.
pub(crate) struct Admin {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    pub(crate) fn new(bootstrap: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { client: config(bootstrap).create()?, runtime })
    }

    /// Names of all topics but those of the brokers themselves.
    pub(crate) fn topics(&self) -> anyhow::Result<Vec<String>> {
        let metadata = self.client.inner().fetch_metadata(None, PATIENCE)?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        Ok(names.filter(|name| !name.starts_with("__")).collect())
    }

    /// Makes an empty topic; one of the same name is deleted first.
    pub(crate) fn make(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        self.delete(&[name.to_owned()])?;
        let mut topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            topic = topic.set(setting, value);
        }
        // A deletion is answered before it is done.
        eventually(&format!("topic {name} to be made"), || {
            let made = self.client.create_topics([&topic], &AdminOptions::new());
            self.runtime.block_on(made)?;
            // It is known to the brokers a moment after it was made.
            Ok(self.topics()?.iter().any(|topic| topic == name))
        })
    }

    pub(crate) fn delete(&self, names: &[String]) -> anyhow::Result<()> {
        let there = self.topics()?;
        let names = names.iter().map(String::as_str);
        let names: Vec<&str> = names.filter(|name| there.iter().any(|t| t == name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        self.runtime.block_on(self.client.delete_topics(&names, &AdminOptions::new()))?;
        eventually("topics to be gone", || {
            let there = self.topics()?;
            Ok(!names.iter().any(|name| there.iter().any(|topic| topic == name)))
        })
    }

    /// Deletes all groups, as soon as their members have left.
    pub(crate) fn delete_groups(&self, bootstrap: &str) -> anyhow::Result<()> {
        let observer = consumer(bootstrap, "bench-harness")?;
        eventually("groups to be gone", || {
            let groups = observer.fetch_group_list(None, PATIENCE)?;
            let names: Vec<&str> = groups.groups().iter().map(|group| group.name()).collect();
            if names.is_empty() {
                return Ok(true);
            }
            self.runtime.block_on(self.client.delete_groups(&names, &AdminOptions::new()))?;
            Ok(false)
        })
    }
}

/// Tries until it is so.
fn eventually(what: &str, mut attempt: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    for _ in 0..600 {
        if attempt()? {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bail!("waited a minute in vain for {what}")
}
