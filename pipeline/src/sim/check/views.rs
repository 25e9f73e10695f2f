//! What control records and views say about the sources.

use std::collections::BTreeMap;

use stores::position::{SourcePosition, Token};
use stores::views::Reach;

use super::super::model;
use super::super::shadow::{Shadow, Stored};
use super::super::truth::{documents, progress_of};
use super::super::world::World;
use super::super::{Fault, Pool};
use crate::format::control::{self, Control, Progress};
use crate::log::TopicPartition;
use crate::topology::Target;

/// No control record says more than is true: neither of a clock, nor of a position whose data
/// comes only behind it.
pub(super) fn tell_the_truth(world: &World<'_>, shadow: &Shadow) -> Option<Fault> {
    let sources = world.plan.topology().source_topics();
    let mut clocks: BTreeMap<(u16, u32), Vec<i64>> = BTreeMap::new();
    for (number, topic) in (0_u16..).zip(&sources) {
        for (at, records) in shadow.topic(topic) {
            clocks.insert((number, at.partition), running_clock(records));
        }
    }
    let controlled =
        |at: &TopicPartition| at.topic.ends_with("-repartition") || at.topic.ends_with("-view");
    for (at, records) in shadow.all().filter(|(at, _)| controlled(at)) {
        let clocks = world.subject.on_record_time.then_some(&clocks);
        let speakers =
            |source: u16, partition: u32| speakers(world, &at.topic, (source, partition));
        if let Some(what) = lie(records, clocks, &speakers) {
            let what = format!("{at}: {what}");
            return Some(Fault { invariant: "control records are lower bounds", what });
        }
    }
    None
}

/// For each offset the largest timestamp before it.
fn running_clock(records: &[Stored]) -> Vec<i64> {
    let mut clocks = vec![i64::MIN];
    for record in records {
        let before = clocks.last().copied().unwrap_or(i64::MIN);
        clocks.push(before.max(record.timestamp));
    }
    clocks
}

/// How many tasks must have spoken of a source partition in `topic` until it counts: all through
/// which its records may come.
fn speakers(world: &World<'_>, topic: &str, (source, partition): (u16, u32)) -> Vec<u32> {
    let names = &world.plan.topology().names;
    for sub in &world.plan.subs {
        let writes = |sink: &crate::topology::SinkRef| {
            matches!(&world.plan.topology().graph.sinks[sink.0].target,
                Target::Repartition(name) if names.repartition(name) == topic)
        };
        if !sub.sinks.iter().any(writes) {
            continue;
        }
        let range = sub.sources.iter().find(|range| range.source == source);
        return match range.map(|range| range.reach) {
            Some(Reach::All) => (0..sub.partitions).collect(),
            Some(Reach::Same) | None => vec![partition],
        };
    }
    Vec::new()
}

type Clocks = BTreeMap<(u16, u32), Vec<i64>>;
type SpeakersOf<'a> = &'a dyn Fn(u16, u32) -> Vec<u32>;

fn lie(records: &[Stored], clocks: Option<&Clocks>, speakers: SpeakersOf<'_>) -> Option<String> {
    let mut heard: BTreeMap<u32, Control> = BTreeMap::new();
    for record in records {
        if !record.is_control() {
            let Some(origin) = record.origin() else { continue };
            let of = (origin.source, origin.partition);
            let claimed = claim(&heard, of, &speakers(of.0, of.1));
            if claimed.is_some_and(|claimed| claimed > origin.offset) {
                let (offset, claimed) = (record.offset, claimed.unwrap_or(0));
                return Some(format!(
                    "record {offset} was made of {origin:?} after {claimed} was claimed"
                ));
            }
            continue;
        }
        let task = record.key.as_deref().and_then(control::parse_key)?;
        let Some(said) = record.value.as_deref().and_then(Control::decode) else {
            return Some(format!("control record {} cannot be read", record.offset));
        };
        for entry in &said.entries {
            let Some(clocks) = clocks else { continue };
            let Some(known) = clocks.get(&(entry.source, entry.partition)) else {
                return Some(format!(
                    "control record {} speaks of no source: {entry:?}",
                    record.offset
                ));
            };
            let at = usize::try_from(entry.position.offset).unwrap_or(usize::MAX);
            if known.get(at).is_none_or(|clock| entry.clock > *clock) {
                return Some(format!("control record {} says {entry:?}", record.offset));
            }
        }
        heard.insert(task, said);
    }
    None
}

/// The position of a source partition that all of `speakers` have claimed; a view's partition has
/// one writer, whoever that is.
fn claim(
    heard: &BTreeMap<u32, Control>,
    (source, partition): (u16, u32),
    speakers: &[u32],
) -> Option<u64> {
    let is_it = |entry: &&Progress| entry.source == source && entry.partition == partition;
    let claimed = |control: &Control| Some(control.entries.iter().find(is_it)?.position.offset);
    if speakers.is_empty() {
        return heard.values().filter_map(claimed).min();
    }
    let claims: Option<Vec<u64>> =
        speakers.iter().map(|task| heard.get(task).and_then(claimed)).collect();
    claims?.into_iter().min()
}

/// At rest every view says that it contains everything.
pub(super) fn tell_everything(world: &World<'_>, shadow: &Shadow) -> Option<Fault> {
    for plan in &world.plan.views {
        let progress = progress_of(shadow, plan, &|_| u64::MAX);
        let mut token = Token::default();
        for topic in &plan.source_topics {
            for (at, records) in shadow.topic(topic).filter(|(_, records)| !records.is_empty()) {
                token.positions.push(SourcePosition {
                    topic: topic.clone(),
                    partition: at.partition,
                    position: crate::log::Position::new(records.len() as u64, 0),
                });
            }
        }
        if let Some(missing) = progress.missing(&plan.schema, &token).first() {
            let what = format!("`{}`: {missing}", plan.schema.name);
            return Some(Fault { invariant: "at rest views say that they have everything", what });
        }
    }
    None
}

/// A view that says it contains a position contains all that comes of the records before it.
pub(super) fn contain_what_they_say(
    world: &World<'_>,
    shadow: &Shadow,
    pool: &Pool,
) -> Option<Fault> {
    let contains = world.subject.contains?;
    for plan in &world.plan.views {
        let progress = progress_of(shadow, plan, &|_| u64::MAX);
        let mut sources = super::sources(world, shadow);
        let token = progress.token(&plan.schema);
        for (at, records) in &mut sources {
            let told = token
                .positions
                .iter()
                .find(|said| *said.topic == *at.topic && said.partition == at.partition);
            let reached = told.map_or(0, |told| told.position.offset);
            let count = usize::try_from(reached).unwrap_or(usize::MAX).min(records.len());
            *records = &records[..count];
        }
        let model = match model::run(world.subject, world.scenario.partitions, &sources, pool) {
            Ok(model) => model,
            Err(what) => return Some(Fault { invariant: "the model runs", what }),
        };
        let there = documents(shadow, plan, &|_| u64::MAX);
        for (key, (_, wanted)) in documents(&model, plan, &|_| u64::MAX) {
            if !there.get(&key).is_some_and(|(_, found)| contains(found, &wanted)) {
                let (name, found) = (&plan.schema.name, there.get(&key));
                let what = format!("`{name}` promises {token}, has {found:?}, not {wanted}");
                return Some(Fault { invariant: "views contain what they say", what });
            }
        }
    }
    None
}
