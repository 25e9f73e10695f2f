//! The index follower: committed view records become documents.
//!
//! It reads the topics of all views, keeps its position in each index's own commit, and goes on
//! from there. An index whose position the log does not vouch for is made again. One scheduler
//! commits all indexes within a share of one core: a commit costs about the same for one document
//! as for a thousand, so under load commits become larger, not more.

mod shard;
mod thread;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shard::Shard;
use stores::views::{View, ViewError};
pub use thread::{FollowerHandle, spawn};

use crate::clock::Clock;
use crate::log::{Fetched, Log, LogError, Reader};
use crate::topology::ViewPlan;

/// How views are followed.
#[derive(Clone, Debug)]
pub struct FollowSettings {
    /// Where the indexes lie, each in a folder of its own.
    pub folder: PathBuf,
    /// Memory for the writer of one view, in bytes.
    pub memory_bytes: usize,
    /// A view with something new is committed this long after the commit before, if the share of
    /// the processor allows.
    pub commit_interval: Duration,
    /// The share of one core that commits may take, above 0 and up to 1.
    pub commit_share: f64,
}

/// A view cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The index failed.
    #[error("view `{view}`: {error}")]
    View {
        /// The view.
        view: String,
        /// Why.
        #[source]
        error: ViewError,
    },
    /// The log is away or damaged.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What a follower counts of one view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowStats {
    /// The view.
    pub view: String,
    /// The partitions of its topic that are damaged, and not read any more.
    pub damaged: Vec<String>,
    /// Records that the log has and the index has not.
    pub lag: u64,
    /// Documents set or deleted since the start.
    pub upserts: u64,
    /// Documents that did not fit the view's fields.
    pub rejected: u64,
    /// Commits since the start.
    pub commits: u64,
}

/// Follows the topics of all views of a process.
pub struct IndexFollower {
    clock: Arc<dyn Clock>,
    settings: FollowSettings,
    reader: Box<dyn Reader>,
    shards: Vec<Shard>,
    /// No commit before this: the share of the processor is used up.
    rest_until: Duration,
}

impl IndexFollower {
    /// Opens all indexes, and makes those again that are damaged, of another schema, or ahead
    /// of the log.
    ///
    /// # Errors
    /// When a folder cannot be used, or the log is away.
    pub fn open(
        log: &dyn Log,
        views: &[ViewPlan],
        clock: Arc<dyn Clock>,
        settings: FollowSettings,
    ) -> Result<Self, FollowError> {
        let mut reader = log.reader()?;
        let mut shards = Vec::with_capacity(views.len());
        for view in views {
            let shard = Shard::open(log, view, &settings)?;
            for (partition, offset) in shard.positions(log)? {
                reader.assign(&partition, offset)?;
            }
            shards.push(shard);
        }
        Ok(Self { clock, settings, reader, shards, rest_until: Duration::ZERO })
    }

    /// The views, to be read by others.
    pub fn views(&self) -> Vec<Arc<View>> {
        self.shards.iter().map(Shard::view).collect()
    }

    /// One turn: reads what is there, waiting up to `wait` for it, and commits what is due.
    ///
    /// # Errors
    /// When an index or the log fails; open the follower again.
    pub fn run_once(&mut self, wait: Duration) -> Result<(), FollowError> {
        let pending = self.shards.iter().any(Shard::has_news);
        let wait = if pending { wait.min(Duration::from_millis(5)) } else { wait };
        for fetched in self.poll(wait)? {
            let reads = |shard: &&mut Shard| shard.reads(&fetched.partition);
            if let Some(shard) = self.shards.iter_mut().find(reads) {
                shard.accept(&fetched, self.clock.elapsed());
            }
            self.commit_full()?;
        }
        self.commit_due()
    }

    /// What there is to read. A partition that is damaged is left out from then on: the view shows
    /// what it got before, and goes on with the others.
    fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, FollowError> {
        let error = match self.reader.poll(wait) {
            Ok(fetched) => return Ok(fetched),
            Err(error) => error,
        };
        let LogError::Corrupt { partition, .. } = &error else { return Err(error.into()) };
        let damaged = self.shards.iter_mut().find_map(|shard| shard.named(partition));
        let Some(damaged) = damaged else { return Err(error.into()) };
        tracing::error!(%error, "the topic of a view is damaged: the view stands still there");
        self.reader.unassign(&damaged);
        Ok(Vec::new())
    }

    /// Reads and commits until nothing is left.
    ///
    /// # Errors
    /// As [`Self::run_once`].
    pub fn run_until_idle(&mut self) -> Result<(), FollowError> {
        loop {
            let fetched = self.poll(Duration::ZERO)?;
            if fetched.is_empty() {
                return self.commit_all();
            }
            for fetched in fetched {
                let reads = |shard: &&mut Shard| shard.reads(&fetched.partition);
                if let Some(shard) = self.shards.iter_mut().find(reads) {
                    shard.accept(&fetched, self.clock.elapsed());
                }
                self.commit_full()?;
            }
        }
    }

    /// Commits everything that has been read.
    ///
    /// # Errors
    /// When an index fails.
    pub fn commit_all(&mut self) -> Result<(), FollowError> {
        for shard in self.shards.iter_mut().filter(|shard| shard.has_news()) {
            shard.commit()?;
        }
        Ok(())
    }

    /// What it has counted, by view.
    ///
    /// # Errors
    /// When the log is away.
    pub fn stats(&self, log: &dyn Log) -> Result<Vec<FollowStats>, FollowError> {
        self.shards.iter().map(|shard| shard.stats(log)).collect()
    }

    fn commit_full(&mut self) -> Result<(), FollowError> {
        for shard in self.shards.iter_mut().filter(|shard| shard.is_full()) {
            shard.commit()?;
        }
        Ok(())
    }

    /// Commits the view that has waited longest, if it has waited long enough and commits have
    /// not had their share.
    fn commit_due(&mut self) -> Result<(), FollowError> {
        let now = self.clock.elapsed();
        if now < self.rest_until {
            return Ok(());
        }
        let waiting = self.shards.iter_mut().filter(|shard| shard.has_news());
        let Some(oldest) = waiting.min_by_key(|shard| shard.news_since()) else { return Ok(()) };
        if now.saturating_sub(oldest.committed_at()) < self.settings.commit_interval {
            return Ok(());
        }
        oldest.commit()?;
        let spent = self.clock.elapsed().saturating_sub(now);
        oldest.set_committed_at(now);
        let share = self.settings.commit_share.clamp(0.01, 1.0);
        self.rest_until = now + spent.mul_f64(1.0 / share);
        Ok(())
    }
}
