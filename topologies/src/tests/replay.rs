//! Traffic gives the right results however it is cut into commits, and wherever it is killed.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::{Topology, TopologyDriver};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::naive::{self, Expected};
use crate::traffic::{CUSTOMERS, Generated, Mix, Traffic};
use crate::{fraud, logins, orders};

const START_MS: i64 = 1_750_000_000_000;
const RECORDS: usize = 20_000;
/// A record every so many milliseconds of event time: seven minutes in all.
const STEP_MS: i64 = 21;
const PARTITIONS: u32 = 4;

/// What must not depend on commits and crashes.
#[derive(Debug, Default, PartialEq)]
struct Results {
    /// The last document of each key, by view and key.
    documents: BTreeMap<(String, String), Option<Value>>,
    alerts: BTreeSet<String>,
    rejections: Vec<Value>,
}

/// Traffic of one kind. Customers, who change when nobody knows, come before everything else.
fn traffic(mix: Mix) -> (Vec<Generated>, Vec<Generated>) {
    let mut traffic = Traffic::new(7, mix);
    let mut customers: Vec<Generated> = traffic.customers(START_MS).collect();
    let mut records = Vec::new();
    for n in 0..RECORDS {
        let record = traffic.next(START_MS + n as i64 * STEP_MS);
        if record.topic == CUSTOMERS { customers.push(record) } else { records.push(record) }
    }
    (customers, records)
}

/// Appends `records` in batches as `next_batch` says: how many, and whether the worker is killed
/// before their commit.
fn replay(
    topology: Topology,
    (customers, records): &(Vec<Generated>, Vec<Generated>),
    next_batch: &mut dyn FnMut() -> (usize, bool),
) -> Results {
    let has_customers = !topology.global_topics().is_empty();
    let views = topology.view_names();
    let outputs = topology.output_topics();
    let mut driver = TopologyDriver::with_partitions(topology, PARTITIONS).coalescing();
    let append = |driver: &mut TopologyDriver, record: &Generated| {
        driver.append(record.topic, Some(&record.key), Some(&record.value), record.timestamp_ms);
    };
    if has_customers {
        customers.iter().for_each(|record| append(&mut driver, record));
        driver.commit();
    }
    let mut rest = records.as_slice();
    while !rest.is_empty() {
        let (size, is_killed) = next_batch();
        let (batch, after) = rest.split_at(size.min(rest.len()));
        batch.iter().for_each(|record| append(&mut driver, record));
        if is_killed {
            driver.process();
            driver.kill();
        }
        driver.commit();
        rest = after;
    }
    let document = |view: &String| {
        let records = driver.read_view(view).into_iter();
        records.map(|record| ((view.clone(), record.key), record.value)).collect::<Vec<_>>()
    };
    let results = Results {
        documents: views.iter().flat_map(document).collect(),
        alerts: driver.read_alerts().iter().map(id_of).collect(),
        rejections: outputs.iter().flat_map(|topic| values(&driver, topic)).collect(),
    };
    assert_eq!(results.alerts.len(), driver.read_alerts().len(), "no alert is sent twice");
    results
}

fn id_of(alert: &Value) -> String {
    alert["id"].as_str().unwrap().to_owned()
}

fn values(driver: &TopologyDriver, topic: &str) -> Vec<Value> {
    driver.read::<String, Value>(topic).into_iter().filter_map(|record| record.value).collect()
}

/// Replays in one commit, in commits of all sizes, and with kills at random.
fn check(build: &dyn Fn() -> Topology, traffic: &(Vec<Generated>, Vec<Generated>)) -> Results {
    let expected = replay(build(), traffic, &mut || (RECORDS, false));
    for seed in 0..2 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut sizes = || (1 << dice.random_range(0..12), false);
        assert_eq!(replay(build(), traffic, &mut sizes), expected, "seed {seed}");
        let mut kills = || (dice.random_range(1..1_500), dice.random_range(0..3) == 0);
        assert_eq!(replay(build(), traffic, &mut kills), expected, "kills, seed {seed}");
    }
    expected
}

impl Results {
    /// Holds a view to the documents that there must be, in the fields that are given.
    fn assert_view(&self, view: &str, expected: &Expected) {
        let of_view = self.documents.iter().filter(|((name, _), _)| name == view);
        let documents: BTreeMap<&str, &Value> = of_view
            .map(|((_, key), document)| (key.as_str(), document.as_ref().expect("none is deleted")))
            .collect();
        assert!(documents.keys().copied().eq(expected.keys()), "{view}: the same keys");
        for (key, fields) in expected {
            for (name, value) in fields.as_object().unwrap() {
                assert_eq!(&documents[key.as_str()][name], value, "{view}: {name} of {key}");
            }
        }
    }
}

#[test]
fn payments_replay_to_what_they_come_to() {
    let traffic = traffic(Mix::new(1, 0, 0).unwrap());
    let results = check(&|| fraud::build(&fraud::Settings::default()).unwrap(), &traffic);
    let expected = naive::suspicious_cards(&traffic.1);
    assert!(expected.len() > 20, "there are attacks: {}", expected.len());
    results.assert_view("suspicious-cards", &expected);
    assert_eq!(results.alerts.len(), expected.len(), "an alert for each document");
}

#[test]
fn orders_replay_to_what_they_come_to() {
    let traffic = traffic(Mix::new(0, 1, 0).unwrap());
    let results = check(&|| orders::build(&orders::Settings::default()).unwrap(), &traffic);
    let (totals, rejected) = naive::orders(&traffic.1);
    assert!(totals.len() > 1_000 && rejected.len() > 10, "{} {}", totals.len(), rejected.len());
    results.assert_view("order-totals", &totals);
    let keys = rejected.iter().map(|key| (key.clone(), Value::Object(Default::default())));
    results.assert_view("order-rejections", &keys.collect());
    let alerts: BTreeSet<String> =
        rejected.iter().map(|key| format!("order-rejection:{key}")).collect();
    assert_eq!(results.alerts, alerts);
    assert_eq!(results.rejections.len(), rejected.len());
}

#[test]
fn syslog_replays_to_what_it_comes_to() {
    let traffic = traffic(Mix::new(0, 0, 1).unwrap());
    let results = check(&|| logins::build(&logins::Settings::default()).unwrap(), &traffic);
    let (by_source, by_host) = naive::failed_logins(&traffic.1);
    results.assert_view("failed-logins", &by_source);
    results.assert_view("failed-logins-by-host", &by_host);
    let attacks = by_source.values().filter(|document| document["attempts"].as_u64() >= Some(10));
    let attacks = attacks.count();
    assert!(attacks > 5 && by_source.len() > attacks, "{attacks} of {}", by_source.len());
    assert_eq!(results.alerts.len(), attacks, "an alert for each source that guesses");
}
