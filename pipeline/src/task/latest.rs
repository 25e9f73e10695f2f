//! Records of which only the last of each key is written, in the order of their last change.
//!
//! They lie one after the other in one buffer that is used again for each commit: an update costs
//! a copy of its bytes and no allocation.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::context::Outgoing;

/// What a record takes beside its bytes: itself, and its place in the table.
const RECORD_BYTES: usize = size_of::<Kept>() + 8;
/// A buffer that has grown beyond this is given back after the commit.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// The last record of each key since the last commit.
#[derive(Default)]
pub(super) struct Latest {
    bytes: Vec<u8>,
    records: Vec<Kept>,
    /// The place of each key's last record in `records`.
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

/// The place of a record that another one has replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced(usize);

/// A record whose key, value and headers lie in this order in the buffer.
struct Kept {
    hash: u64,
    partition: u32,
    timestamp: i64,
    at: usize,
    key_length: usize,
    /// `None` is a tombstone.
    value_length: Option<usize>,
    headers_length: usize,
    /// A later record has the same key.
    superseded: bool,
}

impl Kept {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.at..self.at + self.key_length]
    }
}

impl Latest {
    /// Keeps `record`, whose key is `key`, in the place of the one that the key had, which is the
    /// answer.
    pub(super) fn put(
        &mut self,
        partition: u32,
        (key, record): (&[u8], Outgoing<'_>),
        headers: &[u8],
    ) -> Option<Replaced> {
        let Self { bytes, records, places, hasher } = self;
        let place = records.len();
        let hash = hasher.hash_one(key);
        let replaced = match places.find_mut(hash, |place| records[*place].key(bytes) == key) {
            Some(old) => {
                records[*old].superseded = true;
                Some(Replaced(std::mem::replace(old, place)))
            }
            None => {
                places.insert_unique(hash, place, |place| records[*place].hash);
                None
            }
        };
        records.push(Kept {
            hash,
            partition,
            timestamp: record.timestamp,
            at: bytes.len(),
            key_length: key.len(),
            value_length: record.value.map(<[u8]>::len),
            headers_length: headers.len(),
            superseded: false,
        });
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(record.value.unwrap_or_default());
        bytes.extend_from_slice(headers);
        replaced
    }

    /// Takes back the last [`Self::put`], which replaced `replaced`.
    pub(super) fn take_back(&mut self, replaced: Option<Replaced>) {
        let last = self.records.pop().expect("the last one put is there");
        let place = self.records.len();
        let entry = self.places.find_entry(last.hash, |there| *there == place);
        let mut entry = entry.expect("each key has a place");
        match replaced {
            Some(Replaced(old)) => {
                *entry.get_mut() = old;
                self.records[old].superseded = false;
            }
            None => drop(entry.remove()),
        }
        self.bytes.truncate(last.at);
    }

    /// The records with their partitions and headers.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, Outgoing<'_>, &[u8])> {
        self.records.iter().filter(|kept| !kept.superseded).map(|kept| {
            let (key, rest) = self.bytes[kept.at..].split_at(kept.key_length);
            let (value, rest) = rest.split_at(kept.value_length.unwrap_or(0));
            let value = kept.value_length.map(|_| value);
            let record = Outgoing { timestamp: kept.timestamp, key: Some(key), value };
            (kept.partition, record, &rest[..kept.headers_length])
        })
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        if self.bytes() > KEPT_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes.clear();
        self.records.clear();
        self.places.clear();
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + self.records.len() * RECORD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(
        latest: &mut Latest,
        key: &str,
        value: Option<&str>,
        timestamp: i64,
    ) -> Option<Replaced> {
        let value = value.map(str::as_bytes);
        let record = Outgoing { timestamp, key: Some(key.as_bytes()), value };
        latest.put(3, (key.as_bytes(), record), key.as_bytes())
    }

    type Shown<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, i64);

    fn all(latest: &Latest) -> Vec<Shown<'_>> {
        let records = latest.records().inspect(|(partition, record, headers)| {
            assert_eq!((*partition, Some(*headers)), (3, record.key));
        });
        records.map(|(_, record, _)| (record.key, record.value, record.timestamp)).collect()
    }

    #[test]
    fn the_last_record_of_each_key_is_kept_in_the_order_of_the_last_changes() {
        let mut latest = Latest::default();
        for (key, value, at) in [
            ("a", Some("one"), 1),
            ("b", Some("two"), 2),
            ("a", Some("a longer one"), 3),
            ("c", Some(""), 4),
            ("b", None, 5),
        ] {
            put(&mut latest, key, value, at);
        }
        let expected = [
            (Some(&b"a"[..]), Some(&b"a longer one"[..]), 3),
            (Some(b"c"), Some(b""), 4),
            (Some(b"b"), None, 5),
        ];
        assert_eq!(all(&latest), expected);
        let bytes = latest.bytes();
        let replaced = [
            put(&mut latest, "d", Some("new"), 6),
            put(&mut latest, "a", Some("again"), 7),
            put(&mut latest, "a", None, 8),
        ];
        for replaced in replaced.into_iter().rev() {
            latest.take_back(replaced);
        }
        assert_eq!((all(&latest).as_slice(), latest.bytes()), (&expected[..], bytes));
        put(&mut latest, "a", None, 9);
        assert_eq!(all(&latest)[2], (Some(&b"a"[..]), None, 9));
        latest.clear();
        assert_eq!((all(&latest).len(), latest.bytes()), (0, 0));
        put(&mut latest, "a", Some("again"), 6);
        assert_eq!(all(&latest), [(Some(&b"a"[..]), Some(&b"again"[..]), 6)]);
    }
}
