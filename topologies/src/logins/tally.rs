//! The failed logins of one window, summed up.

use serde::{Deserialize, Serialize};

use super::{Failure, Limits};
use crate::Distinct;

/// How many different methods are told apart. sshd knows fewer; a line may claim anything.
const METHODS_MAX: usize = 16;

/// The failed logins of a host, or of a source on a host, within a window. It is the same in
/// whatever order the lines came.
///
/// Lines that count nothing add names, and nothing else: without an attempt there is nothing to
/// show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many attempts failed.
    pub attempts: u64,
    /// How many of them were for users that the host does not have.
    pub invalid_user_attempts: u64,
    /// The names that were tried.
    pub users: Distinct,
    /// How they were tried.
    pub methods: Distinct,
    /// Where the attempts came from.
    pub sources: Distinct,
    /// When the first attempt was made, milliseconds since 1970-01-01 UTC.
    pub first_seen: Option<i64>,
    /// The last line that counts.
    pub last: Option<LastLine>,
}

/// A line and its time. Of two lines of one moment the larger text is the last one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastLine {
    /// When, milliseconds since 1970-01-01 UTC.
    pub at: i64,
    /// What it says.
    pub message: String,
}

impl Tally {
    /// Adds what a line says.
    #[must_use]
    pub fn add(mut self, failure: &Failure, limits: Limits) -> Self {
        if let Some(user) = &failure.user {
            self.users.add(user, limits.users_max);
        }
        if failure.attempts > 0 {
            self.count(failure, limits.sources_max);
        }
        self
    }

    fn count(&mut self, failure: &Failure, sources_max: usize) {
        let attempts = u64::from(failure.attempts);
        self.attempts += attempts;
        if failure.invalid_user {
            self.invalid_user_attempts += attempts;
        }
        if let Some(method) = &failure.method {
            self.methods.add(method, METHODS_MAX);
        }
        self.sources.add(&failure.source, sources_max);
        self.first_seen = Some(self.first_seen.map_or(failure.at, |first| first.min(failure.at)));
        let line = LastLine { at: failure.at, message: failure.message.clone() };
        self.last = self.last.take().max(Some(line));
    }
}
