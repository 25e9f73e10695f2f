//! Workers: a thread that runs the tasks which the group assigns to it.
//!
//! A worker decides *when*: it polls, lets tasks process, begins a commit when one is due, and
//! writes to the state what the log has accepted. While the log decides about a commit, the tasks
//! go on into their next overlay.

mod recovery;
mod stats;
mod thread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use stats::{InputStats, WorkerStats};
use stores::fail_point::{self, FailPoint};
use stores::state::{Claim, StateDb};
pub use thread::{WorkerHandle, spawn};

use self::recovery::Reopening;
use crate::clock::Clock;
use crate::globals::Globals;
use crate::log::{
    Appended, Commit, CommitHandle, Event, GroupConfig, Log, LogError, Member, Outcome, Position,
    TopicPartition,
};
use crate::task::{Poison, Task, TaskError, TaskSettings};
use crate::topology::{Plan, TaskId};

/// How often a worker shows where its tasks are.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// How a worker behaves.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its name: stable across restarts, unique in the group.
    pub instance: String,
    /// How its tasks behave.
    pub task: TaskSettings,
    /// A commit begins this long after the one before.
    pub commit_interval: Duration,
    /// Records that a task handles before the next one has its turn.
    pub poll_records_max: usize,
    /// A commit begins early when overlays and outputs have grown to this, in bytes.
    pub overlay_bytes_max: usize,
    /// An input with more than this queued is not fetched from, in bytes.
    pub queue_bytes_max: usize,
    /// The state is brought to files this often, so that a start after a crash replays little.
    pub flush_interval: Duration,
    /// Attempts to reach a log that is away, one after another, before the worker gives up;
    /// `None` is for ever.
    pub reconnects_max: Option<u32>,
}

impl WorkerSettings {
    /// Settings for the worker `instance`.
    pub fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            task: TaskSettings::default(),
            commit_interval: Duration::from_millis(100),
            poll_records_max: 5_000,
            overlay_bytes_max: 32 << 20,
            queue_bytes_max: 4 << 20,
            flush_interval: Duration::from_secs(60),
            reconnects_max: Some(5),
        }
    }
}

/// What a worker works on.
#[derive(Clone)]
pub struct WorkerParts {
    /// The topology on its log.
    pub plan: Arc<Plan>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The state of the process.
    pub state: Arc<StateDb>,
    /// For the commit interval and the idle timeout.
    pub clock: Arc<dyn Clock>,
    /// What it counts.
    pub stats: Arc<WorkerStats>,
}

/// Why a worker has stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A newer worker has this one's name.
    #[error("worker `{instance}` of `{group}` was replaced by a newer one: {reason}")]
    Fenced {
        /// The group.
        group: String,
        /// The worker's name.
        instance: String,
        /// What the log said.
        reason: String,
    },
    /// A task cannot go on.
    #[error("task {task}: {error}")]
    Task {
        /// The task.
        task: TaskId,
        /// Why.
        error: TaskError,
    },
    /// The worker itself cannot go on.
    #[error(transparent)]
    Failed(#[from] TaskError),
}

impl From<LogError> for WorkerError {
    fn from(error: LogError) -> Self {
        Self::Failed(error.into())
    }
}

/// A commit that the log has not decided yet.
struct InFlight {
    handle: CommitHandle,
    made: Made,
}

/// What a commit was made of.
struct Made {
    /// For each task the places of its changelogs in the whole commit.
    changelogs: Vec<(TaskId, Vec<Option<usize>>)>,
    offsets: Vec<(TopicPartition, Position)>,
}

/// One worker.
pub struct Worker {
    parts: WorkerParts,
    settings: WorkerSettings,
    member: Box<dyn Member>,
    assigned: BTreeSet<TopicPartition>,
    tasks: BTreeMap<TaskId, Task>,
    /// The stores of the tasks whose inputs are assigned: nobody else in this process writes them.
    claims: BTreeMap<TaskId, Vec<Claim>>,
    globals: Globals,
    poison: Poison,
    in_flight: Option<InFlight>,
    committed_at: Duration,
    flushed_at: Duration,
    published_at: Duration,
    /// Commits that failed since the last one that succeeded.
    failures: u32,
    paused: BTreeSet<TopicPartition>,
    /// Inputs that are damaged: they are not fetched from any more.
    halted: BTreeSet<TopicPartition>,
    /// What has to be done before tasks run again, after a failure.
    reopening: Option<Reopening>,
}

impl Worker {
    /// Joins the topology's group.
    ///
    /// # Errors
    /// When the log or the state is away.
    pub fn new(parts: WorkerParts, settings: WorkerSettings) -> Result<Self, WorkerError> {
        let topology = &parts.plan.topology;
        let member = parts.log.join(GroupConfig {
            group: topology.names.group(),
            instance: settings.instance.clone(),
            topics: parts.plan.input_topics(),
        })?;
        let name = (settings.instance.as_str(), &parts.stats.counters);
        let globals = Globals::open(topology, parts.log.as_ref(), &parts.state, name)?;
        Ok(Self {
            committed_at: parts.clock.elapsed(),
            flushed_at: parts.clock.elapsed(),
            published_at: Duration::ZERO,
            failures: 0,
            parts,
            settings,
            member,
            assigned: BTreeSet::new(),
            tasks: BTreeMap::new(),
            claims: BTreeMap::new(),
            globals,
            poison: Poison::new(),
            in_flight: None,
            paused: BTreeSet::new(),
            halted: BTreeSet::new(),
            reopening: None,
        })
    }

    /// One turn: hears events (waiting up to `wait` if there is nothing else to do), processes,
    /// commits if it is due. Answers whether anything was done.
    ///
    /// # Errors
    /// When the worker cannot go on; drop it.
    pub fn run_once(&mut self, wait: Duration) -> Result<bool, WorkerError> {
        let reopening = self.reopening.is_some();
        self.reopen()?;
        let heard = self.listen(self.patience(wait))?;
        let processed = self.process()?;
        self.finish_commit(false)?;
        let begun = self.is_due() && self.begin_commit()?;
        self.throttle();
        Ok(heard || processed > 0 || begun || reopening)
    }

    /// Works until there is nothing more to read and everything is committed: for tests.
    ///
    /// # Errors
    /// When the worker cannot go on; drop it.
    pub fn run_until_idle(&mut self) -> Result<(), WorkerError> {
        loop {
            let busy = self.run_once(Duration::ZERO)?;
            if !busy {
                self.finish_commit(true)?;
                if !self.begin_commit()? {
                    return Ok(());
                }
                self.finish_commit(true)?;
            }
        }
    }

    /// Handles everything that can be read, without a commit: for tests.
    ///
    /// # Errors
    /// When the worker cannot go on; drop it.
    pub fn process_all(&mut self) -> Result<(), WorkerError> {
        while self.listen(Duration::ZERO)? || self.process()? > 0 {}
        Ok(())
    }

    /// Commits what has been processed and leaves the group.
    ///
    /// # Errors
    /// When the last commit fails: what it held is processed again by the next worker.
    pub fn close(mut self) -> Result<(), WorkerError> {
        self.finish_commit(true)?;
        self.begin_commit()?;
        self.finish_commit(true)
    }

    /// How long the member may wait for events: not at all while records are queued.
    fn patience(&self, wait: Duration) -> Duration {
        if self.tasks.values().any(Task::has_work) {
            return Duration::ZERO;
        }
        if self.in_flight.is_some() {
            return wait.min(Duration::from_millis(1));
        }
        let dirty = self.tasks.values().any(Task::is_dirty);
        let until_commit = (self.committed_at + self.settings.commit_interval)
            .saturating_sub(self.parts.clock.elapsed());
        if dirty { wait.min(until_commit) } else { wait }
    }

    fn listen(&mut self, wait: Duration) -> Result<bool, WorkerError> {
        let events = match self.member.poll(wait) {
            Ok(events) => events,
            Err(LogError::Unavailable(reason)) => {
                self.start_over(&reason, true)?;
                return Ok(true);
            }
            Err(error @ LogError::Corrupt { .. }) => {
                self.halt(error)?;
                return Ok(true);
            }
            Err(LogError::Fenced(reason)) => return Err(self.fenced(reason)),
            Err(error) => return Err(error.into()),
        };
        let heard = !events.is_empty();
        for event in events {
            match event {
                Event::Assigned(partitions) => {
                    self.parts.stats.assigned();
                    self.assigned.extend(partitions);
                    self.reopening.get_or_insert_default();
                    self.reopen()?;
                }
                Event::Revoked(partitions) => self.revoke(&partitions)?,
                Event::Lost(partitions) => {
                    let group = self.parts.plan.topology.names.group();
                    tracing::warn!(group, partitions = partitions.len(), "partitions are lost");
                    self.drop_tasks(&partitions);
                }
                Event::Records(fetched) => {
                    let reads = |task: &&mut Task| {
                        Task::inputs_of(&self.parts.plan, task.id).contains(&fetched.partition)
                    };
                    if let Some(task) = self.tasks.values_mut().find(reads) {
                        task.accept(fetched);
                    }
                }
            }
        }
        Ok(heard)
    }

    fn process(&mut self) -> Result<usize, WorkerError> {
        let mut processed = 0;
        let mut broken = None;
        for task in self.tasks.values_mut() {
            let limit = self.settings.poll_records_max;
            let tables = self.globals.tables();
            if let Err(error) = task.process(limit, tables, &self.poison, &mut processed) {
                broken = Some((task.id, error));
                break;
            }
        }
        self.parts.stats.processed(processed as u64);
        match broken {
            None => Ok(processed),
            Some((task, error)) => {
                self.recover_from(task, error)?;
                Ok(processed)
            }
        }
    }

    fn is_due(&self) -> bool {
        if self.in_flight.is_some() {
            return false;
        }
        let since = self.parts.clock.elapsed().saturating_sub(self.committed_at);
        since >= self.settings.commit_interval
            || self.bytes() >= self.settings.overlay_bytes_max
            || self.tasks.values().any(Task::wants_commit)
    }

    fn bytes(&self) -> usize {
        self.tasks.values().map(Task::bytes).sum()
    }

    /// Gives everything since the last commit to the log. Answers whether there was anything.
    fn begin_commit(&mut self) -> Result<bool, WorkerError> {
        assert!(self.in_flight.is_none(), "one commit at a time");
        let now = self.parts.clock.elapsed();
        self.committed_at = now;
        let mut commit = Commit::default();
        let mut changelogs = Vec::new();
        for task in self.tasks.values_mut() {
            task.tick(now);
            task.tick_wall(self.parts.clock.wall_ms());
            if !task.is_dirty() {
                continue;
            }
            let id = task.id;
            let gathered = task.gather(now, self.globals.tables());
            let gathered = gathered.map_err(|error| WorkerError::Task { task: id, error })?;
            let base = commit.appends.len();
            let places = gathered.changelogs.iter().map(|place| place.map(|place| base + place));
            changelogs.push((id, places.collect()));
            commit.appends.extend(gathered.appends);
            commit.offsets.extend(gathered.offsets);
        }
        self.globals.advance()?;
        self.publish(now);
        self.parts.stats.clock(self.tasks.values().filter_map(Task::clock).max());
        if commit.is_empty() {
            return Ok(false);
        }
        let offsets = commit.offsets.clone();
        fail_point::pass(FailPoint::CommitBeforeQueue);
        let handle = self.member.commit(commit);
        self.in_flight = Some(InFlight { handle, made: Made { changelogs, offsets } });
        Ok(true)
    }

    /// Shows where the tasks are, to be looked at from outside.
    fn publish(&mut self, now: Duration) {
        if now.saturating_sub(self.published_at) < PUBLISH_EVERY {
            return;
        }
        self.published_at = now;
        let of_task = |task: &Task| {
            let id = task.id;
            task.places().map(|place| InputStats::of(id, place)).collect::<Vec<_>>()
        };
        self.parts.stats.publish(self.tasks.values().flat_map(of_task).collect());
    }

    /// Looks whether the log has decided, or waits for it, and acts on what it says.
    fn finish_commit(&mut self, wait: bool) -> Result<(), WorkerError> {
        // A second overlay at its bound must not grow behind a slow commit.
        let wait = wait || self.bytes() >= 2 * self.settings.overlay_bytes_max;
        let Some(InFlight { mut handle, made }) = self.in_flight.take() else { return Ok(()) };
        let outcome = if wait {
            handle.wait()
        } else if let Some(outcome) = handle.try_outcome() {
            outcome
        } else {
            self.in_flight = Some(InFlight { handle, made });
            return Ok(());
        };
        match outcome {
            Outcome::Committed { appended } => self.apply(&made, &appended),
            Outcome::Aborted(reason) => self.start_over(&reason, false),
            Outcome::Unknown(reason) => self.start_over(&reason, true),
            Outcome::Fenced(reason) => Err(self.fenced(reason)),
        }
    }

    fn fenced(&self, reason: String) -> WorkerError {
        let (group, instance) =
            (self.parts.plan.topology.names.group(), self.settings.instance.clone());
        WorkerError::Fenced { group, instance, reason }
    }

    /// Writes to the state what the log has accepted.
    fn apply(&mut self, committed: &Made, appended: &[Appended]) -> Result<(), WorkerError> {
        let mut batch = self.parts.state.batch();
        for (id, changelogs) in &committed.changelogs {
            if let Some(task) = self.tasks.get_mut(id) {
                task.committed(changelogs, appended, &mut batch);
            }
        }
        fail_point::pass(FailPoint::CommitBeforeStore);
        batch.write().map_err(TaskError::from)?;
        fail_point::pass(FailPoint::CommitAfterStore);
        self.parts.stats.committed();
        self.failures = 0;
        for (partition, position) in &committed.offsets {
            self.poison.retain(|(at, offset), _| at != partition || *offset >= position.offset);
        }
        let now = self.parts.clock.elapsed();
        if now.saturating_sub(self.flushed_at) >= self.settings.flush_interval {
            self.flushed_at = now;
            self.parts.state.begin_flush().map_err(TaskError::from)?;
            self.purge(&committed.offsets);
            fail_point::pass(FailPoint::FlushBegun);
        }
        Ok(())
    }

    /// Stops fetching what is queued enough, resumes what is not.
    fn throttle(&mut self) {
        for task in self.tasks.values() {
            let (full, free) = task.queued(self.settings.queue_bytes_max);
            for partition in full {
                if self.paused.insert(partition.clone()) {
                    self.member.pause(&partition);
                }
            }
            for partition in free {
                if self.paused.remove(&partition) && !self.halted.contains(&partition) {
                    self.member.resume(&partition);
                }
            }
        }
    }
}
