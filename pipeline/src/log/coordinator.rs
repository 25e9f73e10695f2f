//! Who owns which partition of a group, inside one process.
//!
//! The range assignor of Kafka's classic protocol, handed over cooperatively: a partition that
//! moves is revoked first, and given to its new owner when the old one has polled again. Pure: it
//! is told who joined, polled and left, and answers with changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{TopicPartition, groups};

/// A change of a member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
}

/// One group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// By instance name, which fixes the order of the assignor.
    members: BTreeMap<String, MemberState>,
}

#[derive(Debug)]
struct MemberState {
    id: u64,
    /// Topic and number of partitions.
    topics: BTreeMap<String, u32>,
    owned: BTreeSet<TopicPartition>,
    /// Told to go, still owned until the next poll.
    revoking: BTreeSet<TopicPartition>,
    told: VecDeque<Change>,
}

impl Group {
    /// Adds a member. One of the same instance name is gone from now on: fenced.
    pub(crate) fn join(&mut self, id: u64, instance: &str, topics: BTreeMap<String, u32>) {
        let state = MemberState {
            id,
            topics,
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            told: VecDeque::new(),
        };
        self.members.insert(instance.to_owned(), state);
        self.rebalance();
    }

    /// Removes a member; its partitions go to the others at once.
    pub(crate) fn leave(&mut self, id: u64) {
        let before = self.members.len();
        self.members.retain(|_, member| member.id != id);
        if self.members.len() < before {
            self.rebalance();
        }
    }

    /// What the member `id` has to hear; `None` if it has been fenced.
    pub(crate) fn poll(&mut self, id: u64) -> Option<Vec<Change>> {
        let member = self.members.values_mut().find(|member| member.id == id)?;
        let heard_revocation = !member.revoking.is_empty()
            && !member.told.iter().any(|change| matches!(change, Change::Revoked(_)));
        if heard_revocation {
            member.revoking.clear();
            self.rebalance();
        }
        let member = self.members.values_mut().find(|member| member.id == id)?;
        Some(member.told.drain(..).collect())
    }

    /// Whether the member has something to hear, so that it need not wait.
    pub(crate) fn has_news(&self, id: u64) -> bool {
        self.members
            .values()
            .find(|member| member.id == id)
            .is_none_or(|member| !member.told.is_empty() || !member.revoking.is_empty())
    }

    /// Whether `id` is still a member.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.members.values().any(|member| member.id == id)
    }

    /// Whether `id` may commit offsets of `partition`.
    pub(crate) fn owns(&self, id: u64, partition: &TopicPartition) -> bool {
        self.members.values().any(|member| {
            member.id == id
                && (member.owned.contains(partition) || member.revoking.contains(partition))
        })
    }

    /// Who has what. Each member is told as a process of its own: a machine, in a simulation.
    pub(crate) fn seen(&self) -> groups::Group {
        let member = |(name, member): (&String, &MemberState)| groups::GroupMember {
            process: name.clone(),
            name: name.clone(),
            host: String::new(),
            partitions: member.owned.iter().cloned().collect(),
        };
        groups::Group {
            settled: self.members.values().all(|member| member.revoking.is_empty()),
            assignor: "range".to_owned(),
            members: self.members.iter().map(member).collect(),
        }
    }

    fn rebalance(&mut self) {
        let target = self.target();
        let taken: BTreeSet<TopicPartition> = self
            .members
            .values()
            .flat_map(|member| member.owned.iter().chain(&member.revoking).cloned())
            .collect();
        for (instance, member) in &mut self.members {
            let wanted = &target[instance];
            let leaving: Vec<_> = member.owned.difference(wanted).cloned().collect();
            if !leaving.is_empty() {
                member.owned.retain(|partition| wanted.contains(partition));
                member.revoking.extend(leaving.iter().cloned());
                member.told.push_back(Change::Revoked(leaving));
            }
            let coming: Vec<_> =
                wanted.iter().filter(|partition| !taken.contains(*partition)).cloned().collect();
            if !coming.is_empty() {
                member.owned.extend(coming.iter().cloned());
                member.told.push_back(Change::Assigned(coming));
            }
        }
    }

    /// Kafka's `RangeAssignor`: for each topic the members in order get ranges, the first ones
    /// one partition more.
    fn target(&self) -> BTreeMap<String, BTreeSet<TopicPartition>> {
        let mut target: BTreeMap<String, BTreeSet<TopicPartition>> =
            self.members.keys().map(|instance| (instance.clone(), BTreeSet::new())).collect();
        let topics: BTreeMap<&String, u32> = self
            .members
            .values()
            .flat_map(|member| member.topics.iter().map(|(topic, count)| (topic, *count)))
            .collect();
        for (topic, partitions) in topics {
            let readers: Vec<&String> = self
                .members
                .iter()
                .filter(|(_, member)| member.topics.contains_key(topic))
                .map(|(instance, _)| instance)
                .collect();
            let count = u32::try_from(readers.len()).unwrap_or(u32::MAX);
            let mut partition = 0;
            for (index, instance) in (0_u32..).zip(readers) {
                let share = partitions / count + u32::from(index < partitions % count);
                let range = partition..partition + share;
                partition += share;
                let set = target.get_mut(instance).expect("made from the same members");
                set.extend(range.map(|p| TopicPartition::new(topic.as_str(), p)));
            }
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(topic: &str, range: std::ops::Range<u32>) -> Vec<TopicPartition> {
        range.map(|partition| TopicPartition::new(topic, partition)).collect()
    }

    fn topics(names: &[&str]) -> BTreeMap<String, u32> {
        names.iter().map(|name| ((*name).to_owned(), 4)).collect()
    }

    #[test]
    fn co_partitioned_topics_are_assigned_alike() {
        let mut group = Group::default();
        group.join(1, "a", topics(&["x", "y"]));
        group.join(2, "b", topics(&["x", "y"]));
        let revoked = [partitions("x", 2..4), partitions("y", 2..4)].concat();
        let all = [partitions("x", 0..4), partitions("y", 0..4)].concat();
        let heard = group.poll(1).unwrap();
        assert_eq!(heard, [Change::Assigned(all), Change::Revoked(revoked.clone())]);
        assert_eq!(group.poll(2).unwrap(), [], "not before the first owner has let go");
        assert!(group.owns(1, &revoked[0]), "the last commit before letting go is valid");
        assert_eq!(group.poll(1).unwrap(), []);
        assert!(!group.owns(1, &revoked[0]));
        assert_eq!(group.poll(2).unwrap(), [Change::Assigned(revoked)]);
    }

    #[test]
    fn a_newer_member_of_the_same_name_fences_the_older() {
        let mut group = Group::default();
        group.join(1, "a", topics(&["x"]));
        group.join(2, "a", topics(&["x"]));
        assert_eq!(group.poll(1), None);
        assert_eq!(group.poll(2).unwrap(), [Change::Assigned(partitions("x", 0..4))]);
    }

    #[test]
    fn partitions_of_one_who_leaves_go_to_the_others() {
        let mut group = Group::default();
        group.join(1, "a", topics(&["x"]));
        group.join(2, "b", topics(&["x"]));
        group.poll(1);
        group.poll(1);
        group.poll(2);
        group.leave(2);
        assert_eq!(group.poll(1).unwrap(), [Change::Assigned(partitions("x", 2..4))]);
    }
}
