//! What the embedded log knows without reading batches: topics, bounds, epochs, groups.
//!
//! Loaded when the log opens, changed under one lock, written by whoever changes it. No I/O here
//! except for loading.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stores::fail_point::{self, FailPoint};

use super::super::batch::{Header, decode_header};
use super::super::coordinator::Group;
use super::super::storage::{Op, Space, Storage, StorageError};
use super::super::{Cleanup, LogError, Position, TopicPartition, TopicSpec};
use super::damage::{Damage, Extent};
use super::{keys, unavailable};

/// Everything in memory.
pub(crate) struct Catalog {
    /// Chosen when the log was made.
    pub(crate) id: String,
    pub(crate) epoch: u32,
    pub(crate) topics: BTreeMap<Arc<str>, Topic>,
    pub(crate) groups: HashMap<String, Group>,
    pub(crate) offsets: HashMap<String, HashMap<TopicPartition, Position>>,
    /// By name, the number of the writer that may append under it.
    pub(crate) writers: HashMap<String, u64>,
    next_id: u64,
}

/// One topic.
pub(crate) struct Topic {
    pub(crate) id: u32,
    pub(crate) spec: TopicSpec,
    pub(crate) partitions: Vec<Partition>,
}

/// One partition's bounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partition {
    pub(crate) bounds: Bounds,
    /// One past the last record that readers may see.
    pub(crate) end: u64,
    /// Epochs that wrote something here, with the offset of their first record.
    pub(crate) epochs: Vec<(u32, u64)>,
    /// The bytes appended since the bounds were stored.
    pub(crate) unstored_bytes: u64,
    /// What was found when the log was opened.
    pub(crate) damage: Option<Damage>,
}

/// What is stored of a partition, now and then: it may be older than the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    /// The first offset that may be read.
    pub(crate) start: u64,
    /// The size of the batches before `counted_to`, in bytes.
    pub(crate) bytes: u64,
    pub(crate) counted_to: u64,
    /// Compaction has seen everything before this.
    pub(crate) cleaned_to: u64,
    /// The size of what it left, in bytes.
    pub(crate) clean_bytes: u64,
    /// The highest offset of a tombstone that compaction has dropped.
    pub(crate) tombstone: Option<u64>,
}

/// A key with its value.
type Entry = (Vec<u8>, Vec<u8>);

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    id: u32,
    partitions: u32,
    compact: bool,
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
}

impl Catalog {
    /// Loads everything and begins a new epoch, synced before anything is written in it. A log
    /// that has no id yet gets one from `fresh_id`.
    ///
    /// Damage in a partition is told and noted in it; damage in what holds all together is an error.
    pub(crate) fn load(
        storage: &dyn Storage,
        fresh_id: fn() -> Result<String, LogError>,
    ) -> Result<Self, LogError> {
        let epoch = 1 + stored_at::<u32>(storage, keys::EPOCH)?.unwrap_or(0);
        let id = stored_at::<String>(storage, keys::ID)?.map_or_else(fresh_id, Ok)?;
        let ops = [keys::put(keys::EPOCH.to_vec(), &epoch), keys::put(keys::ID.to_vec(), &id)];
        storage.write(&ops, true).map_err(unavailable)?;
        fail_point::pass(FailPoint::OpenAfterEpoch);
        let mut catalog = Self {
            id,
            epoch,
            topics: BTreeMap::new(),
            groups: HashMap::new(),
            offsets: HashMap::new(),
            writers: HashMap::new(),
            next_id: 0,
        };
        for (key, value) in entries(storage, keys::TOPICS)? {
            let name = String::from_utf8_lossy(&key[2..]).into_owned();
            let stored: StoredTopic = read(storage, &key, &value)?;
            catalog.topics.insert(name.as_str().into(), load_topic(storage, &name, &stored)?);
        }
        for (key, value) in entries(storage, keys::OFFSETS)? {
            let position = read(storage, &key, &value)?;
            if let Some((group, partition)) = keys::parse_offset(&key) {
                catalog.offsets.entry(group).or_default().insert(partition, position);
            }
        }
        Ok(catalog)
    }

    /// Takes over from `old` what lives in memory alone: who is a member and a writer. Called
    /// when the same process opens the storage again.
    pub(crate) fn carry_over(&mut self, old: &mut Self) {
        self.groups = std::mem::take(&mut old.groups);
        self.writers = std::mem::take(&mut old.writers);
        self.next_id = old.next_id;
    }

    /// A number that nobody else has had since the log was opened.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics.get(name).ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub(crate) fn partition(&self, at: &TopicPartition) -> Result<(u32, &Partition), LogError> {
        let topic = self.topic(&at.topic)?;
        let partition =
            topic.partitions.get(at.partition as usize).ok_or_else(|| unknown(at, topic))?;
        Ok((topic.id, partition))
    }

    pub(crate) fn partition_mut(
        &mut self,
        at: &TopicPartition,
    ) -> Result<(u32, &mut Partition), LogError> {
        self.partition(at)?;
        let topic = self.topics.get_mut(&at.topic).expect("looked up just now");
        Ok((topic.id, &mut topic.partitions[at.partition as usize]))
    }

    /// Adds or adjusts a topic; answers with the change to write, if there is one.
    pub(crate) fn create(&mut self, spec: &TopicSpec) -> Result<Option<Op>, LogError> {
        check_name(spec)?;
        let id = match self.topics.get(spec.name.as_str()) {
            Some(topic) if topic.spec == *spec => return Ok(None),
            Some(topic) => {
                same_kind(&topic.spec, spec)?;
                topic.id
            }
            None => self.topics.values().map(|topic| topic.id + 1).max().unwrap_or(0),
        };
        let fresh = || Topic {
            id,
            spec: spec.clone(),
            partitions: vec![Partition::default(); spec.partitions as usize],
        };
        self.topics.entry(spec.name.as_str().into()).or_insert_with(fresh).spec = spec.clone();
        Ok(Some(keys::put(keys::topic(&spec.name), &stored(id, spec))))
    }
}

impl Partition {
    /// Where `epoch` ends here.
    pub(crate) fn epoch_end(&self, epoch: u32) -> u64 {
        let next = self.epochs.iter().find(|(started, _)| *started > epoch);
        next.map_or(self.end, |(_, start)| *start)
    }
}

fn unknown(at: &TopicPartition, topic: &Topic) -> LogError {
    LogError::UnknownPartition {
        topic: at.topic.to_string(),
        partition: at.partition,
        partitions: topic.spec.partitions,
    }
}

fn check_name(spec: &TopicSpec) -> Result<(), LogError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if spec.name.is_empty() || spec.name.len() > 249 {
        "a name has 1 to 249 characters"
    } else if !spec.name.chars().all(legal) || matches!(spec.name.as_str(), "." | "..") {
        "a name is made of letters, digits, `.`, `_` and `-`"
    } else if spec.partitions == 0 || spec.partitions > 10_000 {
        "a topic has 1 to 10,000 partitions"
    } else {
        return Ok(());
    };
    Err(LogError::InvalidTopic { topic: spec.name.clone(), reason: reason.to_owned() })
}

fn same_kind(old: &TopicSpec, new: &TopicSpec) -> Result<(), LogError> {
    let compact = |spec: &TopicSpec| spec.cleanup == Cleanup::Compact;
    let difference = if old.partitions != new.partitions {
        format!("has {} partitions, not {}", old.partitions, new.partitions)
    } else if compact(old) != compact(new) {
        let policy = if compact(old) { "compact" } else { "delete" };
        format!("has cleanup policy `{policy}`")
    } else {
        return Ok(());
    };
    Err(LogError::TopicDiffers { topic: new.name.clone(), difference })
}

fn stored(id: u32, spec: &TopicSpec) -> StoredTopic {
    let (compact, retention_ms, retention_bytes) = match spec.cleanup {
        Cleanup::Compact => (true, None, None),
        Cleanup::Delete { retention_ms, retention_bytes } => (false, retention_ms, retention_bytes),
    };
    StoredTopic { id, partitions: spec.partitions, compact, retention_ms, retention_bytes }
}

fn load_topic(storage: &dyn Storage, name: &str, stored: &StoredTopic) -> Result<Topic, LogError> {
    let StoredTopic { retention_ms, retention_bytes, .. } = *stored;
    let cleanup = if stored.compact {
        Cleanup::Compact
    } else {
        Cleanup::Delete { retention_ms, retention_bytes }
    };
    let partitions = (0..stored.partitions)
        .map(|partition| load_partition(storage, stored.id, &TopicPartition::new(name, partition)))
        .collect::<Result<_, _>>()?;
    let spec = TopicSpec { name: name.to_owned(), partitions: stored.partitions, cleanup };
    Ok(Topic { id: stored.id, spec, partitions })
}

/// The end of a partition is where its last batch says; the last batch is never deleted.
fn load_partition(
    storage: &dyn Storage,
    id: u32,
    at: &TopicPartition,
) -> Result<Partition, LogError> {
    let mut loaded = Partition::default();
    match load_entries(storage, id, at.partition, &mut loaded) {
        Ok(()) => count_batches(storage, id, at, &mut loaded)?,
        Err(LogError::Damaged { reason, .. }) => {
            loaded.damage = Some(Damage { offset: 0, reason, extent: Extent::Entries });
        }
        Err(error) => return Err(error),
    }
    loaded.end = loaded.bounds.counted_to.max(loaded.bounds.start);
    if let Some(damage) = &loaded.damage {
        let Damage { offset, reason, extent } = damage;
        tracing::error!(partition = %at, offset, reason, ?extent, "a partition is damaged");
    }
    // Bounds are written after the batches they count, but a power failure keeps a prefix of
    // both: what they count is there.
    Ok(loaded)
}

/// Loads the bounds and the starts of epochs.
fn load_entries(
    storage: &dyn Storage,
    id: u32,
    partition: u32,
    loaded: &mut Partition,
) -> Result<(), LogError> {
    let key = keys::partition(id, partition);
    loaded.bounds = stored_at(storage, &key)?.unwrap_or_default();
    let (from, to) = keys::epoch_starts(id, partition);
    for (key, value) in entries(storage, (&from, &to))? {
        let start = read(storage, &key, &value)?;
        loaded.epochs.push((keys::epoch_of(&key).unwrap_or(0), start));
    }
    Ok(())
}

/// Counts what was appended since the bounds were stored.
fn count_batches(
    storage: &dyn Storage,
    id: u32,
    at: &TopicPartition,
    loaded: &mut Partition,
) -> Result<(), LogError> {
    let from = keys::batch(id, at.partition, loaded.bounds.counted_to);
    let to = keys::batch(id, at.partition, u64::MAX);
    let mut count = |key: &[u8], value: &[u8]| {
        loaded.count(id, at, key, value);
        true
    };
    match storage.scan(Space::Batches, (&from, &to), &mut count) {
        Ok(()) => return Ok(()),
        Err(StorageError::Damaged(reason)) => {
            let offset = loaded.bounds.counted_to;
            loaded.note(Damage { offset, reason, extent: Extent::End });
        }
        Err(error) => return Err(unavailable(error)),
    }
    // The scan cannot get past the damage; the last batch says where the partition ends.
    let mut count = |key: &[u8], value: &[u8]| {
        if keys::base_offset(id, at.partition, key).is_some() {
            loaded.count(id, at, key, value);
        }
        true
    };
    match storage.scan_around(Space::Batches, (&to, &to), &mut count) {
        Ok(()) | Err(StorageError::Damaged(_)) => Ok(()),
        Err(error) => Err(unavailable(error)),
    }
}

impl Partition {
    /// Takes a batch into account.
    fn count(&mut self, id: u32, at: &TopicPartition, key: &[u8], value: &[u8]) {
        self.bounds.bytes += value.len() as u64;
        self.unstored_bytes += value.len() as u64;
        match header_at(id, at, key, value) {
            Ok(header) => {
                self.bounds.counted_to = header.last_offset + 1;
                // There is a batch after the damage: the end is known.
                if let Some(damage) = &mut self.damage {
                    damage.extent = Extent::Batch;
                }
            }
            Err(LogError::Corrupt { offset, reason, .. }) => {
                self.note(Damage { offset, reason, extent: Extent::End });
            }
            Err(_) => unreachable!("a header that does not check is corrupt"),
        }
    }

    /// Notes damage; of several the first is told, and the last one says where the end is.
    fn note(&mut self, damage: Damage) {
        let extent = damage.extent;
        self.damage.get_or_insert(damage).extent = extent;
    }
}

/// The header of the batch stored at `key` in `at`.
///
/// # Errors
/// [`LogError::Corrupt`], with the place.
pub(crate) fn header_at(
    id: u32,
    at: &TopicPartition,
    key: &[u8],
    value: &[u8],
) -> Result<Header, LogError> {
    let offset = keys::base_offset(id, at.partition, key).unwrap_or(u64::MAX);
    let corrupt = |reason| LogError::Corrupt { partition: at.to_string(), offset, reason };
    let header = decode_header(value).map_err(corrupt)?;
    let elsewhere = || corrupt("it says that it lies elsewhere".to_owned());
    (header.at.base_offset == offset).then_some(header).ok_or_else(elsewhere)
}

/// Reads what stands at `key`, if anything does.
fn stored_at<T: DeserializeOwned>(
    storage: &dyn Storage,
    key: &[u8],
) -> Result<Option<T>, LogError> {
    let found = storage.get(Space::Meta, key).map_err(unavailable)?;
    found.map(|bytes| read(storage, key, &bytes)).transpose()
}

fn read<T: DeserializeOwned>(
    storage: &dyn Storage,
    key: &[u8],
    value: &[u8],
) -> Result<T, LogError> {
    let damaged = |reason| LogError::Damaged { place: storage.place(), reason };
    keys::read(key, value).map_err(damaged)
}

fn entries(storage: &dyn Storage, range: (&[u8], &[u8])) -> Result<Vec<Entry>, LogError> {
    let mut entries = Vec::new();
    let mut keep = |key: &[u8], value: &[u8]| {
        entries.push((key.to_vec(), value.to_vec()));
        true
    };
    storage.scan(Space::Meta, range, &mut keep).map_err(unavailable)?;
    Ok(entries)
}
