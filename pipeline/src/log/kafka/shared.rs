//! What the log on Kafka, its readers and its writers share: clients and what is known of topics.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;

use super::super::{LogError, TopicPartition};
use super::committer::Job;
use super::context::{Contact, Context};
use super::ffi::Feed;
use super::refusal::heard;
use super::settings::KafkaSettings;
use crate::clock::Clock;

/// Readers that are kept for the next one who wants one.
const IDLE_READERS_MAX: usize = 2;
/// Between two looks at something that is to change at the broker.
const STEP: Duration = Duration::from_millis(20);
/// How long the first attempt to reach a broker takes; each further one takes twice as long.
const LOOK: Duration = Duration::from_secs(1);
/// How long a leader epoch may be taken from memory.
const EPOCH_AGE_MAX: Duration = Duration::from_secs(5);

pub(super) type Consumer = BaseConsumer<Context>;

/// See the module.
pub(super) struct Shared {
    pub(super) settings: KafkaSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) contact: Arc<Contact>,
    pub(super) admin: AdminClient<Context>,
    /// Sees what is not committed yet: for the ends of partitions.
    pub(super) observer: Mutex<Feed>,
    /// Partitions of each topic that was seen: they never become fewer.
    partitions: Mutex<BTreeMap<String, u32>>,
    epochs: Mutex<BTreeMap<TopicPartition, (u32, Duration)>>,
    idle_readers: Mutex<Vec<Feed>>,
    /// Consumers that can be asked for the offsets of a group.
    groups: Mutex<BTreeMap<String, Arc<Consumer>>>,
    committers: Mutex<Vec<Weak<SyncSender<Job>>>>,
}

impl Shared {
    pub(super) fn open(
        settings: KafkaSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, LogError> {
        settings.check()?;
        let contact = Arc::new(Contact::default());
        let context = Context { contact: Arc::clone(&contact) };
        let admin = settings.admin();
        let admin = AdminClient::from_config_and_context(&admin, context.clone());
        let mut observer = settings.consumer(&reader_group(&settings), None);
        observer.set("isolation.level", "read_uncommitted");
        let observer = Consumer::from_config_and_context(&observer, context);
        Ok(Arc::new(Self {
            clock,
            contact,
            admin: admin.map_err(|error| unavailable("make a client", &error))?,
            observer: Mutex::new(Feed::new(Arc::new(
                observer.map_err(|error| unavailable("make a client", &error))?,
            ))),
            partitions: Mutex::default(),
            epochs: Mutex::default(),
            idle_readers: Mutex::default(),
            groups: Mutex::default(),
            committers: Mutex::default(),
            settings,
        }))
    }

    pub(super) fn context(&self) -> Context {
        Context { contact: Arc::clone(&self.contact) }
    }

    /// A consumer that reads what it is told to read.
    pub(super) fn take_reader(&self) -> Result<Feed, LogError> {
        if let Some(idle) = locked(&self.idle_readers).pop() {
            return Ok(idle);
        }
        let config = self.settings.consumer(&reader_group(&self.settings), None);
        let consumer = Consumer::from_config_and_context(&config, self.context());
        let consumer = consumer.map_err(|error| unavailable("make a reader", &error))?;
        Ok(Feed::new(Arc::new(consumer)))
    }

    /// Keeps a reader that has nothing assigned any more.
    pub(super) fn give_reader(&self, reader: Feed) {
        let mut idle = locked(&self.idle_readers);
        if idle.len() < IDLE_READERS_MAX {
            idle.push(reader);
        }
    }

    /// A consumer that can be asked for the offsets of `group`. No member of the group will do: a
    /// broker answers one request of a connection after another, and keeps the answer to a member
    /// that joins until all have joined.
    pub(super) fn of_group(&self, group: &str) -> Result<Arc<Consumer>, LogError> {
        let mut groups = locked(&self.groups);
        if let Some(found) = groups.get(group) {
            return Ok(Arc::clone(found));
        }
        let config = self.settings.consumer(group, None);
        let consumer = Consumer::from_config_and_context(&config, self.context());
        let made = Arc::new(consumer.map_err(|error| unavailable("make a client", &error))?);
        groups.insert(group.to_owned(), Arc::clone(&made));
        Ok(made)
    }

    pub(super) fn add_committer(&self, jobs: &Arc<SyncSender<Job>>) {
        let mut committers = locked(&self.committers);
        committers.retain(|committer| committer.strong_count() > 0);
        committers.push(Arc::downgrade(jobs));
    }

    /// The committers that somebody uses.
    pub(super) fn committers(&self) -> Vec<Arc<SyncSender<Job>>> {
        locked(&self.committers).iter().filter_map(Weak::upgrade).collect()
    }

    /// How many partitions `topic` has; `None` if there is no such topic.
    pub(super) fn partitions_of(&self, topic: &str) -> Result<Option<u32>, LogError> {
        if let Some(known) = locked(&self.partitions).get(topic) {
            return Ok(Some(*known));
        }
        let metadata = self.metadata(Some(topic), "look for a topic")?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.filter(|found| found.error().is_none());
        let led = |found: &&rdkafka::metadata::MetadataTopic| {
            found.partitions().iter().all(|partition| partition.leader() >= 0)
        };
        let found = found.filter(led).map(|found| count(found.partitions().len()));
        if let Some(partitions) = found.filter(|partitions| *partitions > 0) {
            locked(&self.partitions).insert(topic.to_owned(), partitions);
            return Ok(Some(partitions));
        }
        Ok(None)
    }

    /// Asks for one topic, or all of them. What no waiting mends is told at once.
    pub(super) fn metadata(&self, topic: Option<&str>, what: &str) -> Result<Metadata, LogError> {
        let observer = Arc::clone(locked(&self.observer).consumer());
        let end = self.clock.elapsed() + self.settings.request_timeout;
        let (mut look, mut last) = (LOOK, None);
        loop {
            let left = end.saturating_sub(self.clock.elapsed());
            let asked = observer.fetch_metadata(topic, look.min(left));
            let now = heard(&locked(&self.observer));
            last = now.last.or(last);
            match (asked, now.refusal) {
                (Ok(metadata), _) => {
                    self.contact.answered();
                    return Ok(metadata);
                }
                (Err(_), Some(refusal)) => {
                    self.contact.lost(&refusal);
                    return Err(LogError::Unavailable(format!("kafka: cannot {what}: {refusal}")));
                }
                (Err(error), None) if look >= left => {
                    return Err(self.unanswered(what, &error, last));
                }
                (Err(_), None) => look *= 2,
            }
        }
    }

    /// What it means that nobody answers: with the last that was heard of why. A broker that wants
    /// TLS says nothing to a client that does not.
    fn unanswered(&self, what: &str, error: &KafkaError, last: Option<String>) -> LogError {
        let LogError::Unavailable(text) = self.failed(what, error) else {
            return unavailable(what, error);
        };
        let last = last.map(|last| format!("; the last that was heard: {last}"));
        LogError::Unavailable(format!(
            "{text}; look at `bootstrap.servers` and `security.protocol` under [kafka]{}",
            last.unwrap_or_default()
        ))
    }

    /// What tells this cluster from others.
    pub(super) fn cluster(&self) -> Result<String, LogError> {
        let observer = Arc::clone(locked(&self.observer).consumer());
        let id = observer.client().fetch_cluster_id(self.settings.request_timeout);
        id.ok_or_else(|| {
            LogError::Unavailable("kafka: no broker tells the cluster's id".to_owned())
        })
    }

    /// Whether there is such a partition.
    pub(super) fn check(&self, at: &TopicPartition) -> Result<(), LogError> {
        match self.partitions_of(&at.topic)? {
            None => Err(LogError::UnknownTopic(at.topic.to_string())),
            Some(partitions) if at.partition >= partitions => Err(LogError::UnknownPartition {
                topic: at.topic.to_string(),
                partition: at.partition,
                partitions,
            }),
            Some(_) => Ok(()),
        }
    }

    /// Notes the epoch in which something of `at` was just seen.
    pub(super) fn note_epoch(&self, at: &TopicPartition, epoch: u32) {
        let now = self.clock.elapsed();
        let mut epochs = locked(&self.epochs);
        let known = epochs.entry(at.clone()).or_insert((epoch, now));
        if epoch >= known.0 {
            *known = (epoch, now);
        }
    }

    /// Epochs known for these partitions; `None` for those that were not looked at of late.
    pub(super) fn known_epochs(&self, partitions: &[TopicPartition]) -> Vec<(Option<u32>, bool)> {
        let now = self.clock.elapsed();
        let epochs = locked(&self.epochs);
        let known = |at: &TopicPartition| match epochs.get(at) {
            Some((epoch, seen)) => (Some(*epoch), now.saturating_sub(*seen) < EPOCH_AGE_MAX),
            None => (None, false),
        };
        partitions.iter().map(known).collect()
    }

    /// Tries until there is an answer, at most for the time of a request.
    pub(super) fn until<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Option<T>, LogError>,
    ) -> Result<Option<T>, LogError> {
        let end = self.clock.elapsed() + self.settings.request_timeout;
        loop {
            if let Some(answer) = attempt()? {
                return Ok(Some(answer));
            }
            if self.clock.elapsed() >= end {
                return Ok(None);
            }
            thread::park_timeout(STEP);
        }
    }

    /// What a failed request means.
    pub(super) fn failed(&self, what: &str, error: &KafkaError) -> LogError {
        if let Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) =
            error.rdkafka_error_code()
        {
            self.contact.lost(&error.to_string());
        }
        unavailable(what, error)
    }
}

/// Readers join no group; the protocol wants a name all the same.
fn reader_group(settings: &KafkaSettings) -> String {
    format!("millpond-{}-reader", settings.instance)
}

pub(super) fn unavailable(what: &str, error: &KafkaError) -> LogError {
    LogError::Unavailable(format!("kafka: cannot {what}: {error}"))
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A partition as Kafka numbers it.
pub(super) fn number(at: &TopicPartition) -> i32 {
    i32::try_from(at.partition).unwrap_or(i32::MAX)
}

/// An offset as Kafka numbers it.
pub(super) fn offset(offset: u64) -> rdkafka::Offset {
    rdkafka::Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
