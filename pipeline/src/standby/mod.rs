//! Standbys: stores of tasks that another process runs, kept warm for when it goes.
//!
//! ```text
//!          a look at the group: what would be ours if another left (`heirs`)
//!                 |
//!   changelogs ---+--> Standby::run_once --> the store, and its position, in one write
//!                                             |  a task claims the store: the loan is over
//!                                             v
//!                             task::restore goes on from the position: only the tail is left
//! ```
//! A standby is a follower as any other: it reads what is committed, writes behind the log, and
//! remembers where it is. It never answers a question and never writes to the log. What it foretells
//! may be wrong: then a store is warm in vain, or cold as it would have been without it.

mod heirs;
mod stats;
mod thread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use stats::{StandbyPlace, StandbyStats};
use stores::state::{Loan, StateDb};
pub use thread::{StandbyHandle, spawn};

use crate::clock::Clock;
use crate::log::{Fetched, Log, LogError, Position, Reader, TopicPartition};
use crate::task::restore::start;
use crate::task::{TaskError, state_name};
use crate::topology::{Plan, TaskId};

/// Between two reads where little comes: one write for all of it.
const BREATH: Duration = Duration::from_millis(100);
/// A read of less than this is little, in bytes.
const LITTLE: usize = 256 << 10;
/// The assignor that can be foretold.
const RANGE: &str = "range";

/// What a standby works on.
#[derive(Clone)]
pub struct StandbyParts {
    /// The topology on its log.
    pub plan: Arc<Plan>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The state of the process, which its workers use as well.
    pub state: Arc<StateDb>,
    /// For when to look at the group, and how long to rest.
    pub clock: Arc<dyn Clock>,
    /// What it shows.
    pub stats: Arc<StandbyStats>,
}

/// How a standby behaves.
#[derive(Clone, Debug)]
pub struct StandbySettings {
    /// The name of this process in the group.
    pub process: String,
    /// How many other processes may leave at once and find their stores warm elsewhere.
    pub replicas: usize,
    /// Between two looks at the group.
    pub look_interval: Duration,
    /// The state is brought to files this often.
    pub flush_interval: Duration,
}

impl StandbySettings {
    /// Settings for the process that the group knows as `process`.
    pub fn new(process: &str, replicas: usize) -> Self {
        Self {
            process: process.to_owned(),
            replicas,
            look_interval: Duration::from_secs(5),
            flush_interval: Duration::from_secs(60),
        }
    }
}

/// A store that is followed.
struct Followed {
    task: TaskId,
    loan: Loan,
    /// The newest epoch in which something of the changelog was seen before what was read.
    epoch: u32,
    /// The next offset to read.
    next: u64,
    end: u64,
    records: u64,
}

/// Follows the changelogs of the tasks of one topology that this process may have to take over.
pub struct Standby {
    parts: StandbyParts,
    settings: StandbySettings,
    /// There while something is followed.
    reader: Option<Box<dyn Reader>>,
    followed: BTreeMap<TopicPartition, Followed>,
    wanted: BTreeSet<TaskId>,
    looked_at: Option<Duration>,
    flushed_at: Duration,
    /// Something was written since.
    dirty: bool,
    told: bool,
}

impl Standby {
    /// Follows nothing yet.
    pub fn new(parts: StandbyParts, settings: StandbySettings) -> Self {
        Self {
            flushed_at: parts.clock.elapsed(),
            parts,
            settings,
            reader: None,
            followed: BTreeMap::new(),
            wanted: BTreeSet::new(),
            looked_at: None,
            dirty: false,
            told: false,
        }
    }

    /// One turn: looks at the group if it is time, reads what there is, waiting up to `wait` for
    /// it, and writes it. Answers how long it may rest: it takes half of a core at most, so that
    /// tasks get theirs.
    ///
    /// # Errors
    /// When the disk fails. A log that is away is waited for.
    pub fn run_once(&mut self, wait: Duration) -> Result<Duration, TaskError> {
        let clock = Arc::clone(&self.parts.clock);
        let began = clock.elapsed();
        let interval = self.settings.look_interval;
        let due = self.looked_at.is_none_or(|at| began.saturating_sub(at) >= interval);
        let turned = match due {
            true => self.look().and_then(|()| self.read(wait)),
            false => self.read(wait),
        };
        self.publish();
        let (bytes, spent) = match turned {
            Ok(read) => read,
            Err(TaskError::Log(error)) => {
                self.let_go(&error);
                return Ok(BREATH);
            }
            Err(error) => return Err(error),
        };
        self.flush(clock.elapsed())?;
        Ok(if bytes < LITTLE { spent.max(BREATH) } else { spent })
    }

    /// Looks who is in the group, and follows what this process would inherit.
    fn look(&mut self) -> Result<(), TaskError> {
        self.looked_at = Some(self.parts.clock.elapsed());
        let plan = &self.parts.plan;
        let group = match self.parts.log.group(&plan.topology.names.group()) {
            Ok(group) => group,
            // What is followed is none the worse for it.
            Err(LogError::Unavailable(reason)) => {
                tracing::debug!(app = plan.topology.name(), reason, "cannot look at the group");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // While members come and go, what was foretold before is as good as anything.
        if group.settled {
            let foretold = group.assignor == RANGE;
            if !foretold && !self.told {
                let (app, assignor) = (plan.topology.name(), group.assignor.as_str());
                tracing::warn!(app, assignor, "no standbys: only `range` can be foretold");
                self.told = true;
            }
            let (process, replicas) = (self.settings.process.as_str(), self.settings.replicas);
            self.wanted = match foretold {
                true => heirs::inherited(plan, &group.members, (process, replicas)),
                false => BTreeSet::new(),
            };
        }
        self.follow()
    }

    /// Follows the changelogs of all wanted tasks that no worker of this process has.
    fn follow(&mut self) -> Result<(), TaskError> {
        let (state, wanted) = (&self.parts.state, &self.wanted);
        let stays = |one: &Followed| wanted.contains(&one.task) && state.is_lent(one.loan);
        let gone = self.followed.iter().filter(|(_, one)| !stays(one));
        let gone: Vec<TopicPartition> = gone.map(|(at, _)| at.clone()).collect();
        gone.iter().for_each(|at| self.leave(at));
        for task in self.wanted.clone() {
            let plan = Arc::clone(&self.parts.plan);
            for name in plan.store_names(task.sub) {
                let changelog = plan.topology.names.changelog(&name);
                let changelog = TopicPartition::new(changelog, task.partition);
                if !self.followed.contains_key(&changelog) {
                    self.begin(task, &state_name(&plan, &name), changelog)?;
                }
            }
        }
        Ok(())
    }

    /// Begins to follow one changelog where its store has stopped, if no worker has the store.
    fn begin(
        &mut self,
        task: TaskId,
        store: &str,
        changelog: TopicPartition,
    ) -> Result<(), TaskError> {
        let StandbyParts { log, state, .. } = &self.parts;
        let store = state.store(store, task.partition)?;
        let Some(loan) = state.lend(store) else { return Ok(()) };
        // The end's epoch comes first: what is read later may be younger, never older.
        let end = log.range(&changelog)?.end;
        let start = start(log.as_ref(), state, &changelog, store)?;
        if start.anew && !state.clear_lent(loan)? {
            return Ok(());
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(log.reader()?),
        };
        reader.assign(&changelog, start.offset)?;
        tracing::debug!(%changelog, from = start.offset, end = end.offset, "a standby");
        let (epoch, next, end) = (end.epoch, start.offset, end.offset);
        self.followed.insert(changelog, Followed { task, loan, epoch, next, end, records: 0 });
        Ok(())
    }

    /// Reads and writes once. Answers with the bytes that came and the time that it took.
    fn read(&mut self, wait: Duration) -> Result<(usize, Duration), TaskError> {
        let Some(reader) = &mut self.reader else { return Ok((0, Duration::ZERO)) };
        let fetched = reader.poll(wait)?;
        let began = self.parts.clock.elapsed();
        let mut bytes = 0;
        for fetched in &fetched {
            bytes += fetched.batch.bytes();
            if !self.take_over(fetched)? {
                self.leave(&fetched.partition);
            }
        }
        Ok((bytes, self.parts.clock.elapsed().saturating_sub(began)))
    }

    /// Writes what came of one changelog, with the position behind it. Answers whether the store
    /// is still lent.
    fn take_over(&mut self, fetched: &Fetched) -> Result<bool, TaskError> {
        let Some(one) = self.followed.get_mut(&fetched.partition) else { return Ok(false) };
        one.next = fetched.batch.last_offset() + 1;
        one.end = fetched.end.max(one.next);
        let mut batch = self.parts.state.batch();
        let (mut last, mut records) = (None, 0);
        for record in fetched.records() {
            if let Some(key) = record.key {
                batch.set(one.loan.store(), key, record.value);
            }
            last = Some(record.offset);
            records += 1;
        }
        // The end of a transaction may be of a later epoch than its records: a position behind it
        // would not be theirs.
        let Some(last) = last else { return Ok(self.parts.state.is_lent(one.loan)) };
        one.epoch = one.epoch.max(fetched.batch.epoch());
        one.records += records;
        batch.set_position(one.loan.store(), Position::new(last + 1, one.epoch));
        let lent = self.parts.state.write_lent(one.loan, batch)?;
        if lent {
            self.parts.stats.read(records);
            self.dirty = true;
        }
        Ok(lent)
    }

    fn leave(&mut self, changelog: &TopicPartition) {
        self.followed.remove(changelog);
        if let Some(reader) = &mut self.reader {
            reader.unassign(changelog);
        }
        if self.followed.is_empty() {
            self.reader = None;
        }
    }

    /// The log failed: everything is begun anew, and its position looked at again, at the next
    /// look.
    fn let_go(&mut self, error: &LogError) {
        let app = self.parts.plan.topology.name();
        match error {
            LogError::Unavailable(reason) => tracing::debug!(app, reason, "standbys have to wait"),
            error => tracing::warn!(app, %error, "standbys begin anew"),
        }
        self.followed.clear();
        self.reader = None;
        self.looked_at = Some(self.parts.clock.elapsed());
    }

    fn flush(&mut self, now: Duration) -> Result<(), TaskError> {
        if self.dirty && now.saturating_sub(self.flushed_at) >= self.settings.flush_interval {
            self.flushed_at = now;
            self.dirty = false;
            self.parts.state.begin_flush()?;
        }
        Ok(())
    }

    fn publish(&self) {
        let place = |(changelog, one): (&TopicPartition, &Followed)| StandbyPlace {
            task: one.task,
            changelog: changelog.clone(),
            position: one.next,
            end: one.end,
            records: one.records,
        };
        self.parts.stats.publish(self.followed.iter().map(place).collect());
    }
}

#[cfg(test)]
mod tests;
