//! Streams without windows: what comes of them is the same record by record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::good::good;
use super::{PACE, built, spoil};
use crate::dsl::TopologyBuilder;
use crate::operators::{AlertRule, Severity};
use crate::sim::input::{Input, Inputs, Pace, stream};
use crate::sim::shadow::Stored;
use crate::sim::subject::{Facts, Subject};

/// `filter`, `map_values`, `flat_map_values`, `split`, `select_key` with `repartition`; null keys,
/// bad records.
pub(super) fn copy() -> Subject {
    let builder = TopologyBuilder::new("sim-copy");
    let numbers = builder.stream::<Option<String>, i64>("copy-in").filter(|_, n| n % 5 != 0);
    let mut split = numbers.split();
    let large = split.branch(|_, n| *n >= 100);
    large.map_values(|_, n| n * 2).to("copy-large");
    let small = split.done();
    small.flat_map_values(|_, n| vec![n; usize::try_from(n % 3).unwrap_or(0)]).to("copy-small");
    small
        .select_key(|_, n| format!("n{}", n % 4))
        .repartition("copy-by-rest")
        .map_values(|_, n| n + 1)
        .to("copy-moved");
    Subject::new(built(builder.build()), |dice| {
        let count = 20 + dice.below(60);
        let inputs = stream(dice, (count, PACE), |dice, at| {
            let key = format!("k{}", dice.below(9));
            let mut input = Input::new("copy-in", &key, &dice.below(160).to_string(), at);
            if dice.chance(10) {
                input.key = None;
            }
            input
        });
        Inputs::as_scheduled(spoil(dice, inputs))
    })
    .on_record_time()
    .checked(check_copy)
}

/// The values of a topic by partition, in order.
fn values(facts: &Facts<'_>, topic: &str) -> BTreeMap<u32, Vec<i64>> {
    let value = |record: &Stored| record.value_text().parse().unwrap_or(i64::MIN);
    let of = |(at, records): (u32, Vec<&Stored>)| (at, records.into_iter().map(value).collect());
    facts.topic(topic).into_iter().map(of).collect()
}

fn check_copy(facts: &Facts<'_>) -> Result<(), String> {
    let (large, small) = (values(facts, "copy-large"), values(facts, "copy-small"));
    let mut moved: Vec<i64> = Vec::new();
    for (at, records) in good(facts, "copy-in") {
        let kept: Vec<i64> = records.iter().map(|record| record.n).filter(|n| n % 5 != 0).collect();
        let (high, low): (Vec<i64>, Vec<i64>) = kept.into_iter().partition(|n| *n >= 100);
        let high: Vec<i64> = high.into_iter().map(|n| 2 * n).collect();
        moved.extend(low.iter().map(|n| n + 1));
        let low: Vec<i64> =
            low.into_iter().flat_map(|n| vec![n; usize::try_from(n % 3).unwrap_or(0)]).collect();
        for (found, wanted) in [(&large, high), (&small, low)] {
            let found = found.get(&at).map_or(&[][..], Vec::as_slice);
            if found != wanted {
                return Err(format!("partition {at} has {found:?}, not {wanted:?}"));
            }
        }
    }
    let mut found: Vec<i64> = values(facts, "copy-moved").into_values().flatten().collect();
    found.sort_unstable();
    moved.sort_unstable();
    if found == moved { Ok(()) } else { Err(format!("moved {found:?}, not {moved:?}")) }
}

/// How long [`once`] remembers an id, in milliseconds.
const ONCE_MS: i64 = 4_000;

/// `dedup` by the sender's id with a short memory, and `alert` with a short one: what is forgotten
/// must not depend on when commits were made.
pub(super) fn once() -> Subject {
    let builder = TopologyBuilder::new("sim-once");
    let once = builder.stream::<String, i64>("once-in").dedup(
        "once-seen",
        Duration::from_millis(ONCE_MS.unsigned_abs()),
        |_, n, info| info.event_id().map(str::to_owned).or_else(|| Some(format!("n{n}"))),
    );
    once.to("once-out");
    let rule = AlertRule::new("large", Severity::Warning).remember(Duration::from_secs(3_600));
    once.filter(|_, n| *n > 30).alert(rule, |_, n| (format!("{n} is large"), *n));
    let pace = Pace { step_ms: 700, jitter_ms: 1_500, outlier_ms: 60_000 };
    Subject::new(built(builder.build()), move |dice| {
        let count = 20 + dice.below(60);
        let inputs = stream(dice, (count, pace), |dice, at| {
            let n = dice.below(40);
            // Some lie exactly a period apart.
            let at = at - at.rem_euclid(250);
            let mut input = Input::new("once-in", &format!("k{}", n % 7), &n.to_string(), at);
            // The same id, and so the same key.
            if dice.chance(50) {
                input.event_id = Some(format!("e{}", n / 2 * 2 + n % 7));
            }
            input
        });
        Inputs::as_scheduled(inputs)
    })
    .on_record_time()
    .checked(check_once)
}

/// Of each partition the records that pass: those whose id was not in another one within the
/// period. What is older than two periods, in whole periods, is remembered no more.
fn check_once(facts: &Facts<'_>) -> Result<(), String> {
    let found = values(facts, "once-out");
    let bucket = |at: i64| at.div_euclid(ONCE_MS);
    let mut alerts = BTreeSet::new();
    for (at, records) in good(facts, "once-in") {
        let (mut passed, mut seen) = (Vec::new(), Vec::<(String, i64)>::new());
        for record in records {
            let id = record.event_id.unwrap_or_else(|| format!("n{}", record.n));
            let kept_from = bucket(record.clock - 2 * ONCE_MS);
            let repeats = |(other, then): &(String, i64)| {
                *other == id && record.at.abs_diff(*then) <= ONCE_MS.unsigned_abs()
            };
            if seen.iter().filter(|(_, then)| bucket(*then) >= kept_from).any(repeats) {
                continue;
            }
            if bucket(record.at) >= kept_from {
                seen.push((id, record.at));
            }
            passed.push(record.n);
            if record.n > 30 {
                alerts.insert(format!("large:{}", record.key.unwrap_or_default()));
            }
        }
        let found = found.get(&at).map_or(&[][..], Vec::as_slice);
        if found != passed {
            return Err(format!("of partition {at} passed {found:?}, not {passed:?}"));
        }
    }
    let fired: BTreeSet<String> = facts.alerts().into_iter().collect();
    if fired == alerts { Ok(()) } else { Err(format!("alerts are {fired:?}, not {alerts:?}")) }
}

/// `merge` of two topics: of what is there, the lowest timestamp comes first.
pub(super) fn merged() -> Subject {
    let builder = TopologyBuilder::new("sim-merged");
    let left = builder.stream::<String, String>("merged-a");
    let right = builder.stream::<String, String>("merged-b");
    left.merge(&right).peek(|_, _, _| {}).to("merged-out");
    Subject::new(built(builder.build()), |dice| {
        let count = 20 + dice.below(50);
        let mut number = 0;
        let inputs = stream(dice, (count, PACE), |dice, at| {
            number += 1;
            let topic = if dice.chance(50) { "merged-a" } else { "merged-b" };
            Input::new(topic, &format!("k{}", dice.below(5)), &format!("\"{number}\""), at)
        });
        Inputs::as_scheduled(inputs)
    })
    .on_record_time()
    .checked(check_merged)
}

/// Whatever arrived when, the records of each topic stay in their order, and none is missing or
/// doubled. If all were there, they are merged by time, ties by topic.
fn check_merged(facts: &Facts<'_>) -> Result<(), String> {
    let (left, right) = (facts.topic("merged-a"), facts.topic("merged-b"));
    let mut found: BTreeMap<(u32, u16), Vec<String>> = BTreeMap::new();
    let mut all: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (partition, records) in facts.topic("merged-out") {
        for record in records {
            let source = record.origin().map_or(u16::MAX, |origin| origin.source);
            found.entry((partition, source)).or_default().push(record.value_text());
            all.entry(partition).or_default().push(record.value_text());
        }
    }
    for (number, topic) in [(0_u16, &left), (1, &right)] {
        for (partition, records) in topic {
            let wanted: Vec<String> = records.iter().map(|record| record.value_text()).collect();
            let found = found.remove(&(*partition, number)).unwrap_or_default();
            if found != wanted {
                return Err(format!(
                    "partition {partition} of {number}: {found:?}, not {wanted:?}"
                ));
            }
        }
    }
    if !facts.plain {
        return Ok(());
    }
    for (partition, found) in all {
        let empty = Vec::new();
        let mut one = left.get(&partition).unwrap_or(&empty).iter().peekable();
        let mut other = right.get(&partition).unwrap_or(&empty).iter().peekable();
        let mut wanted = Vec::new();
        loop {
            let next = match (one.peek(), other.peek()) {
                (Some(a), Some(b)) if a.timestamp <= b.timestamp => one.next(),
                (Some(_), None) => one.next(),
                _ => other.next(),
            };
            let Some(record) = next else { break };
            wanted.push(record.value_text());
        }
        if found != wanted {
            return Err(format!("partition {partition} by time: {found:?}, not {wanted:?}"));
        }
    }
    Ok(())
}
