//! Who is in a group, and what each member has, as the brokers tell of the classic protocol.
//!
//! What KIP-848 calls a group is not told here: librdkafka asks for it by a request of its own,
//! which rdkafka does not pass on.

use rdkafka::consumer::Consumer as _;

use super::super::{Group, GroupMember, LogError, TopicPartition};
use super::shared::{Shared, locked};

/// What clients' names begin with.
pub(super) const CLIENT_PREFIX: &str = "millpond-";

/// What the brokers call a group in which nobody comes or goes.
const SETTLED: &str = "Stable";

impl Shared {
    /// What the brokers tell of `group`: nothing if there is no such group, or one of KIP-848.
    pub(super) fn group(&self, group: &str) -> Result<Group, LogError> {
        let observer = std::sync::Arc::clone(locked(&self.observer).consumer());
        let found = observer.fetch_group_list(Some(group), self.settings.request_timeout);
        let found = found.map_err(|error| self.failed("look at a group", &error))?;
        let Some(group) = found.groups().first() else { return Ok(Group::default()) };
        let member = |member: &rdkafka::groups::GroupMemberInfo| GroupMember {
            process: member.client_id().trim_start_matches(CLIENT_PREFIX).to_owned(),
            name: static_name(member.id()).to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: member.assignment().and_then(assignment).unwrap_or_default(),
        };
        Ok(Group {
            settled: group.state() == SETTLED,
            assignor: group.protocol().to_owned(),
            members: group.members().iter().map(member).collect(),
        })
    }
}

/// The name of a static member: the brokers make its id of that and a UUID. librdkafka does not
/// pass the name itself on here.
fn static_name(id: &str) -> &str {
    const UUID: usize = 36;
    let split = id.len().checked_sub(UUID + 1).and_then(|at| id.split_at_checked(at));
    match split {
        Some((name, rest)) if rest.starts_with('-') && rest.matches('-').count() == 5 => name,
        _ => id,
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

    #[test]
    fn a_static_members_id_begins_with_its_name() {
        let uuid = "1d0f3a52-64c9-4c8e-9a44-2f3f3a6f8a11";
        assert_eq!(static_name(&format!("one-orders-0-{uuid}")), "one-orders-0");
        assert_eq!(static_name(&format!("é-{uuid}")), "é");
        for strange in ["", "x", uuid, "rdkafka-2f3f3a6f8a1164c94c8e9a442f3f3a6f8a11"] {
            assert_eq!(static_name(strange), strange);
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
