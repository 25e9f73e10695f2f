//! One membership in the group of an endpoint: records in, calls out, results committed.
//!
//! The promise: an alert is forgotten only after the log has accepted the commit that says so, and
//! never more than `concurrency_max` alerts are between their first call and that commit. So a
//! crash loses nothing and repeats at most so many calls. Any doubt about a commit ends the
//! session; the next one begins from what the log says.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use pipeline::fail_point::{self, FailPoint};
use pipeline::log::{
    BatchBuilder, Commit, CommitHandle, Event, LogError, Member, Outcome, Position, TopicPartition,
    partition_for,
};
use tokio::task::JoinSet;

use crate::UNDELIVERED_TOPIC;
use crate::assignment::{self, Places};
use crate::delivery::{Ending, Finished, Job};
use crate::marks;
use crate::partition::{Partition, Snapshot, Taken};
use crate::schedule::Schedule;
use crate::worker::{Phase, Worker};

/// The longest wait in one turn: bounds how late a stop or a result is seen.
const WAIT: Duration = Duration::from_millis(50);
/// The wait while a commit is under way, whose end frees places.
const COMMIT_WAIT: Duration = Duration::from_millis(1);
/// How often progress without results (control records, other rules) is committed, and the lag
/// measured.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How long revoked partitions may hold up a rebalance.
const REVOKE_WAIT: Duration = Duration::from_secs(5);

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The notifier stops.
    Stopped,
    /// The receiver wants nothing any more.
    Disabled,
    /// Another process has this member's place.
    Fenced(String),
    /// Join again: the log was away, or has refused a commit.
    Broken(String),
    /// A commit may or may not be in the log: connect again first.
    Unknown(String),
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Fenced(reason) => Self::Fenced(reason),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// See the module.
pub(crate) struct Session<'a> {
    worker: &'a mut Worker,
    member: Box<dyn Member>,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// The deliveries under way; dropping the session ends them.
    tasks: JoinSet<()>,
    sender: SyncSender<Finished>,
    results: Receiver<Finished>,
    committing: Option<Committing>,
    assignments: u64,
    paused: bool,
    disabled: bool,
    has_committed: bool,
    housekept: Duration,
}

struct Committing {
    handle: CommitHandle,
    snapshots: BTreeMap<TopicPartition, Snapshot>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(worker: &'a mut Worker, member: Box<dyn Member>) -> Self {
        // Twice: aborted deliveries may still report beside those that took their places.
        let (sender, results) = sync_channel(2 * worker.endpoint.concurrency_max);
        Self {
            housekept: worker.clock().elapsed(),
            worker,
            member,
            partitions: BTreeMap::new(),
            tasks: JoinSet::new(),
            sender,
            results,
            committing: None,
            assignments: 0,
            paused: false,
            disabled: false,
            has_committed: false,
        }
    }

    /// Whether the log has accepted a commit of this session.
    pub(crate) fn has_committed(&self) -> bool {
        self.has_committed
    }

    /// Runs until something ends the session.
    pub(crate) fn run(&mut self) -> End {
        let end = loop {
            match self.worker.phase() {
                Phase::Running => {}
                Phase::Draining { deadline } => break self.drain(deadline).err(),
                Phase::Killed => break None,
            }
            match self.turn(WAIT) {
                Ok(()) if !self.disabled => {}
                Ok(()) => {
                    let deadline = self.worker.clock().elapsed() + REVOKE_WAIT;
                    break Some(self.flush(deadline).err().unwrap_or(End::Disabled));
                }
                Err(end) => break Some(end),
            }
        };
        self.worker.counters().in_flight.store(0, Ordering::Relaxed);
        end.unwrap_or(End::Stopped)
    }

    /// Does what is to be done, and waits at most `wait` for more.
    fn turn(&mut self, wait: Duration) -> Result<(), End> {
        self.collect(Duration::ZERO)?;
        self.dispatch();
        self.housekeep()?;
        self.commit()?;
        let wait = if self.committing.is_some() { wait.min(COMMIT_WAIT) } else { wait };
        let holds_back = self.is_full() || self.partitions.values().any(Partition::is_queued);
        self.set_paused(holds_back);
        if holds_back {
            // Nothing more is read now: what frees a place is a result, or the commit of one.
            self.collect(wait)?;
            self.poll(Duration::ZERO)
        } else {
            self.poll(wait)
        }
    }

    fn in_flight(&self) -> usize {
        self.partitions.values().map(Partition::in_flight).sum()
    }

    fn is_full(&self) -> bool {
        self.in_flight() >= self.worker.endpoint.concurrency_max
    }

    /// Begins deliveries as long as there are records and places.
    fn dispatch(&mut self) {
        let concurrency_max = self.worker.endpoint.concurrency_max;
        let now_ms = self.worker.clock().wall_ms();
        let mut in_flight = self.in_flight();
        for partition in self.partitions.values_mut() {
            while in_flight < concurrency_max && !self.disabled {
                match partition.take(&self.worker.endpoint, now_ms) {
                    None => break,
                    Some(Taken::Skipped) => {}
                    Some(Taken::Filtered) => {
                        self.worker.counters().filtered.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Taken::Undelivered) => in_flight += 1,
                    Some(Taken::Job(job)) => {
                        in_flight += 1;
                        let offset = job.source.offset;
                        let task = begin(self.worker, &mut self.tasks, job, &self.sender);
                        partition.calling(offset, task);
                    }
                }
            }
        }
        self.note_in_flight();
    }

    fn note_in_flight(&self) {
        let in_flight = self.in_flight() as u64;
        self.worker.counters().in_flight.store(in_flight, Ordering::Relaxed);
    }

    /// Takes in results; waits at most `wait` for the first.
    fn collect(&mut self, wait: Duration) -> Result<(), End> {
        let mut next = self.results.recv_timeout(wait).ok();
        while let Some(finished) = next {
            self.finish(finished);
            next = self.results.try_recv().ok();
        }
        while let Some(joined) = self.tasks.try_join_next() {
            if joined.is_err_and(|error| error.is_panic()) {
                return Err(End::Broken("a delivery has panicked".into()));
            }
        }
        self.settle()
    }

    fn finish(&mut self, finished: Finished) {
        let partition = self.partitions.get_mut(&finished.source.at);
        let Some(partition) = partition.filter(|p| p.assignment == finished.assignment) else {
            return;
        };
        self.disabled |= matches!(finished.ending, Ending::Disabled);
        partition.finish(finished);
    }

    /// Waits for events of the group and for records.
    fn poll(&mut self, wait: Duration) -> Result<(), End> {
        for event in self.member.poll(wait)? {
            match event {
                Event::Assigned(partitions) => self.assigned(&partitions)?,
                Event::Revoked(partitions) => self.revoked(&partitions)?,
                Event::Lost(partitions) => self.lost(&partitions)?,
                Event::Records(fetched) => {
                    if let Some(partition) = self.partitions.get_mut(&fetched.partition) {
                        partition.push(fetched);
                    }
                }
            }
        }
        Ok(())
    }

    fn assigned(&mut self, assigned: &[TopicPartition]) -> Result<(), End> {
        let Places { positions, chosen } = assignment::places(self.worker, assigned)?;
        self.commit_chosen(chosen)?;
        let next: Vec<(TopicPartition, u64)> =
            positions.iter().map(|(at, position)| (at.clone(), position.offset)).collect();
        let (log, name) = (self.worker.log.as_ref(), &self.worker.endpoint.name);
        let mut marks = marks::load(log, name, &next, self.worker.deliveries_partitions)?;
        for (at, position) in positions {
            self.member.start(&at, position.offset)?;
            if self.paused {
                self.member.pause(&at);
            }
            self.assignments += 1;
            let marks = marks.remove(&at);
            let partition = Partition::new(at.clone(), position, marks, self.assignments);
            self.partitions.insert(at, partition);
        }
        Ok(())
    }

    /// Commits where a new endpoint begins, and waits for the outcome: from there on nothing is
    /// left out.
    fn commit_chosen(&mut self, offsets: Vec<(TopicPartition, Position)>) -> Result<(), End> {
        if offsets.is_empty() {
            return Ok(());
        }
        match self.member.commit(Commit { appends: Vec::new(), offsets }).wait() {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Aborted(reason) => Err(End::Broken(reason)),
            Outcome::Fenced(reason) => Err(End::Fenced(reason)),
            Outcome::Unknown(reason) => Err(End::Unknown(reason)),
        }
    }

    /// Commits what is done of partitions that go to another member with the next poll. What is
    /// under way is repeated there, with the same ids.
    fn revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), End> {
        let deadline = self.worker.clock().elapsed() + REVOKE_WAIT;
        self.flush(deadline)?;
        self.forget(partitions);
        Ok(())
    }

    /// Drops partitions that are somebody else's. A member that was fenced hears nothing more from
    /// the log, so it asks: it must not sit idle and seem well.
    fn lost(&mut self, partitions: &[TopicPartition]) -> Result<(), End> {
        self.forget(partitions);
        if self.committing.is_none() {
            let handle = self.member.commit(Commit::default());
            self.committing = Some(Committing { handle, snapshots: BTreeMap::new() });
        }
        Ok(())
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            if let Some(mut partition) = self.partitions.remove(at) {
                partition.abort();
            }
        }
    }

    fn set_paused(&mut self, paused: bool) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        for at in self.partitions.keys() {
            if paused {
                self.member.pause(at);
            } else {
                self.member.resume(at);
            }
        }
    }

    /// Once in a while: commits progress that has no results, and measures the lag.
    fn housekeep(&mut self) -> Result<(), End> {
        let now = self.worker.clock().elapsed();
        if now.saturating_sub(self.housekept) < HOUSEKEEPING {
            return Ok(());
        }
        self.housekept = now;
        let mut lag = 0;
        for (at, partition) in &self.partitions {
            let end = self.worker.log.range(at)?.end.offset;
            lag += end.saturating_sub(partition.progress.next());
        }
        self.worker.counters().lag.store(lag, Ordering::Relaxed);
        if self.committing.is_none() {
            self.begin_commit(Partition::is_dirty);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), End> {
        if self.committing.is_none() {
            self.begin_commit(Partition::has_results);
        }
        self.settle()
    }

    /// Starts the commit of the partitions that `due` picks: offsets, marks and undelivered alerts
    /// in one, so that nothing is forgotten that is not kept elsewhere.
    fn begin_commit(&mut self, due: impl Fn(&Partition) -> bool) {
        let mut commit = Commit::default();
        let mut appends: BTreeMap<TopicPartition, BatchBuilder> = BTreeMap::new();
        let mut snapshots = BTreeMap::new();
        for partition in self.partitions.values_mut().filter(|partition| due(partition)) {
            let mut snapshot = partition.snapshot(&mut commit);
            for letter in snapshot.undelivered.drain(..) {
                let key = letter.key.as_bytes();
                let to = partition_for(key, self.worker.undelivered_partitions);
                let batch = appends.entry(TopicPartition::new(UNDELIVERED_TOPIC, to)).or_default();
                batch.push(letter.timestamp_ms, Some(key), Some(&letter.value), &[]);
            }
            if let Some(is_ahead) = snapshot.mark {
                let key = marks::key(&self.worker.endpoint.name, &partition.at);
                let at = marks::partition_of(&key, self.worker.deliveries_partitions);
                let value = is_ahead.then(|| marks::encode(&snapshot.progress));
                let now_ms = self.worker.clock().wall_ms();
                let batch = appends.entry(at).or_default();
                batch.push(now_ms, Some(key.as_bytes()), value.as_deref(), &[]);
            }
            snapshots.insert(partition.at.clone(), snapshot);
        }
        if !snapshots.is_empty() {
            commit.appends = appends.into_iter().collect();
            fail_point::pass(FailPoint::DeliveryBeforeCommit);
            let handle = self.member.commit(commit);
            self.committing = Some(Committing { handle, snapshots });
        }
    }

    /// Takes over the outcome of the commit under way, if it is there.
    fn settle(&mut self) -> Result<(), End> {
        let Some(committing) = &mut self.committing else { return Ok(()) };
        let Some(outcome) = committing.handle.try_outcome() else { return Ok(()) };
        let snapshots = self.committing.take().map(|committing| committing.snapshots);
        match outcome {
            Outcome::Committed { .. } => {}
            Outcome::Aborted(reason) => return Err(End::Broken(reason)),
            Outcome::Fenced(reason) => return Err(End::Fenced(reason)),
            Outcome::Unknown(reason) => return Err(End::Unknown(reason)),
        }
        self.has_committed = true;
        for (at, snapshot) in snapshots.unwrap_or_default() {
            let partition = self.partitions.get_mut(&at);
            let Some(partition) = partition.filter(|p| p.assignment == snapshot.assignment) else {
                continue;
            };
            let (delivered, undelivered) = partition.committed(snapshot);
            let counters = self.worker.counters();
            counters.delivered.fetch_add(delivered, Ordering::Relaxed);
            counters.undelivered.fetch_add(undelivered, Ordering::Relaxed);
        }
        self.note_in_flight();
        Ok(())
    }

    /// Ends calmly: waits for calls under way (those that wait for a retry are abandoned at once),
    /// commits what is done.
    fn drain(&mut self, deadline: Duration) -> Result<(), End> {
        let is_calling = |session: &Self| session.partitions.values().any(|p| p.calls() > 0);
        while is_calling(self) && self.worker.clock().elapsed() < deadline {
            self.collect(COMMIT_WAIT)?;
            self.commit()?;
            if self.worker.phase() == Phase::Killed {
                return Ok(());
            }
        }
        self.flush(deadline)
    }

    /// Commits all progress and waits for the outcome.
    fn flush(&mut self, deadline: Duration) -> Result<(), End> {
        loop {
            self.collect(Duration::ZERO)?;
            if self.committing.is_none() {
                self.begin_commit(Partition::is_dirty);
            }
            self.settle()?;
            if self.committing.is_none() {
                return Ok(());
            }
            if self.worker.clock().elapsed() >= deadline {
                return Err(End::Unknown("the log did not answer a commit in time".into()));
            }
            self.collect(COMMIT_WAIT)?;
        }
    }
}

/// Begins the delivery of `job`.
fn begin(
    worker: &mut Worker,
    tasks: &mut JoinSet<()>,
    job: Job,
    sender: &SyncSender<Finished>,
) -> tokio::task::AbortHandle {
    let rng = worker.fresh_rng();
    let schedule = Schedule::new(&worker.endpoint, rng);
    let delivery = worker.courier.clone().run(job, schedule, sender.clone());
    tasks.spawn_on(delivery, &worker.runtime)
}

#[cfg(test)]
mod tests;
