//! Storage on disk: a RocksDB whose batches are blob values, so that compaction of keys does not
//! copy them.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBRawIterator, ErrorKind, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use super::{Op, Space, Storage, StorageError};

const META: &str = "meta";
const BATCHES: &str = "batches";
/// The file that its owner keeps locked, with the owner's process number in it.
const HOLDER: &str = "HOLDER";
/// Values below this stay in the key's own file.
const BLOB_BYTES_MIN: u64 = 512;

/// What the log's RocksDB may use.
#[derive(Clone, Copy, Debug)]
pub struct RocksSettings {
    /// Memory for recent writes, in bytes.
    pub write_buffer_bytes: usize,
    /// Memory for blocks read, in bytes.
    pub cache_bytes: usize,
}

/// Storage in a directory of its own.
pub struct RocksStorage {
    path: PathBuf,
    settings: RocksSettings,
    /// `None` only after a failed reopening.
    db: RwLock<Option<DB>>,
    /// Locked as long as this value lives, reopenings included.
    _holder: File,
}

impl RocksStorage {
    /// Opens the directory, making it if it is not there.
    ///
    /// # Errors
    /// When another process holds it, or the disk fails.
    pub fn open(path: &Path, settings: RocksSettings) -> Result<Self, StorageError> {
        let holder = hold(path)?;
        check_head(path)?;
        let db = open(path, settings).map_err(|error| rocks_failed(path, &error))?;
        Ok(Self { path: path.to_owned(), settings, db: RwLock::new(Some(db)), _holder: holder })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&DB) -> Result<T, rocksdb::Error>,
    ) -> Result<T, StorageError> {
        let guard = self.read();
        let Some(db) = guard.as_ref() else {
            let reason = format!("{} is closed after an error", self.path.display());
            return Err(StorageError::Failed(reason));
        };
        work(db).map_err(|error| rocks_failed(&self.path, &error))
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<DB>> {
        self.db.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> StorageError {
    StorageError::Failed(format!("{}: {error}", path.display()))
}

/// As [`failed`], telling damage from a disk that is full or away.
fn rocks_failed(path: &Path, error: &rocksdb::Error) -> StorageError {
    let is_damage = match error.kind() {
        ErrorKind::Corruption => true,
        // A file that another one names.
        ErrorKind::IOError => error.to_string().contains("No such file or directory"),
        _ => false,
    };
    let text = format!("{}: {error}", path.display());
    if is_damage { StorageError::Damaged(text) } else { StorageError::Failed(text) }
}

/// Takes the directory for this process. RocksDB has a lock too, but cannot say who holds it.
fn hold(path: &Path) -> Result<File, StorageError> {
    let at = path.join(HOLDER);
    let disk = |error: std::io::Error| failed(&at, &error);
    fs::create_dir_all(path).map_err(disk)?;
    let mut holder =
        File::options().create(true).truncate(false).write(true).open(&at).map_err(disk)?;
    match holder.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(disk(error)),
        Err(TryLockError::WouldBlock) => {
            let who = fs::read_to_string(&at).unwrap_or_default();
            return Err(StorageError::Held(format!(
                "{} is held by process {}: stop it, or choose another directory",
                path.display(),
                who.trim()
            )));
        }
    }
    holder.set_len(0).map_err(disk)?;
    writeln!(holder, "{}", std::process::id()).map_err(disk)?;
    Ok(holder)
}

/// Without the file that leads to all others RocksDB would begin an empty database, and remove what
/// is there.
fn check_head(path: &Path) -> Result<(), StorageError> {
    if path.join("CURRENT").exists() {
        return Ok(());
    }
    let is_data = |name: &str| {
        let ends = [".sst", ".blob", ".log"].iter().any(|end| name.ends_with(end));
        name.starts_with("MANIFEST-") || ends
    };
    let files = fs::read_dir(path).map_err(|error| failed(path, &error))?;
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    match names.filter(|name| is_data(name)).min() {
        None => Ok(()),
        Some(name) => Err(StorageError::Damaged(format!(
            "{}: the file CURRENT is missing although `{name}` is there",
            path.display()
        ))),
    }
}

fn name(space: Space) -> &'static str {
    match space {
        Space::Meta => META,
        Space::Batches => BATCHES,
    }
}

fn family(db: &DB, space: Space) -> &rocksdb::ColumnFamily {
    db.cf_handle(name(space)).expect("both families are opened with the database")
}

fn open(path: &Path, settings: RocksSettings) -> Result<DB, rocksdb::Error> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    // Small entries fill their buffer slowly: without this bound they would keep old logs alive.
    options.set_max_total_wal_size(2 * settings.write_buffer_bytes as u64);
    options.set_max_log_file_size(4 << 20);
    options.set_max_manifest_file_size(16 << 20);
    options.set_max_background_jobs(2);
    // Both families together: else each would take as much as is meant for the log, and the larger
    // one twice that while it is written out.
    options.set_db_write_buffer_size(settings.write_buffer_bytes);
    let cache = Cache::new_lru_cache(settings.cache_bytes);
    let options_of = |space| family_options(space, settings, &cache);
    let families = [Space::Meta, Space::Batches]
        .map(|space| ColumnFamilyDescriptor::new(name(space), options_of(space)));
    DB::open_cf_descriptors(&options, path, families)
}

fn show(
    iterator: &mut DBRawIterator<'_>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), rocksdb::Error> {
    while let Some((key, value)) = iterator.item() {
        if !visit(key, value) {
            return Ok(());
        }
        iterator.next();
    }
    iterator.status()
}

fn family_options(space: Space, settings: RocksSettings, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(match space {
        Space::Meta => settings.write_buffer_bytes / 8,
        Space::Batches => settings.write_buffer_bytes,
    });
    options.set_max_write_buffer_number(2);
    if space == Space::Batches {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_BYTES_MIN);
        options.set_blob_file_size(32 << 20);
        // Retention deletes from the front, compaction everywhere: files that are half garbage
        // are rewritten when their keys are compacted.
        options.set_enable_blob_gc(true);
        options.set_blob_gc_age_cutoff(0.5);
        options.set_blob_gc_force_threshold(0.5);
    }
    options
}

impl Storage for RocksStorage {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.with(|db| db.get_cf(family(db, space), key))
    }

    fn scan(
        &self,
        space: Space,
        (from, to): (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        self.with(|db| {
            let mut options = ReadOptions::default();
            options.set_iterate_upper_bound(to);
            let mut iterator = db.raw_iterator_cf_opt(family(db, space), options);
            iterator.seek(from);
            show(&mut iterator, visit)
        })
    }

    fn scan_around(
        &self,
        space: Space,
        (from, to): (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        self.with(|db| {
            let mut options = ReadOptions::default();
            options.set_iterate_upper_bound(to);
            let mut iterator = db.raw_iterator_cf_opt(family(db, space), options);
            iterator.seek_for_prev(from);
            iterator.status()?;
            if !iterator.valid() {
                iterator.seek(from);
            }
            show(&mut iterator, visit)
        })
    }

    fn write(&self, ops: &[Op], sync: bool) -> Result<(), StorageError> {
        self.with(|db| {
            let mut batch = WriteBatch::default();
            for op in ops {
                match op {
                    Op::Put(space, key, value) => batch.put_cf(family(db, *space), key, value),
                    Op::Delete(space, key) => batch.delete_cf(family(db, *space), key),
                    Op::DeleteRange(space, from, to) => {
                        batch.delete_range_cf(family(db, *space), from, to);
                    }
                }
            }
            let mut options = WriteOptions::default();
            options.set_sync(sync);
            db.write_opt(batch, &options)
        })
    }

    fn reclaim(&self, space: Space, (from, to): (&[u8], &[u8])) -> Result<(), StorageError> {
        self.with(|db| {
            db.compact_range_cf(family(db, space), Some(from), Some(to));
            Ok(())
        })
    }

    fn reopen(&self) -> Result<(), StorageError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // The old handle holds the directory's lock: it goes before the new one comes.
        *db = None;
        *db = Some(
            open(&self.path, self.settings).map_err(|error| rocks_failed(&self.path, &error))?,
        );
        Ok(())
    }
}
