//! Where the embedded log keeps what: keys of both spaces, and values with their checksum.
//! **Format**.
//!
//! `Meta`: `e` the epoch of the latest opening; `i` the log's id; `t/<topic>` a topic; `p/<id><partition>` a
//! partition's bounds; `s/<id><partition><epoch>` the offset at which an epoch starts in it;
//! `o/<group>\0<topic>\0<partition>` a committed position. `Batches`:
//! `<id><partition><base offset>`. Numbers in keys are big-endian, so that keys sort as numbers.
//! Every value of `Meta` ends with the CRC32C of its key and the bytes before it; batches carry
//! their own checksums.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::storage::{Op, Space};
use super::super::{Position, TopicPartition};

pub(crate) const EPOCH: &[u8] = b"e";
pub(crate) const ID: &[u8] = b"i";
pub(crate) const TOPICS: (&[u8], &[u8]) = (b"t/", b"t0");
/// All batches: no topic has the highest number.
pub(crate) const BATCHES: (&[u8], &[u8]) = (&[], &[0xff; 16]);
pub(crate) const OFFSETS: (&[u8], &[u8]) = (b"o/", b"o0");

pub(crate) fn topic(name: &str) -> Vec<u8> {
    [b"t/", name.as_bytes()].concat()
}

pub(crate) fn partition(id: u32, partition: u32) -> Vec<u8> {
    [&b"p/"[..], &id.to_be_bytes(), &partition.to_be_bytes()].concat()
}

pub(crate) fn epoch_start(id: u32, partition: u32, epoch: u32) -> Vec<u8> {
    [&b"s/"[..], &id.to_be_bytes(), &partition.to_be_bytes(), &epoch.to_be_bytes()].concat()
}

/// The keys of all epoch starts of a partition.
pub(crate) fn epoch_starts(id: u32, partition: u32) -> (Vec<u8>, Vec<u8>) {
    (epoch_start(id, partition, 0), epoch_start(id, partition, u32::MAX))
}

/// The epoch in a key that [`epoch_start`] made.
pub(crate) fn epoch_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*key.last_chunk()?))
}

pub(crate) fn offset(group: &str, at: &TopicPartition) -> Vec<u8> {
    let name = [b"o/", group.as_bytes(), b"\0", at.topic.as_bytes(), b"\0"].concat();
    [&name[..], &at.partition.to_be_bytes()].concat()
}

/// Group and partition of a key that [`offset`] made.
pub(crate) fn parse_offset(key: &[u8]) -> Option<(String, TopicPartition)> {
    let (names, partition) = key.strip_prefix(b"o/")?.split_last_chunk::<4>()?;
    let names = std::str::from_utf8(names).ok()?;
    // A topic's name has no zero byte; a group's may.
    let (group, topic) = names.strip_suffix('\0')?.rsplit_once('\0')?;
    Some((group.to_owned(), TopicPartition::new(topic, u32::from_be_bytes(*partition))))
}

pub(crate) fn batch(id: u32, partition: u32, base_offset: u64) -> Vec<u8> {
    [&id.to_be_bytes()[..], &partition.to_be_bytes(), &base_offset.to_be_bytes()].concat()
}

/// The base offset in a key that [`batch`] made for this partition.
pub(crate) fn base_offset(id: u32, partition: u32, key: &[u8]) -> Option<u64> {
    let (prefix, offset) = key.split_last_chunk::<8>()?;
    (prefix == &batch(id, partition, 0)[..8]).then_some(u64::from_be_bytes(*offset))
}

/// A change that stores `value` as JSON with its checksum.
pub(crate) fn put<T: Serialize>(key: Vec<u8>, value: &T) -> Op {
    let mut bytes = serde_json::to_vec(value).expect("plain structs of numbers and texts");
    bytes.extend_from_slice(&checksum(&key, &bytes).to_le_bytes());
    Op::Put(Space::Meta, key, bytes)
}

/// Reads what [`put`] stored.
///
/// # Errors
/// A text that names the key, if the bytes are not what was stored.
pub(crate) fn read<T: DeserializeOwned>(key: &[u8], stored: &[u8]) -> Result<T, String> {
    let damaged = || format!("entry `{}` does not match its checksum", key.escape_ascii());
    let (bytes, crc) = stored.split_last_chunk::<4>().ok_or_else(damaged)?;
    if u32::from_le_bytes(*crc) != checksum(key, bytes) {
        return Err(damaged());
    }
    serde_json::from_slice(bytes).map_err(|error| format!("{}: {error}", damaged()))
}

fn checksum(key: &[u8], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), bytes)
}

/// A change that stores a committed position.
pub(crate) fn put_offset(group: &str, at: &TopicPartition, position: Position) -> Op {
    put(offset(group, at), &position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        let at = TopicPartition::new("a.b", 3);
        assert_eq!(parse_offset(&offset("g-1", &at)), Some(("g-1".into(), at)));
        assert_eq!(epoch_of(&epoch_start(1, 2, 77)), Some(77));
        assert_eq!(base_offset(1, 2, &batch(1, 2, 99)), Some(99));
        assert_eq!(base_offset(1, 3, &batch(1, 2, 99)), None);
    }

    #[test]
    fn every_changed_byte_of_a_value_is_noticed() {
        let Op::Put(_, key, value) = put(topic("x"), &Position::new(123, 4)) else {
            unreachable!("put puts")
        };
        assert_eq!(read(&key, &value), Ok(Position::new(123, 4)));
        for index in 0..value.len() {
            let mut bad = value.clone();
            bad[index] ^= 0x20;
            assert!(read::<Position>(&key, &bad).is_err(), "byte {index}");
        }
        assert!(read::<Position>(b"t/other", &value).is_err(), "a value under another key");
    }
}
