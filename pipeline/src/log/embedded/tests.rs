//! Tests of the embedded log alone; what any log promises is in the contract test.

mod appending;
mod cleaning;
mod damage;
mod disk;
mod model;
mod power;
mod torn;

use super::super::storage::Space;
use super::super::{Appended, BatchBuilder, Cleanup, Commit, Outcome};
use super::*;
use crate::clock::ManualClock;

/// A key, and its value or a tombstone.
type Pair<'a> = (&'a str, Option<&'a str>);
/// What is stored under a key, with the key.
type Stored = (Vec<u8>, Vec<u8>);
/// A record as read.
type Row = (u64, String, Option<String>);

/// What stays when a log in memory is closed.
struct Bench {
    storage: Arc<MemoryStorage>,
    clock: Arc<ManualClock>,
    settings: EmbeddedSettings,
}

impl Bench {
    fn new() -> Self {
        Self {
            storage: Arc::new(MemoryStorage::new()),
            clock: Arc::new(ManualClock::at(1_700_000_000_000)),
            settings: EmbeddedSettings::default(),
        }
    }

    fn try_open(&self) -> Result<Arc<EmbeddedLog>, LogError> {
        let clock = Arc::clone(&self.clock);
        EmbeddedLog::in_memory(Arc::clone(&self.storage), self.settings, clock)
    }

    fn open(&self) -> Arc<EmbeddedLog> {
        self.try_open().unwrap()
    }

    /// A log whose queue nobody empties but [`Bench::drain`].
    fn open_queued(&self, storage: Arc<dyn Storage>) -> EmbeddedLog {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let shared = Shared::load(storage, self.settings, clock, false).unwrap();
        EmbeddedLog { shared, threads: Vec::new() }
    }

    /// Every batch that is stored, with its key.
    fn stored(&self) -> Vec<Stored> {
        entries(self.storage.as_ref(), Space::Batches)
    }
}

fn entries(storage: &dyn Storage, space: Space) -> Vec<Stored> {
    let mut entries = Vec::new();
    let mut keep = |key: &[u8], value: &[u8]| {
        entries.push((key.to_vec(), value.to_vec()));
        true
    };
    storage.scan(space, (&[], &[0xff; 64]), &mut keep).unwrap();
    entries
}

const KEEP: Cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };

/// Partition 0 of a new topic.
fn topic(log: &EmbeddedLog, name: &str, cleanup: Cleanup) -> TopicPartition {
    log.create_topic(&TopicSpec { name: name.to_owned(), partitions: 1, cleanup }).unwrap();
    TopicPartition::new(name, 0)
}

fn batch(pairs: &[Pair<'_>]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for (key, value) in pairs {
        builder.push(0, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder
}

fn commit(at: &TopicPartition, batch: BatchBuilder) -> Commit {
    Commit { appends: vec![(at.clone(), batch)], offsets: Vec::new() }
}

fn appended(outcome: Outcome) -> Appended {
    match outcome {
        Outcome::Committed { appended } => appended[0],
        other => panic!("not committed: {other:?}"),
    }
}

fn append(log: &EmbeddedLog, at: &TopicPartition, pairs: &[Pair<'_>]) -> Appended {
    let mut writer = log.writer("test").unwrap();
    appended(writer.commit(commit(at, batch(pairs))).wait())
}

/// All records from `offset` on.
fn read(log: &EmbeddedLog, at: &TopicPartition, offset: u64) -> Vec<Row> {
    let mut reader = log.reader().unwrap();
    reader.assign(at, offset).unwrap();
    let mut rows = Vec::new();
    while reader.position(at).unwrap() < log.range(at).unwrap().end.offset {
        rows.extend(reader.poll(Duration::ZERO).unwrap().iter().flat_map(rows_of));
    }
    rows
}

fn rows_of(fetched: &super::super::Fetched) -> Vec<Row> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let row = |record: super::super::RecordRef<'_>| {
        (record.offset, text(record.key.unwrap()), record.value.map(text))
    };
    fetched.records().map(row).collect()
}

/// Bytes that do not compress, from a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&next());
    }
    bytes.truncate(length);
    bytes
}
