//! One script, four ways to run it, one expectation.

use std::collections::BTreeMap;

use super::{RawRecord, TopologyDriver};
use crate::topology::Topology;

/// What goes into a topology, in order: topic, key, value, timestamp in milliseconds.
pub type Script = Vec<(String, Option<String>, Option<String>, i64)>;

/// Runs `script` straight, with a commit after each record, and killed and restored after each
/// commit; the three must agree record by record in each of `outputs`. A fourth run, with
/// coalescing and a commit at the end, must agree in the last record of each key. Answers with
/// the records of each output.
///
/// # Panics
/// When two ways disagree, naming them and the topic.
pub fn check_four_ways(
    topology: &dyn Fn() -> Topology,
    script: &Script,
    outputs: &[&str],
) -> BTreeMap<String, Vec<RawRecord>> {
    let straight = run(TopologyDriver::new(topology()), script, outputs, Way::Straight);
    let committed = run(TopologyDriver::new(topology()), script, outputs, Way::EachCommitted);
    let killed = run(TopologyDriver::new(topology()), script, outputs, Way::EachKilled);
    for topic in outputs {
        assert_eq!(straight[*topic], committed[*topic], "{topic}: a commit after each record");
        assert_eq!(straight[*topic], killed[*topic], "{topic}: killed after each commit");
    }
    let driver = TopologyDriver::new(topology()).coalescing();
    let coalesced = run(driver, script, outputs, Way::Straight);
    for topic in outputs {
        let (all, few) = (last_of_each(&straight[*topic]), last_of_each(&coalesced[*topic]));
        assert_eq!(all, few, "{topic}: coalesced");
    }
    straight
}

/// Runs `script` in the same four ways; they must agree in the last value of each key in each of
/// `outputs`, where a key that was deleted is as one that never was: for topologies whose tasks answer each other, so that it is the moments of commits
/// that decide which updates come in between.
///
/// # Panics
/// When two ways disagree, naming them and the topic.
pub fn check_last_values_four_ways(
    topology: &dyn Fn() -> Topology,
    script: &Script,
    outputs: &[&str],
) {
    let values = |records: &BTreeMap<String, Vec<RawRecord>>, topic: &str| {
        let last = last_of_each(&records[topic]).into_iter();
        let present = last.filter(|(_, record)| record.value.is_some());
        present.map(|(key, record)| (key, record.value.clone())).collect::<BTreeMap<_, _>>()
    };
    let straight = run(TopologyDriver::new(topology()), script, outputs, Way::Straight);
    let coalescing = TopologyDriver::new(topology()).coalescing();
    for (driver, way, name) in [
        (TopologyDriver::new(topology()), Way::EachCommitted, "a commit after each record"),
        (TopologyDriver::new(topology()), Way::EachKilled, "killed after each commit"),
        (coalescing, Way::Straight, "coalesced"),
    ] {
        let other = run(driver, script, outputs, way);
        for topic in outputs {
            assert_eq!(values(&straight, topic), values(&other, topic), "{topic}: {name}");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Straight,
    EachCommitted,
    EachKilled,
}

fn run(
    mut driver: TopologyDriver,
    script: &Script,
    outputs: &[&str],
    way: Way,
) -> BTreeMap<String, Vec<RawRecord>> {
    for (topic, key, value, timestamp) in script {
        let (key, value) = (key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
        driver.append(topic, key, value, *timestamp);
        match way {
            Way::Straight => driver.process(),
            Way::EachCommitted => driver.commit(),
            Way::EachKilled => {
                driver.commit();
                driver.kill();
            }
        }
    }
    driver.commit();
    outputs.iter().map(|topic| ((*topic).to_owned(), driver.read_raw(topic))).collect()
}

fn last_of_each(records: &[RawRecord]) -> BTreeMap<Option<Vec<u8>>, &RawRecord> {
    records.iter().map(|record| (record.key.clone(), record)).collect()
}
