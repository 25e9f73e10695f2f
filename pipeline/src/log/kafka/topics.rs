//! Topics: what there is, and making what is missing.

use std::collections::BTreeMap;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::types::RDKafkaErrorCode;

use super::super::{Cleanup, LogError, TopicPartition, TopicSpec};
use super::block::wait_for;
use super::shared::{Shared, number, offset, unavailable};

/// Topics whose settings are asked for in one request.
const DESCRIBED_MAX: usize = 500;
/// What surrounds a record in a batch, generously, in bytes.
const RECORD_OVERHEAD_BYTES: usize = 1024;
/// What each topic that is made has beside its cleanup.
///
/// Event time is the record's own, whatever the broker's clock says.
const TIMES: &[(&str, &str)] = &[
    ("message.timestamp.type", "CreateTime"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];

/// A topic as the cluster has it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) spec: TopicSpec,
    /// `max.message.bytes`, if the broker tells.
    pub(super) message_bytes_max: Option<usize>,
    /// Settings of the topic's own, not defaults.
    own: BTreeMap<String, String>,
}

impl Shared {
    /// All topics but those of the brokers themselves.
    pub(super) fn topics(&self) -> Result<BTreeMap<String, Found>, LogError> {
        let metadata = self.metadata(None, "list topics")?;
        let named = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
        let named: Vec<(&str, u32)> = named
            .map(|topic| (topic.name(), u32::try_from(topic.partitions().len()).unwrap_or(0)))
            .filter(|(_, partitions)| *partitions > 0)
            .collect();
        let mut found = BTreeMap::new();
        for some in named.chunks(DESCRIBED_MAX) {
            for (name, topic) in self.describe(some)? {
                found.insert(name, topic);
            }
        }
        Ok(found)
    }

    fn describe(&self, topics: &[(&str, u32)]) -> Result<Vec<(String, Found)>, LogError> {
        let wanted: Vec<_> =
            topics.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
        let described = wait_for(self.admin.describe_configs(&wanted, &self.options()));
        let described = described.map_err(|error| self.failed("describe topics", &error))?;
        let mut found = Vec::with_capacity(topics.len());
        for ((name, partitions), described) in topics.iter().zip(described) {
            match described {
                Ok(config) => {
                    found.push(((*name).to_owned(), as_found(name, *partitions, &config)))
                }
                // Deleted in the meantime.
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                Err(code) => {
                    let reason = format!("kafka: cannot describe topic `{name}`: {code}");
                    return Err(LogError::Unavailable(reason));
                }
            }
        }
        Ok(found)
    }

    fn options(&self) -> AdminOptions {
        let timeout = Some(self.settings.request_timeout);
        AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }

    pub(super) fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        check_name(spec)?;
        if let Some(partitions) = self.partitions_of(&spec.name)? {
            return self.agree(spec, partitions);
        }
        let record_bytes = self.settings.record_bytes_max + RECORD_OVERHEAD_BYTES;
        let bytes = record_bytes.max(1 << 20).to_string();
        let mut config = cleanup_config(spec.cleanup);
        config.push(("max.message.bytes", bytes));
        let mut created = self.create(spec, &config, TIMES);
        if let Err(RDKafkaErrorCode::InvalidConfig) = created {
            // Brokers before 3.6, and what only speaks the protocol, know fewer settings.
            created = self.create(spec, &config, &TIMES[..1]);
        }
        match created {
            Ok(()) => self.wait_for_topic(spec),
            Err(RDKafkaErrorCode::TopicAlreadyExists) => {
                self.wait_for_topic(spec)?;
                self.agree(spec, spec.partitions)
            }
            Err(RDKafkaErrorCode::InvalidTopic) => Err(LogError::InvalidTopic {
                topic: spec.name.clone(),
                reason: "the brokers refuse the name".to_owned(),
            }),
            Err(code) => Err(LogError::Unavailable(format!(
                "kafka: cannot make topic `{}`: {code}",
                spec.name
            ))),
        }
    }

    fn create(
        &self,
        spec: &TopicSpec,
        config: &[(&str, String)],
        more: &[(&str, &str)],
    ) -> Result<(), RDKafkaErrorCode> {
        let replicas = self.settings.replication_factor.map_or(-1, i32::from);
        let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
        let mut topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(replicas));
        for (name, value) in config {
            topic = topic.set(name, value);
        }
        for (name, value) in more {
            topic = topic.set(name, value);
        }
        let created = wait_for(self.admin.create_topics([&topic], &self.options()));
        match created {
            Ok(results) => match results.into_iter().next() {
                Some(Err((_, code))) => Err(code),
                Some(Ok(_)) | None => Ok(()),
            },
            Err(error) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        }
    }

    /// A new topic is there when all its partitions have leaders.
    fn wait_for_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let there = self.until(|| self.partitions_of(&spec.name))?;
        there.map(drop).ok_or_else(|| {
            LogError::Unavailable(format!("kafka: topic `{}` gets no leaders", spec.name))
        })
    }

    /// Compares a topic that is there with what it is to be, and sets its retention anew.
    fn agree(&self, spec: &TopicSpec, partitions: u32) -> Result<(), LogError> {
        let found = self.until(|| {
            let described = self.describe(&[(&spec.name, partitions)])?;
            Ok(described.into_iter().next().map(|(_, found)| found))
        })?;
        let Some(found) = found else { return Err(LogError::UnknownTopic(spec.name.clone())) };
        let differs = |difference: String| {
            Err(LogError::TopicDiffers { topic: spec.name.clone(), difference })
        };
        if found.spec.partitions != spec.partitions {
            let (found, wanted) = (found.spec.partitions, spec.partitions);
            return differs(format!("has {found} partitions, not {wanted}"));
        }
        match (found.spec.cleanup, spec.cleanup) {
            (found, wanted) if found == wanted => Ok(()),
            (Cleanup::Delete { .. }, Cleanup::Delete { .. }) => self.retain(spec, &found),
            (Cleanup::Delete { .. }, Cleanup::Compact) => {
                differs(format!("is not compacted ({})", alteration(&spec.name, "compact")))
            }
            (Cleanup::Compact, _) => {
                differs(format!("is compacted ({})", alteration(&spec.name, "delete")))
            }
        }
    }

    /// Alters the retention alone: a topic's other own settings are sent again as they are.
    fn retain(&self, spec: &TopicSpec, found: &Found) -> Result<(), LogError> {
        let mut own = found.own.clone();
        for (name, value) in cleanup_config(spec.cleanup) {
            own.insert(name.to_owned(), value);
        }
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(&spec.name));
        for (name, value) in &own {
            alter = alter.set(name, value);
        }
        let altered = wait_for(self.admin.alter_configs([&alter], &self.options()));
        let altered = altered.map_err(|error| self.failed("alter a topic", &error))?;
        if let Some(Err((_, code))) = altered.into_iter().next() {
            let reason = format!("kafka: cannot alter topic `{}`: {code}", spec.name);
            return Err(LogError::Unavailable(reason));
        }
        // The broker that is asked next may hear of it a moment later.
        let heard = self.until(|| {
            let described = self.describe(&[(&spec.name, spec.partitions)])?;
            let found = described.into_iter().next().map(|(_, found)| found.spec.cleanup);
            Ok((found == Some(spec.cleanup)).then_some(()))
        })?;
        heard.ok_or_else(|| {
            LogError::Unavailable(format!("kafka: topic `{}` keeps its retention", spec.name))
        })
    }

    pub(super) fn purge(&self, at: &TopicPartition, before: u64) -> Result<(), LogError> {
        self.check(at)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&at.topic, number(at), offset(before))
            .map_err(|error| unavailable("purge a partition", &error))?;
        let purged = wait_for(self.admin.delete_records(&list, &self.options()));
        let purged = purged.map_err(|error| self.failed("purge a partition", &error))?;
        for element in purged.elements() {
            element.error().map_err(|error| self.failed("purge a partition", &error))?;
        }
        Ok(())
    }
}

/// What mends a topic's cleanup.
fn alteration(topic: &str, policy: &str) -> String {
    format!("kafka-configs.sh --alter --topic {topic} --add-config cleanup.policy={policy}")
}

/// The settings of a topic with this cleanup.
fn cleanup_config(cleanup: Cleanup) -> Vec<(&'static str, String)> {
    let bound = |bound: Option<u64>| bound.map_or("-1".to_owned(), |bound| bound.to_string());
    match cleanup {
        Cleanup::Compact => vec![("cleanup.policy", "compact".to_owned())],
        Cleanup::Delete { retention_ms, retention_bytes } => vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", bound(retention_ms)),
            ("retention.bytes", bound(retention_bytes)),
        ],
    }
}

fn as_found(name: &str, partitions: u32, config: &ConfigResource) -> Found {
    let value = |name: &str| config.get(name).and_then(|entry| entry.value.as_deref());
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let compacted = value("cleanup.policy").is_some_and(|policy| policy.contains("compact"));
    let cleanup = match compacted {
        true => Cleanup::Compact,
        // A bound of -1 is none.
        false => Cleanup::Delete {
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
        },
    };
    let own = config.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    Found {
        spec: TopicSpec { name: name.to_owned(), partitions, cleanup },
        message_bytes_max: number("max.message.bytes").and_then(|bytes| bytes.try_into().ok()),
        own: own.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect(),
    }
}

fn check_name(spec: &TopicSpec) -> Result<(), LogError> {
    let refuse = |reason: &str| {
        Err(LogError::InvalidTopic { topic: spec.name.clone(), reason: reason.to_owned() })
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if spec.name.is_empty() || spec.name.len() > 249 || matches!(spec.name.as_str(), "." | "..") {
        return refuse("a name has 1 to 249 characters and is not `.` or `..`");
    }
    if !spec.name.bytes().all(legal) {
        return refuse("a name is made of letters, digits, `.`, `_` and `-`");
    }
    if spec.partitions == 0 {
        return refuse("a topic has at least one partition");
    }
    Ok(())
}
