//! Tables: latest values with deletions, and aggregates over all time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{PACE, built};
use crate::dsl::TopologyBuilder;
use crate::operators::ViewFields;
use crate::sim::input::{Input, Inputs, stream};
use crate::sim::subject::{Facts, Subject};

/// `table` with deletions, `filter`, `map_values`, `to`, a view; a stream that becomes a table.
pub(super) fn rows() -> Subject {
    let builder = TopologyBuilder::new("sim-rows");
    let rows = builder.table::<String, i64>("rows-in", "rows");
    rows.to("rows-out");
    let even = rows.filter(|_, n| n % 2 == 0).map_values(|_, n| n * 10);
    even.view("rows", ViewFields::new().i64("n"), |_, n| json!({ "n": n }));
    even.to_stream_with_tombstones().to("rows-even");
    Subject::new(built(builder.build()), |dice| {
        let count = 20 + dice.below(70);
        let inputs = stream(dice, (count, PACE), |dice, at| {
            let key = format!("k{}", dice.below(8));
            let mut input = Input::new("rows-in", &key, &dice.below(50).to_string(), at);
            if dice.chance(20) {
                input.value = None;
            }
            input
        });
        Inputs::as_scheduled(inputs)
    })
    .on_record_time()
    .checked(check_rows)
}

/// The last value of each key, and of those that are even the view.
fn check_rows(facts: &Facts<'_>) -> Result<(), String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for record in facts.topic("rows-in").into_values().flatten() {
        match record.value.as_deref().map(serde_json::from_slice::<i64>) {
            Some(Ok(n)) => drop(rows.insert(record.key_text(), n)),
            Some(Err(_)) => {}
            None => drop(rows.remove(&record.key_text())),
        }
    }
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for record in facts.topic("rows-out").into_values().flatten() {
        match record.value {
            Some(_) => drop(out.insert(record.key_text(), record.value_text())),
            None => drop(out.remove(&record.key_text())),
        }
    }
    let wanted: BTreeMap<String, String> =
        rows.iter().map(|(key, n)| (key.clone(), n.to_string())).collect();
    if out != wanted {
        return Err(format!("rows are {out:?}, not {wanted:?}"));
    }
    let even = rows.iter().filter(|(_, n)| **n % 2 == 0);
    let wanted: BTreeMap<String, Value> =
        even.map(|(key, n)| (key.clone(), json!({ "n": n * 10 }))).collect();
    let view = facts.view("rows");
    if view == wanted { Ok(()) } else { Err(format!("the view is {view:?}, not {wanted:?}")) }
}

/// Aggregates over all time by key and by group, and a view of the latest record.
pub(super) fn totals() -> Subject {
    let builder = TopologyBuilder::new("sim-totals");
    let amounts = builder.stream::<String, i64>("totals-in");
    amounts.group_by_key().count("totals-count").to_stream().to("totals-counts");
    let sums = amounts
        .map(|key, n| (format!("{}", key.len() + usize::try_from(n % 3).unwrap_or(0)), n))
        .group_by_key()
        .reduce("totals-sum", |a, b| a + b);
    sums.view("totals", ViewFields::new().i64("count"), |_, sum| json!({ "count": sum }));
    sums.to("totals-sums");
    amounts.view("latest", ViewFields::new().i64("n"), |_, n| json!({ "n": n }));
    Subject::new(built(builder.build()), |dice| {
        let count = 20 + dice.below(70);
        let inputs = stream(dice, (count, PACE), |dice, at| {
            let key = "k".repeat(1 + dice.below(6));
            Input::new("totals-in", &key, &dice.below(100).to_string(), at)
        });
        Inputs::as_scheduled(inputs)
    })
    .on_record_time()
    .checked(check_totals)
}

fn check_totals(facts: &Facts<'_>) -> Result<(), String> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let mut latest: BTreeMap<String, Value> = BTreeMap::new();
    for record in facts.topic("totals-in").into_values().flatten() {
        let n: i64 = record.value_text().parse().unwrap_or_default();
        let key = record.key_text();
        let group = key.len() + usize::try_from(n % 3).unwrap_or(0);
        *sums.entry(group.to_string()).or_default() += n;
        *counts.entry(key.clone()).or_default() += 1;
        latest.insert(key, json!({ "n": n }));
    }
    let mut counted: BTreeMap<String, i64> = BTreeMap::new();
    for record in facts.topic("totals-counts").into_values().flatten() {
        let count = counted.entry(record.key_text()).or_default();
        *count += 1;
        if record.value_text() != count.to_string() {
            return Err(format!("{} goes on with {}", *count - 1, record.value_text()));
        }
    }
    let view: BTreeMap<String, i64> = facts
        .view("totals")
        .into_iter()
        .map(|(key, document)| (key, document["count"].as_i64().unwrap_or_default()))
        .collect();
    if counted != counts {
        return Err(format!("counts are {counted:?}, not {counts:?}"));
    }
    if view != sums {
        return Err(format!("sums are {view:?}, not {sums:?}"));
    }
    let found = facts.view("latest");
    if found == latest { Ok(()) } else { Err(format!("latest are {found:?}, not {latest:?}")) }
}
