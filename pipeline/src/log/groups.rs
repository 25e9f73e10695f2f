//! Groups as they look from outside: who is in them, and what each member has.

use super::TopicPartition;

/// A group at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Nobody is coming or going: what the members have is what they will have.
    pub settled: bool,
    /// The name of the rule by which the group shares partitions out; empty if it does not tell.
    pub assignor: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its process, as `log.instance` names it; of others' programs the client's name.
    pub process: String,
    /// Its name within the group, the same after a restart: members are sorted by it.
    pub name: String,
    /// The address that it connects from.
    pub host: String,
    /// What it has.
    pub partitions: Vec<TopicPartition>,
}
