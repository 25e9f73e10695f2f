//! What happens when nothing does: sources that stand still and are left behind, tables that
//! advance without records of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{PACE, built};
use crate::dsl::{TimeWindows, TopologyBuilder};
use crate::format::LATE_REASON_HEADER;
use crate::record::Windowed;
use crate::sim::expect::Agreement;
use crate::sim::input::{BASE_MS, Input, Inputs, Pace, stream};
use crate::sim::subject::{Facts, Subject};

const SIZE_MS: i64 = 10_000;
const GRACE_MS: i64 = 5_000;
/// Later than anything else: with such a record all windows before it close.
const LAST_MS: i64 = BASE_MS + 100_000_000;
/// The values of those records begin here.
const LAST: i64 = 1_000;

/// Final windows behind a repartition, and what came too late for them. However sources were left
/// behind: each record is in one of the two, once.
pub(super) fn accounts() -> Subject {
    let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    let windows = TimeWindows::of_size_and_grace(ms(SIZE_MS), ms(GRACE_MS));
    let builder = TopologyBuilder::new("sim-accounts");
    builder
        .stream::<String, i64>("accounts-in")
        .group_by("accounts-by", |_, n| format!("g{}", n % 4))
        .windowed_by(windows)
        .emit_final()
        .late_to("accounts-late")
        .count("accounts-count")
        .to_stream()
        .map_values(|of, count| (of.key.clone(), of.window.start, count))
        .to("accounts-final");
    let pace = Pace { step_ms: 600, jitter_ms: 6_000, outlier_ms: 40_000 };
    Subject::new(built(builder.build()), move |dice| {
        let count = 20 + dice.below(60);
        let rest = stream(dice, (count, pace), |dice, at| {
            let key = format!("k{}", dice.below(7));
            Input::new("accounts-in", &key, &dice.below(100).to_string(), at)
        });
        let beyond = |n: i64| {
            Input::new("accounts-in", &format!("last{n}"), &(LAST + n).to_string(), LAST_MS)
        };
        let from = dice.between(0, 39);
        let last = (0..40).map(|n| beyond((from + n) % 40)).collect();
        let behind = (0..12).map(|n| {
            let at = BASE_MS + dice.between(0, 40_000);
            Input::new("accounts-in", &format!("k{}", n % 7), &dice.below(100).to_string(), at)
        });
        Inputs { rest, last, behind: behind.collect(), ..Inputs::default() }
    })
    .on_record_time()
    .promising("accounts-final", Agreement::Values)
    .promising("accounts-late", Agreement::Values)
    .checked_when_idle(check_accounts)
}

/// Records by group and window start.
type Counts = BTreeMap<(String, i64), i64>;

fn check_accounts(facts: &Facts<'_>) -> Result<(), String> {
    if facts.plain && facts.idle {
        // No time passes there, so nothing is left behind, and not all windows close.
        return Ok(());
    }
    let (mut all, mut too_late) = (Counts::new(), Counts::new());
    for records in facts.topic("accounts-in").into_values() {
        let mut clock = i64::MIN;
        for record in records {
            clock = clock.max(record.timestamp);
            let Some(window) = window_of(&record.value_text(), record.timestamp) else { continue };
            if window.1 + SIZE_MS + GRACE_MS <= clock {
                *too_late.entry(window.clone()).or_default() += 1;
            }
            *all.entry(window).or_default() += 1;
        }
    }
    let (mut told, mut late, mut by_clock) = (Counts::new(), Counts::new(), Counts::new());
    for record in facts.topic("accounts-final").into_values().flatten() {
        let (group, start, count): (String, i64, i64) =
            serde_json::from_str(&record.value_text()).unwrap_or_default();
        if told.insert((group.clone(), start), count).is_some() {
            return Err(format!("the window of {group} at {start} is told of twice"));
        }
    }
    for record in facts.topic("accounts-late").into_values().flatten() {
        let Some(window) = window_of(&record.value_text(), record.timestamp) else { continue };
        if record.header(LATE_REASON_HEADER) == Some(b"late") {
            *by_clock.entry(window.clone()).or_default() += 1;
        } else if !facts.idle {
            return Err(format!("{window:?} was left behind, and nothing is"));
        }
        *late.entry(window).or_default() += 1;
    }
    if by_clock != too_late {
        return Err(format!("late by their clocks are {by_clock:?}, not {too_late:?}"));
    }
    for (window, count) in late {
        *told.entry(window).or_default() += count;
    }
    if told == all { Ok(()) } else { Err(format!("told or late are {told:?}, not {all:?}")) }
}

/// Final windows whose results are grouped anew and counted in windows of their own: what time
/// makes lies behind the clocks by which it was made.
pub(super) fn cascade() -> Subject {
    let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    let builder = TopologyBuilder::new("sim-cascade");
    let near = TimeWindows::of_size_and_grace(ms(SIZE_MS), ms(GRACE_MS));
    let far = TimeWindows::of_size_with_no_grace(ms(2 * SIZE_MS));
    builder
        .stream::<String, i64>("cascade-in")
        .group_by_key()
        .windowed_by(near)
        .emit_final()
        .count("cascade-near")
        .to_stream()
        .map(|of: Windowed<String>, count| (of.key.len().to_string(), count))
        .group_by_key()
        .windowed_by(far)
        .emit_final()
        .late_to("cascade-late")
        .reduce("cascade-far", |a, b| a + b)
        .to_stream()
        .map_values(|of, sum| (of.key.clone(), of.window.start, sum))
        .to("cascade-final");
    let pace = Pace { step_ms: 900, jitter_ms: 6_000, outlier_ms: 40_000 };
    Subject::new(built(builder.build()), move |dice| {
        let count = 20 + dice.below(60);
        let rest = stream(dice, (count, pace), |dice, at| {
            Input::new("cascade-in", &"k".repeat(1 + dice.below(3)), "1", at)
        });
        let beyond = |n: i64| Input::new("cascade-in", &format!("last{n}"), "1", LAST_MS + n);
        Inputs { rest, last: (0..40).map(beyond).collect(), ..Inputs::default() }
    })
    .on_record_time()
    .promising("cascade-final", Agreement::Values)
    .promising("cascade-late", Agreement::Values)
}

/// The group and the start of the window of a record; not of those that only turn time on.
fn window_of(value: &str, timestamp: i64) -> Option<(String, i64)> {
    let n: i64 = value.parse().unwrap_or_default();
    (n < LAST).then(|| (format!("g{}", n % 4), timestamp - timestamp.rem_euclid(SIZE_MS)))
}

/// Joins with a global table that changes all the time. A record meets a row that there was at
/// some time; what comes when everything has stood still meets the last ones.
pub(super) fn advancing() -> Subject {
    let builder = TopologyBuilder::new("sim-advancing");
    let table = builder.global_table::<String, i64>("advancing-table", "advancing-rows");
    builder
        .stream::<String, i64>("advancing-in")
        .left_join_global(&table, |_, n| row_of(*n), |_, n, row: Option<&i64>| (*n, row.copied()))
        .to("advancing-out");
    Subject::new(built(builder.build()), |dice| {
        let count = 30 + dice.below(60);
        let mut number = 0;
        let rest = stream(dice, (count, PACE), |dice, at| {
            number += 1;
            if dice.chance(60) {
                let n = dice.below(100).to_string();
                return Input::new("advancing-in", &format!("k{}", dice.below(6)), &n, at);
            }
            let row = row_of(dice.between(0, 99));
            let mut row = Input::new("advancing-table", &row, &number.to_string(), at);
            if dice.chance(15) {
                row.value = None;
            }
            row
        });
        let last =
            |n: i64| Input::new("advancing-in", &format!("k{n}"), &(LAST + n).to_string(), BASE_MS);
        Inputs { rest, last: (0..8).map(last).collect(), ..Inputs::default() }
    })
    .on_record_time()
    .checked_when_idle(check_advancing)
}

fn row_of(n: i64) -> String {
    format!("t{}", n % 4)
}

fn check_advancing(facts: &Facts<'_>) -> Result<(), String> {
    let mut rows: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
    for record in facts.topic("advancing-table").into_values().flatten() {
        let row = record.value.is_some().then(|| record.value_text().parse().unwrap_or_default());
        rows.entry(record.key_text()).or_insert_with(|| vec![None]).push(row);
    }
    let sources = facts.topic("advancing-in");
    for (partition, joined) in facts.topic("advancing-out") {
        let pair = |text: String| -> (i64, Option<i64>) {
            serde_json::from_str(&text).unwrap_or_default()
        };
        let joined: Vec<_> = joined.iter().map(|record| pair(record.value_text())).collect();
        let of = sources.get(&partition).into_iter().flatten();
        let wanted: Vec<i64> =
            of.map(|record| record.value_text().parse().unwrap_or_default()).collect();
        let found: Vec<i64> = joined.iter().map(|(n, _)| *n).collect();
        if found != wanted {
            return Err(format!("partition {partition} has {found:?}, not {wanted:?}"));
        }
        for (n, row) in joined {
            let none = vec![None];
            let known = rows.get(&row_of(n)).unwrap_or(&none);
            // A model without faults has the whole table before it begins.
            let met = if facts.plain || n >= LAST { known.len() - 1 } else { 0 };
            if !known[met..].contains(&row) {
                return Err(format!("{n} meets {row:?} of {known:?}"));
            }
        }
    }
    Ok(())
}
