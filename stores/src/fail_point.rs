//! Fail-points: named places at which a process can be made to kill itself.
//!
//! `MILLPOND_FAIL_POINT=name:count` arms one: at the `count`-th passing the process gets SIGKILL,
//! from itself: no unwinding, no flush, no last word to the log. So a test can have the shipped
//! binary die between any two steps of a commit. Points are always compiled in; one that is not
//! armed costs a relaxed load and a comparison (see `docs/decisions/0014-fail-points.md`).
//!
//! It injects no errors and no delays: what a failing disk does is tested with a failing disk.

use std::fmt;
use std::io::Write as _;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// The variable that arms a point.
pub const VARIABLE: &str = "MILLPOND_FAIL_POINT";

/// Makes the enumeration, the list of it and the names from one table.
/// A macro, because a function cannot declare variants: with three lists one would be forgotten.
macro_rules! fail_points {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// A place at which the process can be killed. Each name begins with what is being done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum FailPoint { $($(#[$doc])+ $variant,)+ }

        impl FailPoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in [`VARIABLE`].
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

fail_points! {
    /// A worker has gathered a commit and not given it to the log.
    CommitBeforeQueue = "commit-before-queue",
    /// The log has accepted a worker's commit; the state has nothing of it.
    CommitBeforeStore = "commit-before-store",
    /// The state has a commit; nobody has been told.
    CommitAfterStore = "commit-after-store",
    /// The appender has taken commits from its queue and written nothing.
    AppendBeforeWrite = "append-before-write",
    /// The appender has written commits and answered nobody.
    AppendAfterWrite = "append-after-write",
    /// The log has begun an epoch and loaded nothing.
    OpenAfterEpoch = "open-after-epoch",
    /// A store is being restored: records are read, not written to it.
    RestoreBeforeWrite = "restore-before-write",
    /// A store is being restored: a part of the changelog is written to it.
    RestoreAfterWrite = "restore-after-write",
    /// All stores of a task are restored; where its inputs go on has not been asked.
    RestoreBeforeOffsets = "restore-before-offsets",
    /// A flush of the state has been begun.
    FlushBegun = "flush-begun",
    /// Retention knows what goes, and has removed nothing.
    CleanBeforeWrite = "clean-before-write",
    /// Retention has removed batches.
    CleanAfterWrite = "clean-after-write",
    /// Compaction has rewritten a run of batches in memory.
    CompactBeforeReplace = "compact-before-replace",
    /// Compaction has replaced a run of batches; more follow.
    CompactAfterReplace = "compact-after-replace",
    /// Compaction has replaced all runs and not noted that it is done.
    CompactBeforeFinish = "compact-before-finish",
    /// The index writer has taken the documents of a commit and not committed them.
    IndexBeforeCommit = "index-before-commit",
    /// The index has a commit; readers do not see it.
    IndexAfterCommit = "index-after-commit",
    /// An index is begun afresh: the old one is gone.
    IndexRebuildEmptied = "index-rebuild-emptied",
    /// An index is begun afresh: the new one lacks its stamp.
    IndexRebuildUnstamped = "index-rebuild-unstamped",
    /// A webhook is about to be called.
    DeliveryBeforeCall = "delivery-before-call",
    /// A webhook's receiver has answered; nobody has been told.
    DeliveryAfterAnswer = "delivery-after-answer",
    /// Answers of receivers are gathered for a commit that the log has not got.
    DeliveryBeforeCommit = "delivery-before-commit",
    /// Lines of a file are read, not given to the log.
    FileBeforeCommit = "file-before-commit",
    /// Lines of a file are in the log with the position after them.
    FileAfterCommit = "file-after-commit",
    /// A request's records are parsed, not given to the log.
    IngestBeforeAppend = "ingest-before-append",
    /// A request's records are in the log; its sender has no answer.
    IngestAfterAppend = "ingest-after-append",
    /// A clean stop: workers, indexer and notifier have ended, the state is not flushed.
    StopBeforeFlush = "stop-before-flush",
    /// A clean stop: the state is flushed, the log is open.
    StopAfterFlush = "stop-after-flush",
}

impl fmt::Display for FailPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A point and the passing at which it kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    /// The point.
    pub point: FailPoint,
    /// 1 is the first passing.
    pub count: u32,
}

/// A text that arms nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailPointError {
    /// The text is not a name, a colon and a number.
    #[error("`{VARIABLE}` is `{0}`, expected <name>:<count> with a count of 1 or more")]
    Form(String),
    /// There is no such point.
    #[error("`{VARIABLE}` names `{0}`, which is no fail-point; the names stand in `FailPoint`")]
    Name(String),
}

impl FromStr for Armed {
    type Err = FailPointError;

    fn from_str(text: &str) -> Result<Self, FailPointError> {
        let form = || FailPointError::Form(text.to_owned());
        let (name, count) = text.split_once(':').ok_or_else(form)?;
        let count = count.parse().ok().filter(|count| *count > 0).ok_or_else(form)?;
        let point = FailPoint::ALL.iter().find(|point| point.name() == name);
        let point = *point.ok_or_else(|| FailPointError::Name(name.to_owned()))?;
        Ok(Self { point, count })
    }
}

/// The armed point plus 1; 0 is none.
static ARMED: AtomicU8 = AtomicU8::new(0);
/// Passings that are left before the one that kills, and that one.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// Arms a point for the rest of the process's life: once, before threads start.
pub fn arm(armed: Armed) {
    LEFT.store(armed.count, Ordering::Relaxed);
    ARMED.store(armed.point as u8 + 1, Ordering::Relaxed);
}

/// Passes `point`: nothing happens, unless it is armed and this is the passing that kills.
#[inline]
pub fn pass(point: FailPoint) {
    if ARMED.load(Ordering::Relaxed) == point as u8 + 1 {
        passed_armed(point);
    }
}

#[cold]
fn passed_armed(point: FailPoint) {
    if LEFT.fetch_sub(1, Ordering::Relaxed) != 1 {
        return;
    }
    // For whoever looks at the remains; that it cannot be written changes nothing.
    let _ = writeln!(std::io::stderr(), "fail-point {point}: killing this process");
    let killed = kill_process(getpid(), Signal::KILL);
    unreachable!("a process may always kill itself: {killed:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for (index, point) in FailPoint::ALL.iter().enumerate() {
            assert_eq!(*point as usize, index, "the list is in order");
            let armed = format!("{point}:3").parse();
            assert_eq!(armed, Ok(Armed { point: *point, count: 3 }));
        }
    }

    #[test]
    fn what_arms_nothing_says_why() {
        for text in ["", "commit-before-queue", "commit-before-queue:", "commit-before-queue:0"] {
            assert_eq!(text.parse::<Armed>(), Err(FailPointError::Form(text.to_owned())));
        }
        assert_eq!("x:1".parse::<Armed>(), Err(FailPointError::Name("x".into())));
    }

    #[test]
    fn points_that_are_not_armed_are_passed() {
        FailPoint::ALL.iter().for_each(|point| pass(*point));
    }
}
