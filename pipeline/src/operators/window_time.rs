//! Time as operators with windows see it: which records come too late, and what closes.
//!
//! Where sources are read directly both are decided by the operator's stream time, as in Kafka
//! Streams. Behind a repartition a record is late by its own source clock, so that what arrived
//! when changes nothing; windows close by the smallest clock of all sources. A later clock is never
//! below one heard before, so a record that is not late finds its window open, unless its source
//! was idle and left out meanwhile.

use super::kind;
use super::stream_time::StreamTime;
use crate::operator::Fault;
use crate::task::{Context, Remembered};
use crate::topology::StoreRef;

const KEY: &[u8] = &[kind::META, b'w'];

/// Stream time, and how far windows have been closed. Both survive restarts.
pub(crate) struct WindowTime {
    store: StoreRef,
    own: StreamTime,
    /// Results that time makes before this node lie so far behind the clocks of the sources.
    behind_ms: i64,
    /// Behind a repartition: the latest time by which windows were closed. It never goes back,
    /// also when an idle source goes on.
    closed: Remembered,
    /// What the store has of it, [`i64::MIN`] for nothing; `None` until it was read.
    saved: Option<i64>,
}

/// The clocks that decide about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// Decides whether it is late.
    pub(crate) record: i64,
    /// Decides what is closed.
    pub(crate) closing: i64,
    /// What decided about the record before.
    pub(crate) before: i64,
}

/// Why a record is not taken into a window, as counters and the late topic say it.
pub(crate) type Lateness = &'static str;

/// It came after its window had closed by its own source's clock.
pub(crate) const LATE: Lateness = "late";
/// Its source was idle, and its window was closed without it.
pub(crate) const IDLE: Lateness = "idle";

impl Clocks {
    /// Why a record does not get into a window for which `is_closed` says whether it is closed at
    /// a time; `None` if it does.
    pub(crate) fn lateness(self, is_closed: impl Fn(i64) -> bool) -> Option<Lateness> {
        if is_closed(self.record) {
            Some(LATE)
        } else if is_closed(self.closing) {
            Some(IDLE)
        } else {
            None
        }
    }
}

impl WindowTime {
    /// Time of the operator that has `store`; results that time makes come `behind_ms` after
    /// their timestamps to it.
    pub(crate) fn new(store: StoreRef, behind_ms: i64) -> Self {
        Self {
            store,
            own: StreamTime::new(store),
            behind_ms,
            closed: Remembered::new(i64::MIN),
            saved: None,
        }
    }

    /// Takes in a record's timestamp.
    pub(crate) fn observe(
        &mut self,
        timestamp: i64,
        ctx: &mut Context<'_>,
    ) -> Result<Clocks, Fault> {
        let earlier = self.own.get(ctx)?;
        let own = self.own.observe(timestamp, ctx)?;
        let record = ctx.lateness_clock(own);
        let before = match ctx.sources_clock() {
            None => earlier,
            // Its source's clock has it in: without it, that was less if this is the record.
            Some(_) if timestamp == record => record.saturating_sub(1),
            Some(_) => record,
        };
        Ok(Clocks { record, closing: self.closing(ctx)?, before })
    }

    /// The time by which windows close; [`i64::MIN`] before anything is known.
    pub(crate) fn closing(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        let own = self.own.get(ctx)?;
        let Some(clock) = ctx.sources_clock() else { return Ok(own) };
        let before = self.closed(ctx)?;
        let clock = clock.saturating_sub(self.behind_ms);
        let closed = clock.max(before);
        self.closed.set(closed, ctx);
        Ok(closed)
    }

    /// The time up to which windows were closed before the current record. To be asked once, when
    /// an operator begins.
    pub(crate) fn reached(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        if ctx.sources_clock().is_some() { self.closed(ctx) } else { self.own.get(ctx) }
    }

    fn closed(&mut self, ctx: &mut Context<'_>) -> Result<i64, Fault> {
        if self.saved.is_none() {
            let stored = ctx.read(self.store, KEY, |value| {
                value.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
            })?;
            let stored = stored.unwrap_or(i64::MIN);
            self.closed.load(stored);
            self.saved = Some(stored);
        }
        Ok(self.closed.get())
    }

    /// Writes both into the store, where they have moved since the last time.
    pub(crate) fn save(&mut self, ctx: &mut Context<'_>) {
        self.own.save(ctx);
        let closed = self.closed.get();
        if self.saved.is_some_and(|saved| saved != closed) {
            ctx.put(self.store, KEY, &closed.to_be_bytes());
            self.saved = Some(closed);
        }
    }
}
