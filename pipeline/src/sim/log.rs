//! The log of a simulation: the embedded log in memory behind a wire on which everything can go
//! wrong that may go wrong between a worker and a log.
//!
//! Each call is a place where a worker can die. Commits are decided now or later, their outcomes
//! told now or later, or never; polls come back empty, or with a part. What the embedded log
//! itself does with failed writes, epochs and compaction is the real thing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::dice::Dice;
use super::mutants::{Mutant, Tamper};
use super::plan::Trouble;
use super::shadow::Shadow;
use super::trace::Trace;
use crate::clock::ManualClock;
use crate::log::embedded::{EmbeddedLog, EmbeddedSettings};
use crate::log::storage::MemoryStorage;
use crate::log::{
    Commit, CommitHandle, Event, GroupConfig, Log, LogError, Member, Outcome, Position, Range,
    Reader, TopicPartition, TopicSpec, Validity, Writer,
};

/// What unwinds out of a worker that dies.
pub(super) struct Death;

/// The log as workers, followers and deliverers see it.
pub(super) struct SimLog {
    wire: Mutex<Wire>,
}

/// Everything behind the calls.
pub(super) struct Wire {
    pub(super) log: Arc<EmbeddedLog>,
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) clock: Arc<ManualClock>,
    settings: EmbeddedSettings,
    pub(super) dice: Dice,
    pub(super) trouble: Trouble,
    /// After so many calls whoever calls dies.
    calls_left: Option<u32>,
    members: BTreeMap<u64, Seat>,
    next_member: u64,
    /// Members whose owners are dead, which the group does not know yet.
    lingering: Vec<Box<dyn Member>>,
    pub(super) dead_linger: bool,
    pub(super) shadow: Shadow,
    pub(super) trace: Trace,
    /// Calls are part of the trace: not those of a follower whose index has files with random
    /// names.
    pub(super) traced: bool,
    pub(super) tamper: Tamper,
    /// Rules of the log that were broken: found while it was followed.
    pub(super) broken: Vec<String>,
    /// Whoever took the last turn has heard that its place is somebody else's.
    pub(super) somebody_lost: bool,
    /// What happened, for people; kept only when somebody wants to read it.
    pub(super) journal: Option<Vec<String>>,
}

/// A member, and what is on its way to it and from it.
struct Seat {
    name: String,
    member: Box<dyn Member>,
    held: VecDeque<Event>,
    pending: Option<Pending>,
}

/// A commit that was given and whose outcome has not been told.
struct Pending {
    /// Absent once the log has it.
    commit: Option<Commit>,
    fate: Fate,
    outcome: Option<Outcome>,
    reply: Option<oneshot::Sender<Outcome>>,
    /// Polls until the outcome is told.
    polls_left: usize,
    /// Where the batches would land if nothing else came between.
    predicted: Option<Outcome>,
}

/// What becomes of a commit on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Refused,
    Lost,
    AnswerLost,
}

impl SimLog {
    pub(super) fn new(
        storage: Arc<MemoryStorage>,
        clock: Arc<ManualClock>,
        settings: EmbeddedSettings,
        tamper: Tamper,
    ) -> Result<Arc<Self>, LogError> {
        let log = EmbeddedLog::in_memory(Arc::clone(&storage), settings, Arc::clone(&clock) as _)?;
        let wire = Wire {
            log,
            storage,
            clock,
            settings,
            dice: Dice::new(0),
            trouble: Trouble::default(),
            calls_left: None,
            members: BTreeMap::new(),
            next_member: 0,
            lingering: Vec::new(),
            dead_linger: false,
            shadow: Shadow::default(),
            trace: Trace::new(),
            traced: true,
            tamper,
            broken: Vec::new(),
            somebody_lost: false,
            journal: None,
        };
        Ok(Arc::new(Self { wire: Mutex::new(wire) }))
    }

    pub(super) fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log behind the wire.
    pub(super) fn inner(&self) -> Arc<EmbeddedLog> {
        Arc::clone(&self.wire().log)
    }

    /// Lets whoever calls die at the `calls`-th call from now on; `None` lets them live.
    pub(super) fn die_at(&self, calls: Option<u32>) {
        self.wire().calls_left = calls;
    }

    /// A call: the place where its caller may die.
    fn call(&self, code: u64) {
        let dies = {
            let mut wire = self.wire();
            if wire.traced {
                wire.trace.number(code);
            }
            match &mut wire.calls_left {
                None => false,
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    *left == 0
                }
            }
        };
        if dies {
            // No panic hook runs, nothing is printed: this is no bug, it is a kill.
            std::panic::resume_unwind(Box::new(Death));
        }
    }

    /// Somebody blocks for the outcome of a member's commit.
    fn hurry(&self, id: u64) {
        let mut wire = self.wire();
        wire.decide(id);
        wire.tell(id);
    }
}

impl Wire {
    /// Writes into the journal, if there is one.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(journal) = &mut self.journal {
            journal.push(line());
        }
    }

    /// Closes the log and opens it again from its storage, as a start of its process does.
    pub(super) fn reopen(&mut self) -> Result<(), LogError> {
        self.members.clear();
        self.lingering.clear();
        let clock = Arc::clone(&self.clock) as _;
        self.log = EmbeddedLog::in_memory(Arc::clone(&self.storage), self.settings, clock)?;
        Ok(())
    }

    /// The group learns that dead members are dead.
    pub(super) fn time_out(&mut self) {
        self.lingering.clear();
    }

    /// Nothing is late any more.
    pub(super) fn hasten(&mut self) {
        for pending in self.members.values_mut().filter_map(|seat| seat.pending.as_mut()) {
            pending.polls_left = 0;
        }
    }

    /// Takes in what has become visible.
    pub(super) fn follow(&mut self) {
        let Self { shadow, log, trace, broken, .. } = self;
        if let Err(reason) = shadow.follow(log.as_ref(), trace) {
            broken.push(reason);
        }
    }

    /// Decides what has not been decided of a member's commit.
    fn decide(&mut self, id: u64) {
        let Some(seat) = self.members.get_mut(&id) else { return };
        let Some(pending) = &mut seat.pending else { return };
        let Some(commit) = pending.commit.take() else { return };
        let outcome = match pending.fate {
            Fate::Refused => {
                self.tamper.refused(commit);
                Outcome::Aborted("refused on the wire".into())
            }
            Fate::Lost => Outcome::Unknown("lost on the wire".into()),
            Fate::Arrives | Fate::AnswerLost => {
                let log: &dyn Log = self.log.as_ref();
                let outcome = self.tamper.commit(log, seat.member.as_mut(), commit);
                let made = matches!(outcome, Outcome::Committed { .. });
                if made && pending.fate == Fate::AnswerLost {
                    Outcome::Unknown("the answer was lost on the wire".into())
                } else {
                    outcome
                }
            }
        };
        self.trace.outcome(&outcome);
        if let Some(journal) = &mut self.journal {
            journal.push(format!("  {} commits: {outcome:?}", seat.name));
        }
        pending.outcome = Some(outcome);
        self.follow();
    }

    /// Tells a member the outcome of its commit, if that is decided.
    fn tell(&mut self, id: u64) {
        let Some(seat) = self.members.get_mut(&id) else { return };
        let Some(pending) = &mut seat.pending else { return };
        if pending.outcome.is_none() {
            return;
        }
        if let Some((outcome, reply)) = pending.outcome.take().zip(pending.reply.take()) {
            let predicted = pending.predicted.take();
            seat.pending = None;
            let outcome = self.tamper.outcome(outcome, predicted);
            // Whoever has started over does not listen any more.
            let _ = reply.send(outcome);
        }
    }

    /// Of what has not reached the log some does now, and some never will.
    fn settle(&mut self, id: u64) {
        if self.dice.chance(50) {
            self.decide(id);
        } else if let Some(pending) = self.members.get_mut(&id).and_then(|s| s.pending.as_mut())
            && pending.commit.take().is_some()
        {
            pending.outcome = Some(Outcome::Aborted("connected again".into()));
        }
        self.tell(id);
    }

    fn fate(&mut self) -> Fate {
        let Trouble { aborted, unknown, .. } = self.trouble;
        if self.dice.chance(aborted) {
            Fate::Refused
        } else if self.dice.chance(unknown) {
            if self.dice.chance(50) { Fate::Lost } else { Fate::AnswerLost }
        } else {
            Fate::Arrives
        }
    }

    fn give(&mut self, id: u64, commit: Commit, reply: oneshot::Sender<Outcome>) {
        // One that was promised arrives before the next one.
        self.decide(id);
        let fate = self.fate();
        let late = self.dice.chance(self.trouble.late);
        let polls_left = if late { 1 + self.dice.below(4) } else { 0 };
        let decided_now = !late || self.dice.chance(50);
        let predicted = self.tamper.predict(self.log.as_ref(), &commit);
        let Some(seat) = self.members.get_mut(&id) else { return };
        let mut pending = Pending {
            commit: Some(commit),
            fate,
            outcome: None,
            reply: Some(reply),
            polls_left,
            predicted,
        };
        if self.tamper.is(Mutant::StoreBeforeLog)
            && let Some((promised, reply)) = pending.predicted.take().zip(pending.reply.take())
        {
            let _ = reply.send(promised);
            seat.pending = Some(Pending { fate: Fate::Arrives, ..pending });
            return;
        }
        seat.pending = Some(pending);
        if decided_now {
            self.decide(id);
        }
        if !late {
            self.tell(id);
        }
    }

    fn poll(&mut self, id: u64) -> Result<Vec<Event>, LogError> {
        if self.dice.chance(self.trouble.away) {
            return Err(LogError::Unavailable("the wire is cut".into()));
        }
        self.count_down(id);
        let Some(seat) = self.members.get_mut(&id) else { return Ok(Vec::new()) };
        if self.dice.chance(self.trouble.delayed) {
            return Ok(Vec::new());
        }
        let mut fresh = Vec::new();
        for event in seat.member.poll(Duration::ZERO)? {
            match event {
                Event::Records(fetched) => {
                    seat.held.extend(self.tamper.fetched(fetched).map(Event::Records));
                }
                Event::Revoked(gone) => {
                    seat.held.retain(|held| !is_of(held, &gone));
                    fresh.push(Event::Revoked(gone));
                }
                Event::Lost(gone) => {
                    seat.held.clear();
                    if !self.tamper.hides_loss() {
                        self.somebody_lost = true;
                        fresh.push(Event::Lost(gone));
                    }
                }
                assigned @ Event::Assigned(_) => fresh.push(assigned),
            }
        }
        if fresh.is_empty() {
            let all = seat.held.len();
            let count =
                if self.dice.chance(self.trouble.held) { self.dice.below(all + 1) } else { all };
            fresh.extend(seat.held.drain(..count));
        }
        self.trace.number(fresh.len() as u64);
        if let Some(journal) = &mut self.journal {
            journal
                .extend(fresh.iter().map(|event| format!("  {} hears {}", seat.name, told(event))));
        }
        Ok(fresh)
    }

    fn count_down(&mut self, id: u64) {
        let pending = self.members.get_mut(&id).and_then(|seat| seat.pending.as_mut());
        let Some(pending) = pending else { return };
        if pending.reply.is_none() {
            // It was promised already: it arrives at some time.
            if self.dice.chance(50) {
                self.decide(id);
                if let Some(seat) = self.members.get_mut(&id) {
                    seat.pending = None;
                }
            }
            return;
        }
        pending.polls_left = pending.polls_left.saturating_sub(1);
        if pending.polls_left == 0 {
            self.decide(id);
            self.tell(id);
        }
    }

    fn drop_member(&mut self, id: u64) {
        self.settle(id);
        let Some(seat) = self.members.remove(&id) else { return };
        if self.dead_linger {
            self.lingering.push(seat.member);
        }
        self.follow();
    }

    fn reconnect(&mut self) -> Result<(), LogError> {
        if self.dice.chance(self.trouble.away.min(1) * 20) {
            return Err(LogError::Unavailable("the wire is cut".into()));
        }
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.settle(id);
        }
        self.tamper.reconnected();
        self.log.reconnect()?;
        self.note(|| "  connected again".to_owned());
        self.follow();
        Ok(())
    }
}

/// An event in one line.
fn told(event: &Event) -> String {
    let names = |partitions: &[TopicPartition]| {
        partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    match event {
        Event::Assigned(partitions) => format!("assigned: {}", names(partitions)),
        Event::Revoked(partitions) => format!("revoked: {}", names(partitions)),
        Event::Lost(partitions) => format!("lost: {}", names(partitions)),
        Event::Records(fetched) => {
            let (from, last) = (fetched.from, fetched.batch.last_offset());
            format!("records: {} {from} to {last}", fetched.partition)
        }
    }
}

fn is_of(event: &Event, partitions: &[TopicPartition]) -> bool {
    matches!(event, Event::Records(fetched) if partitions.contains(&fetched.partition))
}

/// The log, to be given to those that live in the simulation.
pub(super) struct Wired(pub(super) Arc<SimLog>);

impl Log for Wired {
    fn id(&self) -> Result<String, LogError> {
        self.0.inner().id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.0.inner().create_topic(spec)
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        self.0.inner().topics()
    }

    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError> {
        self.0.call(10);
        let mut wire = self.0.wire();
        let range = wire.log.range(partition)?;
        Ok(wire.tamper.range(partition, range))
    }

    fn validate(
        &self,
        partition: &TopicPartition,
        position: Position,
    ) -> Result<Validity, LogError> {
        self.0.call(11);
        let wire = self.0.wire();
        let validity = wire.log.validate(partition, position)?;
        Ok(wire.tamper.validity(validity))
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        self.0.call(12);
        let mut wire = self.0.wire();
        let committed = wire.log.committed(group, partitions)?;
        Ok(wire.tamper.committed(partitions, committed))
    }

    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.0.inner().purge(partition, offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        let inner = self.0.inner().reader()?;
        Ok(Box::new(SimReader { log: Arc::clone(&self.0), inner }))
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        self.0.inner().writer(name)
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        self.0.call(13);
        let mut wire = self.0.wire();
        let name = config.instance.clone();
        let member = wire.log.join(config)?;
        wire.note(|| format!("{name} joins"));
        wire.next_member += 1;
        let id = wire.next_member;
        wire.members.insert(id, Seat { name, member, held: VecDeque::new(), pending: None });
        drop(wire);
        Ok(Box::new(SimMember { log: Arc::clone(&self.0), id }))
    }

    fn reconnect(&self) -> Result<(), LogError> {
        self.0.call(14);
        self.0.wire().reconnect()
    }
}

/// Reads for a restoration, a global table or a follower.
struct SimReader {
    log: Arc<SimLog>,
    inner: Box<dyn Reader>,
}

impl Reader for SimReader {
    fn assign(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        let wire = self.log.wire();
        if wire.tamper.stands_still(&wire.log.range(partition)?, offset) {
            return Ok(());
        }
        drop(wire);
        self.inner.assign(partition, offset)
    }

    fn unassign(&mut self, partition: &TopicPartition) {
        self.inner.unassign(partition);
    }

    fn poll(&mut self, _wait: Duration) -> Result<Vec<crate::log::Fetched>, LogError> {
        self.log.call(15);
        let mut wire = self.log.wire();
        let wire = &mut *wire;
        if wire.dice.chance(wire.trouble.delayed) {
            return Ok(Vec::new());
        }
        let fetched = self.inner.poll(Duration::ZERO)?;
        Ok(fetched.into_iter().filter_map(|fetched| wire.tamper.read(fetched)).collect())
    }

    fn position(&self, partition: &TopicPartition) -> Option<u64> {
        self.inner.position(partition)
    }
}

/// A worker's seat in the group.
struct SimMember {
    log: Arc<SimLog>,
    id: u64,
}

impl Writer for SimMember {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        self.log.call(20);
        let (log, id) = (Arc::downgrade(&self.log), self.id);
        let (reply, handle) = CommitHandle::with_hurry(move || {
            if let Some(log) = log.upgrade() {
                log.hurry(id);
            }
        });
        self.log.wire().give(self.id, commit, reply);
        self.log.call(21);
        handle
    }
}

impl Member for SimMember {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Event>, LogError> {
        self.log.call(22);
        let mut wire = self.log.wire();
        wire.clock.advance(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
        wire.poll(self.id)
    }

    fn start(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.log.call(23);
        let mut wire = self.log.wire();
        let Some(seat) = wire.members.get_mut(&self.id) else { return Ok(()) };
        seat.held.retain(|held| !is_of(held, std::slice::from_ref(partition)));
        seat.member.start(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition) {
        if let Some(seat) = self.log.wire().members.get_mut(&self.id) {
            seat.member.pause(partition);
        }
    }

    fn resume(&mut self, partition: &TopicPartition) {
        if let Some(seat) = self.log.wire().members.get_mut(&self.id) {
            seat.member.resume(partition);
        }
    }
}

impl Drop for SimMember {
    fn drop(&mut self) {
        self.log.wire().drop_member(self.id);
    }
}
