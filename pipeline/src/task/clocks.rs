//! Source clocks: how far event time has come in each source partition that reaches the task.
//!
//! A task that reads sources itself keeps the clock of each. A task behind a repartition learns
//! the clocks from control records; what it has learnt is kept in its state, for the records that
//! said so may be purged.

use std::collections::BTreeMap;

use stores::state::{StateError, Store};
use stores::views::Reach;

use super::context::Current;
use super::inputs::Inputs;
use super::{meta_key, origin_of};
use crate::format::control::{Control, Progress};
use crate::format::origin::Origin;
use crate::log::record::{put_varint, take_slice, take_varint};
use crate::log::{Position, RecordRef};
use crate::topology::{Plan, SourceRange, TaskId};

/// The meta entry with the clocks.
const NAME: u8 = b'c';

/// The clocks of one task.
pub(crate) struct Clocks {
    inputs: Vec<Kind>,
    /// What each upstream task has said: by input and its partition.
    heard: BTreeMap<(usize, u32), Control>,
    sources: Vec<SourceRange>,
    partition: u32,
    repartitioned: bool,
    changed: bool,
    closing: Option<i64>,
}

/// What an input is.
enum Kind {
    Source { number: u16, clock: i64, idle: bool },
    Repartition,
}

impl Clocks {
    /// Reads the clocks from the task's first store.
    pub(crate) fn load(plan: &Plan, id: TaskId, store: &Store) -> Result<Self, StateError> {
        let sub = &plan.subs[id.sub];
        let kind = |(topic, _): &(std::sync::Arc<str>, usize)| {
            let number = plan.source_topics.iter().position(|source| source == topic);
            number.and_then(|number| u16::try_from(number).ok()).map_or(
                Kind::Repartition,
                |number| Kind::Source { number, clock: i64::MIN, idle: false },
            )
        };
        let mut clocks = Self {
            inputs: sub.inputs.iter().map(kind).collect(),
            heard: BTreeMap::new(),
            sources: sub.sources.clone(),
            partition: id.partition,
            repartitioned: sub.repartitioned,
            changed: false,
            closing: None,
        };
        let decoded = store.read(&meta_key(NAME), |stored| {
            stored.and_then(|bytes| clocks.decode(bytes));
        });
        decoded?;
        clocks.close();
        Ok(clocks)
    }

    /// Who the record that is about to be handled is.
    pub(crate) fn current<'a>(
        &self,
        input: usize,
        record: &RecordRef<'a>,
        partition: u32,
    ) -> Current<'a> {
        let headers = record.headers;
        match self.inputs[input] {
            Kind::Source { number, clock, .. } => Current {
                headers,
                origin: Some(Origin { source: number, partition, offset: record.offset, clock }),
                clock,
                repartitioned: false,
            },
            Kind::Repartition => {
                Current { headers, origin: origin_of(record), clock: i64::MIN, repartitioned: true }
            }
        }
    }

    /// The record of `input` has been handled; its source clock is `observed` now.
    pub(crate) fn observed(&mut self, input: usize, observed: i64) {
        if let Kind::Source { clock, .. } = &mut self.inputs[input]
            && observed > *clock
        {
            *clock = observed;
            self.changed = true;
        }
    }

    /// Notes whether `input` stands still at its end for longer than the idle timeout.
    pub(crate) fn set_idle(&mut self, input: usize, now_idle: bool) {
        if let Kind::Source { idle, .. } = &mut self.inputs[input] {
            self.changed |= *idle != now_idle;
            *idle = now_idle;
        }
    }

    /// Takes in what an upstream task says.
    pub(crate) fn hear(&mut self, input: usize, upstream: u32, control: &Control) {
        let known = self.heard.insert((input, upstream), control.clone());
        if known.as_ref() != Some(control) {
            self.changed = true;
            self.close();
        }
    }

    /// Behind a repartition: the smallest clock of all source partitions that are not idle;
    /// [`i64::MIN`] as long as one of them has not been heard of.
    pub(crate) fn closing(&self) -> Option<i64> {
        self.closing
    }

    fn close(&mut self) {
        if !self.repartitioned {
            return;
        }
        let mut smallest = None;
        for source in &self.sources {
            for partition in 0..source.partitions {
                match self.folded(source, partition) {
                    Some(progress) if progress.idle => {}
                    Some(progress) => {
                        smallest =
                            Some(smallest.map_or(progress.clock, |s: i64| s.min(progress.clock)));
                    }
                    None => smallest = Some(i64::MIN),
                }
            }
        }
        // All idle: time stands still where it was.
        self.closing = smallest.or(self.closing).or(Some(i64::MIN));
    }

    /// What all upstream tasks together say of a source partition: the least of each.
    fn folded(&self, source: &SourceRange, partition: u32) -> Option<Progress> {
        let entries = self.heard.values().flat_map(|control| &control.entries);
        let mut told =
            entries.filter(|entry| entry.source == source.source && entry.partition == partition);
        let first = *told.next()?;
        Some(told.fold(first, |least, entry| Progress {
            position: least.position.min(entry.position),
            clock: least.clock.min(entry.clock),
            idle: least.idle && entry.idle,
            ..least
        }))
    }

    /// What this task says to those after it.
    pub(crate) fn control(&self, inputs: &Inputs) -> Control {
        let mut entries = Vec::new();
        for (index, kind) in self.inputs.iter().enumerate() {
            if let Kind::Source { number, clock, idle } = kind {
                entries.push(Progress {
                    source: *number,
                    partition: self.partition,
                    position: inputs.position(index),
                    clock: *clock,
                    idle: *idle,
                });
            }
        }
        if self.repartitioned {
            for source in self.sources.iter().filter(|source| source.reach == Reach::All) {
                let heard = (0..source.partitions).filter_map(|p| self.folded(source, p));
                entries.extend(heard);
            }
        }
        Control { entries }
    }

    /// The largest clock of all.
    pub(crate) fn largest(&self) -> Option<i64> {
        let own = self.inputs.iter().filter_map(|kind| match kind {
            Kind::Source { clock, .. } => Some(*clock),
            Kind::Repartition => None,
        });
        let heard = self.heard.values().flat_map(|control| &control.entries).map(|e| e.clock);
        own.chain(heard).max().filter(|clock| *clock > i64::MIN)
    }

    /// Whether something changed since [`Self::unchanged`].
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn unchanged(&mut self) {
        self.changed = false;
    }

    /// Writes the clocks into the task's first store, if they have changed.
    pub(crate) fn save(&self, store: &mut Store) {
        if self.changed {
            store.put(&meta_key(NAME), &self.encode());
        }
    }

    /// The clocks of its own sources as a control record's value, then what each upstream task
    /// said: input, partition, value.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let own = self.inputs.iter().filter_map(|kind| match kind {
            Kind::Source { number, clock, .. } => Some(Progress {
                source: *number,
                partition: self.partition,
                position: Position::default(),
                clock: *clock,
                idle: false,
            }),
            Kind::Repartition => None,
        });
        put_control(&mut out, &Control { entries: own.collect() });
        for ((input, upstream), control) in &self.heard {
            put_varint(&mut out, *input as u64);
            put_varint(&mut out, (*upstream).into());
            put_control(&mut out, control);
        }
        out
    }

    fn decode(&mut self, mut bytes: &[u8]) -> Option<()> {
        let bytes = &mut bytes;
        for entry in Control::decode(take_slice(bytes)?)?.entries {
            for kind in &mut self.inputs {
                if let Kind::Source { number, clock, .. } = kind
                    && *number == entry.source
                {
                    *clock = entry.clock;
                }
            }
        }
        while !bytes.is_empty() {
            let input = usize::try_from(take_varint(bytes)?).ok()?;
            let upstream = u32::try_from(take_varint(bytes)?).ok()?;
            self.heard.insert((input, upstream), Control::decode(take_slice(bytes)?)?);
        }
        Some(())
    }
}

fn put_control(out: &mut Vec<u8>, control: &Control) {
    let encoded = control.encode();
    put_varint(out, encoded.len() as u64);
    out.extend_from_slice(&encoded);
}
