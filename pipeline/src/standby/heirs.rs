//! What a process would get if others left: the `range` assignor, foretold.
//!
//! `range` sorts the members by name and gives each a contiguous run of the partitions; where it
//! does not come out even, the first ones get one more. All members of a group subscribe to the
//! same topics, so their names and the numbers of partitions are all that it depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::log::GroupMember;
use crate::topology::{Plan, TaskId};

/// The tasks that `process` has or would have, if up to `leaving` other processes were gone.
pub(super) fn inherited(
    plan: &Plan,
    members: &[GroupMember],
    (process, leaving): (&str, usize),
) -> BTreeSet<TaskId> {
    let names: BTreeMap<&str, &str> =
        members.iter().map(|one| (one.name.as_str(), one.process.as_str())).collect();
    let others: BTreeSet<&str> = names.values().copied().filter(|one| *one != process).collect();
    let others: Vec<&str> = others.into_iter().collect();
    let mut tasks = BTreeSet::new();
    for gone in departures(&others, leaving) {
        let left: Vec<&str> =
            names.values().copied().filter(|process| !gone.contains(process)).collect();
        for (sub, inputs) in plan.subs.iter().enumerate() {
            for at in runs(inputs.partitions, &left, process) {
                tasks.extend(at.map(|partition| TaskId { sub, partition }));
            }
        }
    }
    tasks
}

/// The runs of partitions that `process` gets; `members` has the process of each member, in order.
fn runs<'a>(
    partitions: u32,
    members: &'a [&str],
    process: &'a str,
) -> impl Iterator<Item = Range<u32>> + 'a {
    let own = members.iter().enumerate().filter(move |(_, member)| **member == process);
    own.map(move |(index, _)| run(partitions, members.len(), index))
}

/// What `range` gives to the member at `index`.
fn run(partitions: u32, members: usize, index: usize) -> Range<u32> {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (members, index) = (narrow(members), narrow(index));
    let (each, more) = (partitions / members, partitions % members);
    let from = each * index + more.min(index);
    from..from + each + u32::from(index < more)
}

/// All sets of one to `most` of `others`, which are sorted.
fn departures<'a>(others: &[&'a str], most: usize) -> Vec<Vec<&'a str>> {
    let mut all = Vec::new();
    let mut sets = vec![Vec::new()];
    for _ in 0..most {
        let larger = |set: &Vec<&'a str>| {
            let set = set.clone();
            let after = others.iter().filter(move |one| set.last().is_none_or(|last| last < *one));
            after.copied().collect::<Vec<_>>()
        };
        let grown = sets.iter().flat_map(|set| {
            larger(set).into_iter().map(|one| [set.as_slice(), &[one]].concat()).collect::<Vec<_>>()
        });
        sets = grown.collect();
        all.extend(sets.iter().cloned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the assignor gives to each of `members` of seven partitions.
    fn shared(members: usize) -> Vec<Vec<u32>> {
        (0..members).map(|index| run(7, members, index).collect()).collect()
    }

    /// As Kafka's `RangeAssignorTest` has it: the first members get what is over.
    #[test]
    fn partitions_are_given_in_runs_and_the_first_members_get_one_more() {
        assert_eq!(shared(1), [vec![0, 1, 2, 3, 4, 5, 6]]);
        assert_eq!(shared(3), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        assert_eq!(shared(8)[6..], [vec![6], vec![]]);
        for (partitions, members) in [(1, 1), (6, 4), (100, 7), (3, 5)] {
            let all = (0..members).flat_map(|index| run(partitions, members, index));
            assert_eq!(all.collect::<Vec<_>>(), (0..partitions).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_set_that_may_leave_is_looked_at_once() {
        assert_eq!(departures(&["a", "b", "c"], 1), [vec!["a"], vec!["b"], vec!["c"]]);
        assert_eq!(departures(&["a", "b", "c"], 2).len(), 6);
        assert_eq!(departures(&["a"], 2), [vec!["a"]]);
        assert!(departures(&[], 2).is_empty());
    }

    #[test]
    fn the_one_in_the_middle_inherits_from_both_sides() {
        let without = |gone: &str| {
            let left: Vec<&str> = ["a", "b", "c"].into_iter().filter(|one| *one != gone).collect();
            runs(6, &left, "b").flatten().collect::<Vec<_>>()
        };
        assert_eq!(without("a"), [0, 1, 2]);
        assert_eq!(without("c"), [3, 4, 5]);
    }
}
