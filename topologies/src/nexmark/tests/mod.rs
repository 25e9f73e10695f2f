//! Every query against a plain computation over the same events.

mod batch;

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::driver::TopologyDriver;
use pipeline::{Key, Topology, TopologyError};
use serde_json::{Value, json};

use super::*;

const START_MS: i64 = 1_763_719_200_000;
const DISORDER_MS: i64 = 3_000;
const GRACE: Duration = Duration::from_secs(60);

/// Some minutes of an auction house, a little out of order.
fn events(seed: u64) -> Vec<Event> {
    let mut generator = Generator::new(seed, START_MS, 97);
    generator.disorder_ms = DISORDER_MS;
    generator.take(3_000).collect()
}

/// Runs the query on topics of `partitions` partitions, the events dealt to them in turn, with
/// commits on the way; arrival takes 97 ms for each event.
fn run(topology: Topology, events: &[Event], partitions: u32) -> TopologyDriver {
    let mut driver = TopologyDriver::with_partitions(topology, partitions);
    for (number, event) in (0_i64..).zip(events) {
        let key = format!("{}", number % i64::from(partitions));
        let value = serde_json::to_vec(event).unwrap();
        driver.append(TOPIC, Some(key.as_bytes()), Some(&value), START_MS + number * 97);
        if number % 500 == 499 {
            driver.commit();
        }
    }
    driver.commit();
    driver
}

/// The last value of each key.
fn table<K: Key>(driver: &TopologyDriver, topic: &str) -> BTreeMap<String, Value> {
    let text = |key: &K| {
        let mut text = String::new();
        key.write_text(&mut text);
        // Sessions that became one may begin at the same moment, and lie in different partitions.
        let end = key.window().map_or_else(String::new, |window| format!("-{}", window.end));
        text + &end
    };
    let mut rows = BTreeMap::new();
    for record in driver.read::<K, Value>(topic) {
        match record.value {
            Some(value) => rows.insert(text(&record.key), value),
            None => rows.remove(&text(&record.key)),
        };
    }
    rows
}

fn values(driver: &TopologyDriver, topic: &str) -> Vec<String> {
    let records = driver.read::<Option<String>, Value>(topic);
    let mut values: Vec<String> =
        records.iter().map(|r| r.value.as_ref().unwrap().to_string()).collect();
    values.sort();
    values
}

fn sorted(values: impl Iterator<Item = Value>) -> Vec<String> {
    let mut values: Vec<String> = values.map(|value| value.to_string()).collect();
    values.sort();
    values
}

/// Checks a query whose results are a table, with one partition and with three.
fn check<K: Key>(
    topic: &str,
    build: &dyn Fn() -> Result<Topology, TopologyError>,
    expected: impl Fn(&[Event]) -> BTreeMap<String, Value>,
) {
    for (seed, partitions) in [(1, 1), (2, 3), (3, 3)] {
        let events = events(seed);
        let expected = expected(&events);
        assert!(!expected.is_empty(), "seed {seed} has nothing to show");
        let driver = run(build().unwrap(), &events, partitions);
        let dropped = driver.counters().all().into_iter().filter(|(_, why, _)| *why != "duplicate");
        assert_eq!(dropped.count(), 0, "{topic}: records were dropped");
        let rows = table::<K>(&driver, topic);
        for (key, value) in &expected {
            assert_eq!(rows.get(key), Some(value), "{topic}: {key}, {partitions} partitions");
        }
        assert_eq!(rows.len(), expected.len(), "{topic}");
    }
}

#[test]
fn the_generator_has_nexmarks_shares_and_is_seeded() {
    let events = events(7);
    let share = |kind: fn(&Event) -> bool| events.iter().filter(|event| kind(event)).count();
    assert_eq!(share(|event| matches!(event, Event::Person(_))), 60);
    assert_eq!(share(|event| matches!(event, Event::Auction(_))), 180);
    assert_eq!(share(|event| matches!(event, Event::Bid(_))), 2_760);
    assert_eq!(events, super::tests::events(7));
    assert_ne!(events, super::tests::events(8));
}

#[test]
fn q0_q1_and_q2_are_bid_by_bid() {
    let events = events(1);
    let bids = || batch::bids(&events);
    let driver = run(q0::build().unwrap(), &events, 3);
    assert_eq!(values(&driver, "q0"), sorted(bids().map(|bid| json!(bid))));
    let driver = run(q1::build().unwrap(), &events, 3);
    let euros = |bid: Bid| Bid { price: bid.price * 908, ..bid };
    assert_eq!(values(&driver, "q1"), sorted(bids().map(|bid| json!(euros(bid)))));
    let driver = run(q2::build().unwrap(), &events, 3);
    let chosen = sorted(
        bids().filter(|bid| bid.auction % 123 == 0).map(|bid| json!([bid.auction, bid.price])),
    );
    assert!(!chosen.is_empty());
    assert_eq!(values(&driver, "q2"), chosen);
}

#[test]
fn q3_finds_local_sellers() {
    check::<i64>("q3", &q3::build, batch::q3);
}

#[test]
fn q4_averages_winning_bids() {
    check::<i64>("q4", &q4::build, batch::q4);
}

#[test]
fn q5_finds_the_hottest_auctions() {
    check::<i64>("q5", &|| q5::build(GRACE), batch::q5);
}

#[test]
fn q7_finds_the_highest_bids() {
    check::<pipeline::Windowed<String>>("q7", &|| q7::build(GRACE), batch::q7);
}

#[test]
fn q8_finds_new_sellers() {
    check::<i64>("q8", &|| q8::build(GRACE), batch::q8);
}

#[test]
fn q9_finds_winning_bids() {
    check::<i64>("q9", &q9::build, batch::q9);
}

#[test]
fn q11_counts_bids_in_sessions() {
    check::<pipeline::Windowed<i64>>("q11", &|| q11::build(GRACE), batch::q11);
}

#[test]
fn q12_counts_bids_by_arrival() {
    check::<pipeline::Windowed<i64>>("q12", &q12::build, |events| batch::q12(events, START_MS, 97));
}
