//! Changes that are not in RocksDB yet.
//!
//! Keys and values lie one after the other in one buffer; a hash table finds the last change of a
//! key. The first range that is read adds an ordered index beside it, so a store that is never
//! read by range does not pay for order.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use hashbrown::HashTable;

use super::scan::KeyRange;

/// What an entry takes beside its bytes: itself, and its place in the table.
const ENTRY_BYTES: usize = size_of::<Entry>() + 8;
/// What a key takes in the index beside its bytes.
const INDEX_BYTES: usize = 48;

/// A key with its last change: `None` is a removal.
pub(super) type Changed<'a> = (&'a [u8], Option<&'a [u8]>);

/// A key with its hash, which is the same in all overlays of a store: it is made once for a look
/// through all of them.
#[derive(Clone, Copy)]
pub(super) struct Hashed<'a> {
    pub(super) key: &'a [u8],
    pub(super) hash: u64,
}

/// The last change of each key since a commit.
#[derive(Debug, Default)]
pub struct Overlay {
    bytes: Vec<u8>,
    /// In the order in which the keys were changed first.
    entries: Vec<Entry>,
    /// Places in `entries`, by the hash of the key.
    table: HashTable<usize>,
    /// Places in `entries`, by key: from the first range that was read on.
    index: OnceCell<BTreeMap<Box<[u8]>, usize>>,
}

/// Where a key and its value lie.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    key: Span,
    change: Change,
    /// What the value may grow to without moving, in bytes.
    room: usize,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// It was taken back.
    Nothing,
    Removal,
    Value(Span),
}

#[derive(Clone, Copy, Debug)]
struct Span {
    at: usize,
    length: usize,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at..self.at + self.length]
    }
}

impl Overlay {
    /// No changes yet, with room for as many as `before` has.
    pub(super) fn like(before: &Self) -> Self {
        Self {
            bytes: Vec::with_capacity(before.bytes.len()),
            entries: Vec::with_capacity(before.entries.len()),
            table: HashTable::with_capacity(before.entries.len()),
            ..Self::default()
        }
    }

    /// The last change of `key`: `Some(None)` is a removal, `None` is no change.
    pub(super) fn get(&self, key: Hashed<'_>) -> Option<Option<&[u8]>> {
        self.change(self.find(key)?)
    }

    /// Sets `key`, or removes it.
    pub(super) fn set(&mut self, key: Hashed<'_>, value: Option<&[u8]>) {
        let place = self.find(key).unwrap_or_else(|| self.add(key));
        let Entry { change: old, room, .. } = self.entries[place];
        self.entries[place].change = match (value, old) {
            (None, _) => Change::Removal,
            (Some(value), Change::Value(Span { at, .. })) if value.len() <= room => {
                self.bytes[at..at + value.len()].copy_from_slice(value);
                Change::Value(Span { at, length: value.len() })
            }
            (Some(value), _) => {
                // A value that has grown once will grow again: a count gets a digit, a list an
                // element. What it leaves behind is counted in `Self::bytes`.
                let spare = if let Change::Value(_) = old { value.len() / 2 } else { 0 };
                let at = self.bytes.len();
                self.bytes.extend_from_slice(value);
                self.bytes.resize(at + value.len() + spare, 0);
                self.entries[place].room = value.len() + spare;
                Change::Value(Span { at, length: value.len() })
            }
        };
    }

    /// Takes back the change of `key`, as if there had been none.
    pub(super) fn unset(&mut self, key: Hashed<'_>) {
        if let Some(place) = self.find(key) {
            self.entries[place].change = Change::Nothing;
        }
    }

    /// All changes, in the order in which the keys were changed first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        (0..self.entries.len()).filter_map(|place| Some((self.key(place), self.change(place)?)))
    }

    /// The changes of the keys in `range`, in order of their keys.
    pub(super) fn range<'a>(
        &'a self,
        range: KeyRange<'_>,
    ) -> impl DoubleEndedIterator<Item = Changed<'a>> {
        let places = self.index_range(range);
        places.filter_map(|(key, place)| Some((key.as_ref(), self.change(*place)?)))
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let indexed = self.index.get().map_or(0, |index| {
            // The keys are there twice; their share of the bytes is not known without a walk.
            index.len() * INDEX_BYTES + self.bytes.len() / 2
        });
        self.bytes.len() + self.entries.len() * ENTRY_BYTES + indexed
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.change, Change::Nothing))
    }

    fn find(&self, key: Hashed<'_>) -> Option<usize> {
        self.table.find(key.hash, |place| self.key(*place) == key.key).copied()
    }

    /// Adds a key that is not there yet.
    fn add(&mut self, Hashed { key, hash }: Hashed<'_>) -> usize {
        let Self { bytes, entries, table, index, .. } = self;
        let place = entries.len();
        let span = Span { at: bytes.len(), length: key.len() };
        bytes.extend_from_slice(key);
        entries.push(Entry { hash, key: span, change: Change::Nothing, room: 0 });
        table.insert_unique(hash, place, |place| entries[*place].hash);
        if let Some(index) = index.get_mut() {
            index.insert(key.into(), place);
        }
        place
    }

    fn index_range<'a>(
        &'a self,
        (from, to): KeyRange<'_>,
    ) -> impl DoubleEndedIterator<Item = (&'a Box<[u8]>, &'a usize)> {
        // An index of nothing is not begun; and a B-tree does not take an end before the start.
        let places = (!self.entries.is_empty() && from < to).then(|| {
            let bounds = (Bound::Included(from), Bound::Excluded(to));
            self.index().range::<[u8], _>(bounds)
        });
        places.into_iter().flatten()
    }

    fn index(&self) -> &BTreeMap<Box<[u8]>, usize> {
        self.index.get_or_init(|| {
            (0..self.entries.len()).map(|place| (self.key(place).into(), place)).collect()
        })
    }

    fn key(&self, place: usize) -> &[u8] {
        self.entries[place].key.of(&self.bytes)
    }

    fn change(&self, place: usize) -> Option<Option<&[u8]>> {
        match self.entries[place].change {
            Change::Nothing => None,
            Change::Removal => Some(None),
            Change::Value(span) => Some(Some(span.of(&self.bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All keys have one hash: the table has to compare them.
    fn hashed(key: &[u8]) -> Hashed<'_> {
        Hashed { key, hash: 17 }
    }

    #[test]
    fn values_that_grow_shrink_and_go_are_the_last_ones_set() {
        let mut overlay = Overlay::default();
        for length in [3, 1, 9, 10, 14, 0, 200, 2] {
            let value = vec![length; usize::from(length)];
            overlay.set(hashed(b"key"), Some(&value));
            overlay.set(hashed(b"other"), Some(b"same"));
            assert_eq!(overlay.get(hashed(b"key")), Some(Some(&value[..])), "of {length} bytes");
        }
        overlay.set(hashed(b"key"), None);
        assert_eq!(overlay.get(hashed(b"key")), Some(None));
        overlay.unset(hashed(b"key"));
        assert_eq!((overlay.get(hashed(b"key")), overlay.iter().count()), (None, 1));
        overlay.set(hashed(b"key"), Some(b"back"));
        let all: Vec<_> = overlay.iter().collect();
        assert_eq!(all, [(&b"key"[..], Some(&b"back"[..])), (b"other", Some(b"same"))]);
        assert_eq!(overlay.get(hashed(b"none")), None);
        assert!(!overlay.is_empty());
    }

    #[test]
    fn a_value_that_grows_by_bytes_does_not_fill_the_memory() {
        let mut overlay = Overlay::default();
        for length in 1..2_000 {
            overlay.set(hashed(b"list"), Some(&vec![7; length]));
        }
        assert!(overlay.bytes() < 12_000, "{} bytes for 2,000", overlay.bytes());
    }

    #[test]
    fn ranges_follow_what_is_set_after_the_first_one() {
        let mut overlay = Overlay::default();
        let keys = |overlay: &Overlay, from: u8, to: u8| -> Vec<u8> {
            overlay.range((&[from], &[to])).map(|(key, _)| key[0]).collect()
        };
        assert!(keys(&overlay, 0, 9).is_empty());
        for key in [5, 1, 7] {
            overlay.set(hashed(&[key]), Some(b""));
        }
        assert_eq!(keys(&overlay, 0, 9), [1, 5, 7]);
        overlay.set(hashed(&[3]), None);
        assert_eq!(keys(&overlay, 3, 7), [3, 5]);
        assert!(keys(&overlay, 7, 3).is_empty());
        let back: Vec<_> = overlay.range((&[0], &[9])).rev().map(|(key, _)| key[0]).collect();
        assert_eq!(back, [7, 5, 3, 1]);
    }
}
