//! Stores against their changelogs, and against the model's.

use std::collections::{BTreeMap, BTreeSet};

use stores::state::StateError;

use super::super::Fault;
use super::super::expect::Expected;
use super::super::shadow::Shadow;
use super::super::world::World;
use crate::log::{Log as _, TopicPartition, Validity};
use crate::operators::kind;
use crate::task::state_name;

const INVARIANT: &str = "a store is the fold of its changelog";

/// Every partition of every store's changelog.
fn changelogs(world: &World<'_>) -> Vec<TopicPartition> {
    let plan = &world.plan;
    let mut changelogs = Vec::new();
    for (sub, spec) in plan.subs.iter().enumerate() {
        for store in plan.store_names(sub) {
            let topic = state_name(plan, &store);
            let at = |partition| TopicPartition::new(topic.as_str(), partition);
            changelogs.extend((0..spec.partitions).map(at));
        }
    }
    changelogs
}

/// Whatever a store holds is what its changelog says up to the position in the store. One whose
/// position the log does not vouch for is made again at its next use, and is left out.
pub(super) fn are_folds(world: &World<'_>, shadow: &Shadow) -> Option<Fault> {
    for (number, machine) in world.machines.iter().enumerate() {
        for at in changelogs(world) {
            let held = machine.state.contents(&at.topic, at.partition);
            let wrong = match check(world, shadow, &at, held) {
                Ok(()) => continue,
                Err(wrong) => wrong,
            };
            let what = format!("{at} on machine {number}: {wrong}");
            return Some(Fault { invariant: INVARIANT, what });
        }
    }
    None
}

type Held = Result<(Vec<stores::state::Entry>, Option<crate::log::Position>), StateError>;

fn check(
    world: &World<'_>,
    shadow: &Shadow,
    at: &TopicPartition,
    held: Held,
) -> Result<(), String> {
    let (entries, position) = held.map_err(|error| error.to_string())?;
    let Some(position) = position else {
        let found = entries.len();
        return if found == 0 { Ok(()) } else { Err(format!("{found} entries and no position")) };
    };
    let validity = world.log.inner().validate(at, position).map_err(|error| error.to_string())?;
    if matches!(validity, Validity::Truncated { .. }) {
        return Ok(());
    }
    let held: BTreeMap<Vec<u8>, Vec<u8>> = entries.into_iter().collect();
    let said = shadow.fold(at, position.offset);
    let skip = usize::try_from(position.offset).unwrap_or(usize::MAX);
    let later: BTreeSet<&[u8]> = if world.has_cleaned {
        // Compaction may have taken what the store should have read before this.
        shadow.records(at).iter().skip(skip).filter_map(|record| record.key.as_deref()).collect()
    } else {
        BTreeSet::new()
    };
    let keys: BTreeSet<&Vec<u8>> = held.keys().chain(said.keys()).collect();
    for key in keys.into_iter().filter(|key| !later.contains(key.as_slice())) {
        if held.get(key) != said.get(key) {
            let show = |value: Option<&Vec<u8>>| {
                value.map_or("nothing".to_owned(), |value| value.escape_ascii().to_string())
            };
            let key_text = key.escape_ascii();
            let (held, said) = (show(held.get(key)), show(said.get(key)));
            return Err(format!("at {position} `{key_text}` is {held}, not {said}"));
        }
    }
    Ok(())
}

/// At rest some machine has each store to the end of its changelog.
pub(super) fn are_complete(world: &World<'_>, shadow: &Shadow) -> Option<Fault> {
    let log = world.log.inner();
    for at in changelogs(world) {
        let end = shadow.records(&at).len() as u64;
        let is_there = world.machines.iter().any(|machine| {
            let held = machine.state.contents(&at.topic, at.partition);
            let position = held.ok().and_then(|(_, position)| position);
            position.is_some_and(|position| {
                position.offset == end && log.validate(&at, position).ok() == Some(Validity::Valid)
            })
        });
        if end > 0 && !is_there {
            let held = world.machines.iter().map(|machine| {
                machine.state.contents(&at.topic, at.partition).ok().and_then(|held| held.1)
            });
            let held: Vec<_> = held.collect();
            let what = format!("no machine has {at} to its end at {end}: {held:?}");
            return Some(Fault { invariant: "at rest stores are complete", what });
        }
    }
    None
}

/// What the time in front of a value takes.
const TIME_BYTES: usize = size_of::<i64>();

/// The entries and the stream times of comparable stores are those of the model.
pub(super) fn agree(
    world: &World<'_>,
    expected: &Expected,
    (shadow, model): (&Shadow, &Shadow),
) -> Option<Fault> {
    let clocks = [kind::META, b'c'];
    for store in &expected.stores {
        let topic = state_name(&world.plan, &store.name);
        let partitions = shadow.topic(&topic).map(|(at, _)| at.clone()).collect::<Vec<_>>();
        for at in partitions {
            let fold = |shadow: &Shadow| {
                let mut folded = shadow.fold(&at, u64::MAX);
                folded.remove(clocks.as_slice());
                folded
            };
            let (found, wanted) = (fold(shadow), fold(model));
            let keys: BTreeSet<&Vec<u8>> = found.keys().chain(wanted.keys()).collect();
            let same = |key: &&Vec<u8>| match (found.get(*key), wanted.get(*key)) {
                (Some(found), Some(wanted)) if store.untimed && key.starts_with(&[kind::ENTRY]) => {
                    found.get(TIME_BYTES..) == wanted.get(TIME_BYTES..)
                }
                (found, wanted) => found == wanted,
            };
            let differs = keys.into_iter().find(|key| !same(key));
            if let Some(key) = differs {
                let show = |value: Option<&Vec<u8>>| {
                    value.map_or("nothing".to_owned(), |value| value.escape_ascii().to_string())
                };
                let (key_text, found, wanted) =
                    (key.escape_ascii(), show(found.get(key)), show(wanted.get(key)));
                let what = format!("{at}: `{key_text}` is {found}, not {wanted}");
                return Some(Fault { invariant: "stores are the model's", what });
            }
        }
    }
    None
}
