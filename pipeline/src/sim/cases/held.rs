//! What holds things back: `suppress`, `combined`, and processors that are called by time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::good::{Good, Hops, agree, told};
use super::windows::numbers;
use super::{PACE, built};
use crate::aggregates::Sum;
use crate::dsl::{TimeWindows, TopologyBuilder};
use crate::operators::{BufferConfig, Suppressed};
use crate::processor::{KeyValueStore, Processor, ProcessorContext, ProcessorError, Schedule};
use crate::record::{Record, Windowed};
use crate::sim::expect::Agreement;
use crate::sim::input::{BASE_MS, Input, Inputs, stream};
use crate::sim::subject::{Facts, Subject};

/// `suppress` until windows close, here and behind a repartition; until a time limit, with a bound
/// that is reached.
pub(super) fn suppressed() -> Subject {
    let seconds = Duration::from_secs;
    let windows = TimeWindows::of_size_and_grace(seconds(8), seconds(4));
    let builder = TopologyBuilder::new("sim-suppressed");
    let here = builder.stream::<String, i64>("suppressed-in");
    let counts = here.group_by_key().windowed_by(windows).count("suppressed-count");
    let closed = counts.suppress("suppressed-open", Suppressed::until_window_closes());
    closed.to_stream().to("suppressed-closed");
    let limit = Suppressed::until_time_limit(seconds(3), BufferConfig::max_records(5));
    let sums = here.group_by_key().reduce("suppressed-sum", |a, b| a + b);
    sums.suppress("suppressed-some", limit).to_stream().to("suppressed-limited");
    let there = here.group_by("suppressed-by", |_, n| format!("m{}", n % 4)).windowed_by(windows);
    let closed = there.count("suppressed-there");
    let closed = closed.suppress("suppressed-open-there", Suppressed::until_window_closes());
    let placed = |of: &Windowed<String>, count: i64| (of.key.clone(), of.window.start, count);
    closed.to_stream().map_values(placed).to("suppressed-closed-there");
    Subject::new(built(builder.build()), numbers("suppressed-in", PACE))
        .on_record_time()
        .promising("suppressed-closed-there", Agreement::Values)
        .checked(check_suppressed)
}

const HOPS: Hops = Hops { size_ms: 8_000, advance_ms: 8_000, grace_ms: 4_000 };

/// Each window that has closed is told of once, and right.
fn check_suppressed(facts: &Facts<'_>) -> Result<(), String> {
    let group = |record: &Good| format!("m{}", record.n % 4);
    let wanted = HOPS.sums(facts, "suppressed-in", (group, |_| 1));
    let found = told(facts, "suppressed-closed-there", true)?;
    agree("suppressed-closed-there", &found, &wanted, false)
}

/// `combined`, also before windows: partial sums travel, two keys at a time.
pub(super) fn combined() -> Subject {
    let builder = TopologyBuilder::new("sim-combined");
    let numbers = builder.stream::<String, i64>("combined-in");
    let windows = TimeWindows::of_size_and_grace(Duration::from_secs(8), Duration::from_secs(4));
    numbers
        .group_by("combined-windowed-by", |_, n| format!("c{}", n % 5))
        .combined(2)
        .windowed_by(windows)
        .aggregate_by("combined-windows", Sum::of(|n: &i64| *n))
        .to_stream()
        .map_values(|of: &Windowed<String>, sum| (of.key.clone(), of.window.start, sum))
        .to("combined-windowed");
    numbers
        .group_by("combined-by", |_, n| format!("c{}", n % 5))
        .combined(2)
        .aggregate_by("combined-sum", Sum::of(|n: &i64| *n))
        .to("combined-sums");
    Subject::new(built(builder.build()), |dice| {
        let count = 20 + dice.below(70);
        Inputs::as_scheduled(stream(dice, (count, PACE), |dice, at| {
            let key = format!("k{}", dice.below(9));
            Input::new("combined-in", &key, &dice.below(100).to_string(), at)
        }))
    })
    .on_record_time()
    .checked(check_combined)
}

fn check_combined(facts: &Facts<'_>) -> Result<(), String> {
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    for record in facts.topic("combined-in").into_values().flatten() {
        let n: i64 = record.value_text().parse().unwrap_or_default();
        *wanted.entry(format!("c{}", n % 5)).or_default() += n;
    }
    let records = facts.topic("combined-sums").into_values().flatten();
    let found: BTreeMap<String, i64> =
        records.map(|r| (r.key_text(), r.value_text().parse().unwrap_or_default())).collect();
    if found != wanted {
        return Err(format!("sums are {found:?}, not {wanted:?}"));
    }
    let group = |record: &Good| format!("c{}", record.n % 5);
    let wanted = HOPS.sums(facts, "combined-in", (group, |n| n));
    agree("combined-windowed", &told(facts, "combined-windowed", false)?, &wanted, true)
}

/// Sums what comes under each key; tells all sums when time says so, and forgets them.
struct Sums {
    sums: KeyValueStore<String, i64>,
    schedule: Schedule,
}

impl Processor<String, i64> for Sums {
    type Key = String;
    type Value = i64;

    fn process(
        &mut self,
        record: Record<String, i64>,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        if record.value % 13 == 12 {
            return Err(ctx.bad_record("an unlucky number"));
        }
        let mut sums = ctx.store(&self.sums);
        let sum = sums.get(&record.key)?.unwrap_or(0) + record.value;
        sums.put(&record.key, &sum)
    }

    fn schedule(&self) -> Vec<Schedule> {
        vec![self.schedule]
    }

    fn punctuate(
        &mut self,
        _: Schedule,
        now: i64,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        for (key, value) in ctx.store(&self.sums).all(100)? {
            ctx.store(&self.sums).delete(&key)?;
            ctx.forward(Record { key, value, timestamp: now })?;
        }
        Ok(())
    }
}

/// Processors that are called by stream time, and by the wall clock.
pub(super) fn processors() -> Subject {
    let builder = TopologyBuilder::new("sim-processors");
    let numbers = builder.stream::<String, i64>("processors-in");
    let schedules = [
        ("stream", Schedule::StreamTime(Duration::from_secs(5))),
        ("wall", Schedule::WallClock(Duration::from_millis(400))),
    ];
    for (name, schedule) in schedules {
        let sums = builder.key_value_store(&format!("processors-{name}-sums"));
        let make = move || Sums { sums: sums.clone(), schedule };
        let id = make().sums.id();
        numbers
            .process(&format!("processors-{name}"), &[id], make)
            .to(&format!("processors-by-{name}"));
    }
    Subject::new(built(builder.build()), |dice| {
        let count = 20 + dice.below(60);
        let rest = stream(dice, (count, PACE), |dice, at| {
            let key = format!("k{}", dice.below(5));
            Input::new("processors-in", &key, &(1 + dice.below(99)).to_string(), at)
        });
        // A bad one: nothing of it is left to be told by a later call.
        let last = vec![Input::new("processors-in", "k0", "12", BASE_MS)];
        Inputs { rest, last, ..Inputs::default() }
    })
    .on_record_time()
    .checked_when_idle(check_processors)
}

/// What the wall clock has called for by the end is everything, once.
fn check_processors(facts: &Facts<'_>) -> Result<(), String> {
    if facts.plain {
        return Ok(());
    }
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    for record in facts.topic("processors-in").into_values().flatten() {
        let n: i64 = record.value_text().parse().unwrap_or_default();
        if n % 13 != 12 {
            *wanted.entry(record.key_text()).or_default() += n;
        }
    }
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for record in facts.topic("processors-by-wall").into_values().flatten() {
        *found.entry(record.key_text()).or_default() +=
            record.value_text().parse::<i64>().unwrap_or_default();
    }
    if found == wanted { Ok(()) } else { Err(format!("told were {found:?}, not {wanted:?}")) }
}
