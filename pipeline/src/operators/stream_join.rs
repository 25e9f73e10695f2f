//! Joins of two streams: inner, left and outer.
//!
//! A record meets those of the other stream with its key whose timestamps lie in its
//! [`JoinWindows`]. Both sides are kept in the store, for as long as others can come that meet
//! them.
//!
//! Where the streams are read from their topics, what a record meets is decided as Kafka Streams
//! does: a side's record is there while it is less than before + after + grace older than the
//! newest of its side. That depends on which topic's records come first, so the node is marked.
//!
//! Behind a repartition it does not: two records meet if neither was read, by its own source's
//! clock, after the other's window and grace. Whichever of them comes second finds the first: the
//! smallest clock of all sources, by which records are forgotten, is never above the clock of
//! what comes later.
//!
//! Left and outer joins hand on what meets nothing once nothing can come that it would meet.

mod buffer;

use std::sync::Arc;

use buffer::{Buffer, Due, Found, Which};

use super::window_time::{IDLE, LATE};
use crate::codec::{CodecError, Serde};
use crate::dsl::{JoinWindows, Side, Stream, StreamJoined};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::Record;
use crate::task::Context;

/// Joins the records of two streams; `join` says what comes of two, or of one alone.
struct StreamJoin<K, L, R, V, F> {
    node: String,
    outer: Outer,
    /// Results that time makes before this node lie so far behind the clocks of the sources.
    behind_ms: i64,
    buffer: Buffer,
    codecs: (Serde<L>, Serde<R>),
    join: Arc<F>,
    key: Vec<u8>,
    value: Vec<u8>,
    next: Next<K, V>,
}

/// Which sides' records are handed on alone if they meet nothing.
#[derive(Clone, Copy, Debug)]
struct Outer {
    left: bool,
    right: bool,
}

impl Outer {
    fn has(self, side: Which) -> bool {
        match side {
            Which::Left => self.left,
            Which::Right => self.right,
        }
    }

    /// How far what is handed on alone may lie behind the clock by which that is done.
    fn delay_ms(self, windows: JoinWindows) -> i64 {
        let left = if self.left { windows.after_ms } else { 0 };
        let right = if self.right { windows.before_ms } else { 0 };
        let grace = if self.left || self.right { windows.grace_ms } else { 0 };
        left.max(right).saturating_add(grace)
    }
}

impl<L, R> Side<L, R> {
    fn which(&self) -> Which {
        match self {
            Self::Left(_) => Which::Left,
            Self::Right(_) => Which::Right,
        }
    }
}

impl<K, L, R, V, F> Operator<K, Side<L, R>> for StreamJoin<K, L, R, V, F>
where
    K: Key,
    V: Clone,
    F: Fn(&K, Option<&L>, Option<&R>) -> V,
{
    fn process(
        &mut self,
        record: Record<K, Side<L, R>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.observe(record.timestamp, ctx)?;
        let (has_key, has_value) = self.encode(&record, ctx)?;
        if !has_value {
            ctx.count_dropped(&self.node, "null value");
            return Ok(());
        }
        let side = record.value.which();
        if !has_key {
            if self.outer.has(side) {
                return self.forward_alone(&record, ctx);
            }
            ctx.count_dropped(&self.node, "null key");
            return Ok(());
        }
        let matched = self.forward_matches(&record, ctx)?;
        self.keep(&record, matched, ctx)
    }
}

impl<K, L, R, V, F> StreamJoin<K, L, R, V, F>
where
    K: Key,
    V: Clone,
    F: Fn(&K, Option<&L>, Option<&R>) -> V,
{
    /// Takes in a record's timestamp. Where it moves time, what has waited long enough goes on
    /// before the record itself.
    fn observe(&mut self, timestamp: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let now = self.buffer.times(ctx)?.now.max(timestamp);
        self.buffer.set_now(now, ctx);
        if self.closing(ctx).is_none() { self.release(now, ctx) } else { Ok(()) }
    }

    /// Encodes key and value; says which of them are there.
    fn encode(
        &mut self,
        record: &Record<K, Side<L, R>>,
        ctx: &Context<'_>,
    ) -> Result<(bool, bool), Fault> {
        self.key.clear();
        self.value.clear();
        let encoded = match &record.value {
            Side::Left(left) => self.codecs.0.encode(left, &mut self.value),
            Side::Right(right) => self.codecs.1.encode(right, &mut self.value),
        };
        let has_value = encoded.map_err(|error| self.bad_state(&error, ctx))?;
        Ok((record.key.encode(&mut self.key), has_value))
    }

    /// Hands on `record` with each record of the other side that it meets; says whether there
    /// was one.
    fn forward_matches(
        &mut self,
        record: &Record<K, Side<L, R>>,
        ctx: &mut Context<'_>,
    ) -> Result<bool, Fault> {
        let (side, timestamp) = (record.value.which(), record.timestamp);
        let other = side.other();
        let newest = self.buffer.times(ctx)?.largest[other as usize];
        let by_clock = self.closing(ctx).is_some();
        let mut first = self.buffer.begins_at(side, timestamp);
        if !by_clock {
            first = first.max(self.alive_from(newest));
        }
        let last = self.buffer.ends_at(side, timestamp).min(newest);
        let closes_at = self.buffer.closes_at(side, timestamp);
        let clock = self.clock_of(timestamp, ctx);
        let mut matched = false;
        let show = &mut |found: Found, ctx: &mut Context<'_>| {
            let place = found.place;
            let their_close = self.buffer.closes_at(other, place.timestamp);
            if by_clock && (clock > their_close || found.clock > closes_at) {
                return Ok(());
            }
            matched = true;
            self.forward_match(record, &found, ctx)?;
            if self.outer.has(other) {
                self.buffer.met(place, &self.key, ctx)?;
            }
            Ok(())
        };
        self.buffer.each((other, (first, last)), &self.key, ctx, show)?;
        Ok(matched)
    }

    fn forward_match(
        &self,
        record: &Record<K, Side<L, R>>,
        found: &Found,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let bytes = Some(&found.value[..]);
        let value = match &record.value {
            Side::Left(left) => self
                .codecs
                .1
                .decode(bytes)
                .map(|right| (self.join)(&record.key, Some(left), Some(&right))),
            Side::Right(right) => self
                .codecs
                .0
                .decode(bytes)
                .map(|left| (self.join)(&record.key, Some(&left), Some(right))),
        };
        let value = value.map_err(|error| self.bad_state(&error, ctx))?;
        let timestamp = record.timestamp.max(found.place.timestamp);
        self.next.forward(Record { key: record.key.clone(), value, timestamp }, ctx)
    }

    fn forward_alone(
        &self,
        record: &Record<K, Side<L, R>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let value = match value {
            Side::Left(left) => (self.join)(key, Some(left), None),
            Side::Right(right) => (self.join)(key, None, Some(right)),
        };
        self.next.forward(Record { key: key.clone(), value, timestamp: *timestamp }, ctx)
    }

    /// Keeps a record for those that it can still meet, and has it wait if it has met none.
    fn keep(
        &mut self,
        record: &Record<K, Side<L, R>>,
        matched: bool,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let (side, timestamp) = (record.value.which(), record.timestamp);
        let times = self.buffer.times(ctx)?;
        let newest = times.largest[side as usize].max(timestamp);
        self.buffer.set_largest(side, newest, ctx);
        let now = times.now;
        let (over, alive) = match self.closing(ctx) {
            None => {
                (self.buffer.ends_at(side, timestamp) < now, timestamp >= self.alive_from(newest))
            }
            Some(closing) => {
                let over = self.buffer.closes_at(side, timestamp) < closing;
                (over, !over)
            }
        };
        let waits = self.outer.has(side) && !matched && !over;
        if alive || waits {
            let kept = (self.clock_of(timestamp, ctx), &self.value[..]);
            let place = self.buffer.add((side, timestamp), &self.key, kept, ctx)?;
            if waits {
                self.buffer.wait(place, &self.key, ctx);
            }
        } else {
            // By its own clock it came in time: its source had been left out of the others'.
            let closes_at = self.buffer.closes_at(side, timestamp);
            let idle = ctx.sources_clock().is_some() && self.clock_of(timestamp, ctx) <= closes_at;
            ctx.count_dropped(&self.node, if idle { IDLE } else { LATE });
        }
        if self.outer.has(side) && !matched && over {
            return self.forward_alone(record, ctx);
        }
        Ok(())
    }

    /// Hands on alone what waits and closed before `clock`.
    fn release(&mut self, clock: i64, ctx: &mut Context<'_>) -> Result<(), Fault> {
        loop {
            let due = self.buffer.take_due(clock, ctx)?;
            if due.is_empty() {
                return Ok(());
            }
            for Due { place, key, value } in due {
                let record = self.restored(place.side, &key, &value);
                let (key, value) = record.map_err(|error| self.bad_state(&error, ctx))?;
                let record = Record { key, value, timestamp: place.timestamp };
                ctx.made_by_time(|ctx| self.forward_alone(&record, ctx))?;
            }
        }
    }

    fn restored(
        &self,
        side: Which,
        key: &[u8],
        value: &[u8],
    ) -> Result<(K, Side<L, R>), CodecError> {
        let value = match side {
            Which::Left => Side::Left(self.codecs.0.decode(Some(value))?),
            Which::Right => Side::Right(self.codecs.1.decode(Some(value))?),
        };
        Ok((K::decode(Some(key))?, value))
    }
}

impl<K, L, R, V, F> StreamJoin<K, L, R, V, F> {
    /// From when on records are there, if `newest` is the newest of their side.
    fn alive_from(&self, newest: i64) -> i64 {
        newest.saturating_sub(self.buffer.windows().retention_ms()).saturating_add(1)
    }

    /// Behind a repartition: what comes from now on has a later clock.
    fn closing(&self, ctx: &Context<'_>) -> Option<i64> {
        ctx.sources_clock().map(|clock| clock.saturating_sub(self.behind_ms))
    }

    /// The source clock at a record; its own time if it was made by time.
    fn clock_of(&self, timestamp: i64, ctx: &Context<'_>) -> i64 {
        ctx.source_clock().unwrap_or(timestamp)
    }

    fn bad_state(&self, error: &CodecError, ctx: &Context<'_>) -> Fault {
        ctx.bad_state(&self.node, error)
    }
}

impl<K, L, R, V, F> Timed for StreamJoin<K, L, R, V, F>
where
    K: Key,
    V: Clone,
    F: Fn(&K, Option<&L>, Option<&R>) -> V,
{
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let largest = self.buffer.times(ctx)?.largest;
        let closing = self.closing(ctx);
        if let Some(closing) = closing {
            self.release(closing, ctx)?;
        }
        for side in [Which::Left, Which::Right] {
            let keep_from = match closing {
                // What waits is no older than that: time is not behind the newest record.
                None => self.alive_from(largest[side as usize]).saturating_sub(1),
                // What closes at `closing` or later.
                Some(closing) => {
                    let reach = self.buffer.closes_at(side, 0);
                    closing.saturating_sub(reach)
                }
            };
            self.buffer.purge(side, keep_from, ctx)?;
        }
        self.buffer.save(ctx);
        Ok(())
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Joins each record with those of `other` that have its key and lie in `windows`: one result
    /// for each two, with the later of their timestamps.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{JoinWindows, StreamJoined, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let orders = builder.stream::<String, String>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let hour = Duration::from_secs(3600);
    /// orders
    ///     .join_stream(
    ///         &payments,
    ///         JoinWindows::of_time_difference_with_no_grace(hour),
    ///         StreamJoined::named("paid"),
    ///         |_, order, cents| format!("{order} for {cents}"),
    ///     )
    ///     .to("paid-orders");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &"lamp".to_owned(), 1_000);
    /// driver.pipe("payments", "o1", &1_249_i64, 60_000);
    /// let paid = driver.read::<String, String>("paid-orders");
    /// assert_eq!(paid[0].value.as_deref(), Some("lamp for 1249"));
    /// assert_eq!(paid[0].timestamp, 60_000);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn join_stream<R: Clone + 'static, V2: Clone + 'static>(
        &self,
        other: &Stream<K, R>,
        windows: JoinWindows,
        joined: StreamJoined<V, R>,
        join: impl Fn(&K, &V, &R) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let outer = Outer { left: false, right: false };
        let both = move |key: &K, left: Option<&V>, right: Option<&R>| {
            let (left, right) = left.zip(right).expect("an inner join hands on nothing alone");
            join(key, left, right)
        };
        self.join_streams(other, (windows, outer), joined, both)
    }

    /// As [`Self::join_stream`]; a record of this stream that meets none of `other` is handed on
    /// alone, with its own timestamp, once none can come: `windows` has gone by with its grace.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{JoinWindows, StreamJoined, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let orders = builder.stream::<String, String>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let hour = Duration::from_secs(3600);
    /// let windows = JoinWindows::of_time_difference_with_no_grace(hour);
    /// orders
    ///     .left_join_stream(&payments, windows, StreamJoined::named("paid"), |_, _, cents| {
    ///         cents.map_or("unpaid", |_| "paid").to_owned()
    ///     })
    ///     .to("orders-after-an-hour");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &"lamp".to_owned(), 1_000);
    /// driver.pipe("orders", "o2", &"chair".to_owned(), 3_700_000);
    /// let after = driver.read::<String, String>("orders-after-an-hour");
    /// assert_eq!((after[0].key.as_str(), after[0].value.as_deref()), ("o1", Some("unpaid")));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn left_join_stream<R: Clone + 'static, V2: Clone + 'static>(
        &self,
        other: &Stream<K, R>,
        windows: JoinWindows,
        joined: StreamJoined<V, R>,
        join: impl Fn(&K, &V, Option<&R>) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let outer = Outer { left: true, right: false };
        let both = move |key: &K, left: Option<&V>, right: Option<&R>| {
            join(key, left.expect("only the left side is handed on alone"), right)
        };
        self.join_streams(other, (windows, outer), joined, both)
    }

    /// As [`Self::left_join_stream`], with the records of both streams handed on alone if they
    /// meet none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{JoinWindows, StreamJoined, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("doors");
    /// let ins = builder.stream::<String, i64>("ins");
    /// let outs = builder.stream::<String, i64>("outs");
    /// let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(60));
    /// ins.outer_join_stream(&outs, windows, StreamJoined::named("visits"), |_, way_in, way_out| {
    ///     (way_in.copied(), way_out.copied())
    /// })
    /// .to("visits");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("outs", "ann", &7_i64, 1_000);
    /// driver.pipe("ins", "bob", &8_i64, 99_000);
    /// let visits = driver.read::<String, (Option<i64>, Option<i64>)>("visits");
    /// assert_eq!(visits[0].value, Some((None, Some(7))));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn outer_join_stream<R: Clone + 'static, V2: Clone + 'static>(
        &self,
        other: &Stream<K, R>,
        windows: JoinWindows,
        joined: StreamJoined<V, R>,
        join: impl Fn(&K, Option<&V>, Option<&R>) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        self.join_streams(other, (windows, Outer { left: true, right: true }), joined, join)
    }

    fn join_streams<R: Clone + 'static, V2: Clone + 'static>(
        &self,
        other: &Stream<K, R>,
        (windows, outer): (JoinWindows, Outer),
        joined: StreamJoined<V, R>,
        join: impl Fn(&K, Option<&V>, Option<&R>) -> V2 + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        let StreamJoined { name, left, right } = joined;
        let left_stream = self.where_its_keys_are(&format!("{name}-left"), &left);
        let right_stream = other.where_its_keys_are(&format!("{name}-right"), &right);
        let depends = depends_on_arrival(&left_stream, &right_stream);
        let store = self.graph.borrow_mut().add_store(&name);
        let kind = match outer {
            Outer { left: true, right: true } => "KSTREAM-OUTERJOIN",
            Outer { left: true, .. } => "KSTREAM-LEFTJOIN",
            Outer { .. } => "KSTREAM-JOIN",
        };
        let node = left_stream.next_name(kind);
        let behind_ms = {
            let graph = self.graph.borrow();
            graph.delay_ms(left_stream.node).max(graph.delay_ms(right_stream.node))
        };
        let (codecs, join) = ((left, right), Arc::new(join));
        let make = move |next| StreamJoin {
            node: node.clone(),
            outer,
            behind_ms,
            buffer: Buffer::new(store, windows),
            codecs: (Arc::clone(&codecs.0), Arc::clone(&codecs.1)),
            join: Arc::clone(&join),
            key: Vec::new(),
            value: Vec::new(),
            next,
        };
        let joined = left_stream.then_both_timed(kind, &right_stream, vec![store], make);
        self.graph.borrow_mut().nodes[joined.node].delay_ms = outer.delay_ms(windows);
        if depends { joined.mark_arrival_order() } else { joined }
    }

    /// The stream, through the repartition topic `name` if its key was changed before.
    fn where_its_keys_are(&self, name: &str, codec: &Serde<V>) -> Self {
        if self.rekeyed { self.repartition_with(name, Arc::clone(codec)) } else { self.clone() }
    }
}

/// Whether what two streams' records meet depends on which come first. Behind a repartition it
/// does not, and neither if both are made of one topic.
fn depends_on_arrival<K, L, R>(left: &Stream<K, L>, right: &Stream<K, R>) -> bool {
    let graph = left.graph.borrow();
    let mut sources = graph.sources_above(left.node);
    sources.extend(graph.sources_above(right.node));
    sources.sort_unstable();
    sources.dedup();
    let external = |source: &usize| graph.sources[*source].topic.external().is_some();
    sources.len() > 1 && sources.iter().all(external)
}

#[cfg(test)]
mod tests;
