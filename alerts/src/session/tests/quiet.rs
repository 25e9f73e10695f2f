//! A log that waits for nothing: what becomes of commits, when they are answered, and at which call
//! its caller dies, is decided by dice.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::clock::{Clock, ManualClock};
use pipeline::log::embedded::EmbeddedLog;
use pipeline::log::{
    Commit, CommitHandle, Event, GroupConfig, Log, LogError, Member, Outcome, Position, Range,
    Reader, TopicPartition, TopicSpec, Validity, Writer,
};
use pipeline::sim::Dice;
use tokio::sync::oneshot;

/// Its caller dies here.
pub(super) struct Death;

pub(super) struct Quiet {
    log: Mutex<Arc<EmbeddedLog>>,
    wire: Arc<Wire>,
}

/// Between a session and its log.
pub(super) struct Wire {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    /// How many of a hundred commits are refused, have an unknown outcome, are answered late.
    aborted: u32,
    unknown: u32,
    late: u32,
    /// Calls until the caller dies.
    dies_in: Option<u32>,
    /// An answer on its way, and how often the clock is looked at until it is there.
    held: Option<(oneshot::Sender<Outcome>, Outcome, u32)>,
}

impl Wire {
    /// One more call: perhaps the last.
    fn call(&self) {
        let dies = {
            let mut state = self.state.lock().unwrap();
            let left = state.dies_in.map(|left| left.saturating_sub(1));
            state.dies_in = left.filter(|left| *left > 0);
            left == Some(0)
        };
        if dies {
            resume_unwind(Box::new(Death));
        }
    }

    /// Answers at once, or later.
    fn answer(&self, outcome: Outcome) -> CommitHandle {
        let (reply, handle) = CommitHandle::new();
        let mut state = self.state.lock().unwrap();
        let late = state.late;
        if state.dice.chance(late) {
            let looks = 1 + state.dice.below(12);
            state.held = Some((reply, outcome, u32::try_from(looks).unwrap()));
        } else {
            reply.send(outcome).unwrap();
        }
        handle
    }
}

/// Whoever waits looks at the clock: that brings late answers nearer.
impl Clock for Wire {
    fn wall_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    fn elapsed(&self) -> Duration {
        let mut state = self.state.lock().unwrap();
        if let Some((reply, outcome, looks)) = state.held.take() {
            match looks.checked_sub(1) {
                Some(looks) => state.held = Some((reply, outcome, looks)),
                // The session may have ended.
                None => drop(reply.send(outcome)),
            }
        }
        drop(state);
        self.clock.elapsed()
    }
}

impl Quiet {
    pub(super) fn new(log: Arc<EmbeddedLog>, clock: Arc<ManualClock>) -> Self {
        let dice = Dice::new(0);
        let state = State { dice, aborted: 0, unknown: 0, late: 0, dies_in: None, held: None };
        let wire = Arc::new(Wire { clock, state: Mutex::new(state) });
        Self { log: Mutex::new(log), wire }
    }

    pub(super) fn inner(&self) -> Arc<EmbeddedLog> {
        Arc::clone(&self.log.lock().unwrap())
    }

    pub(super) fn replace(&self, log: Arc<EmbeddedLog>) {
        *self.log.lock().unwrap() = log;
    }

    pub(super) fn wire(&self) -> Arc<Wire> {
        Arc::clone(&self.wire)
    }

    pub(super) fn seed(&self, seed: u64) {
        self.wire.state.lock().unwrap().dice = Dice::new(seed);
    }

    /// How many of a hundred commits are refused, have an unknown outcome, are answered late.
    pub(super) fn set_faults(&self, (aborted, unknown, late): (u32, u32, u32)) {
        let mut state = self.wire.state.lock().unwrap();
        (state.aborted, state.unknown, state.late) = (aborted, unknown, late);
    }

    /// Whoever makes the last of so many calls from now on dies in it; `None`: nobody does.
    pub(super) fn die_in(&self, calls: Option<u32>) {
        self.wire.state.lock().unwrap().dies_in = calls;
    }

    /// Another session begins: what the last one waited for is nobody's.
    pub(super) fn forget(&self) {
        self.wire.state.lock().unwrap().held = None;
    }

    fn call(&self) -> Arc<EmbeddedLog> {
        self.wire.call();
        self.inner()
    }
}

impl Log for Quiet {
    fn id(&self) -> Result<String, LogError> {
        self.call().id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.call().create_topic(spec)
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        self.call().topics()
    }

    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError> {
        self.call().range(partition)
    }

    fn validate(&self, at: &TopicPartition, position: Position) -> Result<Validity, LogError> {
        self.call().validate(at, position)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        self.call().committed(group, partitions)
    }

    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.call().purge(partition, offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        self.call().reader()
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        self.call().writer(name)
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        let member = self.call().join(config)?;
        Ok(Box::new(QuietMember { member, wire: self.wire() }))
    }

    fn reconnect(&self) -> Result<(), LogError> {
        self.inner().reconnect()
    }
}

struct QuietMember {
    member: Box<dyn Member>,
    wire: Arc<Wire>,
}

impl Writer for QuietMember {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        self.wire.call();
        let (aborted, unknown, is_made) = {
            let mut state = self.wire.state.lock().unwrap();
            let (aborted, unknown) = (state.aborted, state.unknown);
            (state.dice.chance(aborted), state.dice.chance(unknown), state.dice.chance(50))
        };
        let outcome = if aborted {
            Outcome::Aborted("refused".into())
        } else if unknown {
            if is_made {
                drop(self.member.commit(commit).wait());
            }
            Outcome::Unknown("lost".into())
        } else {
            self.member.commit(commit).wait()
        };
        // Made, and nobody hears of it.
        self.wire.call();
        self.wire.answer(outcome)
    }
}

impl Member for QuietMember {
    fn poll(&mut self, _wait: Duration) -> Result<Vec<Event>, LogError> {
        self.wire.call();
        self.member.poll(Duration::ZERO)
    }

    fn start(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.wire.call();
        self.member.start(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition) {
        self.member.pause(partition);
    }

    fn resume(&mut self, partition: &TopicPartition) {
        self.member.resume(partition);
    }
}
