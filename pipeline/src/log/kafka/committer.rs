//! Commits, on the producer's own thread, so that whoever commits can go on meanwhile.
//!
//! ```text
//! commit: begin -> send all records -> wait until they are delivered -> offsets of the group
//!         -> commit the transaction
//! ```
//! A transaction whose end is in doubt makes the outcome unknown and the producer unusable: a
//! member waits for [`Job::Reconnect`], which decides it (`init_transactions` of a new producer);
//! a writer, whose callers cannot ask, does so by itself at its next commit.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaError};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, TopicPartitionList};
use tokio::sync::oneshot;

use super::super::{
    Appended, Commit, CommitHandle, LogError, Outcome, Position, RecordRef, TopicPartition,
};
use super::context::ProducerSide;
use super::ffi::{hear, set_leader_epochs};
use super::gather::to_kafka_timestamp;
use super::settings::Guarantee;
use super::shared::{Consumer, Shared, number, offset, unavailable};

/// Commits that may wait for their turn.
const JOBS_MAX: usize = 4;
/// How long one look for deliveries waits if none comes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a consumer may take to hear that a newer one has its name.
const FENCED_WAIT: Duration = Duration::from_secs(5);

type Producer = BaseProducer<ProducerSide>;

/// What a committer is asked to do.
pub(super) enum Job {
    Commit(Commit, oneshot::Sender<Outcome>),
    /// Decide what is undecided.
    Reconnect(SyncSender<Result<(), LogError>>),
}

/// A producer with its thread.
struct Committer {
    shared: Arc<Shared>,
    config: ClientConfig,
    /// Whose offsets are committed; `None` for a writer outside any group.
    consumer: Option<Arc<Consumer>>,
    producer: Option<Producer>,
    /// Why everything is refused from now on.
    fenced: Option<String>,
    /// Why the last commit is undecided, while it is.
    undecided: Option<String>,
}

/// The way to a committer. Dropping it ends the thread when its queue is empty.
pub(super) struct CommitterHandle {
    jobs: Arc<SyncSender<Job>>,
}

impl CommitterHandle {
    /// Starts a committer: earlier producers of this name are fenced when this returns.
    pub(super) fn start(
        shared: &Arc<Shared>,
        name: &str,
        consumer: Option<Arc<Consumer>>,
    ) -> Result<Self, LogError> {
        let config = shared.settings.producer(name);
        let shared = Arc::clone(shared);
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let mut committer = Committer {
            shared: Arc::clone(&shared),
            config,
            consumer,
            producer: None,
            fenced: None,
            undecided: None,
        };
        committer.connect()?;
        let thread = std::thread::Builder::new().name(format!("commit-{name}"));
        let thread = thread.spawn(move || committer.run(&queue));
        thread.map_err(|error| LogError::Unavailable(format!("cannot start a thread: {error}")))?;
        let jobs = Arc::new(jobs);
        shared.add_committer(&jobs);
        Ok(Self { jobs })
    }

    /// Queues a commit; waits while the queue is full.
    pub(super) fn commit(&self, commit: Commit) -> CommitHandle {
        let (reply, handle) = CommitHandle::new();
        // A committer that has ended drops the reply: the outcome is unknown then.
        let _ = self.jobs.send(Job::Commit(commit, reply));
        handle
    }
}

impl Committer {
    fn run(&mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Commit(commit, reply) => {
                    let outcome = self.commit(&commit);
                    // Nobody has to wait for it.
                    let _ = reply.send(outcome);
                }
                Job::Reconnect(reply) => {
                    let _ = reply.send(self.decide());
                }
            }
        }
    }

    /// Makes a producer and, with transactions, ends those of earlier ones.
    fn connect(&mut self) -> Result<(), LogError> {
        self.producer = None;
        let context = ProducerSide::new(self.shared.context());
        let producer = Producer::from_config_and_context(&self.config, context);
        let producer = producer.map_err(|error| unavailable("make a producer", &error))?;
        if self.shared.settings.guarantee == Guarantee::ExactlyOnce {
            let initialised = producer.init_transactions(self.shared.settings.request_timeout);
            initialised.map_err(|error| refused_transactions(&self.config, &error))?;
        }
        self.producer = Some(producer);
        self.undecided = None;
        self.shared.contact.answered();
        Ok(())
    }

    fn decide(&mut self) -> Result<(), LogError> {
        match self.undecided {
            Some(_) => self.connect(),
            None => Ok(()),
        }
    }

    fn commit(&mut self, commit: &Commit) -> Outcome {
        if let Some(reason) = &self.fenced {
            return Outcome::Fenced(reason.clone());
        }
        if let Some(reason) = &self.undecided {
            if self.consumer.is_some() {
                return Outcome::Unknown(format!("an earlier commit is undecided: {reason}"));
            }
            if let Err(error) = self.connect() {
                return Outcome::Aborted(error.to_string());
            }
        }
        if commit.is_empty() {
            return Outcome::Committed { appended: Vec::new() };
        }
        if let Err(reason) = self.check(commit) {
            return Outcome::Aborted(reason);
        }
        let Some(producer) = self.producer.take() else {
            return Outcome::Unknown("the producer could not be made".to_owned());
        };
        let outcome = match self.shared.settings.guarantee {
            Guarantee::ExactlyOnce => self.transact(&producer, commit),
            Guarantee::AtLeastOnce => self.append_then_commit(&producer, commit),
        };
        self.settle(producer, outcome)
    }

    /// Keeps what the outcome leaves of the producer.
    fn settle(&mut self, producer: Producer, outcome: Outcome) -> Outcome {
        match &outcome {
            Outcome::Committed { .. } => {
                self.shared.contact.answered();
                self.producer = Some(producer);
            }
            Outcome::Aborted(_) => self.producer = Some(producer),
            Outcome::Unknown(reason) => self.undecided = Some(reason.clone()),
            Outcome::Fenced(reason) => self.fenced = Some(reason.clone()),
        }
        outcome
    }

    /// Finds before anything is sent what cannot be written.
    fn check(&self, commit: &Commit) -> Result<(), String> {
        let appends = commit.appends.iter().filter(|(_, batch)| !batch.is_empty());
        for (at, _) in appends {
            self.shared.check(at).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn transact(&self, producer: &Producer, commit: &Commit) -> Outcome {
        let attempt = || -> Result<Vec<Appended>, Failure> {
            producer.begin_transaction().map_err(Failure::of)?;
            let appended = self.append(producer, commit)?;
            self.send_offsets(producer, &commit.offsets)?;
            self.end_transaction(producer)?;
            Ok(appended)
        };
        match attempt() {
            Ok(appended) => Outcome::Committed { appended: self.with_epochs(commit, appended) },
            Err(Failure::Abort(reason)) => self.abort(producer, reason),
            Err(Failure::Unknown(reason)) => Outcome::Unknown(reason),
            Err(Failure::Fenced(reason)) => self.fenced_or_late(reason),
        }
    }

    /// Sends all records and waits until they are delivered.
    fn append(&self, producer: &Producer, commit: &Commit) -> Result<Vec<Appended>, Failure> {
        producer.context().begin(commit.appends.len());
        for (place, (at, batch)) in commit.appends.iter().enumerate() {
            batch.each(|record| send(producer, at, (place, record)))?;
        }
        while producer.in_flight_count() > 0 {
            hear(producer, LOOK);
        }
        let delivered = producer.context().end();
        if let Some(reason) = delivered.failure {
            return Err(Failure::Abort(reason));
        }
        let mut appended = Vec::with_capacity(delivered.landed.len());
        for landed in delivered.landed {
            let next = landed.last.map(|last| last + 1).unwrap_or_default();
            let base_offset = landed.first.unwrap_or_default();
            appended.push(Appended { base_offset, next: Position::new(next, 0) });
        }
        Ok(appended)
    }

    /// Makes the group's offsets part of the transaction, under the membership of this moment.
    fn send_offsets(
        &self,
        producer: &Producer,
        offsets: &[(TopicPartition, Position)],
    ) -> Result<(), Failure> {
        let Some(consumer) = self.consumer.as_ref().filter(|_| !offsets.is_empty()) else {
            return Ok(());
        };
        let list = offset_list(offsets).map_err(Failure::of)?;
        let end = self.shared.clock.elapsed() + self.shared.settings.request_timeout;
        loop {
            let Some(group) = consumer.group_metadata() else {
                return Err(Failure::Abort("the consumer has no group".to_owned()));
            };
            let wait = self.shared.settings.request_timeout;
            match producer.send_offsets_to_transaction(&list, &group, wait) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && self.shared.clock.elapsed() < end => {}
                Err(error) => return Err(Failure::of(error)),
            }
        }
    }

    fn end_transaction(&self, producer: &Producer) -> Result<(), Failure> {
        let end = self.shared.clock.elapsed() + self.shared.settings.request_timeout;
        loop {
            match producer.commit_transaction(self.shared.settings.request_timeout) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    return Err(Failure::Abort(error.string()));
                }
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && self.shared.clock.elapsed() < end => {}
                Err(KafkaError::Transaction(error)) if is_fenced(&error) => {
                    return Err(Failure::Fenced(error.string()));
                }
                Err(error) => return Err(Failure::Unknown(error.to_string())),
            }
        }
    }

    /// Nothing was committed; whether the producer is of use again is another matter.
    fn abort(&self, producer: &Producer, reason: String) -> Outcome {
        // The client wants what it still holds to be told as undelivered first.
        producer.purge(PurgeConfig::default().queue().inflight());
        while producer.in_flight_count() > 0 {
            hear(producer, LOOK);
        }
        match producer.abort_transaction(self.shared.settings.request_timeout) {
            Ok(()) => Outcome::Aborted(reason),
            Err(KafkaError::Transaction(error)) if is_fenced(&error) => self.fenced_or_late(reason),
            Err(error) => Outcome::Unknown(format!("{reason}; the abort failed: {error}")),
        }
    }

    /// A producer is fenced by a newer one of its name, but also by the coordinator when its
    /// transaction took too long. A member can tell: a newer one fences its consumer, too.
    fn fenced_or_late(&self, reason: String) -> Outcome {
        let Some(consumer) = &self.consumer else { return Outcome::Fenced(reason) };
        let end = self.shared.clock.elapsed() + FENCED_WAIT;
        loop {
            if consumer.client().fatal_error().is_some() {
                return Outcome::Fenced(reason);
            }
            if self.shared.clock.elapsed() >= end {
                return Outcome::Unknown(format!("the transaction ended without us: {reason}"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// At least once: offsets follow the records that they speak of.
    fn append_then_commit(&self, producer: &Producer, commit: &Commit) -> Outcome {
        let appended = match self.append(producer, commit) {
            Ok(appended) => appended,
            // Some records may be there already.
            Err(Failure::Abort(reason) | Failure::Unknown(reason) | Failure::Fenced(reason)) => {
                return Outcome::Unknown(reason);
            }
        };
        if let Some(consumer) = self.consumer.as_ref().filter(|_| !commit.offsets.is_empty()) {
            let list = offset_list(&commit.offsets);
            let committed = list.and_then(|list| consumer.commit(&list, CommitMode::Sync));
            if let Err(error) = committed {
                let fenced = consumer.client().fatal_error().is_some();
                return match fenced {
                    true => Outcome::Fenced(error.to_string()),
                    false => Outcome::Unknown(error.to_string()),
                };
            }
        }
        Outcome::Committed { appended: self.with_epochs(commit, appended) }
    }

    /// Producers are not told leader epochs: they are asked for now and then.
    fn with_epochs(&self, commit: &Commit, mut appended: Vec<Appended>) -> Vec<Appended> {
        let partitions: Vec<_> = commit.appends.iter().map(|(at, _)| at.clone()).collect();
        if partitions.is_empty() {
            return appended;
        }
        let epochs = self.shared.epochs_of(&partitions);
        for ((appended, epoch), (at, batch)) in appended.iter_mut().zip(epochs).zip(&commit.appends)
        {
            appended.next.epoch = epoch;
            // Nothing was delivered that would tell where an empty batch lies.
            if batch.is_empty()
                && let Ok(range) = self.shared.range(at)
            {
                *appended = Appended { base_offset: range.end.offset, next: range.end };
            }
        }
        appended
    }
}

/// Why a commit broke off.
enum Failure {
    /// Nothing of it will be seen.
    Abort(String),
    Unknown(String),
    Fenced(String),
}

impl Failure {
    /// What an error before the end of a transaction means: it was not committed.
    fn of(error: KafkaError) -> Self {
        match error {
            KafkaError::Transaction(error) if is_fenced(&error) => Self::Fenced(error.string()),
            KafkaError::Transaction(error) if error.is_fatal() => Self::Unknown(error.string()),
            KafkaError::Transaction(error) => Self::Abort(error.string()),
            error => Self::Abort(error.to_string()),
        }
    }
}

fn is_fenced(error: &RDKafkaError) -> bool {
    matches!(
        error.code(),
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::FencedInstanceId
    )
}

/// Puts one record into the producer's queue; waits while it is full.
fn send(
    producer: &Producer,
    at: &TopicPartition,
    (place, record): (usize, RecordRef<'_>),
) -> Result<(), Failure> {
    let (timestamp, carried) = to_kafka_timestamp(record.timestamp);
    let mut message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&at.topic, place)
        .partition(number(at))
        .timestamp(timestamp);
    message.key = record.key;
    message.payload = record.value;
    if !record.headers.as_bytes().is_empty() || carried.is_some() {
        let mut headers = OwnedHeaders::new();
        for (name, value) in record.headers.iter() {
            let key = std::str::from_utf8(name).unwrap_or_default();
            headers = headers.insert(Header { key, value: Some(value) });
        }
        if let Some((key, value)) = &carried {
            headers = headers.insert(Header { key, value: Some(value.as_slice()) });
        }
        message.headers = Some(headers);
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                hear(producer, LOOK);
                message = refused;
            }
            Err((error, _)) => return Err(Failure::Abort(format!("{at}: {error}"))),
        }
    }
}

fn offset_list(offsets: &[(TopicPartition, Position)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (at, position) in offsets {
        list.add_partition_offset(&at.topic, number(at), offset(position.offset))?;
    }
    let epochs: Vec<u32> = offsets.iter().map(|(_, position)| position.epoch).collect();
    set_leader_epochs(&mut list, &epochs);
    Ok(list)
}

/// What to do when the coordinator does not give a producer its identity.
fn refused_transactions(config: &ClientConfig, error: &KafkaError) -> LogError {
    let told = error.rdkafka_error_code();
    if told == Some(RDKafkaErrorCode::InvalidTransactionTimeout) {
        let asked = config.get("transaction.timeout.ms").unwrap_or("?");
        return LogError::Unavailable(format!(
            "kafka: transaction.timeout.ms is {asked}, which is above the brokers' \
             transaction.max.timeout.ms: lower the one under [kafka], or raise the other"
        ));
    }
    unavailable("begin transactions", error)
}
