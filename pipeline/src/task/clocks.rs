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
use crate::topology::{Plan, SourceRange, TaskId, Upstream};

/// The meta entry with the clocks.
const NAME: u8 = b'c';

/// The clocks of one task.
pub(crate) struct Clocks {
    inputs: Vec<Kind>,
    /// What each upstream task has said: by input and its partition.
    heard: BTreeMap<(usize, u32), Control>,
    upstreams: Vec<Upstream>,
    partition: u32,
    changed: bool,
    /// The smallest clock that upstream tasks tell of; `None` if all are idle.
    told: Option<i64>,
    /// What [`Self::closing`] was when something was not idle.
    stood: i64,
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
            upstreams: sub.upstreams.clone(),
            partition: id.partition,
            changed: false,
            told: None,
            stood: i64::MIN,
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
                let (origin, clock) = (origin_of(record), i64::MIN);
                Current { headers, origin, clock, repartitioned: true }
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
        self.stood = self.smallest().unwrap_or(self.stood);
        if let Kind::Source { idle, .. } = &mut self.inputs[input] {
            self.changed |= *idle != now_idle;
            *idle = now_idle;
        }
    }

    /// Takes in what an upstream task says.
    pub(crate) fn hear(&mut self, input: usize, upstream: u32, control: &Control) {
        let mut control = control.clone();
        control.entries.sort_by_key(place_of);
        if self.heard.get(&(input, upstream)) != Some(&control) {
            self.heard.insert((input, upstream), control);
            self.changed = true;
            self.close();
        }
    }

    /// Behind a repartition: the smallest clock of all source partitions that are not idle;
    /// [`i64::MIN`] as long as one of them has not been heard of. When all are idle, time stands
    /// still where it was.
    pub(crate) fn closing(&self) -> Option<i64> {
        (!self.upstreams.is_empty()).then(|| self.smallest().unwrap_or(self.stood))
    }

    fn smallest(&self) -> Option<i64> {
        let own = self.inputs.iter().filter_map(|kind| match kind {
            Kind::Source { clock, idle: false, .. } => Some(*clock),
            Kind::Source { .. } | Kind::Repartition => None,
        });
        own.chain(self.told).min()
    }

    /// Looks again at what upstream tasks tell.
    fn close(&mut self) {
        self.stood = self.smallest().unwrap_or(self.stood);
        let mut told = None;
        for (_, _, progress) in self.told_by(usize::MAX) {
            let clock = match progress {
                Some(progress) if progress.idle => continue,
                Some(progress) => progress.clock,
                None => i64::MIN,
            };
            told = Some(told.map_or(clock, |told: i64| told.min(clock)));
        }
        self.told = told;
        self.stood = self.smallest().unwrap_or(self.stood);
    }

    /// What the repartition topics that are read by nodes before `node` tell of each source
    /// partition: source, partition, and the least that its upstream tasks say, `None` if one of
    /// them has said nothing yet. A partition that reaches the task over two topics comes twice.
    fn told_by(&self, node: usize) -> impl Iterator<Item = (u16, u32, Option<Progress>)> {
        let upstreams = self.upstreams.iter().filter(move |upstream| upstream.node < node);
        let ranges =
            upstreams.flat_map(|upstream| upstream.sources.iter().map(move |r| (upstream, r)));
        ranges.flat_map(move |(upstream, range)| {
            (0..range.partitions).map(move |partition| {
                (range.source, partition, self.least_said(upstream, range, partition))
            })
        })
    }

    fn least_said(
        &self,
        upstream: &Upstream,
        range: &SourceRange,
        partition: u32,
    ) -> Option<Progress> {
        let tasks = match range.reach {
            Reach::Same => partition..partition + 1,
            Reach::All => 0..upstream.tasks,
        };
        let mut smallest: Option<Progress> = None;
        for task in tasks {
            let control = self.heard.get(&(upstream.input, task))?;
            let wanted = (range.source, partition);
            let place = control.entries.binary_search_by_key(&wanted, place_of).ok()?;
            let said = control.entries[place];
            smallest = Some(smallest.map_or(said, |smallest| least(smallest, said)));
        }
        smallest
    }

    /// What this task says to those that read what the sink `node` writes. What it was told behind
    /// that node does not reach it, and is left out: else what goes round in a loop would wait for
    /// itself.
    pub(crate) fn control(&self, inputs: &Inputs, node: usize) -> Control {
        let mut entries: BTreeMap<(u16, u32), Option<Progress>> = BTreeMap::new();
        for (index, kind) in self.inputs.iter().enumerate() {
            if let Kind::Source { number, clock, idle } = kind {
                let (source, partition) = (*number, self.partition);
                let (position, clock, idle) = (inputs.position(index), *clock, *idle);
                let own = Progress { source, partition, position, clock, idle };
                entries.insert((source, partition), Some(own));
            }
        }
        for (source, partition, told) in self.told_by(node) {
            let entry = entries.entry((source, partition));
            let both = |known: &mut Option<Progress>| {
                *known = known.zip(told).map(|(known, told)| least(known, told));
            };
            entry.and_modify(both).or_insert(told);
        }
        Control { entries: entries.into_values().flatten().collect() }
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

/// What control records are sorted by.
fn place_of(progress: &Progress) -> (u16, u32) {
    (progress.source, progress.partition)
}

/// The lesser of two bounds, in every respect.
fn least(a: Progress, b: Progress) -> Progress {
    Progress {
        position: a.position.min(b.position),
        clock: a.clock.min(b.clock),
        idle: a.idle && b.idle,
        ..a
    }
}

fn put_control(out: &mut Vec<u8>, control: &Control) {
    let encoded = control.encode();
    put_varint(out, encoded.len() as u64);
    out.extend_from_slice(&encoded);
}
