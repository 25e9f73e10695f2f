//! Control records: how far the sources were read when the data before them was written.
//! **Format**, version 1.
//!
//! The key is `0xFF` and the upstream task's partition (big-endian), which no text begins with.
//! The value is varints: version, number of entries, then for each entry source number,
//! partition, next offset, epoch, clock (zigzag), idle (0 or 1). The header
//! [`super::CONTROL_HEADER`] marks the record. What it says is a lower bound: a control record
//! that is late or lost is safe.

use crate::log::Position;
use crate::log::record::{put_signed, put_varint, take_signed, take_varint};

const VERSION: u64 = 1;
/// More entries than this are no control record of ours.
const ENTRIES_MAX: u64 = 1 << 20;

/// How far one source partition was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The source topic, as its place in the topology's list of source topics.
    pub source: u16,
    /// The partition there.
    pub partition: u32,
    /// The next offset.
    pub position: Position,
    /// The largest timestamp read; [`i64::MIN`] before the first.
    pub clock: i64,
    /// Caught up, and nothing new for the idle timeout: time need not wait for it.
    pub idle: bool,
}

/// What one upstream task says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// One entry for each source partition that reaches the task.
    pub entries: Vec<Progress>,
}

/// The key of the control records of upstream task `partition`.
pub fn key(partition: u32) -> [u8; 5] {
    let mut key = [0xff; 5];
    key[1..].copy_from_slice(&partition.to_be_bytes());
    key
}

/// The upstream task whose control records have this key.
pub fn parse_key(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.strip_prefix(&[0xff])?.try_into().ok()?))
}

impl Control {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.entries.len() * 20);
        put_varint(&mut out, VERSION);
        put_varint(&mut out, self.entries.len() as u64);
        for entry in &self.entries {
            put_varint(&mut out, entry.source.into());
            put_varint(&mut out, entry.partition.into());
            put_varint(&mut out, entry.position.offset);
            put_varint(&mut out, entry.position.epoch.into());
            put_signed(&mut out, entry.clock);
            put_varint(&mut out, entry.idle.into());
        }
        out
    }

    /// The same for results that lie up to `delay_ms` behind the clocks.
    #[must_use]
    pub fn behind(&self, delay_ms: i64) -> Self {
        let behind =
            |entry: &Progress| Progress { clock: entry.clock.saturating_sub(delay_ms), ..*entry };
        Self { entries: self.entries.iter().map(behind).collect() }
    }

    /// Reads a record's value; `None` if it is not one.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take_varint(bytes)? != VERSION {
            return None;
        }
        let count = take_varint(bytes)?;
        if count > ENTRIES_MAX {
            return None;
        }
        let entries = (0..count).map(|_| entry(bytes)).collect::<Option<_>>()?;
        bytes.is_empty().then_some(Self { entries })
    }
}

fn entry(bytes: &mut &[u8]) -> Option<Progress> {
    Some(Progress {
        source: u16::try_from(take_varint(bytes)?).ok()?,
        partition: u32::try_from(take_varint(bytes)?).ok()?,
        position: Position::new(take_varint(bytes)?, u32::try_from(take_varint(bytes)?).ok()?),
        clock: take_signed(bytes)?,
        idle: match take_varint(bytes)? {
            0 => false,
            1 => true,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn control_records_read_back(
            entries in prop::collection::vec(
                (any::<u16>(), any::<u32>(), any::<(u64, u32)>(), any::<i64>(), any::<bool>()), 0..9,
            ),
        ) {
            let entries = entries.into_iter().map(|(source, partition, (offset, epoch), clock, idle)| {
                Progress { source, partition, position: Position::new(offset, epoch), clock, idle }
            });
            let control = Control { entries: entries.collect() };
            prop_assert_eq!(Control::decode(&control.encode()), Some(control));
        }

        #[test]
        fn any_bytes_are_a_control_record_or_not(bytes: Vec<u8>) {
            let _ = Control::decode(&bytes);
            let _ = parse_key(&bytes);
        }
    }

    #[test]
    fn keys_read_back() {
        assert_eq!(parse_key(&key(77)), Some(77));
        assert_eq!(parse_key(b"card-1"), None);
    }
}
