//! The one RocksDB for state.
//!
//! Keys are `<store number><partition><kind and key>`; dropping a task's store is a range delete.
//! There is no write-ahead log: the log's changelog is one. Both column families are flushed
//! atomically, so whatever survives a crash is whole commits, and the position stored with them
//! says how far they go.

mod image;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub use image::StateImage;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, Env,
    LruCacheOptions, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::claims::Claims;
use super::scan::{KeyRange, Order, Visit};
use super::{StateError, damage};
use crate::position::Position;

const ENTRIES: &str = "entries";
const META: &str = "meta";
/// Where the id of the log stands that the state follows.
const LOG_KEY: &[u8] = b"l";

/// What the state may use.
#[derive(Clone, Copy, Debug)]
pub struct StateSettings {
    /// Memory for blocks read, in bytes.
    pub cache_bytes: usize,
    /// Memory for writes that are not in files yet, in bytes. After a crash at most so much is
    /// replayed from the changelogs.
    pub write_buffer_bytes: usize,
}

/// One partition of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId {
    store: u32,
    partition: u32,
}

impl StoreId {
    fn prefix(self) -> [u8; 8] {
        let mut prefix = [0; 8];
        prefix[..4].copy_from_slice(&self.store.to_be_bytes());
        prefix[4..].copy_from_slice(&self.partition.to_be_bytes());
        prefix
    }

    fn key(self, key: &[u8]) -> Vec<u8> {
        [&self.prefix()[..], key].concat()
    }

    /// The first key of the next partition or store.
    fn end(self) -> [u8; 8] {
        (u64::from_be_bytes(self.prefix()) + 1).to_be_bytes()
    }

    fn position_key(self) -> [u8; 9] {
        let mut key = [b'p'; 9];
        key[1..].copy_from_slice(&self.prefix());
        key
    }
}

/// All state of a process.
pub struct StateDb {
    db: DB,
    path: String,
    names: Mutex<HashMap<String, u32>>,
    pub(super) claims: Claims,
    /// Keeps the memory file system of a state in memory alive.
    _env: Option<Env>,
    /// Why what was there was thrown away.
    pub(super) rebuilt: Option<String>,
}

/// Changes of any number of stores, made all at once.
pub struct StateBatch<'a> {
    db: &'a StateDb,
    batch: WriteBatch,
}

impl StateBatch<'_> {
    /// Sets `key` of `store`, or removes it.
    pub fn set(&mut self, store: StoreId, key: &[u8], value: Option<&[u8]>) {
        with_key(store, key, |key| match value {
            Some(value) => self.batch.put_cf(self.db.entries(), key, value),
            None => self.batch.delete_cf(self.db.entries(), key),
        });
    }

    /// Notes the position in its changelog that `store` reflects after this batch.
    pub fn set_position(&mut self, store: StoreId, position: Position) {
        self.batch.put_cf(self.db.meta(), store.position_key(), encode_position(position));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Makes all changes, and notes the positions, in one atomic write.
    ///
    /// # Errors
    /// When the disk fails; then nothing has changed.
    pub fn write(self) -> Result<(), StateError> {
        let Self { db, batch } = self;
        db.db.write_opt(batch, &no_wal()).map_err(|error| db.failed("write", &error))
    }
}

/// Keys up to this length are put together without an allocation.
const SHORT_KEY: usize = 120;

/// Shows the database's key of `key` in `store` to `work`.
fn with_key<T>(store: StoreId, key: &[u8], work: impl FnOnce(&[u8]) -> T) -> T {
    if key.len() > SHORT_KEY {
        return work(&store.key(key));
    }
    let mut buffer = [0; 8 + SHORT_KEY];
    buffer[..8].copy_from_slice(&store.prefix());
    buffer[8..8 + key.len()].copy_from_slice(key);
    work(&buffer[..8 + key.len()])
}

impl StateDb {
    /// Opens the state in `path`, making it if it is not there.
    ///
    /// State that is damaged is thrown away, and [`Self::rebuilt`] says why: its stores have no
    /// positions then, so they are made again from their changelogs.
    ///
    /// # Errors
    /// When another process has it, or the disk fails.
    pub fn open(path: &Path, settings: StateSettings) -> Result<Self, StateError> {
        damage::open(path, || Self::open_in(path, settings, None))
    }

    /// Why the state that was there was thrown away, if it was.
    pub fn rebuilt(&self) -> Option<&str> {
        self.rebuilt.as_deref()
    }

    /// Ties the state to the log `id`. State of another log is thrown away: its positions may look
    /// valid and mean nothing. Answers with the other log's id then.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn follow(&self, id: &str) -> Result<Option<String>, StateError> {
        let found = self.db.get_cf(self.meta(), LOG_KEY).map_err(|e| self.failed("read", &e))?;
        let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if found.as_deref() == Some(id) {
            return Ok(None);
        }
        let mut batch = WriteBatch::default();
        if found.is_some() {
            batch.delete_range_cf(self.entries(), &[][..], &[0xff; 16][..]);
            batch.delete_range_cf(self.meta(), &b"p"[..], &b"q"[..]);
        }
        batch.put_cf(self.meta(), LOG_KEY, id);
        self.db.write_opt(batch, &no_wal()).map_err(|error| self.failed("write", &error))?;
        Ok(found)
    }

    /// State that lives as long as the value: a real RocksDB on a file system in memory.
    ///
    /// # Errors
    /// When RocksDB does not start.
    pub fn in_memory() -> Result<Self, StateError> {
        let path = Path::new("/state");
        let env = Env::mem_env().map_err(|error| open_failed(path, &error))?;
        let settings = StateSettings { cache_bytes: 1 << 20, write_buffer_bytes: 8 << 20 };
        Self::open_in(path, settings, Some(env))
    }

    fn open_in(path: &Path, settings: StateSettings, env: Option<Env>) -> Result<Self, StateError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_atomic_flush(true);
        options.set_keep_log_file_num(2);
        options.set_max_open_files(256);
        options.set_max_background_jobs(2);
        options.set_db_write_buffer_size(settings.write_buffer_bytes);
        if let Some(env) = &env {
            options.set_env(env);
        }
        let cache = cache(settings);
        let families =
            [ENTRIES, META].map(|name| ColumnFamilyDescriptor::new(name, family(settings, &cache)));
        let db = DB::open_cf_descriptors(&options, path, families)
            .map_err(|error| open_failed(path, &error))?;
        let path = path.display().to_string();
        let (names, claims) = (Mutex::default(), Claims::default());
        Ok(Self { db, path, names, claims, _env: env, rebuilt: None })
    }

    /// The number of a store's partition, given out at its first use and kept from then on.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn store(&self, name: &str, partition: u32) -> Result<StoreId, StateError> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = names.get(name) {
            return Ok(StoreId { store: *store, partition });
        }
        let key = [b"n", name.as_bytes()].concat();
        let found = self.db.get_cf(self.meta(), &key).map_err(|e| self.failed("read", &e))?;
        let number = |bytes: Vec<u8>| Some(u32::from_be_bytes(bytes.try_into().ok()?));
        let store = match found.and_then(number) {
            Some(store) => store,
            None => self.number_store(&key)?,
        };
        names.insert(name.to_owned(), store);
        Ok(StoreId { store, partition })
    }

    fn number_store(&self, key: &[u8]) -> Result<u32, StateError> {
        let highest = self.db.get_cf(self.meta(), b"h").map_err(|e| self.failed("read", &e))?;
        let highest = highest.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
        let store = highest.map_or(0, |highest| highest + 1);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.meta(), key, store.to_be_bytes());
        batch.put_cf(self.meta(), b"h", store.to_be_bytes());
        self.db.write_opt(batch, &no_wal()).map_err(|error| self.failed("write", &error))?;
        Ok(store)
    }

    /// The position that `store` reflects; `None` if it has never been written.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn position(&self, store: StoreId) -> Result<Option<Position>, StateError> {
        let found = self.db.get_cf(self.meta(), store.position_key());
        let bytes = found.map_err(|error| self.failed("read", &error))?;
        Ok(bytes.as_deref().and_then(decode_position))
    }

    /// Shows the value of `key` in `store` to `read`, without copying it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read<T>(
        &self,
        store: StoreId,
        key: &[u8],
        read: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Result<T, StateError> {
        let found = with_key(store, key, |key| self.db.get_pinned_cf(self.entries(), key));
        let value = found.map_err(|error| self.failed("read", &error))?;
        Ok(read(value.as_deref()))
    }

    /// Shows the entries of `store` in `range`, in `order`, until `visit` says no.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn scan(
        &self,
        store: StoreId,
        range: KeyRange<'_>,
        order: Order,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        let mut options = ReadOptions::default();
        let mut iterator = match order {
            Order::Ascending => {
                options.set_iterate_upper_bound(store.key(range.1));
                let mut iterator = self.db.raw_iterator_cf_opt(self.entries(), options);
                with_key(store, range.0, |from| iterator.seek(from));
                iterator
            }
            Order::Descending => {
                options.set_iterate_lower_bound(store.key(range.0));
                options.set_iterate_upper_bound(store.key(range.1));
                let mut iterator = self.db.raw_iterator_cf_opt(self.entries(), options);
                // The last one below the upper bound.
                iterator.seek_to_last();
                iterator
            }
        };
        while let Some((key, value)) = iterator.item() {
            if !visit(&key[8..], value) {
                return Ok(());
            }
            match order {
                Order::Ascending => iterator.next(),
                Order::Descending => iterator.prev(),
            }
        }
        iterator.status().map_err(|error| self.failed("read", &error))
    }

    /// A batch of changes, to be written all at once.
    pub fn batch(&self) -> StateBatch<'_> {
        StateBatch { db: self, batch: WriteBatch::default() }
    }

    /// Forgets everything of `store`, its position too.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clear(&self, store: StoreId) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        let mut empty = true;
        self.scan(store, (&[], &[0xff]), Order::Ascending, &mut |_, _| {
            empty = false;
            false
        })?;
        // A range tombstone makes every later read look for it: none for nothing.
        if !empty {
            batch.delete_range_cf(self.entries(), store.prefix(), store.end());
        }
        batch.delete_cf(self.meta(), store.position_key());
        self.db.write_opt(batch, &no_wal()).map_err(|error| self.failed("write", &error))
    }

    /// Brings everything to files, so that the next start has nothing to replay.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn flush(&self) -> Result<(), StateError> {
        self.flush_waiting(true)
    }

    /// Begins to bring everything to files, without waiting for it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin_flush(&self) -> Result<(), StateError> {
        self.flush_waiting(false)
    }

    fn flush_waiting(&self, wait: bool) -> Result<(), StateError> {
        let families = [self.entries(), self.meta()];
        let mut options = rocksdb::FlushOptions::default();
        options.set_wait(wait);
        self.db.flush_cfs_opt(&families, &options).map_err(|error| self.failed("flush", &error))
    }

    fn entries(&self) -> &ColumnFamily {
        self.db.cf_handle(ENTRIES).expect("opened with the database")
    }

    fn meta(&self) -> &ColumnFamily {
        self.db.cf_handle(META).expect("opened with the database")
    }

    fn failed(&self, doing: &'static str, error: &rocksdb::Error) -> StateError {
        let (path, reason) = (self.path.clone(), error.to_string());
        if damage::is_damage(error) {
            damage::mark(Path::new(&path), &reason);
            return StateError::Damaged { path, reason };
        }
        StateError::Failed { doing, path, reason }
    }
}

fn open_failed(path: &Path, error: &rocksdb::Error) -> StateError {
    let (path, reason) = (path.display().to_string(), error.to_string());
    match damage::is_damage(error) {
        true => StateError::Damaged { path, reason },
        false => StateError::Open { path, reason },
    }
}

/// Few shards: each must have room for many blocks, also when the whole cache is small.
fn cache(settings: StateSettings) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(settings.cache_bytes);
    options.set_num_shard_bits(2);
    Cache::new_lru_cache_opts(&options)
}

fn family(settings: StateSettings, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Most look-ups are for keys that are new: a filter answers them without a read. Filters and
    // indexes are bounded by the cache like everything else, in small parts: a whole one can be
    // larger than what a shard of the cache may hold, and would be read again for each look-up.
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(4096);
    table.set_pin_top_level_index_and_filter(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(settings.write_buffer_bytes / 2);
    options.set_max_write_buffer_number(2);
    // The same for entries that are still in memory.
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_memtable_whole_key_filtering(true);
    options.set_level_compaction_dynamic_level_bytes(true);
    // Keys are spread over all of the state, so whatever is merged into the last level rewrites most
    // of it: twice as much at a time is half the work. Filters keep look-ups from the new files.
    options.set_level_zero_file_num_compaction_trigger(8);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options
}

fn no_wal() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn encode_position(position: Position) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&position.offset.to_be_bytes());
    bytes[8..].copy_from_slice(&position.epoch.to_be_bytes());
    bytes
}

fn decode_position(bytes: &[u8]) -> Option<Position> {
    let (offset, epoch) = bytes.split_first_chunk::<8>()?;
    Some(Position::new(u64::from_be_bytes(*offset), u32::from_be_bytes(epoch.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
