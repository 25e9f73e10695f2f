//! The invariants: what must hold whatever has happened.

mod compare;
mod state;
mod views;

use std::collections::BTreeMap;

use super::expect::Expected;
use super::model::{self, Sources};
use super::shadow::{Shadow, Stored};
use super::subject::Facts;
use super::world::World;
use super::{Fault, Pool};
use crate::log::{Cleanup, Log, TopicPartition};

/// The faults of a world at rest.
pub(super) fn at_rest(world: &World<'_>, pool: &Pool) -> Vec<Fault> {
    let wire = world.log.wire();
    let shadow = wire.shadow.clone();
    drop(wire);
    let mut faults = Vec::new();
    faults.extend(log_is_whole(world, &shadow));
    faults.extend(everything_is_consumed(world));
    faults.extend(state::are_folds(world, &shadow));
    faults.extend(state::are_complete(world, &shadow));
    faults.extend(views::tell_the_truth(world, &shadow));
    faults.extend(views::tell_everything(world, &shadow));
    faults.extend(compare::nothing_twice(world, &shadow));
    if !faults.is_empty() {
        return faults;
    }
    let sources = sources(world, &shadow);
    match model::run(world.subject, world.scenario.partitions, &sources, pool) {
        Err(reason) => faults.push(Fault { invariant: "the model runs", what: reason }),
        Ok(model) => {
            let subject = world.subject;
            let expected = Expected::of(subject, world.scenario.idle);
            faults.extend(compare::topics(&expected, &shadow, &model));
            faults.extend(compare::dead_letters(world, &expected, (&shadow, &model)));
            faults.extend(state::agree(world, &expected, (&shadow, &model)));
            for (plain, shadow) in [(true, &model), (false, &shadow)] {
                let idle = world.scenario.idle;
                let facts = Facts { topology: &subject.topology, shadow, plain, idle };
                let holds = plain || !idle || subject.checked_when_idle;
                let checked = subject.check.filter(|_| holds);
                let wrong = checked.and_then(|check| check(&facts).err());
                faults.extend(wrong.map(|what| Fault {
                    invariant: "results are those of a model of their own",
                    what,
                }));
            }
        }
    }
    faults
}

/// The faults of a world in the middle of things.
pub(super) fn under_way(world: &World<'_>, pool: &Pool) -> Vec<Fault> {
    let shadow = world.log.wire().shadow.clone();
    let mut faults = Vec::new();
    faults.extend(state::are_folds(world, &shadow));
    faults.extend(views::tell_the_truth(world, &shadow));
    faults.extend(compare::nothing_twice(world, &shadow));
    if faults.is_empty() && !world.scenario.idle {
        faults.extend(views::contain_what_they_say(world, &shadow, pool));
    }
    faults
}

/// The faults of a world whose state was made again from nothing: nothing was written a second
/// time, and the stores are what they were.
pub(super) fn restored(world: &World<'_>, before: &BTreeMap<String, usize>) -> Vec<Fault> {
    let shadow = world.log.wire().shadow.clone();
    let mut faults = Vec::new();
    let after = world.written();
    if after != *before {
        let what = format!("{before:?} became {after:?}");
        faults.push(Fault { invariant: "a restoration writes nothing", what });
    }
    faults.extend(log_is_whole(world, &shadow));
    faults.extend(state::are_folds(world, &shadow));
    faults.extend(state::are_complete(world, &shadow));
    faults
}

/// The records of all sources and global tables.
pub(super) fn sources<'a>(world: &World<'_>, shadow: &'a Shadow) -> Sources<'a> {
    let topology = &world.subject.topology;
    let mut topics = topology.source_topics();
    topics.extend(topology.global_topics());
    let of_source = shadow.all().filter(|(at, _)| topics.iter().any(|topic| **topic == *at.topic));
    of_source.map(|(at, records)| (at, records.as_slice())).collect()
}

/// The log still has what it has shown: all of it, or of compacted topics the last of each key.
fn log_is_whole(world: &World<'_>, shadow: &Shadow) -> Option<Fault> {
    let log = world.log.inner();
    let wrong = |what: String| Some(Fault { invariant: "the log keeps what it accepted", what });
    let topics = match log.topics() {
        Ok(topics) => topics,
        Err(error) => return wrong(error.to_string()),
    };
    for (at, known) in shadow.all() {
        let compacted = topics.get(&*at.topic).map(|spec| spec.cleanup) == Some(Cleanup::Compact);
        let found = match read(log.as_ref(), at) {
            Ok(found) => found,
            Err(reason) => return wrong(format!("{at}: {reason}")),
        };
        let start = log.range(at).map_or(0, |range| range.start);
        let of_shadow = |record: &Stored| known.get(usize::try_from(record.offset).unwrap_or(0));
        if let Some(strange) = found.iter().find(|record| of_shadow(record) != Some(record)) {
            return wrong(format!("{at} has another record at {}: {strange:?}", strange.offset));
        }
        if !compacted {
            let left = known.len().saturating_sub(usize::try_from(start).unwrap_or(0));
            if found.len() != left {
                return wrong(format!("{at} has {} records, not {left}", found.len()));
            }
        } else if fold(&found) != fold(known) {
            return wrong(format!("{at} has lost the last value of a key"));
        }
    }
    None
}

fn read(log: &dyn Log, at: &TopicPartition) -> Result<Vec<Stored>, String> {
    let mut reader = log.reader().map_err(|error| error.to_string())?;
    let start = log.range(at).map_err(|error| error.to_string())?.start;
    reader.assign(at, start).map_err(|error| error.to_string())?;
    let mut read = Vec::new();
    loop {
        let fetched = reader.poll(std::time::Duration::ZERO).map_err(|error| error.to_string())?;
        if fetched.is_empty() {
            return Ok(read);
        }
        for fetched in fetched {
            read.extend(fetched.records().map(|record| Stored::of(&record)));
        }
    }
}

/// The last value of each key; deletions leave nothing.
fn fold(records: &[Stored]) -> BTreeMap<&Option<Vec<u8>>, &Stored> {
    let mut last = BTreeMap::new();
    for record in records {
        last.insert(&record.key, record);
    }
    last.retain(|_, record| record.value.is_some());
    last
}

/// At rest every record of every input has been consumed.
fn everything_is_consumed(world: &World<'_>) -> Option<Fault> {
    let (log, group) = (world.log.inner(), world.plan.topology().names.group());
    for topic in world.plan.input_topics() {
        let partitions = log.topics().ok()?.get(&topic)?.partitions;
        for partition in 0..partitions {
            let at = TopicPartition::new(topic.as_str(), partition);
            let end = log.range(&at).ok()?.end.offset;
            let committed = log.committed(&group, std::slice::from_ref(&at)).ok()?;
            let consumed = committed.first().copied().flatten().map_or(0, |at| at.offset);
            if consumed != end {
                let what = format!("{at} was consumed to {consumed} of {end}");
                return Some(Fault { invariant: "at rest everything is consumed", what });
            }
        }
    }
    None
}
