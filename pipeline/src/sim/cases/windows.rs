//! Windows: lateness and closing, with and without repartitions, one hop and two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::good::{Good, Hops, agree, good};
use super::{PACE, built, spoil};
use crate::dsl::{TimeWindows, TopologyBuilder};
use crate::operators::{AlertRule, Severity, ViewFields};
use crate::record::Windowed;
use crate::sim::dice::Dice;
use crate::sim::input::{Input, Inputs, Pace, stream};
use crate::sim::subject::{Facts, Subject};

const SIZE_MS: i64 = 10_000;
const GRACE_MS: i64 = 5_000;
/// Longer than any record is late.
const WITHIN_MS: i64 = 600_000;
const MANY: i64 = 4;

fn windows() -> TimeWindows {
    let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    TimeWindows::of_size_and_grace(ms(SIZE_MS), ms(GRACE_MS))
}

pub(super) fn numbers(topic: &'static str, pace: Pace) -> impl Fn(&mut Dice) -> Inputs {
    move |dice| {
        let count = 20 + dice.below(90);
        // Few keys leave partitions without records: sources that never say anything.
        let keys = *dice.pick(&[1, 3, 11, 11]);
        let inputs = stream(dice, (count, pace), |dice, at| {
            let n = dice.below(150);
            Input::new(topic, &format!("k{}", n % keys), &n.to_string(), at)
        });
        Inputs::as_scheduled(spoil(dice, inputs))
    }
}

fn has_counted(found: &Value, wanted: &Value) -> bool {
    found["count"].as_i64() >= wanted["count"].as_i64()
}

/// `dedup`, `group_by`, a windowed `count`, a view, an alert, a stream of updates.
pub(super) fn groups() -> Subject {
    let builder = TopologyBuilder::new("sim-groups");
    let within = Duration::from_millis(WITHIN_MS.unsigned_abs());
    let counts = builder
        .stream::<String, i64>("groups-in")
        .dedup("groups-seen", within, |_, n, _| Some(n.to_string()))
        .filter(|_, n| n % 7 != 0)
        .group_by("groups-by", |_, n| format!("g{}", n % 5))
        .windowed_by(windows())
        .count("groups-counts");
    let fields = ViewFields::new().i64("count").timestamp("start");
    counts.view("groups", fields, |key: &Windowed<String>, count| {
        json!({ "count": count, "group": key.key, "start": key.window.start })
    });
    counts.to_stream().to("groups-updates");
    counts
        .to_stream()
        .filter(|_, count| *count >= MANY)
        .alert(AlertRule::new("many", Severity::Info), |_, _| ("many".to_owned(), ()));
    Subject::new(built(builder.build()), numbers("groups-in", PACE))
        .on_record_time()
        .checked(check_groups)
        .growing(has_counted)
}

/// By group and window start.
type Counts = BTreeMap<(String, i64), i64>;

fn check_groups(facts: &Facts<'_>) -> Result<(), String> {
    let wanted = count_groups(facts);
    let mut found = Counts::new();
    for document in facts.view("groups").into_values() {
        let group = document["group"].as_str().unwrap_or_default().to_owned();
        let start = document["start"].as_i64().unwrap_or_default();
        found.insert((group, start), document["count"].as_i64().unwrap_or_default());
    }
    if found != wanted {
        return Err(format!("counts are {found:?}, not {wanted:?}"));
    }
    let alerts: BTreeSet<String> = facts.alerts().into_iter().collect();
    let many = wanted.iter().filter(|(_, count)| **count >= MANY);
    let wanted_alerts: BTreeSet<String> =
        many.map(|((group, start), _)| format!("many:{group}:{start}")).collect();
    if alerts != wanted_alerts {
        return Err(format!("alerts are {alerts:?}, not {wanted_alerts:?}"));
    }
    each_counts_up(facts, "groups-updates", wanted.values().sum())
}

/// The updates of each key are 1, 2, 3 and so on, in all as many as there were records.
fn each_counts_up(facts: &Facts<'_>, topic: &str, wanted: i64) -> Result<(), String> {
    let mut counts: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for record in facts.topic(topic).into_values().flatten() {
        let key = record.key.clone().unwrap_or_default();
        let count = counts.entry(key).or_default();
        *count += 1;
        if record.value_text() != count.to_string() {
            return Err(format!(
                "{topic} goes on with {} after {}",
                record.value_text(),
                *count - 1
            ));
        }
    }
    let found: i64 = counts.values().sum();
    if found == wanted { Ok(()) } else { Err(format!("{topic} has {found} updates, not {wanted}")) }
}

/// What the topology comes to, from the records of its source alone.
fn count_groups(facts: &Facts<'_>) -> Counts {
    let mut counts = Counts::new();
    for records in facts.topic("groups-in").into_values() {
        let (mut clock, mut seen) = (i64::MIN, BTreeSet::new());
        for record in records {
            let key = record.key.as_deref().map(std::str::from_utf8);
            let value: Option<i64> =
                record.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
            let (Some(Ok(_)), Some(n), 0..) = (key, value, record.timestamp) else { continue };
            clock = clock.max(record.timestamp);
            if !seen.insert(n) || n % 7 == 0 {
                continue;
            }
            let start = record.timestamp - record.timestamp.rem_euclid(SIZE_MS);
            if start + SIZE_MS > clock - GRACE_MS {
                *counts.entry((format!("g{}", n % 5), start)).or_default() += 1;
            }
        }
    }
    counts
}

/// Windows over a source's own partitions: `count`, `reduce`, `aggregate`, each update in order;
/// many windows, so that they are purged.
pub(super) fn readings() -> Subject {
    let builder = TopologyBuilder::new("sim-readings");
    let readings = builder.stream::<String, i64>("readings-in");
    readings.group_by_key().windowed_by(windows()).count("readings-count").to("readings-counts");
    let sums = readings.group_by_key().windowed_by(windows()).reduce("readings-sum", |a, b| a + b);
    sums.to_stream().to("readings-sums");
    let listed = readings.group_by_key().windowed_by(windows()).aggregate(
        "readings-list",
        Vec::new,
        |_: &String, n: &i64, mut list: Vec<i64>| {
            list.push(*n);
            list
        },
    );
    listed.view(
        "readings",
        ViewFields::new().i64("count"),
        |of: &Windowed<String>, list| {
            json!({ "count": list.len(), "list": list, "key": of.key, "start": of.window.start })
        },
    );
    let pace = Pace { step_ms: 2_500, jitter_ms: 9_000, outlier_ms: 40_000 };
    Subject::new(built(builder.build()), numbers("readings-in", pace))
        .on_record_time()
        .checked(check_readings)
        .growing(has_counted)
}

const HOPS: Hops = Hops { size_ms: SIZE_MS, advance_ms: SIZE_MS, grace_ms: GRACE_MS };

/// Each window's document lists the records that were in time, in order.
fn check_readings(facts: &Facts<'_>) -> Result<(), String> {
    let mut wanted: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    for record in good(facts, "readings-in").into_values().flatten() {
        for start in HOPS.starts(&record) {
            let key = record.key.clone().unwrap_or_default();
            wanted.entry((key, start)).or_default().push(record.n);
        }
    }
    let mut found: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    for document in facts.view("readings").into_values() {
        let list: Vec<i64> = serde_json::from_value(document["list"].clone()).unwrap_or_default();
        found.insert(window_of(&document), list);
    }
    if found == wanted { Ok(()) } else { Err(format!("lists are {found:?}, not {wanted:?}")) }
}

/// The key and the start of a document's window.
fn window_of(document: &Value) -> (String, i64) {
    let key = document["key"].as_str().unwrap_or_default().to_owned();
    (key, document["start"].as_i64().unwrap_or_default())
}

fn counted(of: &Windowed<String>, count: &i64) -> Value {
    json!({ "count": count, "key": of.key, "start": of.window.start })
}

fn check_hops(facts: &Facts<'_>) -> Result<(), String> {
    let group = |name: &'static str, n: i64| move |record: &Good| format!("{name}{}", record.n % n);
    let near = HOPS.sums(facts, "hops-in", (group("h", 6), |_| 1));
    let far = HOPS.sums(facts, "hops-in", (group("f", 3), |_| 1));
    for (view, wanted) in [("hops-near", &near), ("hops-far", &far)] {
        let count = |document: Value| {
            (window_of(&document), document["count"].as_i64().unwrap_or_default())
        };
        let found = facts.view(view).into_values().map(count).collect();
        agree(view, &found, wanted, true)?;
    }
    let alerts: BTreeSet<String> = facts.alerts().into_iter().collect();
    let many = far.iter().filter(|(_, count)| **count >= MANY);
    let wanted: BTreeSet<String> = many.map(|((f, start), _)| format!("far:{f}:{start}")).collect();
    if alerts == wanted { Ok(()) } else { Err(format!("alerts are {alerts:?}, not {wanted:?}")) }
}

/// Two repartitions, windows behind each: clocks travel over two hops.
pub(super) fn hops() -> Subject {
    let builder = TopologyBuilder::new("sim-hops");
    let moved = builder
        .stream::<String, i64>("hops-in")
        .select_key(|_, n| format!("h{}", n % 6))
        .repartition("hops-first");
    let near = moved.group_by_key().windowed_by(windows()).count("hops-near");
    near.view("hops-near", ViewFields::new().i64("count"), counted);
    let far = moved
        .group_by("hops-second", |_, n| format!("f{}", n % 3))
        .windowed_by(windows())
        .count("hops-far");
    far.view("hops-far", ViewFields::new().i64("count"), counted);
    far.to_stream()
        .filter(|_, count| *count >= MANY)
        .alert(AlertRule::new("far", Severity::Critical), |_, _| ("far".to_owned(), ()));
    Subject::new(built(builder.build()), numbers("hops-in", PACE))
        .on_record_time()
        .checked(check_hops)
        .growing(has_counted)
}
