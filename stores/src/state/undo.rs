//! What a record has changed in a store, so that it can be taken back.
//!
//! Only the changes since [`Undo::clear`] are known: a record that is handled to its end forgets
//! them. The bytes lie in one buffer that is used again and again.

/// Changes in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Undo {
    bytes: Vec<u8>,
    changes: Vec<Change>,
}

/// A key, and behind it in the buffer what the overlay said of it before.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: usize,
    key_length: usize,
    before: Before,
}

#[derive(Clone, Copy, Debug)]
enum Before {
    Unchanged,
    Removed,
    Value(usize),
}

impl Undo {
    /// Forgets all changes: they stay.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.changes.clear();
    }

    /// Notes that `key` is about to be changed, and what the overlay says of it.
    pub(super) fn note(&mut self, key: &[u8], before: Option<Option<&[u8]>>) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let before = match before {
            None => Before::Unchanged,
            Some(None) => Before::Removed,
            Some(Some(value)) => {
                self.bytes.extend_from_slice(value);
                Before::Value(value.len())
            }
        };
        self.changes.push(Change { at, key_length: key.len(), before });
    }

    /// How many changes there are.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Forgets all changes but the first `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        if let Some(first) = self.changes.get(length) {
            self.bytes.truncate(first.at);
            self.changes.truncate(length);
        }
    }

    /// The changes behind the first `mark`, the last one first: key, and what the overlay said of
    /// it before.
    pub(super) fn backwards_to(
        &self,
        mark: usize,
    ) -> impl Iterator<Item = (&[u8], Option<Option<&[u8]>>)> {
        self.changes[mark..].iter().rev().map(|change| {
            let (key, rest) = self.bytes[change.at..].split_at(change.key_length);
            let before = match change.before {
                Before::Unchanged => None,
                Before::Removed => Some(None),
                Before::Value(length) => Some(Some(&rest[..length])),
            };
            (key, before)
        })
    }
}
