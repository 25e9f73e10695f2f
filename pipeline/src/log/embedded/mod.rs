//! The embedded log: durable, in one process, on a [`Storage`] of its own.
//!
//! ```text
//! Writer/Member::commit -> queue -> appender thread -> Shared::append -> Storage::write
//! Reader/Member::poll   -> LogReader::fetch -> Storage::scan
//! cleaner thread        -> retention and compaction
//! ```
//! It is not a network server: another process reaches it through the one that has it open.

mod append;
mod appender;
mod catalog;
mod cleaner;
mod damage;
mod fetch;
mod keys;
mod member;
mod settings;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use append::{Appending, Identity, Request};
use catalog::Catalog;
use member::{LogMember, LogWriter};
pub use settings::{Durability, EmbeddedSettings};

use super::coordinator::Change;
use super::storage::{MemoryStorage, Op, RocksSettings, RocksStorage, Storage, StorageError};
use super::{
    Group, GroupConfig, Log, LogError, Member, Position, Range, Reader, TopicPartition, TopicSpec,
    Validity, Writer,
};
use crate::clock::Clock;

/// The embedded log. Closing it (dropping the last handle) finishes what waits to be appended.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the log, its readers, writers and threads share.
pub(crate) struct Shared {
    storage: Arc<dyn Storage>,
    settings: EmbeddedSettings,
    clock: Arc<dyn Clock>,
    catalog: Mutex<Catalog>,
    /// Something was appended, or a group changed.
    appended: Condvar,
    /// Held while commits are decided and for every other write; see [`append`].
    appending: Mutex<Appending>,
    /// Held by whoever removes batches.
    cleaning: Mutex<()>,
    /// What cleanings have removed since the storage was told to give space back, in bytes.
    unreclaimed_bytes: AtomicU64,
    queue: appender::Queue,
    /// Appends happen on the caller's thread.
    inline: bool,
    stopping: cleaner::Stop,
}

impl EmbeddedLog {
    /// Opens the log in `path`, making it if it is not there, and begins a new epoch.
    ///
    /// # Errors
    /// When another process holds it, its disk fails, or its bytes are damaged.
    pub fn open(
        path: &Path,
        settings: EmbeddedSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, LogError> {
        let rocks = RocksSettings {
            write_buffer_bytes: settings.write_buffer_bytes,
            cache_bytes: settings.cache_bytes,
        };
        let storage = RocksStorage::open(path, rocks).map_err(unavailable)?;
        let shared = Shared::load(Arc::new(storage), settings, clock, false)?;
        let threads =
            vec![appender::spawn(Arc::clone(&shared))?, cleaner::spawn(Arc::clone(&shared))?];
        Ok(Arc::new(Self { shared, threads }))
    }

    /// A log in memory, without threads: commits are decided before `commit` returns, cleaning
    /// happens in [`Self::clean`]. For tests and simulations.
    ///
    /// # Errors
    /// When what `storage` holds is damaged.
    pub fn in_memory(
        storage: Arc<MemoryStorage>,
        settings: EmbeddedSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, LogError> {
        let shared = Shared::load(storage, settings, clock, true)?;
        Ok(Arc::new(Self { shared, threads: Vec::new() }))
    }

    /// Does what the cleaner does at each interval: drops what retention lets go, compacts.
    ///
    /// # Errors
    /// When the disk fails, or bytes are damaged.
    pub fn clean(&self) -> Result<(), LogError> {
        cleaner::clean(&self.shared)
    }

    /// The bytes that a partition takes on disk, before RocksDB's own overhead.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn partition_bytes(&self, partition: &TopicPartition) -> Result<u64, LogError> {
        Ok(self.shared.catalog().partition(partition)?.1.bounds.bytes)
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.stopping.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already; there is nothing left to save here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn load(
        storage: Arc<dyn Storage>,
        settings: EmbeddedSettings,
        clock: Arc<dyn Clock>,
        inline: bool,
    ) -> Result<Arc<Self>, LogError> {
        let catalog = Catalog::load(storage.as_ref(), if inline { counted_id } else { random_id })?;
        Ok(Arc::new(Self {
            storage,
            settings,
            clock,
            catalog: Mutex::new(catalog),
            appended: Condvar::new(),
            appending: Mutex::new(Appending::default()),
            cleaning: Mutex::new(()),
            unreclaimed_bytes: AtomicU64::new(0),
            queue: appender::Queue::default(),
            inline,
            stopping: cleaner::Stop::default(),
        }))
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn appending(&self) -> MutexGuard<'_, Appending> {
        self.appending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, request: Request) {
        if !self.inline {
            self.queue.push(request, self.settings.queue_bytes_max);
        } else if !self.queue.is_closed() {
            self.append(vec![request]);
        }
    }

    /// Writes, unless an earlier write has failed.
    fn write(&self, appending: &mut Appending, ops: &[Op], sync: bool) -> Result<(), LogError> {
        appending.check()?;
        self.storage.write(ops, sync).map_err(|error| {
            appending.failure = Some(error.to_string());
            unavailable(error)
        })
    }

    /// Waits until `ready` or until `wait` is over.
    fn wait(&self, wait: Duration, ready: impl Fn(&Catalog) -> bool) {
        let asleep = |catalog: &mut Catalog| !ready(catalog);
        let catalog = self.catalog();
        drop(
            self.appended
                .wait_timeout_while(catalog, wait, asleep)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn group_poll(&self, group: &str, id: u64) -> Option<Vec<Change>> {
        // What the member lets go of may be given to another: not between a commit's check and
        // its end, or the next owner would begin before it.
        let news = self.catalog().groups.get(group)?.has_news(id);
        let _appending = news.then(|| self.appending());
        let changes = self.catalog().groups.get_mut(group)?.poll(id);
        self.appended.notify_all();
        changes
    }

    fn group_leave(&self, group: &str, id: u64) {
        let _appending = self.appending();
        if let Some(group) = self.catalog().groups.get_mut(group) {
            group.leave(id);
        }
        self.appended.notify_all();
    }
}

fn unavailable(error: StorageError) -> LogError {
    match error {
        StorageError::Held(text) => LogError::Held(text),
        StorageError::Failed(text) => LogError::Unavailable(text),
        StorageError::Damaged(text) => damage::of_storage(&text),
    }
}

/// An id that no other log has.
fn random_id() -> Result<String, LogError> {
    let mut bytes = [0_u8; 16];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|error| LogError::Unavailable(format!("cannot read /dev/urandom: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// An id that no other log of this process has: what happens in memory repeats itself.
fn counted_id() -> Result<String, LogError> {
    static LOGS: AtomicU64 = AtomicU64::new(0);
    Ok(format!("memory{}", LOGS.fetch_add(1, Ordering::Relaxed)))
}

impl Log for EmbeddedLog {
    fn id(&self) -> Result<String, LogError> {
        Ok(self.shared.catalog().id.clone())
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let mut appending = self.shared.appending();
        appending.check()?;
        let Some(op) = self.shared.catalog().create(spec)? else { return Ok(()) };
        self.shared.write(&mut appending, &[op], true)
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        let catalog = self.shared.catalog();
        let named =
            |(name, topic): (&Arc<str>, &catalog::Topic)| (name.to_string(), topic.spec.clone());
        Ok(catalog.topics.iter().map(named).collect())
    }

    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError> {
        let catalog = self.shared.catalog();
        let (_, found) = catalog.partition(partition)?;
        found.check_entries(partition)?;
        Ok(Range { start: found.bounds.start, end: Position::new(found.end, catalog.epoch) })
    }

    fn validate(
        &self,
        partition: &TopicPartition,
        position: Position,
    ) -> Result<Validity, LogError> {
        let catalog = self.shared.catalog();
        let (_, found) = catalog.partition(partition)?;
        found.check_entries(partition)?;
        // An epoch that is still to come was another log's, which lay here before.
        let foreign = position.epoch > catalog.epoch;
        let epoch_end = if foreign { 0 } else { found.epoch_end(position.epoch) };
        Ok(if foreign || position.offset > epoch_end {
            Validity::Truncated { epoch_end }
        } else if position.offset < found.bounds.start {
            Validity::Expired { start: found.bounds.start }
        } else {
            match found.bounds.tombstone {
                // A follower at the very beginning has nothing that a tombstone could remove.
                Some(tombstone) if position.offset > 0 && position.offset <= tombstone => {
                    Validity::Compacted { tombstone }
                }
                _ => Validity::Valid,
            }
        })
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        // After a failed write nobody knows what is committed, until somebody has connected again:
        // who began from what was known before would do twice what that write may have done.
        self.shared.appending().check()?;
        let catalog = self.shared.catalog();
        let offsets = catalog.offsets.get(group);
        Ok(partitions.iter().map(|at| offsets?.get(at).copied()).collect())
    }

    fn group(&self, group: &str) -> Result<Group, LogError> {
        let catalog = self.shared.catalog();
        Ok(catalog.groups.get(group).map(|group| group.seen()).unwrap_or_default())
    }

    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        cleaner::purge(&self.shared, partition, offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(fetch::LogReader::new(Arc::clone(&self.shared))))
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        let _appending = self.shared.appending();
        let mut catalog = self.shared.catalog();
        let id = catalog.fresh_id();
        catalog.writers.insert(name.to_owned(), id);
        let identity = Identity::Writer { name: name.to_owned(), id };
        Ok(Box::new(LogWriter::new(Arc::clone(&self.shared), identity)))
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        let _appending = self.shared.appending();
        let mut catalog = self.shared.catalog();
        let mut topics = BTreeMap::new();
        for topic in &config.topics {
            topics.insert(topic.clone(), catalog.topic(topic)?.spec.partitions);
        }
        let id = catalog.fresh_id();
        let group = catalog.groups.entry(config.group.clone()).or_default();
        group.join(id, &config.instance, topics);
        drop(catalog);
        self.shared.appended.notify_all();
        Ok(Box::new(LogMember::new(Arc::clone(&self.shared), config.group, id)))
    }

    fn reconnect(&self) -> Result<(), LogError> {
        let mut appending = self.shared.appending();
        self.shared.storage.reopen().map_err(unavailable)?;
        let mut loaded = Catalog::load(self.shared.storage.as_ref(), random_id)?;
        let mut catalog = self.shared.catalog();
        loaded.carry_over(&mut catalog);
        *catalog = loaded;
        drop(catalog);
        appending.failure = None;
        self.shared.appended.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
