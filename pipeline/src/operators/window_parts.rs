//! Final results put together from parts: what hopping and sliding windows have in common.
//!
//! Three kinds of entries lie in the store: the tree of parts ([`super::window_tree`]); what is due,
//! a key and the time of a window of it that closes, by time; and what waits aside. That is what
//! records said that came too late for windows which are still open: it is no part of these, and is
//! taken in once they are closed. It can be only behind a repartition, where a record is late by its
//! own clock and windows close by the smallest of all.

use std::sync::Arc;

use stores::state::Entry;

use super::kind;
use super::stored::Stored;
use super::stream_time::{Expiring, put_time, time_of};
use super::window_aggregate::Placed;
use super::window_tree::{PaneTree, Shape, Stamped};
use crate::aggregates::{Aggregator, At, Merge};
use crate::key::Key;
use crate::operator::{Fault, Next};
use crate::record::{Change, Record, Window, Windowed};
use crate::task::Context;
use crate::topology::StoreRef;

/// The entries that are looked at together when windows close.
const CLOSED_MAX: usize = 1_000;

/// Where the key begins in an entry of what is due, and of what waits aside.
pub(super) const KEY_AT: usize = 9;

/// The parts of a node's windows.
pub(super) struct WindowParts<K, V, G: Aggregator<K, V>> {
    node: String,
    aggregator: Arc<G>,
    merge: Merge<G, K, G::State>,
    tree: PaneTree<G::State>,
    aside: Stored<G::State>,
    store: StoreRef,
    entry: Vec<u8>,
    next: NextWindows<K, G::Output>,
}

/// The operators after one that tells of windows.
type NextWindows<K, T> = Next<Windowed<K>, Change<T>>;

/// Where a record belongs: its key and its pane.
pub(super) type Place<'a> = (&'a [u8], i64);

impl<K: Key, V, G: Aggregator<K, V>> WindowParts<K, V, G> {
    /// Adds `record` to its pane, and to the nodes above it that end at or before `made_to`.
    /// Answers whether the pane is new.
    pub(super) fn add(
        &mut self,
        record: &Record<K, V>,
        place: Place<'_>,
        made_to: i64,
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        let aggregator = Arc::clone(&self.aggregator);
        let at = ctx.at(record.timestamp);
        let add = |old| added(&*aggregator, record, at, old);
        self.tree.change(place, made_to, &add, ctx)
    }

    /// As [`Self::add`], but the record waits aside until the windows before `time` are closed.
    pub(super) fn put_aside(
        &mut self,
        record: &Record<K, V>,
        (key, pane): Place<'_>,
        time: i64,
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        put_entry(&mut self.entry, (kind::ASIDE, time), key);
        self.entry.extend_from_slice(&pane.to_be_bytes());
        let old = self.aside.get(&self.entry, ctx)?;
        let is_new = old.is_none();
        let at = ctx.at(record.timestamp);
        let (timestamp, state) = added(&*self.aggregator, record, at, old);
        self.aside.put(&self.entry, timestamp, &state, ctx)?;
        Ok(is_new)
    }

    /// Takes in what waited until the windows before `time` were closed, and changes the nodes that
    /// end at or before `made_to`.
    pub(super) fn take_in(
        &mut self,
        time: i64,
        made_to: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let range = (time_key(kind::ASIDE, i64::MIN), time_key(kind::ASIDE, time + 1));
        while let Some(waiting) = self.take((&range.0, &range.1), ctx)? {
            for (entry, value) in &waiting {
                let (key, pane) = split_aside(entry);
                let typed = self.decode_key(key, ctx)?;
                let (timestamp, state) = self.aside.decode(value, ctx)?;
                let (aggregator, merge) = (Arc::clone(&self.aggregator), self.merge);
                let add = |old: Option<Stamped<G::State>>| match old {
                    None => (timestamp, state.clone()),
                    Some((seen, old)) => {
                        (seen.max(timestamp), merge(&aggregator, &typed, old, state.clone()))
                    }
                };
                self.tree.change((key, pane), made_to, &add, ctx)?;
            }
        }
        Ok(())
    }

    /// Notes that a window of `key` closes at `time`.
    pub(super) fn note_due(&mut self, time: i64, key: &[u8], ctx: &mut Context<'_>) {
        put_entry(&mut self.entry, (kind::DUE, time), key);
        ctx.put(self.store, &self.entry, &[]);
    }

    /// The first time that is noted from `from` on, before `to`.
    pub(super) fn first_due(
        &self,
        from: i64,
        to: i64,
        ctx: &Context<'_>,
    ) -> Result<Option<i64>, Fault> {
        let range = (time_key(kind::DUE, from), time_key(kind::DUE, to));
        let found = ctx.scan(self.store, (&range.0, &range.1), 1)?;
        Ok(found.first().map(|(entry, _)| time_of(entry)))
    }

    /// Takes some of what is noted from `from` on, before `to`, in order; `None` if nothing is.
    pub(super) fn take_due(
        &self,
        from: i64,
        to: i64,
        ctx: &mut Context<'_>,
    ) -> Result<Option<Vec<Entry>>, Fault> {
        self.take((&time_key(kind::DUE, from), &time_key(kind::DUE, to)), ctx)
    }

    fn take(
        &self,
        range: (&[u8], &[u8]),
        ctx: &mut Context<'_>,
    ) -> Result<Option<Vec<Entry>>, Fault> {
        let taken = ctx.scan(self.store, range, CLOSED_MAX)?;
        for (entry, _) in &taken {
            ctx.delete(self.store, entry);
        }
        Ok((!taken.is_empty()).then_some(taken))
    }

    /// Makes the nodes of `key` that end after `from`, up to `to`.
    pub(super) fn complete(
        &mut self,
        key: &[u8],
        range: (i64, i64),
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let typed = self.decode_key(key, ctx)?;
        let (aggregator, merge) = (Arc::clone(&self.aggregator), self.merge);
        let merge = |a: G::State, b: G::State| merge(&aggregator, &typed, a, b);
        self.tree.complete(key, range, &merge, ctx)
    }

    /// Tells of `window` of `key`, whose records lie before `to`. Answers whether it has any.
    pub(super) fn tell(
        &mut self,
        window: Window,
        (key, to): (&[u8], i64),
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        let typed = self.decode_key(key, ctx)?;
        let (aggregator, merge) = (Arc::clone(&self.aggregator), self.merge);
        let merge = |a: G::State, b: G::State| merge(&aggregator, &typed, a, b);
        let whole = self.tree.state(key, (window.start, to), &merge, ctx)?;
        let Some((timestamp, state)) = whole else { return Ok(false) };
        let value = Change { new: Some(self.aggregator.output(&state)), old: None };
        let key = Windowed { key: typed.clone(), window };
        let record = Record { key, value, timestamp };
        ctx.made_by_time(|ctx| self.next.forward(record, ctx))?;
        Ok(true)
    }

    /// Forgets what began before `open_from`.
    pub(super) fn purge(&mut self, open_from: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.tree.purge(open_from, ctx)
    }

    fn decode_key(&self, key: &[u8], ctx: &Context<'_>) -> Result<K, Fault> {
        K::decode(Some(key)).map_err(|error| ctx.bad_state(&self.node, &error))
    }
}

/// Makes the parts of the windows that are placed at `place`, for each task.
pub(super) fn parts<K: Key, V, G: Aggregator<K, V>>(
    place: &Placed<K, V>,
    shape: Shape,
    aggregator: G,
    merge: Merge<G, K, G::State>,
) -> impl Fn(NextWindows<K, G::Output>) -> WindowParts<K, V, G> + Send + Sync + use<K, V, G> {
    let (store, node, codec) = (place.store, place.node.clone(), aggregator.codec());
    let aggregator = Arc::new(aggregator);
    move |next| {
        let stored = || Stored::new(node.clone(), store, Arc::clone(&codec));
        WindowParts {
            node: node.clone(),
            aggregator: Arc::clone(&aggregator),
            merge,
            tree: PaneTree::new(shape, stored(), Expiring::new(store)),
            aside: stored(),
            store,
            entry: Vec::new(),
            next,
        }
    }
}

/// The state of some records, with one more.
fn added<K, V, G: Aggregator<K, V>>(
    aggregator: &G,
    record: &Record<K, V>,
    at: At,
    old: Option<Stamped<G::State>>,
) -> Stamped<G::State> {
    let Record { key, value, timestamp } = record;
    let (seen, state) = old.unzip();
    let state = state.unwrap_or_else(|| aggregator.init());
    let state = aggregator.add(state, key, value, at);
    (seen.map_or(*timestamp, |seen| seen.max(*timestamp)), state)
}

fn time_key(kind: u8, time: i64) -> Vec<u8> {
    let mut key = vec![kind];
    put_time(&mut key, time);
    key
}

fn put_entry(out: &mut Vec<u8>, (kind, time): (u8, i64), key: &[u8]) {
    out.clear();
    out.push(kind);
    put_time(out, time);
    out.extend_from_slice(key);
}

/// The key and the pane of what waits aside.
fn split_aside(entry: &[u8]) -> Place<'_> {
    let (key, pane) = entry[KEY_AT..].split_last_chunk::<8>().expect("written with its pane");
    (key, i64::from_be_bytes(*pane))
}
