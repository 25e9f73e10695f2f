//! What a stream-stream join keeps: the records of both sides, and which of them still wait for
//! their first match.
//!
//! **Format.** One store; times are ordered, numbers big-endian, a key has its length in front.
//! ```text
//! meta  j                                             stream time, largest of left, of right, next number
//! entry 0|1  segment  length key  timestamp  number   source clock, value     a record of the left|right side
//! entry 2  closing time  0|1  length key  timestamp  number   nothing         it waits
//! ```
//! A segment is a stretch of time as long as records are kept, so that what a record can meet
//! lies in two of them, and what is past is a range. Numbers tell records of one key and time
//! apart, in the order of their arrival.

use crate::dsl::JoinWindows;
use crate::operator::Fault;
use crate::operators::kind;
use crate::operators::stream_time::put_time;
use crate::task::{Context, Remembered};
use crate::topology::StoreRef;

/// Entries that are read at once, so that a key with many records takes little memory.
const PAGE: usize = 64;
/// Entries forgotten in one commit at most, so that a commit stays short.
const PURGED_MAX: usize = 20_000;

const META: &[u8] = &[kind::META, b'j'];
const WAITING: u8 = 2;

/// One of the two sides, as its byte in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Left = 0,
    Right = 1,
}

impl Which {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// What the join knows of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// The largest timestamp seen at all; [`i64::MIN`] before the first.
    pub(super) now: i64,
    /// The largest timestamp of each side's records that can be joined.
    pub(super) largest: [i64; 2],
    next_number: u64,
}

/// [`Times`] as they are now; what a record did to them is taken back with the record.
struct Clock {
    now: Remembered,
    largest: [Remembered; 2],
    next_number: Remembered,
}

/// Where a record lies: its side, timestamp and number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) side: Which,
    pub(super) timestamp: i64,
    number: u64,
}

/// A record of the buffer.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) clock: i64,
    pub(super) value: Vec<u8>,
}

/// A record that waits no longer.
pub(super) struct Due {
    pub(super) place: Place,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Both sides' records in one store.
pub(super) struct Buffer {
    store: StoreRef,
    windows: JoinWindows,
    segment_ms: i64,
    clock: Clock,
    /// What the store has; `None` until it was read.
    saved: Option<Times>,
    /// Nothing that waits closes before this.
    waits_from: Remembered,
    /// Of each side, the segments before this are gone.
    purged_to: [i64; 2],
}

impl Buffer {
    pub(super) fn new(store: StoreRef, windows: JoinWindows) -> Self {
        Self {
            store,
            windows,
            segment_ms: windows.retention_ms().saturating_add(1),
            clock: Clock::new(),
            saved: None,
            waits_from: Remembered::new(i64::MIN),
            purged_to: [i64::MIN; 2],
        }
    }

    pub(super) fn windows(&self) -> JoinWindows {
        self.windows
    }

    /// What is known of time, read from the store at first.
    pub(super) fn times(&mut self, ctx: &Context<'_>) -> Result<Times, Fault> {
        if self.saved.is_none() {
            let stored = ctx.read(self.store, META, |stored| stored.and_then(Times::decode))?;
            let times = stored.unwrap_or(Times::START);
            self.clock.load(times);
            self.saved = Some(times);
        }
        Ok(self.clock.times())
    }

    /// Time has reached `now`. To be called after [`Self::times`].
    pub(super) fn set_now(&mut self, now: i64, ctx: &mut Context<'_>) {
        self.clock.now.set(now, ctx);
    }

    /// The newest record of `side` that can be joined is of `newest`. To be called after
    /// [`Self::times`].
    pub(super) fn set_largest(&mut self, side: Which, newest: i64, ctx: &mut Context<'_>) {
        self.clock.largest[side as usize].set(newest, ctx);
    }

    /// Writes what is known of time, if it has changed.
    pub(super) fn save(&mut self, ctx: &mut Context<'_>) {
        let times = self.clock.times();
        if self.saved.is_some_and(|saved| saved != times) {
            ctx.put(self.store, META, &times.encode());
            self.saved = Some(times);
        }
    }

    /// When `place`'s record can meet no other any more: the end of its window and the grace.
    pub(super) fn closes_at(&self, side: Which, timestamp: i64) -> i64 {
        self.ends_at(side, timestamp).saturating_add(self.windows.grace_ms)
    }

    /// The last moment that a record can be joined with.
    pub(super) fn ends_at(&self, side: Which, timestamp: i64) -> i64 {
        let JoinWindows { before_ms, after_ms, .. } = self.windows;
        timestamp.saturating_add(match side {
            Which::Left => after_ms,
            Which::Right => before_ms,
        })
    }

    /// The first moment that a record can be joined with.
    pub(super) fn begins_at(&self, side: Which, timestamp: i64) -> i64 {
        let JoinWindows { before_ms, after_ms, .. } = self.windows;
        timestamp.saturating_sub(match side {
            Which::Left => before_ms,
            Which::Right => after_ms,
        })
    }

    /// Keeps a record; answers where it lies.
    pub(super) fn add(
        &mut self,
        (side, timestamp): (Which, i64),
        key: &[u8],
        (clock, value): (i64, &[u8]),
        ctx: &mut Context<'_>,
    ) -> Result<Place, Fault> {
        let number = self.times(ctx)?.next_number;
        self.clock.next_number.set((number + 1).cast_signed(), ctx);
        let place = Place { side, timestamp, number };
        let mut entry = Vec::with_capacity(8 + value.len());
        entry.extend_from_slice(&clock.to_be_bytes());
        entry.extend_from_slice(value);
        ctx.put(self.store, &self.entry_key(place, key), &entry);
        Ok(place)
    }

    /// Notes that a record waits for its first match.
    pub(super) fn wait(&mut self, place: Place, key: &[u8], ctx: &mut Context<'_>) {
        let closes_at = self.closes_at(place.side, place.timestamp);
        self.waits_from.set(self.waits_from.get().min(closes_at), ctx);
        ctx.put(self.store, &waiting_key(closes_at, place, key), &[]);
    }

    /// A record has met another one: if it waited, it waits no longer.
    pub(super) fn met(&self, place: Place, key: &[u8], ctx: &mut Context<'_>) -> Result<(), Fault> {
        let waiting = waiting_key(self.closes_at(place.side, place.timestamp), place, key);
        if ctx.read(self.store, &waiting, |found| found.is_some())? {
            ctx.delete(self.store, &waiting);
        }
        Ok(())
    }

    /// Shows the records of `side` and `key` from the first to the last timestamp of `span`, both
    /// included, in the order of their timestamps, then of their arrival.
    pub(super) fn each(
        &self,
        (side, span): (Which, (i64, i64)),
        key: &[u8],
        ctx: &mut Context<'_>,
        show: &mut dyn FnMut(Found, &mut Context<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (first, last) = span;
        if first > last {
            return Ok(());
        }
        for segment in self.segment(first)..=self.segment(last) {
            let mut from = self.key_at((side, segment), key, (first, 0));
            let to = self.key_at((side, segment), key, (last.saturating_add(1), 0));
            loop {
                let page = ctx.scan(self.store, (&from, &to), PAGE)?;
                let full = page.len() == PAGE;
                if let Some((last, _)) = page.last() {
                    from.clone_from(last);
                    from.push(0);
                }
                for (entry, value) in page {
                    show(found(side, &entry, &value), ctx)?;
                }
                if !full {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes some of the records that wait and whose closing time is before `clock`, the earliest
    /// first; none if there are no more.
    pub(super) fn take_due(
        &mut self,
        clock: i64,
        ctx: &mut Context<'_>,
    ) -> Result<Vec<Due>, Fault> {
        if self.waits_from.get() >= clock {
            return Ok(Vec::new());
        }
        let (mut from, to) = (vec![kind::ENTRY, WAITING], [kind::ENTRY, WAITING + 1]);
        put_time(&mut from, self.waits_from.get());
        let page = ctx.scan(self.store, (&from, &to), PAGE)?;
        let mut taken = Vec::new();
        for (waiting, _) in &page {
            let (closes_at, place, key) = parse_waiting(waiting);
            self.waits_from.set(closes_at, ctx);
            if closes_at >= clock {
                return Ok(taken);
            }
            ctx.delete(self.store, waiting);
            let value = ctx.read(self.store, &self.entry_key(place, key), |found| {
                found.map(|entry| entry[8..].to_vec())
            })?;
            // Records are kept for longer than they wait.
            if let Some(value) = value {
                taken.push(Due { place, key: key.to_vec(), value });
            }
        }
        if page.len() < PAGE {
            self.waits_from.set(clock, ctx);
        }
        Ok(taken)
    }

    /// Forgets the records of `side` before `keep_from`, by whole segments, as many as fit in one
    /// commit.
    pub(super) fn purge(
        &mut self,
        side: Which,
        keep_from: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let segment = self.segment(keep_from);
        let purged_to = self.purged_to[side as usize];
        if segment <= purged_to {
            return Ok(());
        }
        let bound = |segment: i64| {
            let mut key = vec![kind::ENTRY, side as u8];
            put_time(&mut key, segment);
            key
        };
        let gone = ctx.scan(self.store, (&bound(purged_to), &bound(segment)), PURGED_MAX)?;
        for (key, _) in &gone {
            ctx.delete(self.store, key);
        }
        self.purged_to[side as usize] = match gone.last() {
            Some((key, _)) if gone.len() == PURGED_MAX => time_at(key, 2),
            _ => segment,
        };
        Ok(())
    }

    fn segment(&self, timestamp: i64) -> i64 {
        timestamp.div_euclid(self.segment_ms)
    }

    fn entry_key(&self, place: Place, key: &[u8]) -> Vec<u8> {
        let Place { side, timestamp, number } = place;
        self.key_at((side, self.segment(timestamp)), key, (timestamp, number))
    }

    fn key_at(
        &self,
        (side, segment): (Which, i64),
        key: &[u8],
        (timestamp, number): (i64, u64),
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(30 + key.len());
        out.extend_from_slice(&[kind::ENTRY, side as u8]);
        put_time(&mut out, segment);
        put_key(&mut out, key);
        put_time(&mut out, timestamp);
        out.extend_from_slice(&number.to_be_bytes());
        out
    }
}

impl Clock {
    fn new() -> Self {
        let Times { now, largest, next_number } = Times::START;
        Self {
            now: Remembered::new(now),
            largest: largest.map(Remembered::new),
            next_number: Remembered::new(next_number.cast_signed()),
        }
    }

    fn load(&self, times: Times) {
        self.now.load(times.now);
        self.largest.iter().zip(times.largest).for_each(|(largest, time)| largest.load(time));
        self.next_number.load(times.next_number.cast_signed());
    }

    fn times(&self) -> Times {
        let largest = [self.largest[0].get(), self.largest[1].get()];
        let next_number = self.next_number.get().cast_unsigned();
        Times { now: self.now.get(), largest, next_number }
    }
}

impl Times {
    const START: Self = Self { now: i64::MIN, largest: [i64::MIN; 2], next_number: 0 };

    fn encode(self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..8].copy_from_slice(&self.now.to_be_bytes());
        out[8..16].copy_from_slice(&self.largest[0].to_be_bytes());
        out[16..24].copy_from_slice(&self.largest[1].to_be_bytes());
        out[24..].copy_from_slice(&self.next_number.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        let number = |at: usize| {
            let (number, _) = bytes[at..].split_first_chunk::<8>()?;
            Some(u64::from_be_bytes(*number))
        };
        let time = |at: usize| number(at).map(u64::cast_signed);
        Some(Self { now: time(0)?, largest: [time(8)?, time(16)?], next_number: number(24)? })
    }
}

fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    let length = u32::try_from(key.len()).expect("a record is far smaller than 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(key);
}

fn waiting_key(closes_at: i64, place: Place, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(31 + key.len());
    out.extend_from_slice(&[kind::ENTRY, WAITING]);
    put_time(&mut out, closes_at);
    out.push(place.side as u8);
    put_key(&mut out, key);
    put_time(&mut out, place.timestamp);
    out.extend_from_slice(&place.number.to_be_bytes());
    out
}

/// Closing time, place and key of an entry that [`waiting_key`] made.
fn parse_waiting(bytes: &[u8]) -> (i64, Place, &[u8]) {
    let side = if bytes[10] == Which::Left as u8 { Which::Left } else { Which::Right };
    (time_at(bytes, 2), place(side, bytes), &bytes[15..bytes.len() - 16])
}

fn found(side: Which, entry: &[u8], value: &[u8]) -> Found {
    let (clock, value) = value.split_first_chunk::<8>().expect("written by `add`");
    let (clock, value) = (i64::from_be_bytes(*clock), value.to_vec());
    Found { place: place(side, entry), clock, value }
}

/// The place at the end of a key.
fn place(side: Which, key: &[u8]) -> Place {
    let (rest, number) = key.split_last_chunk::<8>().expect("every key ends with a number");
    Place { side, timestamp: time_at(rest, rest.len() - 8), number: u64::from_be_bytes(*number) }
}

fn time_at(key: &[u8], at: usize) -> i64 {
    let bytes: [u8; 8] = key[at..at + 8].try_into().expect("every key has its times");
    i64::from_be_bytes(bytes) ^ i64::MIN
}
