//! Tasks: a sub-topology on one partition of its inputs.
//!
//! A task decides *what* happens and is deterministic: records and times come in as arguments,
//! effects go out as values. It has no thread, clock or socket; the [`crate::worker`] decides
//! *when*. Its life:
//!
//! ```text
//!   restore::restore     Task::new            accept, process, gather, committed
//! Created --------> Restored ----> Running ---------------------------------.
//!    ^                                |  a commit failed, a record is poison,  |
//!    '--------------------------------'  the partition is revoked: dropped <---'
//! ```
//! There is no way back into a task after a failure: it is dropped with its overlays and made
//! again from the log.

mod attempt;
mod bad;
mod caught;
mod clocks;
mod context;
mod counters;
mod dead_letter;
mod heavy;
mod inputs;
mod latest;
mod outputs;
mod remembered;
pub(crate) mod restore;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use attempt::Broken;
use attempt::{Attempt, Effects};
use bad::InputRules;
use clocks::Clocks;
pub(crate) use context::{Context, Current, Outgoing};
pub use counters::Counters;
pub use heavy::HeavyKey;
pub(crate) use heavy::InputPlace;
use inputs::{Inputs, Taken};
use outputs::Outputs;
pub(crate) use remembered::Remembered;
use stores::state::{StateBatch, StateDb, StateError, Store};

use crate::bad_record::{AheadBound, BadRecordPolicy, TIMESTAMP_AHEAD_MAX, TimeBounds};
use crate::format::control::{self, Control};
use crate::format::origin::Origin;
use crate::format::{CONTROL_HEADER, ORIGIN_HEADER};
use crate::globals::GlobalRows;
use crate::log::{Appended, BatchBuilder, Fetched, LogError, Position, RecordRef, TopicPartition};
use crate::operator::{Assembly, Entry, Timed};
use crate::operators::kind;
use crate::topology::{Plan, TaskId};

/// How tasks behave.
#[derive(Clone, Copy, Debug)]
pub struct TaskSettings {
    /// What is done with bad records, unless the topic has rules of its own.
    pub bad_records: BadRecordPolicy,
    /// How far ahead of its append time a record's event time may lie, unless the topic has rules
    /// of its own.
    pub timestamp_ahead_max: AheadBound,
    /// How long a source partition that has been read to its end holds time back; `None` is for
    /// ever.
    pub idle_timeout: Option<Duration>,
    /// Partitions without data get a control record this often at most.
    pub progress_interval: Duration,
    /// The largest record that is written, in bytes.
    pub record_bytes_max: usize,
    /// Whether updates of one key within a commit become one, where that is allowed.
    pub coalesce: bool,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            bad_records: BadRecordPolicy::Dlq,
            timestamp_ahead_max: AheadBound::AtMost(TIMESTAMP_AHEAD_MAX),
            idle_timeout: Some(Duration::from_secs(30)),
            progress_interval: Duration::from_millis(100),
            record_bytes_max: 1 << 20,
            coalesce: true,
        }
    }
}

/// Why a task cannot go on, and so what its worker does next.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A record broke off half-way, and what it did cannot be taken back alone: make the task
    /// again, and handle the record as bad when it comes again.
    #[error("record {offset} of {partition} broke off in {}: {}", broken.node, broken.message)]
    Poison {
        /// Where it lies.
        partition: TopicPartition,
        /// Where it lies.
        offset: u64,
        /// How it broke off.
        broken: Box<Broken>,
    },
    /// The policy says that bad records stop the task.
    #[error(
        "record {offset} of {partition} is bad, and the policy is to fail: {node}: {reason}; mend \
         the topology, or let the topic have another bad_record_policy, and start again"
    )]
    BadRecord {
        /// Where it lies.
        partition: TopicPartition,
        /// Where it lies.
        offset: u64,
        /// The node that could not handle it.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A node broke off when time had passed, and not over a single result.
    #[error("{node} broke off as time passed: {reason}")]
    Time {
        /// The node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// The committed offset of an input is no longer there.
    #[error(
        "{partition} of group `{group}` was committed at {committed}, but {why}; reset the group \
         to the earliest record that is there, or bring the records back"
    )]
    OffsetLost {
        /// The input.
        partition: TopicPartition,
        /// The group.
        group: String,
        /// What was committed.
        committed: Position,
        /// What the log says.
        why: String,
    },
    /// The log is away: abort, back off, make the task again.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk failed: stop.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Records known to break off half-way, and how: they are handled as bad.
pub(crate) type Poison = BTreeMap<(TopicPartition, u64), Broken>;

/// One task.
pub(crate) struct Task {
    pub(crate) id: TaskId,
    plan: Arc<Plan>,
    settings: TaskSettings,
    counters: Arc<Counters>,
    stores: Vec<Store>,
    /// For each store of the graph, its place in `stores`.
    slots: Vec<Option<usize>>,
    entries: Vec<Box<dyn Entry>>,
    rules: InputRules,
    /// The operators that follow time, with their nodes.
    timed: Vec<(Rc<RefCell<dyn Timed>>, usize)>,
    effects: Effects,
    inputs: Inputs,
    /// For each input how long it stands still before it no longer holds time back.
    idle_timeouts: Vec<Option<Duration>>,
    clocks: Clocks,
    outputs: Outputs,
    wall: WallClock,
    wants_commit: bool,
    /// Control records are due, though nothing has happened.
    owes: bool,
}

/// What the task knows of the wall clock, for the operators that want it.
#[derive(Default)]
struct WallClock {
    /// The shortest period that one of them waits for, in milliseconds.
    period: Option<i64>,
    now: Option<i64>,
    /// A period has ended since they were advanced last.
    due: bool,
}

/// What a task gives to a commit.
pub(crate) struct TaskCommit {
    pub(crate) appends: Vec<(TopicPartition, BatchBuilder)>,
    /// For each store, the place of its changelog's batch in `appends`.
    pub(crate) changelogs: Vec<Option<usize>>,
    pub(crate) offsets: Vec<(TopicPartition, Position)>,
}

impl Task {
    /// Makes a task on state that has been restored. Its inputs begin at `starts`, which are in
    /// the order of [`Self::inputs_of`].
    pub(crate) fn new(
        plan: &Arc<Plan>,
        id: TaskId,
        db: &Arc<StateDb>,
        (settings, counters): (TaskSettings, &Arc<Counters>),
        starts: &[Position],
    ) -> Result<Self, TaskError> {
        let sub = &plan.subs[id.sub];
        let mut slots = vec![None; plan.topology.graph.stores.len()];
        for (slot, store) in sub.stores.iter().enumerate() {
            slots[store.0] = Some(slot);
        }
        let stores = plan
            .store_names(id.sub)
            .iter()
            .map(|name| Store::open(db, &state_name(plan, name), id.partition))
            .collect::<Result<Vec<_>, _>>()?;
        let mut assembly = Assembly::default();
        let sources = &plan.topology.graph.sources;
        let entries =
            sub.inputs.iter().map(|(_, source)| (sources[*source].entry)(&mut assembly)).collect();
        let partitions = Self::inputs_of(plan, id);
        let clocks = Clocks::load(plan, id, &stores[0])?;
        Ok(Self {
            id,
            settings,
            counters: Arc::clone(counters),
            outputs: Outputs::new(plan, id, settings, starts.iter().any(|at| at.offset > 0)),
            stores,
            slots,
            entries,
            wall: WallClock {
                period: assembly.timed.iter().filter_map(|t| t.borrow().wants_wall_clock()).min(),
                ..WallClock::default()
            },
            rules: InputRules::new(plan, id.sub, settings),
            timed: assembly.timed.into_iter().zip(assembly.timed_nodes).collect(),
            effects: Effects::default(),
            inputs: Inputs::new(partitions, starts),
            idle_timeouts: sub
                .inputs
                .iter()
                .map(|(_, source)| sources[*source].idle.timeout(settings.idle_timeout))
                .collect(),
            clocks,
            wants_commit: false,
            owes: false,
            plan: Arc::clone(plan),
        })
    }

    /// The partitions that a task reads.
    pub(crate) fn inputs_of(plan: &Plan, id: TaskId) -> Vec<TopicPartition> {
        let inputs = &plan.subs[id.sub].inputs;
        inputs
            .iter()
            .map(|(topic, _)| TopicPartition::new(Arc::clone(topic), id.partition))
            .collect()
    }

    /// Queues records of one of its inputs.
    pub(crate) fn accept(&mut self, fetched: Fetched) {
        self.inputs.accept(fetched);
    }

    /// The inputs that have more than `bytes_max` queued, and those that have not.
    pub(crate) fn queued(&self, bytes_max: usize) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        self.inputs.queued(bytes_max)
    }

    /// Where each input is.
    pub(crate) fn places(&self) -> impl Iterator<Item = InputPlace<'_>> {
        self.inputs.places()
    }

    /// Whether records are waiting.
    pub(crate) fn has_work(&self) -> bool {
        self.inputs.has_work()
    }

    /// Handles up to `limit` records; `done` counts them, also if the last one breaks off.
    pub(crate) fn process(
        &mut self,
        limit: usize,
        globals: &[GlobalRows],
        poison: &Poison,
        done: &mut usize,
    ) -> Result<(), TaskError> {
        for _ in 0..limit {
            // Behind a record that cost the task its life a commit comes first: the next one that
            // does so costs no more than what lies between.
            if self.wants_commit {
                break;
            }
            let Some(input) = self.inputs.next() else { break };
            *done += 1;
            self.process_record(input, globals, poison)?;
        }
        Ok(())
    }

    /// Whether it goes on only after a commit.
    pub(crate) fn wants_commit(&self) -> bool {
        self.wants_commit
    }

    fn process_record(
        &mut self,
        input: usize,
        globals: &[GlobalRows],
        poison: &Poison,
    ) -> Result<(), TaskError> {
        let taken = self.inputs.take(input);
        let (record, next) = taken.record();
        let offset = record.offset;
        let handled = if record.headers.get(CONTROL_HEADER).is_some() {
            self.hear(input, &record)
        } else if let Some(broken) = known_poison(poison, &taken.partition, record.offset) {
            self.wants_commit = true;
            self.bad_record(input, &taken, broken)
        } else {
            self.inputs.weigh(input, offset, record.key);
            self.feed(input, &taken, &record, globals)
        };
        self.inputs.give_back(input, taken, (offset, next));
        handled
    }

    /// Takes in a control record of an upstream task.
    fn hear(&mut self, input: usize, record: &RecordRef<'_>) -> Result<(), TaskError> {
        let upstream = record.key.and_then(control::parse_key);
        let control = record.value.and_then(Control::decode);
        match upstream.zip(control) {
            Some((upstream, control)) => self.clocks.hear(input, upstream, &control),
            None => self.counters.add("control", "unreadable control record"),
        }
        Ok(())
    }

    fn feed(
        &mut self,
        input: usize,
        taken: &Taken,
        record: &RecordRef<'_>,
        globals: &[GlobalRows],
    ) -> Result<(), TaskError> {
        self.outputs.begin_record();
        let entry = &mut self.entries[input];
        let mut ctx = Context {
            stores: &mut self.stores,
            slots: &self.slots,
            globals,
            outputs: &mut self.outputs,
            counters: &self.counters,
            wall_ms: None,
            current: self.clocks.current(input, record, self.id.partition),
            closing: self.clocks.closing(),
            bounds: self.rules.time_bounds(input, taken, record.timestamp),
            record_bytes_max: self.settings.record_bytes_max,
            policy: self.settings.bad_records,
            graph: &self.plan.topology.graph,
            node: self.rules.node(input),
            effects: &mut self.effects,
        };
        let attempted = ctx.attempt(|ctx| entry.feed(record, ctx));
        let clock = ctx.current.clock;
        match attempted {
            Ok(()) => {
                self.clocks.observed(input, clock);
                Ok(())
            }
            Err(Attempt::Undone(broken)) => self.bad_record(input, taken, &broken),
            Err(Attempt::Tainted(broken)) => {
                let (partition, broken) = (taken.partition.clone(), Box::new(broken));
                Err(TaskError::Poison { partition, offset: record.offset, broken })
            }
            Err(Attempt::State(error)) => Err(error.into()),
        }
    }

    /// Notes the time, for the idle timeout. `now` is since any fixed moment.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.inputs.tick(now);
        for input in 0..self.entries.len() {
            let idle = self.inputs.idle_for(input, now);
            let timeout = self.idle_timeouts[input];
            let is_idle = idle.zip(timeout).is_some_and(|(idle, timeout)| idle >= timeout);
            self.clocks.set_idle(input, is_idle);
        }
        self.owes = self.outputs.owes(now);
    }

    /// Notes what the wall clock shows, in milliseconds since 1970-01-01 UTC.
    pub(crate) fn tick_wall(&mut self, now: i64) {
        let Some(period) = self.wall.period else { return };
        let number = |at: i64| at.div_euclid(period);
        self.wall.due |= self.wall.now.is_none_or(|last| number(now) > number(last));
        self.wall.now = Some(now);
    }

    /// Whether a commit would have something to say.
    pub(crate) fn is_dirty(&self) -> bool {
        self.inputs.moved() || self.clocks.changed() || self.owes || self.wall.due
    }

    /// About how much memory its overlays and outputs take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.stores.iter().map(Store::bytes).sum::<usize>() + self.outputs.bytes()
    }

    /// The largest timestamp read, if any.
    pub(crate) fn clock(&self) -> Option<i64> {
        self.clocks.largest()
    }

    /// Gives everything since the last commit to a new one. The stores begin a fresh overlay.
    pub(crate) fn gather(
        &mut self,
        now: Duration,
        globals: &[GlobalRows],
    ) -> Result<TaskCommit, TaskError> {
        self.advance(globals)?;
        self.clocks.save(&mut self.stores[0]);
        let control = |node| self.clocks.control(&self.inputs, node);
        self.outputs.control(self.id.partition, &control, now);
        let mut appends = self.outputs.drain();
        let names = self.plan.store_names(self.id.sub);
        let mut changelogs = Vec::with_capacity(names.len());
        for (store, name) in self.stores.iter_mut().zip(&names) {
            let mut batch = BatchBuilder::new();
            // In the order in which they were made, not that of a hash table: a run can be repeated
            // to the byte.
            for (key, value) in store.freeze().iter() {
                batch.push(0, Some(key), value, &[]);
            }
            changelogs.push((!batch.is_empty()).then_some(appends.len()));
            if !batch.is_empty() {
                let topic = self.plan.topology.names.changelog(name);
                appends.push((TopicPartition::new(topic, self.id.partition), batch));
            }
        }
        self.clocks.unchanged();
        self.wants_commit = false;
        Ok(TaskCommit { appends, changelogs, offsets: self.inputs.positions() })
    }

    fn advance(&mut self, globals: &[GlobalRows]) -> Result<(), TaskError> {
        self.outputs.begin_record();
        self.wall.due = false;
        let mut ctx = Context {
            stores: &mut self.stores,
            slots: &self.slots,
            globals,
            outputs: &mut self.outputs,
            counters: &self.counters,
            wall_ms: self.wall.now,
            current: Current::none(),
            closing: self.clocks.closing(),
            bounds: TimeBounds::CALENDAR,
            record_bytes_max: self.settings.record_bytes_max,
            policy: self.settings.bad_records,
            graph: &self.plan.topology.graph,
            node: 0,
            effects: &mut self.effects,
        };
        // From the sources on: what an operator hands on now, those after it save and close.
        for (timed, node) in self.timed.iter().rev() {
            ctx.pass_time(&mut *timed.borrow_mut(), *node)?;
        }
        self.set_results_aside();
        Ok(())
    }

    /// The log has accepted the last gathered commit: its changes go into `batch`.
    pub(crate) fn committed(
        &mut self,
        changelogs: &[Option<usize>],
        appended: &[Appended],
        batch: &mut StateBatch<'_>,
    ) {
        for (store, place) in self.stores.iter_mut().zip(changelogs) {
            store.applied(place.map(|place| appended[place].next), batch);
        }
    }
}

/// The name of a store in the state database: unique among applications and generations.
pub(crate) fn state_name(plan: &Plan, store: &str) -> String {
    plan.topology.names.changelog(store)
}

fn known_poison<'a>(poison: &'a Poison, at: &TopicPartition, offset: u64) -> Option<&'a Broken> {
    if poison.is_empty() {
        return None;
    }
    poison.get(&(at.clone(), offset))
}

/// Where a record of a repartition topic comes from, by its header.
fn origin_of(record: &RecordRef<'_>) -> Option<Origin> {
    Origin::decode(record.headers.get(ORIGIN_HEADER)?, record.timestamp)
}

/// The key of a task's meta entries.
fn meta_key(name: u8) -> [u8; 2] {
    [kind::META, name]
}
