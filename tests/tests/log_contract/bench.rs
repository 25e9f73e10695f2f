//! What the checks work with: a log, names that are theirs alone, and bounded waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pipeline::log::{
    Appended, BatchBuilder, Cleanup, Commit, Event, Fetched, GroupConfig, Log, Member, Outcome,
    Position, Reader, TopicPartition, TopicSpec, Writer,
};

/// A promise by name, and what tries it.
pub(super) type Check = (&'static str, fn(&Bench<'_>));

/// One batch of so many bytes is more than any log under test takes.
pub(super) const TOO_LARGE_BYTES: usize = 8 << 20;
/// How long one poll waits, and how often it is tried: 60 seconds.
pub(super) const WAIT: Duration = Duration::from_millis(50);
const TRIES: usize = 1200;

/// A log, and names for one check.
pub(super) struct Bench<'a> {
    pub(super) make: &'a dyn Fn() -> Arc<dyn Log>,
    pub(super) log: Arc<dyn Log>,
    /// In front of every name, so that checks can share a broker.
    pub(super) prefix: String,
}

/// A record that outlives its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) at: TopicPartition,
    pub(super) offset: u64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<u8>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(make: &'a dyn Fn() -> Arc<dyn Log>, check: &str) -> Self {
        Self { make, log: make(), prefix: format!("{check}-{}", std::process::id()) }
    }

    /// A name of this check's own.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Makes a topic that keeps everything.
    pub(super) fn topic(&self, name: &str, partitions: u32) -> String {
        let spec = spec(&self.name(name), partitions);
        self.log.create_topic(&spec).unwrap();
        spec.name
    }

    /// The only partition of a new topic.
    pub(super) fn partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic("topic", 1), 0)
    }

    pub(super) fn writer(&self, name: &str) -> Box<dyn Writer> {
        self.log.writer(&self.name(name)).unwrap()
    }

    /// Appends each value as a batch of its own, from a writer of this name.
    pub(super) fn append_each(&self, at: &TopicPartition, values: &[&str]) -> Vec<Appended> {
        let mut writer = self.writer("setup");
        values.iter().map(|value| committed(writer.as_mut(), appends(at, &[value]))[0]).collect()
    }

    /// A reader of `at` from `offset` on.
    pub(super) fn reader(&self, at: &TopicPartition, offset: u64) -> Box<dyn Reader> {
        let mut reader = self.log.reader().unwrap();
        reader.assign(at, offset).unwrap();
        reader
    }

    /// The `count` records of `at` from `offset` on; there must be no more.
    pub(super) fn read(&self, at: &TopicPartition, offset: u64, count: usize) -> Vec<Read> {
        let mut reader = self.reader(at, offset);
        let mut read = Vec::new();
        until("records", || {
            read.extend(reader.poll(WAIT).unwrap().iter().flat_map(owned));
            (read.len() >= count).then_some(())
        });
        let end = self.log.range(at).unwrap().end.offset;
        while reader.position(at).unwrap() < end {
            let more = reader.poll(WAIT).unwrap();
            read.extend(more.iter().flat_map(owned));
            if more.is_empty() {
                break;
            }
        }
        assert_eq!(read.len(), count, "{read:?}");
        read
    }

    pub(super) fn values(&self, at: &TopicPartition, offset: u64, count: usize) -> Vec<String> {
        self.read(at, offset, count).iter().map(Read::text).collect()
    }

    pub(super) fn committed(&self, group: &str, at: &TopicPartition) -> Option<Position> {
        self.log.committed(&self.name(group), std::slice::from_ref(at)).unwrap()[0]
    }

    pub(super) fn join(&self, instance: &str, topics: &[&str]) -> Joined {
        let config = GroupConfig {
            group: self.name("group"),
            instance: instance.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        };
        let member = self.log.join(config).unwrap();
        Joined { member, owned: BTreeSet::new(), lost: None, read: Vec::new() }
    }
}

impl Read {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.value.clone().unwrap()).unwrap()
    }
}

/// A member, and what it has heard.
pub(super) struct Joined {
    pub(super) member: Box<dyn Member>,
    pub(super) owned: BTreeSet<TopicPartition>,
    pub(super) lost: Option<BTreeSet<TopicPartition>>,
    pub(super) read: Vec<Read>,
}

impl Joined {
    /// Polls once. Partitions are started at the beginning.
    pub(super) fn step(&mut self) {
        for event in self.member.poll(WAIT).unwrap() {
            match event {
                Event::Assigned(partitions) => {
                    for at in partitions {
                        self.member.start(&at, 0).unwrap();
                        assert!(self.owned.insert(at), "assigned twice");
                    }
                }
                Event::Revoked(partitions) => {
                    for at in partitions {
                        assert!(self.owned.remove(&at), "revoked what it did not have");
                    }
                }
                Event::Lost(partitions) => {
                    self.owned.clear();
                    self.lost = Some(partitions.into_iter().collect());
                }
                Event::Records(fetched) => {
                    assert!(self.owned.contains(&fetched.partition), "records of a stranger");
                    self.read.extend(owned(&fetched));
                }
            }
        }
    }

    /// Polls until the condition holds.
    pub(super) fn until(&mut self, what: &str, mut ready: impl FnMut(&Self) -> bool) {
        until(what, || {
            self.step();
            ready(self).then_some(())
        });
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.read.iter().map(Read::text).collect()
    }
}

/// Tries until there is an answer.
pub(super) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    (0..TRIES).find_map(|_| attempt()).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

fn owned(fetched: &Fetched) -> Vec<Read> {
    let read = fetched.records().map(|record| Read {
        at: fetched.partition.clone(),
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.as_bytes().to_vec(),
    });
    read.collect()
}

pub(super) fn spec(name: &str, partitions: u32) -> TopicSpec {
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
    TopicSpec { name: name.to_owned(), partitions, cleanup }
}

pub(super) fn batch(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(1_700_000_000_000, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder
}

/// A commit of one batch.
pub(super) fn appends(at: &TopicPartition, values: &[&str]) -> Commit {
    Commit { appends: vec![(at.clone(), batch(values))], offsets: Vec::new() }
}

/// Commits, which must succeed.
pub(super) fn committed(writer: &mut (impl Writer + ?Sized), commit: Commit) -> Vec<Appended> {
    match writer.commit(commit).wait() {
        Outcome::Committed { appended } => appended,
        other => panic!("not committed: {other:?}"),
    }
}
