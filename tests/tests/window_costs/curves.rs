//! What a record costs in windows that are told of when they close, against how many of them hold
//! it: put together from parts, and each kept as a whole.

use std::fmt::Write as _;
use std::time::Duration;

use pipeline::aggregates::Fold;
use pipeline::codec::int64;
use pipeline::driver::TopologyDriver;
use pipeline::{SlidingWindows, TimeWindows, Topology, TopologyBuilder};

use super::commit_micros;

const KEYS: i64 = 10;
const RECORDS: i64 = 6_000;
/// Between two records of a key.
const STEP_MS: i64 = 100;
/// Before the first record there is room for all windows that hold it.
const BEGIN_MS: i64 = 10_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One window each second.
    Hopping,
    /// One from each record.
    Sliding,
}

impl Kind {
    /// The length of windows of which `ratio` hold each record.
    fn length_ms(self, ratio: i64) -> i64 {
        match self {
            Self::Hopping => ratio * 1_000,
            Self::Sliding => ratio * STEP_MS,
        }
    }

    /// Counts in such windows; from parts, or each window as a whole.
    fn topology(self, ratio: i64, from_parts: bool) -> Topology {
        let length = Duration::from_millis(self.length_ms(ratio).unsigned_abs());
        let builder = TopologyBuilder::new("curve");
        let group = builder.stream::<String, i64>("in").group_by_key();
        let whole = || Fold::new(int64(), || 0, |_: &String, _: &i64, count| count + 1);
        let counts = match self {
            Self::Hopping => {
                let windows = TimeWindows::of_size_with_no_grace(length);
                let windows = windows.advance_by(Duration::from_secs(1));
                let group = group.windowed_by(windows).emit_final();
                if from_parts { group.count("n") } else { group.aggregate_by("n", whole()) }
            }
            Self::Sliding => {
                let windows = SlidingWindows::of_time_difference_with_no_grace(length);
                let group = group.windowed_by(windows).emit_final();
                if from_parts { group.count("n") } else { group.aggregate_by("n", whole()) }
            }
        };
        counts.to_with("out", int64());
        builder.build().unwrap()
    }

    /// Microseconds for each record, and results for each record.
    fn run(self, ratio: i64, from_parts: bool) -> (f64, f64) {
        let mut driver = TopologyDriver::new(self.topology(ratio, from_parts));
        for number in 0..RECORDS {
            let key = format!("key-{}", number % KEYS);
            let at = BEGIN_MS + number * STEP_MS / KEYS;
            driver.append("in", Some(key.as_bytes()), Some(b"1"), at);
        }
        // All windows close.
        let last = BEGIN_MS + RECORDS * STEP_MS / KEYS + 2 * self.length_ms(ratio) + 2_000;
        driver.append("in", Some(b"last"), Some(b"1"), last);
        let micros = commit_micros(&mut driver);
        let results = driver.read_raw("out").len();
        (micros / RECORDS as f64, results as f64 / RECORDS as f64)
    }

    /// The least of a few runs, from parts: whatever else the machine does only adds to it.
    fn least(self, ratio: i64) -> (f64, f64) {
        let runs = (0..3).map(|_| self.run(ratio, true));
        runs.min_by(|one, other| one.0.total_cmp(&other.0)).unwrap()
    }

    /// The table, and for each ratio what a record with its results costs.
    fn curve(self) -> (String, Vec<f64>) {
        let mut table = String::from(
            "| windows that hold a record | results a record | from parts, µs a record | \
             whole windows, µs a record |\n|--:|--:|--:|--:|\n",
        );
        let mut costs = Vec::new();
        for ratio in [1, 4, 16, 64, 256, 1024] {
            let (parts, results) = self.least(ratio);
            costs.push(parts / (1.0 + results));
            let whole = if ratio <= 16 {
                let (whole, same) = self.run(ratio, false);
                assert!((results - same).abs() < f64::EPSILON);
                format!("{whole:.1}")
            } else {
                "–".to_owned()
            };
            writeln!(table, "| {ratio} | {results:.2} | {parts:.1} | {whole} |").unwrap();
        }
        (table, costs)
    }
}

#[test]
fn hopping_windows_cost_the_same_however_many_hold_a_record() {
    let (table, costs) = Kind::Hopping.curve();
    println!("Hopping windows:\n\n{table}");
    let (few, many) = (costs[1], costs[costs.len() - 1]);
    assert!(many < 8.0 * few, "256 times as many windows cost {many:.1} µs and not {few:.1}");
}

#[test]
fn sliding_windows_cost_the_logarithm_of_how_many_hold_a_record() {
    let (table, costs) = Kind::Sliding.curve();
    println!("Sliding windows:\n\n{table}");
    let (few, many) = (costs[1], costs[costs.len() - 1]);
    assert!(many < 8.0 * few, "256 times as many windows cost {many:.1} µs and not {few:.1}");
}
