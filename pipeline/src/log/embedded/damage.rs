//! Damage in one partition: it is named, and the others are none the worse for it.
//!
//! ```text
//! its entries   neither read nor written: nobody knows where it begins
//! its last batch  read up to there; not written, because nobody knows where it ends
//! another batch   only who reads that batch hears of it
//! ```
//! It repairs nothing: what can be done about lost records is for people to decide.

use super::super::{LogError, TopicPartition};
use super::catalog::Partition;

/// What of a partition does not check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Of the first batch that is damaged; 0 if entries are.
    pub(crate) offset: u64,
    pub(crate) reason: String,
    pub(crate) extent: Extent,
}

/// How much of a partition cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Entries,
    /// Everything from the damage on.
    End,
    /// A batch with others after it.
    Batch,
}

impl Damage {
    pub(crate) fn error(&self, at: &TopicPartition) -> LogError {
        let (offset, reason) = (self.offset, self.reason.clone());
        LogError::Corrupt { partition: at.to_string(), offset, reason }
    }
}

impl Partition {
    /// # Errors
    /// [`LogError::Corrupt`] if the partition's bounds or epochs are damaged.
    pub(crate) fn check_entries(&self, at: &TopicPartition) -> Result<(), LogError> {
        self.check(at, |extent| extent == Extent::Entries)
    }

    /// # Errors
    /// [`LogError::Corrupt`] if nobody knows where the partition ends.
    pub(crate) fn check_end(&self, at: &TopicPartition) -> Result<(), LogError> {
        self.check(at, |extent| extent != Extent::Batch)
    }

    fn check(&self, at: &TopicPartition, stops: impl Fn(Extent) -> bool) -> Result<(), LogError> {
        match &self.damage {
            Some(damage) if stops(damage.extent) => Err(damage.error(at)),
            _ => Ok(()),
        }
    }
}

/// Damage that the storage has found, of which no more is known.
pub(crate) fn of_storage(text: &str) -> LogError {
    // The storage says `<path>: <what>`.
    let (place, reason) = text.split_once(": ").unwrap_or(("the log", text));
    LogError::Damaged { place: place.to_owned(), reason: reason.to_owned() }
}
