//! Panes, and a tree of merged panes above them, in a store.
//!
//! Time is cut into panes that no window cuts through (J. Li et al., *No Pane, No Gain*, SIGMOD
//! Record 34(1), 2005). A record changes one pane. Eight panes that lie together and are complete
//! are merged once into a node, eight nodes into a larger one, and so on: a window is made of few
//! nodes, whatever number of panes it has (the aggregation tree of A. Arasu and J. Widom, *Resource
//! Sharing in Continuous Sliding-Window Aggregates*, VLDB 2004, with a wider fan-out, made when
//! time passes and not by each record). Unlike two stacks or a queue it takes a late record
//! anywhere, at the cost of its path.
//!
//! A node that is not there has no records, once all windows that end with it are closed. Nodes are
//! keyed by a segment of time first, so that they are forgotten together, then by key, level and
//! place.

use super::kind;
use super::stored::Stored;
use super::stream_time::{Expiring, put_time};
use crate::operator::Fault;
use crate::task::Context;

/// How many nodes become one.
const FAN_OUT: i64 = 8;

/// How time is cut for a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The length of a pane, in milliseconds.
    pub(crate) pane_ms: i64,
    /// The length of the windows, in milliseconds: also of the segments.
    pub(crate) window_ms: i64,
}

/// The state of some records, with the largest of their timestamps.
pub(crate) type Stamped<S> = (i64, S);

/// Puts two states together, the earlier time first.
pub(crate) type MergeOf<'a, S> = &'a dyn Fn(S, S) -> S;

impl Shape {
    /// The pane that holds `timestamp`; as a bound, the panes before it begin before.
    pub(crate) fn pane_of(self, timestamp: i64) -> i64 {
        timestamp.div_euclid(self.pane_ms)
    }

    /// The level of the largest nodes, which fit into a window. Panes are level 0.
    fn top(self) -> u32 {
        (self.window_ms / self.pane_ms).max(1).ilog(FAN_OUT)
    }

    /// The time that a node begins at.
    fn start(self, level: u32, index: i64) -> i64 {
        index.saturating_mul(span(level)).saturating_mul(self.pane_ms)
    }

    fn segment_of(self, time: i64) -> i64 {
        time.div_euclid(self.window_ms).saturating_mul(self.window_ms)
    }
}

/// The panes under a node.
fn span(level: u32) -> i64 {
    FAN_OUT.pow(level)
}

/// The panes and nodes of all keys.
pub(crate) struct PaneTree<S> {
    shape: Shape,
    top: u32,
    stored: Stored<S>,
    expiring: Expiring,
    entry: Vec<u8>,
}

impl<S: Clone> PaneTree<S> {
    pub(crate) fn new(shape: Shape, stored: Stored<S>, expiring: Expiring) -> Self {
        Self { shape, top: shape.top(), stored, expiring, entry: Vec::new() }
    }

    /// Changes the pane `pane` of `key`, and the nodes above it that are made already: those that
    /// end at or before `closed`; [`i64::MAX`] makes them all at once. Answers whether the pane is
    /// new.
    pub(crate) fn change(
        &mut self,
        (key, pane): (&[u8], i64),
        closed: i64,
        change: &dyn Fn(Option<Stamped<S>>) -> Stamped<S>,
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        let is_new = self.change_node(key, (0, pane), change, ctx)?;
        for level in 1..=self.top {
            let index = pane.div_euclid(span(level));
            if self.shape.start(level, index + 1) > closed {
                break;
            }
            self.change_node(key, (level, index), change, ctx)?;
        }
        Ok(is_new)
    }

    fn change_node(
        &mut self,
        key: &[u8],
        node: (u32, i64),
        change: &dyn Fn(Option<Stamped<S>>) -> Stamped<S>,
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        self.set_entry(key, node);
        let old = self.stored.get(&self.entry, ctx)?;
        let is_new = old.is_none();
        let (timestamp, state) = change(old);
        self.stored.put(&self.entry, timestamp, &state, ctx)?;
        Ok(is_new)
    }

    /// Makes the nodes of `key` that end after `from`, up to `to`. Those that end before are made.
    pub(crate) fn complete(
        &mut self,
        key: &[u8],
        (from, to): (i64, i64),
        merge: MergeOf<'_, S>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let (from, to) = (self.shape.pane_of(from), self.shape.pane_of(to));
        for level in 1..=self.top {
            let width = span(level);
            for index in from.div_euclid(width)..to.div_euclid(width) {
                let first = index * FAN_OUT;
                let mut whole = None;
                for child in first..first + FAN_OUT {
                    let part = self.node(key, (level - 1, child), ctx)?;
                    whole = merged(whole, part, merge);
                }
                if let Some((timestamp, state)) = whole {
                    self.set_entry(key, (level, index));
                    self.stored.put(&self.entry, timestamp, &state, ctx)?;
                }
            }
        }
        Ok(())
    }

    /// The state of `key` from `from` up to `to`, where a window begins and ends. Everything up to
    /// there is complete.
    pub(crate) fn state(
        &mut self,
        key: &[u8],
        (from, to): (i64, i64),
        merge: MergeOf<'_, S>,
        ctx: &Context<'_>,
    ) -> Result<Option<Stamped<S>>, Fault> {
        let (mut at, to) = (self.shape.pane_of(from), self.shape.pane_of(to));
        let mut whole = None;
        while at < to {
            let fits = |level: &u32| at % span(*level) == 0 && at + span(*level) <= to;
            let level = (1..=self.top).take_while(fits).last().unwrap_or(0);
            let part = self.node(key, (level, at / span(level)), ctx)?;
            whole = merged(whole, part, merge);
            at += span(level);
        }
        Ok(whole)
    }

    /// Forgets what began before `open_from`, as many segments as are over.
    pub(crate) fn purge(&mut self, open_from: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.expiring.purge(self.shape.segment_of(open_from), ctx)
    }

    fn node(
        &mut self,
        key: &[u8],
        node: (u32, i64),
        ctx: &Context<'_>,
    ) -> Result<Option<Stamped<S>>, Fault> {
        self.set_entry(key, node);
        self.stored.get(&self.entry, ctx)
    }

    fn set_entry(&mut self, key: &[u8], (level, index): (u32, i64)) {
        let segment = self.shape.segment_of(self.shape.start(level, index));
        self.entry.clear();
        self.entry.push(kind::ENTRY);
        put_time(&mut self.entry, segment);
        let length = u32::try_from(key.len()).expect("a key is shorter than a record can be");
        self.entry.extend_from_slice(&length.to_be_bytes());
        self.entry.extend_from_slice(key);
        self.entry.push(u8::try_from(level).expect("a window has fewer than 8^22 panes"));
        put_time(&mut self.entry, index);
    }
}

fn merged<S>(
    one: Option<Stamped<S>>,
    two: Option<Stamped<S>>,
    merge: MergeOf<'_, S>,
) -> Option<Stamped<S>> {
    match (one, two) {
        (Some((at, one)), Some((then, two))) => Some((at.max(then), merge(one, two))),
        (one, two) => one.or(two),
    }
}
