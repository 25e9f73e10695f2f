//! Changes that are not in RocksDB yet.

use hashbrown::HashMap;

/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: usize = 80;

/// The last change of each key since a commit.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    changes: HashMap<Box<[u8]>, Option<Box<[u8]>>>,
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
        }
    }

    /// Takes back the change of `key`, as if there had been none.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if let Some(value) = self.changes.remove(key) {
            self.bytes -= key.len() + value.map_or(0, |value| value.len()) + ENTRY_BYTES;
        }
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
