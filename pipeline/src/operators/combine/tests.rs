//! The same results with partial aggregates before the repartition as without.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::aggregates::{Collect, Extreme, Sum};
use crate::driver::TopologyDriver;
use crate::{Topology, TopologyBuilder, TopologyError};

/// Sum, largest and earliest numbers of each remainder.
fn topology(entries_max: Option<usize>) -> Topology {
    let builder = TopologyBuilder::new("app");
    let numbers = builder.stream::<Option<String>, i64>("in");
    let grouped = |name: &str| {
        let grouped = numbers.group_by(name, |_, number| number.rem_euclid(5));
        match entries_max {
            Some(entries_max) => grouped.combined(entries_max),
            None => grouped,
        }
    };
    grouped("sum").aggregate_by("sums", Sum::of(|number: &i64| *number)).to("sums");
    grouped("max").aggregate_by("maxima", Extreme::max(|number: &i64| *number)).to("maxima");
    grouped("first").aggregate_by("first", Collect::earliest(3, |n: &i64| *n)).to("first");
    builder.build().unwrap()
}

/// For each topic and key the last value and its timestamp.
type Results = BTreeMap<(String, i64), (serde_json::Value, i64)>;

/// Runs in commits of `size` records, killed after each, and answers with the last result of each
/// key and its timestamp, and the number of records that went through the repartition topics.
fn run(topology: Topology, records: &[(i64, i64)], size: usize) -> (Results, usize) {
    let mut driver = TopologyDriver::with_partitions(topology, 3);
    for chunk in records.chunks(size) {
        for (number, timestamp) in chunk {
            let (key, value) = (timestamp.to_string(), number.to_string());
            driver.append("in", Some(key.as_bytes()), Some(value.as_bytes()), *timestamp);
        }
        driver.commit();
        driver.kill();
    }
    driver.commit();
    let mut last = BTreeMap::new();
    for topic in ["sums", "maxima", "first"] {
        for record in driver.read::<i64, serde_json::Value>(topic) {
            last.insert((topic.to_owned(), record.key), (record.value.unwrap(), record.timestamp));
        }
    }
    let sent = ["sum", "max", "first"];
    let sent = sent.iter().map(|name| driver.read_raw(&format!("app-g1-{name}-repartition")).len());
    (last, sent.sum())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn combining_changes_no_result(
        records in prop::collection::vec((-50..50_i64, 0..40_i64), 1..80),
        size in 1..30_usize,
        entries_max in 1..6_usize,
    ) {
        let (plain, all) = run(topology(None), &records, size);
        let (combined, few) = run(topology(Some(entries_max)), &records, size);
        prop_assert_eq!(plain, combined);
        prop_assert!(few <= all);
    }
}

#[test]
fn few_records_go_through_the_repartition_if_few_keys_have_most() {
    let records: Vec<(i64, i64)> =
        (0..6_000).map(|n| (if n % 50 == 0 { n } else { 7 }, n)).collect();
    let (plain, all) = run(topology(None), &records, 1_000);
    let (combined, few) = run(topology(Some(1_000)), &records, 1_000);
    assert_eq!(plain, combined);
    // Three aggregates, six commits, three partitions that send, at most five keys.
    assert_eq!(all, 18_000);
    assert!(few <= 3 * 6 * 3 * 5, "{few}");
}

#[test]
fn an_aggregate_that_cannot_merge_is_refused() {
    let builder = TopologyBuilder::new("app");
    let numbers = builder.stream::<String, i64>("in");
    let grouped = numbers.group_by("by", |_, number| *number).combined(10);
    grouped.aggregate("sums", || 0, |_, number, sum: i64| sum + number).to("out");
    let error = builder.build().err();
    let node = "KSTREAM-COMBINE-0000000002".to_owned();
    assert_eq!(error, Some(TopologyError::NeedsMerge { node }));
}
