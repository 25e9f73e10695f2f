//! What the embedded log stands on: ordered bytes with atomic writes.
//!
//! Two implementations: RocksDB on disk, and memory for tests and the simulation, which loses what
//! was not synced when it is told that the power failed. No log logic here.

mod memory;
mod rocks;

pub use memory::{FailedWrite, MemoryStorage};
pub use rocks::{RocksSettings, RocksStorage};

/// Which of the two key spaces an entry lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Small entries: topics, partitions, epochs, group offsets.
    Meta,
    /// Batches: large values, written once, read in order.
    Batches,
}

/// One change of an atomic write.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sets a key.
    Put(Space, Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(Space, Vec<u8>),
    /// Removes the keys from the first up to, not including, the second.
    DeleteRange(Space, Vec<u8>, Vec<u8>),
}

/// Why the storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Somebody else has it open.
    #[error("{0}")]
    Held(String),
    /// The disk failed: what it said, with the path.
    #[error("{0}")]
    Failed(String),
    /// The bytes on the disk are damaged: what does not check, with the path.
    #[error("{0}")]
    Damaged(String),
}

/// Ordered bytes with atomic writes.
pub trait Storage: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// The value of a key.
    ///
    /// # Errors
    /// When the disk fails.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Shows the entries from the first key of `range` up to, not including, the second, in order,
    /// until `visit` says no. All of them are of one moment: no write comes between.
    ///
    /// # Errors
    /// When the disk fails.
    fn scan(
        &self,
        space: Space,
        range: (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError>;

    /// Shows the same entries, and before them the last one that lies before the first key,
    /// whosever it is, unless there is one at that key.
    ///
    /// # Errors
    /// When the disk fails.
    fn scan_around(
        &self,
        space: Space,
        range: (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError>;

    /// Makes all changes or none. With `sync`, they survive a power failure once it returns.
    ///
    /// # Errors
    /// When the disk fails; then they may have been made or not.
    fn write(&self, ops: &[Op], sync: bool) -> Result<(), StorageError>;

    /// Gives space back to the disk after large deletions, where that needs telling.
    ///
    /// # Errors
    /// When the disk fails.
    fn reclaim(&self, space: Space, range: (&[u8], &[u8])) -> Result<(), StorageError>;

    /// Closes and opens again: after this, what a failed write left is decided.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn reopen(&self) -> Result<(), StorageError>;
}
