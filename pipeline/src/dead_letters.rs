//! Dead letters, looked at and dealt with: listed, counted, sent again, dropped.
//!
//! A dead letter stays where it is until its topic's retention takes it; that it has been dealt
//! with stands in a compacted topic beside it, written in the commit that sent it again. Works on
//! any log, and knows no topology: tasks write dead letters, see `task/dead_letter.rs`.

mod handle;
mod letter;
mod marks;
mod scan;

pub use handle::{Handled, Handler, Refused};
pub use letter::{DeadLetter, LetterId, LetterIdError};
pub use marks::LetterState;
pub use scan::{Counted, Filter, Group, Listed, count, list, read};

use crate::log::LogError;

/// Dead letters cannot be read, or not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// There is no such dead letter, or it is gone by retention.
    #[error("there is no dead letter `{0}`: it is gone by retention, or never was")]
    Unknown(LetterId),
    /// Another process or request deals with the same dead letters.
    #[error("somebody else deals with the dead letters of `{topic}` right now: {reason}")]
    Fenced {
        /// The topic.
        topic: String,
        /// What the log said.
        reason: String,
    },
    /// The log refused; nothing of the last step was done.
    #[error("the log refused to take up the dead letters of `{topic}`: {reason}")]
    Aborted {
        /// The topic.
        topic: String,
        /// What the log said.
        reason: String,
    },
    /// The log cannot tell whether the last step was done. Asking again does nothing twice.
    #[error(
        "the log cannot tell whether it took up the dead letters of `{topic}`: {reason}; ask \
             again, what was done is not done twice"
    )]
    Indeterminate {
        /// The topic.
        topic: String,
        /// What the log said.
        reason: String,
    },
    /// The log is away.
    #[error(transparent)]
    Log(#[from] LogError),
}

#[cfg(test)]
mod tests;
