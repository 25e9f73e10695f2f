//! The same windows with partial aggregates before the repartition as without.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::aggregates::{Collect, Sum};
use crate::driver::TopologyDriver;
use crate::{
    CalendarWindows, Grouped, SessionWindows, SlidingWindows, TimeWindows, Topology,
    TopologyBuilder, TopologyError, Tz, Windowed,
};

/// Sizes, advances and graces, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    size: u64,
    advance: u64,
    grace: u64,
}

impl Lengths {
    fn tumbling(self) -> TimeWindows {
        let (size, grace) = (Duration::from_millis(self.size), Duration::from_millis(self.grace));
        TimeWindows::of_size_and_grace(size, grace)
    }

    fn hopping(self) -> TimeWindows {
        self.tumbling().advance_by(Duration::from_millis(self.advance))
    }
}

fn lengths() -> impl Strategy<Value = Lengths> {
    (1..20_u64, 0..15_u64).prop_flat_map(|(size, grace)| {
        (1..=size).prop_map(move |advance| Lengths { size, advance, grace })
    })
}

const OUTPUTS: [&str; 5] = ["tumbling", "hopping", "tumbling-final", "hopping-final", "days"];

fn topology(lengths: Lengths, entries_max: Option<usize>) -> Topology {
    let builder = TopologyBuilder::new("app");
    let numbers = builder.stream::<Option<String>, i64>("in");
    let grouped = |name: &str| -> Grouped<i64, i64> {
        let grouped = numbers.group_by(name, |_, number| number.rem_euclid(3));
        match entries_max {
            Some(entries_max) => grouped.combined(entries_max),
            None => grouped,
        }
    };
    let sum = || Sum::of(|number: &i64| *number);
    let first = || Collect::earliest(3, |number: &i64| *number);
    let (tumbling, hopping) = (lengths.tumbling(), lengths.hopping());
    let group = grouped("tumbling").windowed_by(tumbling).late_to("late-tumbling");
    group.aggregate_by("tumbling", first()).to("tumbling");
    let group = grouped("hopping").windowed_by(hopping).late_to("late-hopping");
    group.aggregate_by("hopping", sum()).to("hopping");
    let group = grouped("tumbling-final").windowed_by(tumbling).emit_final();
    group.aggregate_by("tumbling-final", sum()).to("tumbling-final");
    let group = grouped("hopping-final").windowed_by(hopping).emit_final();
    group.late_to("late-final").aggregate_by("hopping-final", first()).to("hopping-final");
    let days = CalendarWindows::days(Tz::Europe__Berlin);
    grouped("days").windowed_by(days).aggregate_by("days", sum()).to("days");
    builder.build().unwrap()
}

/// A late record: its value, time and headers.
type Late = (Option<Vec<u8>>, i64, BTreeMap<String, String>);

/// What came out.
#[derive(Debug, PartialEq)]
struct Answer {
    /// For each topic, key and window the last value with its timestamp, and how often it came if
    /// it is final.
    last: BTreeMap<(&'static str, i64, i64), (serde_json::Value, i64, usize)>,
    /// Those of each late topic.
    late: Vec<Vec<Late>>,
    dropped: u64,
}

/// Runs in commits of `size` records, killed after each. Answers also with the number of records
/// that went through the repartition topics.
fn run(topology: Topology, records: &[(i64, i64)], size: usize) -> (Answer, usize) {
    let mut driver = TopologyDriver::with_partitions(topology, 3);
    let far = (0..30).map(|number| (number, 1_000_000_000));
    let all: Vec<(i64, i64)> = records.iter().copied().chain(far).collect();
    for chunk in all.chunks(size) {
        for (number, timestamp) in chunk {
            let (key, value) = ((number * 7 + timestamp).to_string(), number.to_string());
            driver.append("in", Some(key.as_bytes()), Some(value.as_bytes()), *timestamp);
        }
        driver.commit();
        driver.kill();
    }
    driver.commit();
    let mut last = BTreeMap::new();
    for topic in OUTPUTS {
        for record in driver.read::<Windowed<i64>, serde_json::Value>(topic) {
            let key = (topic, record.key.key, record.key.window.start);
            let seen = last.get(&key).map_or(0, |(_, _, seen)| *seen);
            let seen = if topic.ends_with("final") { seen + 1 } else { 0 };
            last.insert(key, (record.value.unwrap(), record.timestamp, seen));
        }
    }
    let late = ["late-tumbling", "late-hopping", "late-final"].map(|topic| {
        let records = driver.read_raw(topic).into_iter().zip(driver.read_headers(topic));
        let mut late: Vec<_> =
            records.map(|(r, headers)| (r.value, r.timestamp, headers)).collect();
        late.sort();
        late
    });
    let sent = OUTPUTS.map(|name| driver.read_raw(&format!("app-g1-{name}-repartition")).len());
    let dropped = driver.counters().total("late");
    (Answer { last, late: late.to_vec(), dropped }, sent.iter().sum())
}

fn records() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let step = (-20..20_i64, 0..4_i64, 0..25_i64);
    prop::collection::vec(step, 1..80).prop_map(|steps| {
        let mut now = 0;
        let record = |(number, step, back): (i64, i64, i64)| {
            now += step;
            (number, (now - back).max(0))
        };
        steps.into_iter().map(record).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn combining_changes_no_window(
        lengths in lengths(),
        records in records(),
        size in 1..30_usize,
        entries_max in 1..8_usize,
    ) {
        let (plain, all) = run(topology(lengths, None), &records, size);
        let (combined, few) = run(topology(lengths, Some(entries_max)), &records, size);
        prop_assert_eq!(plain, combined);
        prop_assert!(few <= all);
    }
}

#[test]
fn sliding_windows_and_sessions_are_refused() {
    let second = Duration::from_secs(1);
    let refused = |window: &dyn Fn(Grouped<i64, i64>)| {
        let builder = TopologyBuilder::new("app");
        window(builder.stream::<String, i64>("in").group_by("by", |_, n| *n).combined(10));
        let node = "KSTREAM-KEY-SELECT-0000000001".to_owned();
        assert_eq!(builder.build().err(), Some(TopologyError::CombinedWindows { node }));
    };
    refused(&|grouped| {
        let windows = SlidingWindows::of_time_difference_with_no_grace(second);
        grouped.windowed_by(windows).count("n").to("out");
    });
    refused(&|grouped| {
        let windows = SessionWindows::of_inactivity_gap_with_no_grace(second);
        grouped.windowed_by(windows).count("n").to("out");
    });
}
