//! Keyed state: one RocksDB for all stores of a process, and the overlays in front of it.
//!
//! It holds bytes and positions. It does not know what a changelog is: whoever writes says which
//! position the write reflects, and reads it back after a restart.

mod claims;
mod damage;
mod db;
mod overlay;
mod scan;
mod store;
mod undo;

pub use claims::{Claim, Loan};
pub use db::{StateBatch, StateDb, StateImage, StateSettings, StoreId};
pub use overlay::Overlay;
pub use scan::{KeyRange, Order, Visit, after_prefix};
pub use store::{Entry, Store};

/// State could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has the directory, or it cannot be opened.
    #[error("cannot open the state in {path}: {reason}")]
    Open {
        /// The directory.
        path: String,
        /// What RocksDB says.
        reason: String,
    },
    /// The bytes are damaged.
    #[error(
        "the state in {path} is damaged: {reason}; nothing is lost, the next start rebuilds it \
         from the log"
    )]
    Damaged {
        /// The directory.
        path: String,
        /// What RocksDB says.
        reason: String,
    },
    /// The disk failed.
    #[error("cannot {doing} state in {path}: {reason}")]
    Failed {
        /// `read`, `write` or `flush`.
        doing: &'static str,
        /// The directory.
        path: String,
        /// What RocksDB says.
        reason: String,
    },
}
