//! Topologies of several operators, each beside its twin in Kafka Streams (`Further.java` and
//! `FurtherTables.java` in `tests/peers`): what the small ones of [`crate::cases`] do not show, such
//! as old values that go through a filter into a group, or windows behind a repartition.
//!
//! A name says what is built: the group before the colon, then the parts.

mod after_windows;
mod plain;
mod streams;
mod tables;
mod versioned;
mod windows;

use pipeline::driver::{Script, check_last_values_four_ways};
use pipeline::{Stream, Topology, TopologyBuilder};

use crate::cases::{Agreement, Build, Case, Params, Text};

/// All of them.
pub(super) const FURTHER: &[&[Case]] = &[
    plain::CASES,
    windows::CASES,
    after_windows::CASES,
    streams::CASES,
    tables::CASES,
    versioned::CASES,
];

/// Those that are only compared with records of which it is known how they differ.
const DIFFERENT: &[Case] = &[
    windows::REGROUPED_SESSIONS,
    after_windows::CLOSED_TABLES,
    plain::REPARTITIONED_NULLS,
    tables::LIMITED_COUNT,
    versioned::REKEYED,
];

/// The one that is called `name`.
pub(super) fn named(name: &str) -> &'static Case {
    let all = FURTHER.iter().copied().flatten().chain(DIFFERENT);
    let mut named = all.filter(|case| case.name == name);
    named.next().unwrap_or_else(|| panic!("no topology is called {name}"))
}

/// A case of texts.
const fn texts(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    let build = Build::Named(build);
    Case { name, build, windowed: false, number: false, agreement: Agreement::Exact }
}

/// A case of numbers.
const fn numbers(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { number: true, ..texts(name, build) }
}

/// The group of a value: by its last character. Null is a group, too.
fn group_of(value: Option<&str>) -> Text {
    let last = value.and_then(|value| value.chars().last());
    Some(last.map_or_else(|| "k".to_owned(), |last| format!("k{last}")))
}

fn is_even(value: &str) -> bool {
    value.chars().last().is_some_and(|last| "02468".contains(last))
}

/// A text, or the word null.
fn text(text: &Text) -> &str {
    text.as_deref().unwrap_or("null")
}

fn both(left: &str, right: Option<&String>) -> String {
    format!("{left},{}", right.map_or("null", String::as_str))
}

fn either(left: Option<&String>, right: Option<&String>) -> String {
    both(left.map_or("null", String::as_str), right)
}

fn joined(one: &str, two: &str) -> String {
    format!("{one};{two}")
}

/// With nulls as texts: an operator of Kafka Streams may leave a null out and still look at its
/// time, and ours does not see what is left out.
fn never_null(builder: &TopologyBuilder, topic: &str) -> Stream<Text, String> {
    crate::cases::texts(builder, topic)
        .map_values(|_, value| value.unwrap_or_else(|| "null".to_owned()))
}

fn built(add: impl FnOnce(&TopologyBuilder)) -> Topology {
    let builder = TopologyBuilder::new("case");
    add(&builder);
    builder.build().unwrap()
}

/// What comes first decides in joins of streams: `millpond topology describe` says so. Behind a join
/// by a foreign key it is commits that decide whether a group counts 0 or never was.
fn depends_on_arrival(case: &Case) -> bool {
    let groups = ["stream", "foreign:", "versioned:as-of", "versioned:foreign"];
    groups.iter().any(|group| case.name.starts_with(group))
}

#[test]
fn further_topologies_end_the_same_in_four_ways() {
    let all = FURTHER.iter().copied().flatten();
    for case in all.filter(|case| !depends_on_arrival(case)) {
        for seed in 0..2 {
            let (params, inputs) = super::generate::generate(case.name, seed);
            let script: Script =
                inputs.into_iter().map(|i| (i.topic, i.key, i.value, i.timestamp)).collect();
            println!("{} with seed {seed}", case.name);
            check_last_values_four_ways(&|| case.topology(&params), &script, &["out"]);
        }
    }
}
