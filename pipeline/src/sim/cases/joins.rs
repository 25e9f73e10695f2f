//! Joins of streams with tables.

use std::collections::BTreeMap;

use super::{PACE, built};
use crate::dsl::TopologyBuilder;
use crate::sim::input::{BASE_MS, Input, Inputs, stream};
use crate::sim::subject::{Facts, Subject};

/// `join_global` and `left_join_global` with a table that is complete before anything runs.
pub(super) fn standing() -> Subject {
    let builder = TopologyBuilder::new("sim-standing");
    let table = builder.global_table::<String, String>("standing-table", "standing-rows");
    let stream_in = builder.stream::<String, String>("standing-in");
    stream_in
        .join_global(&table, |_, of: &String| of.clone(), |_, of, row| format!("{of}={row}"))
        .to("standing-inner");
    stream_in
        .left_join_global(
            &table,
            |_, of: &String| of.clone(),
            |_, of, row: Option<&String>| format!("{of}={}", row.map_or("none", |row| row)),
        )
        .to("standing-left");
    Subject::new(built(builder.build()), |dice| {
        let row = |at: usize| {
            let mut row = Input::new("standing-table", &format!("t{}", at % 5), "", BASE_MS);
            // Later rows replace earlier ones, the last of one key deletes it.
            row.value = (at != 9).then(|| format!("\"row{at}\"").into_bytes());
            row
        };
        let mut first: Vec<Input> = (0..10).map(row).collect();
        first.push(Input::new("standing-table", "t1", "no JSON", BASE_MS));
        let count = 20 + dice.below(50);
        let rest = stream(dice, (count, PACE), |dice, at| {
            let of = format!("\"t{}\"", dice.below(7));
            Input::new("standing-in", &format!("k{}", dice.below(5)), &of, at)
        });
        Inputs { first, rest, ..Inputs::default() }
    })
    .on_record_time()
    .with_standing_tables()
    .checked(check_standing)
}

fn check_standing(facts: &Facts<'_>) -> Result<(), String> {
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for record in facts.topic("standing-table").into_values().flatten() {
        let row = record.value.as_deref().map(serde_json::from_slice::<String>);
        match row {
            Some(Ok(row)) => drop(rows.insert(record.key_text(), row)),
            Some(Err(_)) => {}
            None => drop(rows.remove(&record.key_text())),
        }
    }
    let (mut inner, mut left) = (Vec::new(), Vec::new());
    for record in facts.topic("standing-in").into_values().flatten() {
        let of: String = serde_json::from_str(&record.value_text()).unwrap_or_default();
        if let Some(row) = rows.get(&of) {
            inner.push(format!("\"{of}={row}\""));
        }
        left.push(format!("\"{of}={}\"", rows.get(&of).map_or("none", |row| row)));
    }
    for (topic, mut wanted) in [("standing-inner", inner), ("standing-left", left)] {
        let records = facts.topic(topic).into_values().flatten();
        let mut found: Vec<String> = records.map(|record| record.value_text()).collect();
        wanted.sort();
        found.sort();
        if found != wanted {
            return Err(format!("{topic} has {found:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

/// `join` and `left_join` with a table that changes meanwhile: which row a record meets depends on
/// what arrived first, but rows only go forward.
pub(super) fn moving() -> Subject {
    let builder = TopologyBuilder::new("sim-moving");
    let table = builder.table::<String, i64>("moving-table", "moving-rows");
    let stream_in = builder.stream::<String, i64>("moving-in");
    stream_in.join(&table, |_, n, row| (*n, Some(*row))).to("moving-inner");
    stream_in.left_join(&table, |_, n, row| (*n, row.copied())).to("moving-left");
    Subject::new(built(builder.build()), |dice| {
        let count = 30 + dice.below(60);
        let mut number = 0;
        let rest = stream(dice, (count, PACE), |dice, at| {
            number += 1;
            let topic = if dice.chance(40) { "moving-table" } else { "moving-in" };
            let key = format!("k{}", dice.below(5));
            let mut input = Input::new(topic, &key, &number.to_string(), at);
            if topic == "moving-table" && dice.chance(15) {
                input.value = None;
            }
            input
        });
        Inputs::as_scheduled(rest)
    })
    .on_record_time()
    .checked(check_moving)
}

/// Every record of the stream is there once, in order, and meets the rows of its key in their
/// order.
fn check_moving(facts: &Facts<'_>) -> Result<(), String> {
    let mut rows: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
    for record in facts.topic("moving-table").into_values().flatten() {
        let row = record.value.is_some().then(|| record.value_text().parse().unwrap_or_default());
        rows.entry(record.key_text()).or_insert_with(|| vec![None]).push(row);
    }
    let sources = facts.topic("moving-in");
    for (partition, joined) in facts.topic("moving-left") {
        let wanted: Vec<i64> = sources
            .get(&partition)
            .into_iter()
            .flatten()
            .map(|record| record.value_text().parse().unwrap_or_default())
            .collect();
        let read = |text: String| -> (i64, Option<i64>) {
            serde_json::from_str(&text).unwrap_or_default()
        };
        let found: Vec<i64> = joined.iter().map(|record| read(record.value_text()).0).collect();
        if found != wanted {
            return Err(format!("partition {partition} has {found:?}, not {wanted:?}"));
        }
        let mut reached: BTreeMap<String, usize> = BTreeMap::new();
        for record in joined {
            let key = record.key_text();
            let (n, row) = read(record.value_text());
            let none = vec![None];
            let known = rows.get(&key).unwrap_or(&none);
            let from = reached.get(&key).copied().unwrap_or(0);
            let Some(ahead) = known[from..].iter().position(|known| *known == row) else {
                return Err(format!("{n} of {key} meets {row:?}, which was gone: {known:?}"));
            };
            reached.insert(key, from + ahead);
        }
    }
    Ok(())
}
