//! `top`: the best rows of a table for each group, a leaderboard.
//!
//! Each partition keeps all of its rows in order of rank and hands on those that are among its own
//! best; the few of all partitions meet in one place, which keeps the best of them. So the rows
//! that go through the repartition are those that matter, and a row that falls or is deleted makes
//! room for the next one, exactly.

use std::collections::BTreeSet;
use std::sync::Arc;

use stores::state::Order;

use super::kind;
use super::stored::Stored;
use crate::aggregates::Ranked;
use crate::codec::{CodecError, Serde, custom};
use crate::dsl::Table;
use crate::key::Key;
use crate::log::record::{put_signed, put_varint, take_signed, take_slice, take_varint};
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

/// A row's place: the higher rank first, of equal ones the smaller item by its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The rank with all bits turned: ascending order is that of descending ranks.
    turned: i64,
    item: Vec<u8>,
}

impl Place {
    fn new(rank: i64, item: &impl Key) -> Self {
        let mut bytes = Vec::new();
        item.encode(&mut bytes);
        Self { turned: !rank, item: bytes }
    }

    /// The key of the row in the order of its group: kind, group with its length, rank, item.
    fn index_key(&self, group: &[u8]) -> Vec<u8> {
        let mut key = group_prefix(group);
        key.extend_from_slice(&(self.turned ^ i64::MIN).to_be_bytes());
        key.extend_from_slice(&self.item);
        key
    }

    fn from_index_key(key: &[u8], prefix: usize) -> Option<Self> {
        let (turned, item) = key.get(prefix..)?.split_first_chunk::<8>()?;
        Some(Self { turned: i64::from_be_bytes(*turned) ^ i64::MIN, item: item.to_vec() })
    }
}

fn group_prefix(group: &[u8]) -> Vec<u8> {
    let length = u32::try_from(group.len()).expect("a record's key is shorter than 4 GiB");
    let mut key = vec![kind::ENTRY];
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(group);
    key
}

/// The first key behind all that begin with `prefix`, which begins with a kind.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    while after.last() == Some(&u8::MAX) {
        after.pop();
    }
    *after.last_mut().expect("a kind is less than 255") += 1;
    after
}

type Select<K, V, G, T> = dyn Fn(&K, &V) -> (G, i64, T) + Send + Sync;

/// The groups whose best rows are held in memory: as many as change at a time, such as days.
const HELD_MAX: usize = 64;

/// Hands on the rows that come into or leave the best of this partition.
struct LocalTop<K, V, G, T> {
    node: String,
    store: StoreRef,
    n: usize,
    select: Arc<Select<K, V, G, T>>,
    /// The best rows of some groups by the groups' bytes, the group that was used last in front. It
    /// is a copy of what the store has: most rows are not among them, and change without a read.
    held: Vec<(Vec<u8>, Vec<Place>)>,
    next: Next<G, Change<Place>>,
}

impl<K, V, G: Key, T: Key> Operator<K, Change<V>> for LocalTop<K, V, G, T> {
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value: Change { new, old }, timestamp } = record;
        let place = |value: &V| {
            let (group, rank, item) = (self.select)(&key, value);
            let mut bytes = Vec::new();
            let grouped = group.encode(&mut bytes);
            grouped.then(|| (group, bytes, Place::new(rank, &item)))
        };
        let (old, new) = (old.as_ref().and_then(place), new.as_ref().and_then(place));
        match (old, new) {
            (Some(old), Some(new)) if old.1 == new.1 => {
                let (group, bytes, new) = new;
                self.update(&group, &bytes, (Some(old.2), Some(new), timestamp), ctx)
            }
            (old, new) => {
                if let Some((group, bytes, old)) = old {
                    self.update(&group, &bytes, (Some(old), None, timestamp), ctx)?;
                }
                let Some((group, bytes, new)) = new else { return Ok(()) };
                self.update(&group, &bytes, (None, Some(new), timestamp), ctx)
            }
        }
    }
}

impl<K, V, G: Key, T> LocalTop<K, V, G, T> {
    /// Changes a row of `group`, and hands on what that changes among its best.
    fn update(
        &mut self,
        group: &G,
        bytes: &[u8],
        (old, new, timestamp): (Option<Place>, Option<Place>, i64),
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if old == new {
            return Ok(());
        }
        self.hold(bytes, ctx)?;
        if let Some(old) = &old {
            ctx.delete(self.store, &old.index_key(bytes));
        }
        if let Some(new) = &new {
            ctx.put(self.store, &new.index_key(bytes), &[1]);
        }
        let before = &self.held[0].1;
        let is_whole = before.len() < self.n;
        let beyond = |place: &Place| !is_whole && before.last().is_none_or(|last| place > last);
        if old.as_ref().is_none_or(beyond) && new.as_ref().is_none_or(beyond) {
            return Ok(());
        }
        // The row that moves up when one leaves is known to the store alone.
        let leaves = old.as_ref().is_some_and(|old| !beyond(old));
        let after = if !is_whole && leaves && new.as_ref().is_none_or(beyond) {
            self.best(bytes, ctx)?
        } else {
            let mut after: Vec<_> = before.iter().filter(|it| Some(*it) != old.as_ref()).collect();
            after.extend(&new);
            after.sort_unstable();
            after.into_iter().take(self.n).cloned().collect()
        };
        // One row changes, so at most one leaves and one comes: in one record, so that nobody sees
        // a board between the two.
        let left = before.iter().find(|place| !after.contains(place)).cloned();
        let came = after.iter().find(|place| !before.contains(place)).cloned();
        ctx.touch();
        self.held[0].1 = after;
        let value = Change { new: came, old: left };
        self.next.forward(Record { key: group.clone(), value, timestamp }, ctx)
    }

    /// Brings the best rows of `group` to the front of what is held.
    fn hold(&mut self, group: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        match self.held.iter().position(|(held, _)| held == group) {
            Some(place) => self.held[..=place].rotate_right(1),
            None => {
                let best = self.best(group, ctx)?;
                self.held.truncate(HELD_MAX - 1);
                self.held.insert(0, (group.to_vec(), best));
            }
        }
        Ok(())
    }

    fn best(&self, group: &[u8], ctx: &Context<'_>) -> Result<Vec<Place>, Fault> {
        let from = group_prefix(group);
        let to = after_prefix(&from);
        let mut places = Vec::with_capacity(self.n);
        ctx.scan_each(self.store, (&from, &to), Order::Ascending, &mut |key, _| {
            places.push(Place::from_index_key(key, from.len()));
            places.len() < self.n
        })?;
        places.into_iter().take(self.n).collect::<Option<_>>().ok_or_else(|| {
            ctx.bad_state(&self.node, &CodecError::new("too short for a row with a rank"))
        })
    }
}

/// The best rows of all partitions, together.
struct GlobalTop<G, T> {
    n: usize,
    stored: Stored<BTreeSet<Place>>,
    show: fn(&Place) -> Option<Ranked<i64, T>>,
    key: Vec<u8>,
    next: Next<G, Change<Vec<Ranked<i64, T>>>>,
}

impl<G: Key, T: Clone> Operator<G, Change<Place>> for GlobalTop<G, T> {
    fn process(
        &mut self,
        record: Record<G, Change<Place>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value: Change { new, old }, timestamp } = record;
        self.key.clear();
        self.key.push(kind::ENTRY);
        key.encode(&mut self.key);
        let (seen, before) = self.stored.get(&self.key, ctx)?.unzip();
        let before = before.unwrap_or_default();
        let mut after = before.clone();
        old.as_ref().map(|old| after.remove(old));
        after.extend(new);
        let timestamp = seen.map_or(timestamp, |seen| timestamp.max(seen));
        self.stored.put(&self.key, timestamp, &after, ctx)?;
        if before.iter().take(self.n).eq(after.iter().take(self.n)) {
            return Ok(());
        }
        let rows = |places: &BTreeSet<Place>| {
            let rows: Vec<_> = places.iter().take(self.n).filter_map(self.show).collect();
            (!rows.is_empty()).then_some(rows)
        };
        let value = Change { new: rows(&after), old: rows(&before) };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

fn show<T: Key>(place: &Place) -> Option<Ranked<i64, T>> {
    let item = T::decode(Some(&place.item)).ok()?;
    Some(Ranked { rank: !place.turned, item })
}

/// What left and what came as bytes, each with 0 in front if there is none, or 1, rank, and item
/// with its length.
fn place_codec() -> Serde<Change<Place>> {
    let write = |change: &Change<Place>, out: &mut Vec<u8>| {
        for place in [&change.old, &change.new] {
            out.push(u8::from(place.is_some()));
            if let Some(place) = place {
                put_place(place, out);
            }
        }
    };
    custom(write, |mut bytes| {
        let mut read = || {
            let mut places = [None, None];
            for place in &mut places {
                let (there, rest) = bytes.split_first()?;
                bytes = rest;
                if *there == 1 {
                    *place = Some(take_place(&mut bytes)?);
                }
            }
            let [old, new] = places;
            bytes.is_empty().then_some(Change { new, old })
        };
        read().ok_or_else(|| CodecError::new("not a change among the best rows"))
    })
}

fn put_place(place: &Place, out: &mut Vec<u8>) {
    put_signed(out, place.turned);
    put_varint(out, place.item.len() as u64);
    out.extend_from_slice(&place.item);
}

fn take_place(bytes: &mut &[u8]) -> Option<Place> {
    Some(Place { turned: take_signed(bytes)?, item: take_slice(bytes)?.to_vec() })
}

/// Places as bytes: their number, and for each rank and item with its length.
fn places_codec() -> Serde<BTreeSet<Place>> {
    let write = |places: &BTreeSet<Place>, out: &mut Vec<u8>| {
        put_varint(out, places.len() as u64);
        for place in places {
            put_place(place, out);
        }
    };
    custom(write, |mut bytes| {
        let mut read = || {
            let mut places = BTreeSet::new();
            for _ in 0..take_varint(&mut bytes)? {
                places.insert(take_place(&mut bytes)?);
            }
            bytes.is_empty().then_some(places)
        };
        read().ok_or_else(|| CodecError::new("not the places of rows"))
    })
}

impl<K: Key, V: Clone + 'static> Table<K, V> {
    /// The `n` rows of the highest rank for each group, the highest first; of equal ranks the one
    /// whose item has the smaller bytes first. `select` gives a row's group, rank and item; the
    /// items of different rows differ. Rows may rise, fall, change their group and be deleted.
    ///
    /// The rows of a partition are kept in order in the store `<name>-rows`; the best of each
    /// partition go through the repartition topic `name` and are kept in the store `name`.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    /// use pipeline::driver::TopologyDriver;
    ///
    /// let builder = TopologyBuilder::new("games");
    /// builder
    ///     .table::<String, i64>("points", "points")
    ///     .top("leaders", 2, |player, points| ("all".to_owned(), *points, player.clone()))
    ///     .to_stream()
    ///     .map_values(|_, best| best.iter().map(|row| row.item.clone()).collect::<Vec<_>>())
    ///     .to("leaders");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for (player, points) in [("ada", 5), ("bob", 9), ("eve", 7)] {
    ///     driver.pipe("points", player, &points, 0);
    /// }
    /// let leaders = driver.read::<String, Vec<String>>("leaders");
    /// assert_eq!(leaders.last().unwrap().value.as_deref().unwrap(), ["bob", "eve"]);
    /// driver.pipe("points", "bob", &1, 0);
    /// let leaders = driver.read::<String, Vec<String>>("leaders");
    /// assert_eq!(leaders.last().unwrap().value.as_deref().unwrap(), ["eve", "ada"]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn top<G: Key, T: Key>(
        &self,
        name: &str,
        n: usize,
        select: impl Fn(&K, &V) -> (G, i64, T) + Send + Sync + 'static,
    ) -> Table<G, Vec<Ranked<i64, T>>> {
        let select: Arc<Select<K, V, G, T>> = Arc::new(select);
        let rows = self.changes.graph.borrow_mut().add_store(&format!("{name}-rows"));
        let node = self.changes.next_name("KTABLE-TOP");
        let local = self.changes.then_with("KTABLE-TOP", vec![rows], move |next| LocalTop {
            node: node.clone(),
            store: rows,
            n,
            select: Arc::clone(&select),
            held: Vec::new(),
            next,
        });
        let met = local.repartition_with(name, place_codec());
        let store = met.graph.borrow_mut().add_store(name);
        let node = met.next_name("KTABLE-TOP");
        let changes = met.then_with("KTABLE-TOP", vec![store], move |next| GlobalTop {
            n,
            stored: Stored::new(node.clone(), store, places_codec()),
            show,
            key: Vec::new(),
            next,
        });
        let key_of = |key: &G, out: &mut Vec<u8>| key.encode(out);
        let rows = move |places: &BTreeSet<Place>| -> Vec<_> {
            places.iter().take(n).filter_map(show).collect()
        };
        Table::stored_as(changes, (store, places_codec()), key_of, rows)
    }
}

#[cfg(test)]
mod tests;
