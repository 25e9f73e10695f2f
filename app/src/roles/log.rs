//! The log of a process: the one in its data directory, or Kafka.

use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::Clock;
use pipeline::log::embedded::{Durability, EmbeddedLog, EmbeddedSettings};
use pipeline::log::kafka::{self, KafkaLog, KafkaSettings};
use pipeline::log::{GroupMember, Log, LogError, TopicPartition};

use super::directory::DataDirectory;
use super::engine::{bytes, half};
use crate::config::{CommitDurability, Config, Guarantee, LogKind, MemoryShares};
use crate::error::AppError;

/// How long a request to the brokers may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An open log.
#[derive(Clone)]
pub(crate) enum OpenLog {
    /// The one in the data directory.
    Embedded(Arc<EmbeddedLog>),
    /// The one on brokers.
    Kafka(Arc<KafkaLog>),
}

impl OpenLog {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// When it is held by another process, or its settings are wrong.
    pub(super) fn open(
        config: &Config,
        shares: &MemoryShares,
        (directory, clock): (&DataDirectory, Arc<dyn Clock>),
    ) -> Result<Self, AppError> {
        Ok(match config.log.kind {
            LogKind::Embedded => {
                let settings = embedded(config, shares);
                Self::Embedded(EmbeddedLog::open(&directory.log(), settings, clock)?)
            }
            LogKind::Kafka => {
                let instance = match config.log.instance.as_str() {
                    "" => directory.instance()?,
                    instance => instance.to_owned(),
                };
                Self::Kafka(KafkaLog::open(on_kafka(config, &instance), clock)?)
            }
        })
    }

    /// The log, whichever it is.
    pub(crate) fn log(&self) -> Arc<dyn Log> {
        match self {
            Self::Embedded(log) => Arc::clone(log) as Arc<dyn Log>,
            Self::Kafka(log) => Arc::clone(log) as Arc<dyn Log>,
        }
    }

    /// The bytes that a partition takes; 0 on Kafka, which does not tell its clients.
    pub(crate) fn partition_bytes(&self, at: &TopicPartition) -> Result<u64, LogError> {
        match self {
            Self::Embedded(log) => log.partition_bytes(at),
            Self::Kafka(_) => Ok(0),
        }
    }

    /// Whether other processes have a part in the work.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Kafka(_))
    }

    /// The name of this process among those that share the log.
    pub(crate) fn process(&self) -> Option<&str> {
        match self {
            Self::Embedded(_) => None,
            Self::Kafka(log) => Some(log.instance()),
        }
    }

    /// What other processes have of `group`, as far as the brokers tell.
    pub(crate) fn elsewhere(&self, group: &str) -> Result<Vec<GroupMember>, LogError> {
        match self {
            Self::Embedded(_) => Ok(Vec::new()),
            Self::Kafka(log) => {
                let members = log.group(group)?.members.into_iter();
                Ok(members.filter(|member| member.process != log.instance()).collect())
            }
        }
    }

    /// Why the log is out of reach, if it is.
    pub(crate) fn away(&self) -> Option<String> {
        match self {
            Self::Embedded(_) => None,
            Self::Kafka(log) => log.away(),
        }
    }
}

fn embedded(config: &Config, shares: &MemoryShares) -> EmbeddedSettings {
    let settings = &config.log;
    EmbeddedSettings {
        durability: match settings.commit_durability {
            CommitDurability::Os => Durability::Os,
            CommitDurability::Sync => Durability::Sync,
        },
        write_buffer_bytes: half(shares.write_buffer_bytes),
        cache_bytes: half(shares.block_cache_bytes),
        queue_bytes_max: bytes(settings.appender_queue_max_bytes),
        batch_bytes_max: bytes(settings.batch_bytes_max),
        clean_interval_ms: settings.compaction_interval_ms,
        dirty_ratio_min: settings.compaction_dirty_ratio,
        clean_bytes_max: bytes(settings.compaction_memory_bytes),
        tombstone_retention_ms: settings.tombstone_retention_ms,
        ..EmbeddedSettings::default()
    }
}

fn on_kafka(config: &Config, instance: &str) -> KafkaSettings {
    KafkaSettings {
        client: config.kafka.expose().clone(),
        instance: instance.to_owned(),
        guarantee: match config.log.guarantee {
            Guarantee::ExactlyOnce => kafka::Guarantee::ExactlyOnce,
            Guarantee::AtLeastOnce => kafka::Guarantee::AtLeastOnce,
        },
        replication_factor: Some(config.log.replication_factor).filter(|factor| *factor > 0),
        record_bytes_max: bytes(config.log.record_bytes_max),
        request_timeout: REQUEST_TIMEOUT,
    }
}
