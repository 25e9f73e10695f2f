//! What leaves, and when, whatever the commits and crashes.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{STEP_MS, TAKEN_MAX, rounded};
use crate::{TimeWindows, Topology, TopologyBuilder, TopologyDriver, TopologyError};

const AFTER_MS: i64 = 30_000;

/// A key, how far time has gone since the record before, how late the record is, and what comes
/// after it: nothing, its handling, a commit, or a crash.
type Step = (u8, i64, i64, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..6_u8, 0..9_000_i64, 0..60_000_i64, 0..8_u8), 1..120)
}

/// Counts that expire, in the topic `counts`; the last records that expire, in `last`.
fn topology() -> Topology {
    let builder = TopologyBuilder::new("app");
    let after = Duration::from_millis(AFTER_MS.unsigned_abs());
    let records = builder.stream::<String, i64>("in");
    records.group_by_key().expire_after(after).count("counts").to("counts");
    let last = records.map_values(|_, value| (value >= 0).then_some(value)).as_table();
    last.expire_after("heard-of", after).to("last");
    builder.build().unwrap()
}

/// What the topology does, with a map.
#[derive(Default)]
struct Model {
    now: Option<i64>,
    /// By key: the time of the last change, and the value.
    rows: BTreeMap<String, (i64, i64)>,
    told: Vec<(String, Option<i64>)>,
}

impl Model {
    fn pipe(&mut self, key: &str, at: i64, next: impl Fn(Option<i64>) -> Option<i64>) {
        self.now = self.now.max(Some(at));
        let kept_from = rounded(self.now.unwrap() - AFTER_MS);
        let before = self.rows.get(key).copied();
        let value = next(before.map(|(_, value)| value));
        if before.is_some() || at >= kept_from || value.is_none() {
            self.told.push((key.to_owned(), value));
            match value {
                Some(value) => {
                    let at = before.map_or(at, |(then, _)| then.max(at));
                    self.rows.insert(key.to_owned(), (at, value));
                }
                None => drop(self.rows.remove(key)),
            }
        }
        let gone = self.rows.iter().filter(|(_, (at, _))| *at < kept_from);
        let mut gone: Vec<_> = gone.map(|(key, (at, _))| (rounded(*at), key.clone())).collect();
        gone.sort();
        for (_, key) in gone {
            self.rows.remove(&key);
            self.told.push((key, None));
        }
    }
}

fn told(driver: &TopologyDriver, topic: &str) -> Vec<(String, Option<i64>)> {
    let records = driver.read::<String, i64>(topic).into_iter();
    records.map(|record| (record.key, record.value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn rows_leave_as_in_a_map_whatever_the_commits_and_crashes(steps in steps()) {
        let mut driver = TopologyDriver::new(topology());
        let (mut counts, mut last) = (Model::default(), Model::default());
        let mut now = 1_000_000;
        for (number, (key, step, late, after)) in steps.into_iter().enumerate() {
            now += step;
            // Most come in order, one in three is late.
            let at = if number % 3 == 0 { now - late } else { now };
            let key = format!("k{key}");
            let value = if number % 7 == 6 { -1 } else { number as i64 };
            driver.append("in", Some(key.as_bytes()), Some(value.to_string().as_bytes()), at);
            counts.pipe(&key, at, |count| Some(count.unwrap_or(0) + 1));
            last.pipe(&key, at, |_| (value >= 0).then_some(value));
            match after {
                0 => driver.kill(),
                1 | 2 => driver.commit(),
                3..6 => driver.process(),
                _ => {}
            }
        }
        driver.commit();
        prop_assert_eq!(told(&driver, "counts"), counts.told);
        prop_assert_eq!(told(&driver, "last"), last.told);
    }
}

#[test]
fn many_rows_leave_with_the_records_that_follow_and_nothing_is_left_behind() {
    let mut driver = TopologyDriver::new(topology());
    let rows = 3 * TAKEN_MAX + 1;
    for row in 0..rows {
        driver.append("in", Some(format!("k{row}").as_bytes()), Some(b"1"), 0);
    }
    let mut gone = Vec::new();
    for turn in 0..5 {
        driver.append("in", Some(b"other"), Some(b"1"), AFTER_MS + STEP_MS);
        // A crash forgets how far the index was read, not what was taken out.
        driver.commit();
        if turn == 1 {
            driver.kill();
        }
        let deleted = told(&driver, "counts").into_iter().filter(|(_, count)| count.is_none());
        gone.push(deleted.count());
    }
    assert_eq!(gone, [TAKEN_MAX, 2 * TAKEN_MAX, 3 * TAKEN_MAX, rows, rows]);
    let left: usize = ["counts", "heard-of"]
        .iter()
        .map(|store| driver.read_raw(&format!("app-g1-{store}-changelog")))
        .map(|changes| {
            let mut last = BTreeMap::new();
            changes.into_iter().for_each(|change| drop(last.insert(change.key, change.value)));
            let is_meta = |key: &Option<Vec<u8>>| key.as_ref().is_some_and(|key| key[0] == 0);
            last.into_iter().filter(|(key, value)| !is_meta(key) && value.is_some()).count()
        })
        .sum();
    // In each store the row of `other`, and its place in the index.
    assert_eq!(left, 2 * 2);
}

#[test]
fn a_window_leaves_by_its_end_and_deletes_what_it_was() {
    let builder = TopologyBuilder::new("app");
    let table = builder
        .stream::<String, i64>("in")
        .group_by_key()
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
        .count("counts")
        .expire_after("kept", Duration::from_secs(60));
    table.map_values(|_, count| count * 10).to("out");
    let mut driver = TopologyDriver::new(builder.build().unwrap());
    for (key, at) in [("a", 0), ("b", 59_000), ("a", 119_000), ("a", 130_000), ("a", 190_000)] {
        driver.append("in", Some(key.as_bytes()), Some(b"1"), at);
    }
    driver.commit();
    let out = driver.read::<crate::Windowed<String>, i64>("out");
    let out: Vec<_> =
        out.iter().map(|r| (r.key.key.as_str(), r.key.window.start, r.value)).collect();
    let expected = [
        ("a", 0, Some(10)),
        ("b", 0, Some(10)),
        ("a", 60_000, Some(10)),
        ("a", 120_000, Some(10)),
        ("a", 0, None),
        ("b", 0, None),
        ("a", 180_000, Some(10)),
        ("a", 60_000, None),
    ];
    assert_eq!(out, expected);
}

#[test]
fn windows_close_by_themselves() {
    let builder = TopologyBuilder::new("app");
    builder
        .stream::<String, i64>("in")
        .group_by_key()
        .expire_after(Duration::from_secs(60))
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
        .count("counts")
        .to("out");
    let node = "KSTREAM-SOURCE-0000000000".to_owned();
    assert_eq!(builder.build().err(), Some(TopologyError::ExpiringWindows { node }));
}

#[test]
fn behind_a_repartition_the_node_is_marked() {
    let describe = |rekeyed: bool| {
        let builder = TopologyBuilder::new("app");
        let stream = builder.stream::<String, i64>("in");
        let grouped = match rekeyed {
            true => stream.group_by("by-value", |_, value| *value).expire_after(Duration::MAX),
            false => stream.map_values(|_, v| v).select_key(|_, v| *v).group_by_key(),
        };
        grouped.count("counts").to("out");
        builder.build().unwrap().describe()
    };
    assert!(describe(true).contains("(stores: [counts]) [arrival order]"));
    assert!(!describe(false).contains("[arrival order]"));
}
