//! Streams that meet streams, and tables as they were.

use std::time::Duration;

use super::{PACE, built};
use crate::dsl::{JoinWindows, Stream, StreamJoined, TopologyBuilder};
use crate::operators::JoinGrace;
use crate::sim::dice::Dice;
use crate::sim::expect::Agreement;
use crate::sim::input::{BASE_MS, Input, Inputs, stream};
use crate::sim::shadow::Stored;
use crate::sim::subject::{Facts, Subject};

const BEFORE_MS: i64 = 2_000;
const AFTER_MS: i64 = 4_000;
const GRACE_MS: i64 = 3_000;
/// Later than anything else, so that everything closes.
const LAST_MS: i64 = BASE_MS + 100_000_000;

const fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

fn windows() -> JoinWindows {
    JoinWindows::of_time_difference_and_grace(Duration::ZERO, ms(GRACE_MS))
        .before(ms(BEFORE_MS))
        .after(ms(AFTER_MS))
}

/// One record in every partition of each topic, however many there are.
fn in_every_partition(topics: &[&str]) -> Vec<Input> {
    let of = |topic: &&str| -> Vec<Input> {
        (0..40).map(|n| Input::new(topic, &format!("last{n}"), "-1", LAST_MS)).collect()
    };
    topics.iter().flat_map(of).collect()
}

/// Records of two topics; each value is its record's own.
fn two(dice: &mut Dice, [one, other]: [&'static str; 2]) -> Inputs {
    let count = 20 + dice.below(50);
    let mut number = 0;
    let rest = stream(dice, (count, PACE), |dice, at| {
        number += 1;
        let topic = if dice.chance(50) { one } else { other };
        Input::new(topic, &format!("k{}", dice.below(9)), &number.to_string(), at)
    });
    Inputs { rest, last: in_every_partition(&[one, other]), ..Inputs::default() }
}

/// Joins of two streams behind repartitions: inner, left and outer. Which of two records comes
/// first changes nothing.
pub(super) fn pairs() -> Subject {
    let builder = TopologyBuilder::new("sim-pairs");
    let by_rest = |topic: &str| -> Stream<String, i64> {
        builder.stream::<String, i64>(topic).filter(|_, n| *n >= 0).select_key(|_, n| key_of(*n))
    };
    let (left, right) = (by_rest("pairs-left"), by_rest("pairs-right"));
    let both = |_: &String, l: Option<&i64>, r: Option<&i64>| (l.copied(), r.copied());
    let inner = |_: &String, l: &i64, r: &i64| (Some(*l), Some(*r));
    left.join_stream(&right, windows(), StreamJoined::named("pairs-a"), inner).to("pairs-inner");
    let with_left = move |key: &String, l: &i64, r: Option<&i64>| both(key, Some(l), r);
    left.left_join_stream(&right, windows(), StreamJoined::named("pairs-b"), with_left)
        .to("pairs-some");
    left.outer_join_stream(&right, windows(), StreamJoined::named("pairs-c"), both).to("pairs-all");
    Subject::new(built(builder.build()), |dice| two(dice, ["pairs-left", "pairs-right"]))
        .on_record_time()
        .promising("pairs-inner", Agreement::Values)
        .promising("pairs-some", Agreement::Values)
        .promising("pairs-all", Agreement::Values)
        .checked(check_pairs)
}

fn key_of(n: i64) -> String {
    format!("p{}", n % 3)
}

/// A record of a source with its source's clock.
struct Read {
    n: i64,
    at: i64,
    clock: i64,
}

fn read(facts: &Facts<'_>, topic: &str) -> Vec<Read> {
    let mut all = Vec::new();
    for records in facts.topic(topic).into_values() {
        let mut clock = i64::MIN;
        for record in records {
            clock = clock.max(record.timestamp);
            let n = record.value_text().parse().unwrap_or(-1);
            if n >= 0 {
                all.push(Read { n, at: record.timestamp, clock });
            }
        }
    }
    all
}

/// Two records meet if neither was read, by its source's clock, after the other's window and
/// grace; who meets nobody is handed on alone.
fn check_pairs(facts: &Facts<'_>) -> Result<(), String> {
    if facts.idle {
        // No time passes in the model, so that not everything closes there.
        return Ok(());
    }
    type Pair = (Option<i64>, Option<i64>);
    let (left, right) = (read(facts, "pairs-left"), read(facts, "pairs-right"));
    let mut pairs: Vec<Pair> = Vec::new();
    let mut met = [vec![false; left.len()], vec![false; right.len()]];
    for (i, l) in left.iter().enumerate() {
        for (j, r) in right.iter().enumerate() {
            let near = (l.at - BEFORE_MS..=l.at + AFTER_MS).contains(&r.at);
            let in_time =
                r.clock <= l.at + AFTER_MS + GRACE_MS && l.clock <= r.at + BEFORE_MS + GRACE_MS;
            if key_of(l.n) == key_of(r.n) && near && in_time {
                (met[0][i], met[1][j]) = (true, true);
                pairs.push((Some(l.n), Some(r.n)));
            }
        }
    }
    let alone = |records: &[Read], met: &[bool], pair: &dyn Fn(i64) -> Pair| -> Vec<Pair> {
        let alone = records.iter().zip(met).filter(|(_, met)| !**met);
        alone.map(|(record, _)| pair(record.n)).collect()
    };
    let lefts = alone(&left, &met[0], &|n| (Some(n), None));
    let rights = alone(&right, &met[1], &|n| (None, Some(n)));
    let some: Vec<Pair> = pairs.iter().chain(&lefts).copied().collect();
    let all: Vec<Pair> = some.iter().chain(&rights).copied().collect();
    for (topic, mut wanted) in [("pairs-inner", pairs), ("pairs-some", some), ("pairs-all", all)] {
        let records = facts.topic(topic).into_values().flatten();
        let parse = |record: &Stored| serde_json::from_str(&record.value_text());
        let mut found: Vec<Pair> = records.map(|r| parse(r).unwrap_or_default()).collect();
        wanted.sort_unstable();
        found.sort_unstable();
        if found != wanted {
            return Err(format!("{topic} has {found:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

/// Joins of streams as they are read from their topics, within so long a time that nothing is
/// forgotten: all pairs of a key.
pub(super) fn meetings() -> Subject {
    let builder = TopologyBuilder::new("sim-meetings");
    let left = builder.stream::<String, i64>("meetings-left");
    let right = builder.stream::<String, i64>("meetings-right");
    let windows = JoinWindows::of_time_difference_with_no_grace(ms(3_000_000));
    left.join_stream(&right, windows, StreamJoined::named("meetings"), |_, l, r| (*l, *r))
        .to("meetings-out");
    Subject::new(built(builder.build()), |dice| {
        let inputs = two(dice, ["meetings-left", "meetings-right"]);
        Inputs { last: Vec::new(), ..inputs }
    })
    .on_record_time()
    .checked(check_meetings)
}

fn check_meetings(facts: &Facts<'_>) -> Result<(), String> {
    let of = |topic: &str| -> Vec<(String, i64)> {
        let records = facts.topic(topic).into_values().flatten();
        records.map(|r| (r.key_text(), r.value_text().parse().unwrap_or_default())).collect()
    };
    let (left, right) = (of("meetings-left"), of("meetings-right"));
    let mut wanted: Vec<(i64, i64)> = Vec::new();
    for (key, l) in &left {
        wanted.extend(right.iter().filter(|(other, _)| other == key).map(|(_, r)| (*l, *r)));
    }
    let records = facts.topic("meetings-out").into_values().flatten();
    let parse = |record: &Stored| serde_json::from_str(&record.value_text()).unwrap_or_default();
    let mut found: Vec<(i64, i64)> = records.map(parse).collect();
    wanted.sort_unstable();
    found.sort_unstable();
    if found == wanted { Ok(()) } else { Err(format!("met {found:?}, not {wanted:?}")) }
}

/// A stream that meets the rows of a versioned table as of its records' times, behind
/// repartitions: with a grace, what came first changes nothing.
pub(super) fn as_of() -> Subject {
    let builder = TopologyBuilder::new("sim-as-of");
    let by_value = |topic: &str| {
        builder.stream::<String, i64>(topic).select_key(|_, n| key_of(*n)).repartition(topic)
    };
    let rows = by_value("as-of-rows")
        .map_values(|_, n| (n % 5 != 0).then_some(n))
        .materialize_versioned("as-of-table", ms(HISTORY_MS));
    let asked = by_value("as-of-in");
    let grace = |name: &str| JoinGrace::named(name, ms(WAIT_MS));
    asked.join_as_of(&rows, grace("as-of-waiting"), |_, n, row| (*n, *row)).to("as-of-inner");
    asked
        .left_join_as_of(&rows, grace("as-of-waiting-left"), |_, n, row| (*n, row.copied()))
        .to("as-of-left");
    Subject::new(built(builder.build()), |dice| {
        let mut inputs = two(dice, ["as-of-rows", "as-of-in"]);
        for input in &mut inputs.rest {
            // Rows with several updates at one time.
            input.timestamp_ms -= input.timestamp_ms % 1_000;
        }
        inputs
    })
    .on_record_time()
    .promising("as-of-inner", Agreement::Values)
    .promising("as-of-left", Agreement::Values)
    .checked(check_as_of)
}

const HISTORY_MS: i64 = 20_000;
const WAIT_MS: i64 = 5_000;

/// Every record is there once, with the newest update of its time or before that was read before
/// the record had waited long enough.
fn check_as_of(facts: &Facts<'_>) -> Result<(), String> {
    if facts.idle {
        // No time passes in the model, so that not everything closes there.
        return Ok(());
    }
    let rows = read(facts, "as-of-rows");
    let is_late = |read: &Read| read.at < read.clock - HISTORY_MS;
    let meets = |asked: &Read| {
        let known = rows.iter().filter(|row| {
            let in_time = row.at <= asked.at && row.clock <= asked.at + WAIT_MS;
            key_of(row.n) == key_of(asked.n) && in_time && !is_late(row) && !is_late(asked)
        });
        // Of those that are equal the last: by partition, then by offset.
        known.max_by_key(|row| (row.at, row.clock)).map(|row| row.n).filter(|n| n % 5 != 0)
    };
    let asked = read(facts, "as-of-in");
    let mut left: Vec<_> = asked.iter().map(|asked| (asked.n, meets(asked))).collect();
    let mut inner: Vec<_> = left.iter().copied().filter(|(_, row)| row.is_some()).collect();
    for (topic, wanted) in [("as-of-left", &mut left), ("as-of-inner", &mut inner)] {
        let records = facts.topic(topic).into_values().flatten();
        let parse = |r: &Stored| serde_json::from_str(&r.value_text()).unwrap_or((-1, None));
        let mut found: Vec<(i64, Option<i64>)> = records.map(parse).collect();
        found.retain(|(n, _)| *n >= 0);
        found.sort_unstable();
        wanted.sort_unstable();
        if found != *wanted {
            return Err(format!("{topic} has {found:?}, not {wanted:?}"));
        }
    }
    Ok(())
}
