//! Reading a store by range: what RocksDB has, under the changes that are not there yet.
//!
//! Everything is merged on the way, in either direction, and shown to the caller where it lies:
//! a scan costs a seek and what it finds, and copies nothing.

use std::iter::Peekable;

use super::overlay::Changed;
use super::{Overlay, StateDb, StateError, StoreId};

/// In which order entries are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key on.
    Ascending,
    /// From the largest key on.
    Descending,
}

impl Order {
    fn is_before(self, key: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Ascending => key < other,
            Self::Descending => key > other,
        }
    }
}

/// A range of keys, from the first up to, not including, the second.
pub type KeyRange<'a> = (&'a [u8], &'a [u8]);

/// Takes a key and its value; says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

/// The first key behind all that begin with `prefix`: with it as the end of a range, and `prefix`
/// as the start, a scan shows what begins with `prefix`.
///
/// # Panics
/// When `prefix` has no byte below `0xff`: no key of a store begins like that.
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff);
    let last = last.expect("a key begins with its kind, which is a small number");
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    after
}

/// Shows the entries of `store` in `range` to `visit`. `older` and `newer` are changes on top of
/// the database.
pub(super) fn scan(
    (db, store): (&StateDb, StoreId),
    (newer, older): (&Overlay, Option<&Overlay>),
    range: KeyRange<'_>,
    order: Order,
    visit: &mut Visit<'_>,
) -> Result<(), StateError> {
    if range.0 >= range.1 {
        return Ok(());
    }
    let (newer, older) = (newer.range(range), older.into_iter().flat_map(|o| o.range(range)));
    match order {
        Order::Ascending => {
            show_under((db, store), Merged::new(newer, older, order), range, order, visit)
        }
        Order::Descending => {
            let changes = Merged::new(newer.rev(), older.rev(), order);
            show_under((db, store), changes, range, order, visit)
        }
    }
}

/// Shows the database's entries under `changes`.
fn show_under<'a>(
    (db, store): (&StateDb, StoreId),
    changes: impl Iterator<Item = Changed<'a>>,
    range: KeyRange<'_>,
    order: Order,
    visit: &mut Visit<'_>,
) -> Result<(), StateError> {
    let mut changes = changes.peekable();
    let mut shown = |key: &[u8], value: Option<&[u8]>| value.is_none_or(|value| visit(key, value));
    let mut goes_on = true;
    db.scan(store, range, order, &mut |key, value| {
        while goes_on
            && let Some((changed, change)) = changes.next_if(|(it, _)| order.is_before(it, key))
        {
            goes_on = shown(changed, change);
        }
        if goes_on {
            let change = changes.next_if(|(changed, _)| *changed == key);
            goes_on = shown(key, change.map_or(Some(value), |(_, change)| change));
        }
        goes_on
    })?;
    while goes_on && let Some((key, change)) = changes.next() {
        goes_on = shown(key, change);
    }
    Ok(())
}

/// Two layers of changes as one, in order; the newer change of a key hides the older one.
struct Merged<N: Iterator, O: Iterator> {
    newer: Peekable<N>,
    older: Peekable<O>,
    order: Order,
}

impl<N: Iterator, O: Iterator> Merged<N, O> {
    fn new(newer: N, older: O, order: Order) -> Self {
        Self { newer: newer.peekable(), older: older.peekable(), order }
    }
}

impl<'a, N, O> Iterator for Merged<N, O>
where
    N: Iterator<Item = Changed<'a>>,
    O: Iterator<Item = Changed<'a>>,
{
    type Item = Changed<'a>;

    fn next(&mut self) -> Option<Changed<'a>> {
        let Some((newer, _)) = self.newer.peek() else { return self.older.next() };
        if let Some(older) = self.older.next_if(|(older, _)| self.order.is_before(older, newer)) {
            return Some(older);
        }
        self.older.next_if(|(older, _)| older == newer);
        self.newer.next()
    }
}

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn the_end_of_a_prefix_is_behind_everything_that_begins_with_it() {
        assert_eq!(after_prefix(b"\x01ab"), b"\x01ac");
        assert_eq!(after_prefix(&[1, 0xff, 0xff]), [2]);
        assert!(after_prefix(&[1, 7]) > vec![1, 7, 0xff, 0xff, 0xff]);
    }
}
