//! Where a derived record comes from. **Format**, version 1.
//!
//! Varints: version, source number, partition, offset, source clock minus timestamp (zigzag). At
//! most 24 bytes for what occurs; none on changelogs.

use crate::log::record::{put_signed, put_varint, take_signed, take_varint};

const VERSION: u64 = 1;

/// The source record that a derived record was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source topic, as its place in the topology's list of source topics.
    pub source: u16,
    /// The partition there.
    pub partition: u32,
    /// The offset there.
    pub offset: u64,
    /// The largest timestamp read from that source partition up to and with this record.
    pub clock: i64,
}

impl Origin {
    /// Appends the header's value for a record with `timestamp`.
    pub fn encode(&self, timestamp: i64, out: &mut Vec<u8>) {
        put_varint(out, VERSION);
        put_varint(out, self.source.into());
        put_varint(out, self.partition.into());
        put_varint(out, self.offset);
        put_signed(out, self.clock.wrapping_sub(timestamp));
    }

    /// Reads the header's value of a record with `timestamp`; `None` if it is not one.
    pub fn decode(mut bytes: &[u8], timestamp: i64) -> Option<Self> {
        let bytes = &mut bytes;
        if take_varint(bytes)? != VERSION {
            return None;
        }
        let origin = Self {
            source: u16::try_from(take_varint(bytes)?).ok()?,
            partition: u32::try_from(take_varint(bytes)?).ok()?,
            offset: take_varint(bytes)?,
            clock: timestamp.wrapping_add(take_signed(bytes)?),
        };
        bytes.is_empty().then_some(origin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn origins_read_back(source: u16, partition: u32, offset: u64, clock: i64, at: i64) {
            let origin = Origin { source, partition, offset, clock };
            let mut bytes = Vec::new();
            origin.encode(at, &mut bytes);
            prop_assert_eq!(Origin::decode(&bytes, at), Some(origin));
            prop_assert_eq!(Origin::decode(&bytes[..bytes.len() - 1], at), None);
        }

        #[test]
        fn any_bytes_are_an_origin_or_not(bytes: Vec<u8>, at: i64) {
            let _ = Origin::decode(&bytes, at);
        }
    }

    #[test]
    fn a_usual_origin_is_short() {
        let origin = Origin { source: 3, partition: 63, offset: 1 << 40, clock: 1_800_000_000_000 };
        let mut bytes = Vec::new();
        origin.encode(origin.clock - 86_400_000, &mut bytes);
        assert!(bytes.len() <= 24, "{} bytes", bytes.len());
    }
}
