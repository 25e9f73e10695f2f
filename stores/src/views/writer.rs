//! The one writer of a view: upserts and deletes by key, commits with positions.
//!
//! It is fed by a follower, one thread. It decides nothing about when to commit, except that it
//! says when it has taken in as much as it may hold.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::indexer::IndexWriterOptions;
use tantivy::merge_policy::LogMergePolicy;
use tantivy::{IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError};

use super::directory::IndexDirectory;
use super::document::{self, DocumentError};
use super::fields::Fields;
use super::opening;
use super::progress::Progress;
use super::schema::{SchemaError, ViewSchema};
use super::view::{Snapshot, View};
use crate::fail_point::{self, FailPoint};

/// The only shard that a view has today.
const SHARD: &str = "shard-0";
const LOCK: &str = "lock";

/// What tantivy takes as the memory of one indexing thread, in bytes.
const ARENA_BYTES_MIN: usize = 15_000_000;
const ARENA_BYTES_MAX: usize = 2_000_000_000;
/// The operations between two commits that are held back, in bytes.
const PENDING_BYTES_MIN: usize = 1 << 20;
const PENDING_BYTES_MAX: usize = 64 << 20;
/// What an operation costs beside its key and its document: map, term, allocations.
const OPERATION_BYTES: usize = 256;
/// Uncompressed blocks of 16 KiB that each segment's reader keeps. Answers are small and the page
/// cache lies beneath, so the default of 100 would be memory spent twice.
const STORE_CACHE_BLOCKS: usize = 8;

/// The writer of a view and the view that it feeds.
pub struct Opened {
    /// Takes the documents.
    pub writer: ViewWriter,
    /// Shows them.
    pub view: Arc<View>,
    /// Why the index was begun afresh, if it was: the follower then starts from the beginning.
    pub rebuilt: Option<String>,
}

/// Why a view cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The schema is not one that a view can have.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Another writer has the view open.
    #[error("cannot open view `{view}`: another writer holds `{}`", path.display())]
    Locked {
        /// The view.
        view: String,
        /// The file that is locked.
        path: PathBuf,
    },
    /// The view's folder cannot be made or locked.
    #[error("cannot use `{}` for view `{view}`", path.display())]
    Folder {
        /// The view.
        view: String,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The index failed. Nothing since the last commit is visible; open the view again.
    #[error("cannot {action} the index of view `{view}`")]
    Index {
        /// The view.
        view: String,
        /// What was being done.
        action: &'static str,
        /// What tantivy says.
        source: TantivyError,
    },
    /// An earlier commit failed, so what the writer holds is not known. Open the view again.
    #[error("view `{0}` has failed before and must be opened again")]
    Broken(String),
}

impl ViewError {
    pub(super) fn index(schema: &ViewSchema, action: &'static str, source: TantivyError) -> Self {
        Self::Index { view: schema.name.clone(), action, source }
    }
}

/// Writes a view's index.
///
/// Between two commits only the last operation of each key is kept, in memory, and tantivy hears of
/// it at the commit. Dropping the writer drops what was not committed and changes nothing else;
/// the [`View`] keeps showing the last commit.
pub struct ViewWriter {
    view: Arc<View>,
    fields: Arc<Fields>,
    index: IndexWriter,
    directory: IndexDirectory,
    reader: IndexReader,
    progress: Progress,
    pending: BTreeMap<String, Operation>,
    pending_bytes: usize,
    pending_bytes_max: usize,
    /// Set while a commit is under way, so that a failed one leaves it set.
    broken: bool,
    /// Held as long as the writer lives.
    _lock: File,
}

enum Operation {
    Upsert { document: TantivyDocument, bytes: usize },
    Delete,
}

impl Operation {
    fn bytes(&self, key: &str) -> usize {
        let document = match self {
            Self::Upsert { bytes, .. } => *bytes,
            Self::Delete => 0,
        };
        OPERATION_BYTES + key.len() + document
    }
}

impl ViewWriter {
    /// Opens the view of `schema` below `dir`, in a folder of its own name.
    ///
    /// An index that is not there, not whole, or was made for another schema or format is deleted
    /// and begun afresh; [`Opened::rebuilt`] then says why, and the progress is empty.
    /// `memory_bytes` is what the writer may use for operations held back and for indexing; it is
    /// moved into the range that tantivy accepts (16 MB to 2 GB).
    ///
    /// # Errors
    /// If the schema is not valid, another writer has the view open, or the disk fails.
    pub fn open(dir: &Path, schema: ViewSchema, memory_bytes: usize) -> Result<Opened, ViewError> {
        schema.validate()?;
        let folder = dir.join(&schema.name);
        let lock = lock(&folder, &schema)?;
        let fields = Arc::new(Fields::new(&schema));
        let opened = opening::open(&folder.join(SHARD), &schema, &fields)?;

        let failed = |source| ViewError::index(&schema, "open", source);
        let reader = opened
            .index
            .reader_builder()
            // The writer reloads at its commits; otherwise a thread would poll the folder.
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(STORE_CACHE_BLOCKS)
            .try_into()
            .map_err(failed)?;
        let pending_bytes_max = (memory_bytes / 4).clamp(PENDING_BYTES_MIN, PENDING_BYTES_MAX);
        let arena_bytes = memory_bytes.saturating_sub(pending_bytes_max);
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(arena_bytes.clamp(ARENA_BYTES_MIN, ARENA_BYTES_MAX))
            .build();
        let index: IndexWriter = opened.index.writer_with_options(options).map_err(failed)?;
        index.set_merge_policy(Box::new(merge_policy()));
        skip_committed_stamp(&index).map_err(failed)?;

        let snapshot = Snapshot::new(&schema, &fields, reader.searcher(), opened.progress.clone());
        let view = Arc::new(View::new(schema, snapshot));
        let writer = Self {
            view: Arc::clone(&view),
            fields,
            index,
            directory: opened.directory,
            reader,
            progress: opened.progress,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            pending_bytes_max,
            broken: false,
            _lock: lock,
        };
        Ok(Opened { writer, view, rebuilt: opened.rebuilt })
    }

    /// What the last commit reflects: where the follower goes on.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Replaces the document of `key`, at the next commit.
    ///
    /// # Errors
    /// If `document` is not a JSON object whose fields have the types of the schema. The document
    /// that the key had, or gets by an earlier operation, is then left as it is.
    pub fn upsert(
        &mut self,
        key: &str,
        time_ms: i64,
        document: &[u8],
    ) -> Result<(), DocumentError> {
        let converted = document::convert(&self.fields, key, time_ms, document)?;
        // The fields are held beside the source that they were read from.
        let bytes = document.len() * 2;
        self.hold(key, Operation::Upsert { document: converted, bytes });
        Ok(())
    }

    /// Removes the document of `key`, at the next commit. It need not exist.
    pub fn delete(&mut self, key: &str) {
        self.hold(key, Operation::Delete);
    }

    /// The number of keys with an operation that is not committed.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Tells whether as much is held back as may be: commit before the next operation.
    pub fn is_full(&self) -> bool {
        self.pending_bytes >= self.pending_bytes_max
    }

    /// Makes all operations since the last commit visible together with `progress`, or none.
    ///
    /// The progress is the payload of the same tantivy commit. Readers get the new documents and
    /// the new progress in one step. After an error nothing is visible and the writer takes no
    /// more commits: open the view again, and it goes on from its last commit.
    ///
    /// A commit with documents has a fixed price of 10 to 20 ms of a core, whatever their number:
    /// a few per second are many. One without documents costs a small file.
    ///
    /// # Errors
    /// If the disk or tantivy fails, or an earlier commit has.
    pub fn commit(&mut self, progress: &Progress) -> Result<(), ViewError> {
        if self.broken {
            return Err(ViewError::Broken(self.view.schema().name.clone()));
        }
        self.broken = true;
        self.write(progress)
            .map_err(|source| ViewError::index(self.view.schema(), "commit to", source))?;
        self.broken = false;
        self.progress = progress.clone();
        let searcher = self.reader.searcher();
        let schema = self.view.schema();
        self.view.publish(Snapshot::new(schema, &self.fields, searcher, progress.clone()));
        Ok(())
    }

    fn hold(&mut self, key: &str, operation: Operation) {
        self.pending_bytes += operation.bytes(key);
        if let Some(earlier) = self.pending.insert(key.to_owned(), operation) {
            self.pending_bytes -= earlier.bytes(key);
        }
    }

    fn write(&mut self, progress: &Progress) -> tantivy::Result<()> {
        self.pending_bytes = 0;
        for (key, operation) in std::mem::take(&mut self.pending) {
            // A delete hits what has a lower stamp than its own, so it must come first. There is
            // one operation for a key, so a document of this commit is never hit.
            self.index.delete_term(self.fields.key_term(&key));
            if let Operation::Upsert { document, .. } = operation {
                self.index.add_document(document)?;
            }
        }
        let mut commit = self.index.prepare_commit()?;
        let payload = serde_json::to_string(progress).expect("positions have a JSON form");
        commit.set_payload(&payload);
        fail_point::pass(FailPoint::IndexBeforeCommit);
        commit.commit()?;
        fail_point::pass(FailPoint::IndexAfterCommit);
        self.reader.reload()
    }
}

/// Uses up the first stamp of a writer, which is that of the last commit (tantivy 0.27).
///
/// A merge applies the deletes up to the committed stamp to the segments that it merges, but leaves
/// out a segment whose own deletes bear that stamp already. If the first operation were a delete, a
/// merge that begins before the first commit would count it as applied to all of them: a document
/// that it should hit would live on beside its successor.
fn skip_committed_stamp(index: &IndexWriter) -> tantivy::Result<()> {
    index.run(std::iter::empty()).map(drop)
}

impl Drop for ViewWriter {
    /// Ends merges that are under way: they would change nothing that can be seen.
    fn drop(&mut self) {
        self.directory.close();
    }
}

/// Each commit makes a segment, mostly a small one, and an upsert leaves a dead document behind.
///
/// A merge has a fixed price (some 10 ms of a core, for the tables of its dictionaries), so small
/// segments gather until there are eight. Below 1,000 documents all are one level, each further
/// level is eight times as large: a million documents lie in about 30 segments at most, and each
/// has been rewritten about four times. A segment of which three in ten documents are dead is
/// rewritten with its level. Above 5 million live documents it is left alone.
fn merge_policy() -> LogMergePolicy {
    let mut policy = LogMergePolicy::default();
    policy.set_min_num_segments(8);
    policy.set_min_layer_size(1_000);
    policy.set_level_log_size(3.0);
    policy.set_del_docs_ratio_before_merge(0.3);
    policy.set_max_docs_before_merge(5_000_000);
    policy
}

/// Locks the view's folder for as long as the file lives. The lock lies beside the shards, so that
/// an index can be deleted while it is held.
fn lock(folder: &Path, schema: &ViewSchema) -> Result<File, ViewError> {
    let view = || schema.name.clone();
    let failed =
        |path: &Path, source| ViewError::Folder { view: view(), path: path.into(), source };
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(|source| failed(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ViewError::Locked { view: view(), path }),
        Err(TryLockError::Error(source)) => Err(failed(&path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A merge that begins before a writer's first commit took a first delete that bore the last
    /// commit's stamp for applied: two documents of one key were found after some starts.
    #[test]
    fn the_first_delete_of_a_writer_comes_after_the_last_commit() {
        let dir = tempfile::tempdir().unwrap();
        let schema = ViewSchema {
            name: "rows".to_owned(),
            fields: Vec::new(),
            sources: Vec::new(),
            partitions: 1,
        };
        let open = || ViewWriter::open(dir.path(), schema.clone(), 1 << 20).unwrap().writer;
        for start in 0..3 {
            let mut writer = open();
            let committed = writer.index.commit_opstamp();
            let first = writer.index.delete_term(writer.fields.key_term("key"));
            assert!(first > committed, "start {start}: {first} is not after {committed}");
            writer.upsert("key", 0, b"{}").unwrap();
            writer.commit(&Progress::default()).unwrap();
        }
    }
}
