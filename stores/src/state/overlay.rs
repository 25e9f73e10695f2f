//! Changes that are not in RocksDB yet.
//!
//! A hash map finds the change of a key. The first range that is read adds an ordered index beside
//! it, so a store that is never read by range does not pay for order.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ops::Bound;

use hashbrown::HashMap;

use super::scan::KeyRange;

/// A key with its last change: `None` is a removal.
pub(super) type Changed<'a> = (&'a [u8], Option<&'a [u8]>);

/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: usize = 80;

/// The last change of each key since a commit.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    changes: HashMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// The keys in order: from the first range that was read on.
    index: OnceCell<BTreeSet<Box<[u8]>>>,
    bytes: usize,
}

impl Overlay {
    /// The last change of `key`: `Some(None)` is a removal, `None` is no change.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.changes.get(key).map(Option::as_deref)
    }

    /// Sets `key`, or removes it.
    pub fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let length = value.map_or(0, <[u8]>::len);
        if let Some(old) = self.changes.get_mut(key) {
            self.bytes = self.bytes - old.as_ref().map_or(0, |old| old.len()) + length;
            *old = value.map(Box::from);
        } else {
            self.bytes += key.len() + length + ENTRY_BYTES;
            self.changes.insert(key.into(), value.map(Box::from));
            if let Some(index) = self.index.get_mut() {
                self.bytes += key.len() + ENTRY_BYTES;
                index.insert(key.into());
            }
        }
    }

    /// Takes back the change of `key`, as if there had been none.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if let Some(value) = self.changes.remove(key) {
            self.bytes -= key.len() + value.map_or(0, |value| value.len()) + ENTRY_BYTES;
            if let Some(index) = self.index.get_mut() {
                self.bytes = self.bytes.saturating_sub(key.len() + ENTRY_BYTES);
                index.remove(key);
            }
        }
    }

    /// The changes of the keys in `range`, in order.
    pub(super) fn range<'a>(
        &'a self,
        (from, to): KeyRange<'_>,
    ) -> impl DoubleEndedIterator<Item = Changed<'a>> {
        // An index of nothing is not begun; and a B-tree does not take an end before the start.
        let keys = (!self.changes.is_empty() && from < to).then(|| {
            let index = self.index.get_or_init(|| self.changes.keys().cloned().collect());
            index.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
        });
        keys.into_iter().flatten().map(|key| (key.as_ref(), self.changes[key].as_deref()))
    }

    /// All changes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (key.as_ref(), value.as_deref()))
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
