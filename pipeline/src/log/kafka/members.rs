//! Who is in a group, and what each member has, as the brokers tell of the classic protocol.
//!
//! What KIP-848 calls a group is not told here: librdkafka asks for it by a request of its own,
//! which rdkafka does not pass on.

use rdkafka::consumer::Consumer as _;

use super::super::{LogError, TopicPartition};
use super::shared::{Shared, locked};

/// What clients' names begin with.
pub(super) const CLIENT_PREFIX: &str = "millpond-";

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its process, as `log.instance` names it; of others' programs the client's name.
    pub process: String,
    /// The address that it connects from.
    pub host: String,
    /// What it has.
    pub partitions: Vec<TopicPartition>,
}

impl Shared {
    /// The members of `group`; none if there is no such group, or one of KIP-848.
    pub(super) fn members(&self, group: &str) -> Result<Vec<GroupMember>, LogError> {
        let observer = std::sync::Arc::clone(locked(&self.observer).consumer());
        let found = observer.fetch_group_list(Some(group), self.settings.request_timeout);
        let found = found.map_err(|error| self.failed("look at a group", &error))?;
        let members = found.groups().iter().flat_map(|group| group.members());
        let member = |member: &rdkafka::groups::GroupMemberInfo| GroupMember {
            process: member.client_id().trim_start_matches(CLIENT_PREFIX).to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: member.assignment().and_then(assignment).unwrap_or_default(),
        };
        Ok(members.map(member).collect())
    }
}

/// Reads an assignment of the consumers' protocol: version, then topics with their partitions.
/// `None` if it breaks off.
fn assignment(mut bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    let _version = take::<2>(&mut bytes)?;
    let mut all = Vec::new();
    for _ in 0..count(&mut bytes)? {
        let length = usize::from(u16::from_be_bytes(take(&mut bytes)?));
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..count(&mut bytes)? {
            all.push(TopicPartition::new(name, count(&mut bytes)?));
        }
    }
    all.sort();
    Some(all)
}

fn count(bytes: &mut &[u8]) -> Option<u32> {
    u32::try_from(i32::from_be_bytes(take(bytes)?)).ok()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_assignment_names_topics_and_partitions() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01b\0\0\0\x02\0\0\0\x04\0\0\0\x01\0\x02aa\0\0\0\0\xff\xff\xff\xff";
        let expected = [TopicPartition::new("b", 1), TopicPartition::new("b", 4)];
        assert_eq!(assignment(bytes).unwrap(), expected);
        for length in 0..bytes.len() - 4 {
            assert_eq!(assignment(&bytes[..length]), None, "it breaks off after {length} bytes");
        }
    }

    proptest! {
        /// Whoever has joined the group says what stands there.
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = assignment(&bytes);
        }
    }
}
