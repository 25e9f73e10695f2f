//! What a record costs in hopping windows, against how many of them hold it.
//!
//! `cargo test -p tests --test main window_curve -- --nocapture` prints the curve;
//! `docs/results/windows.md` has what it printed. The test holds the shape of the curve, not times.

use std::fmt::Write as _;
use std::time::Duration;

use pipeline::aggregates::Fold;
use pipeline::codec::int64;
use pipeline::driver::TopologyDriver;
use pipeline::{TimeWindows, Topology, TopologyBuilder};
use stores::clock::{Clock, SystemClock};

const KEYS: i64 = 10;
const RECORDS: i64 = 12_000;
/// Records of each key in one second, which is the windows' advance.
const RATE: i64 = 10;

/// Counts over windows of `ratio` seconds, one each second.
fn topology(ratio: u64, panes: bool) -> Topology {
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(ratio))
        .advance_by(Duration::from_secs(1));
    let builder = TopologyBuilder::new("curve");
    let group =
        builder.stream::<String, i64>("in").group_by_key().windowed_by(windows).emit_final();
    let counts = if panes {
        group.count("counts")
    } else {
        let unmerged = Fold::new(int64(), || 0, |_: &String, _: &i64, count| count + 1);
        group.aggregate_by("counts", unmerged)
    };
    counts.to_with("out", int64());
    builder.build().unwrap()
}

/// Microseconds in all, and how many results there were.
fn run(ratio: u64, panes: bool) -> (f64, usize) {
    let mut driver = TopologyDriver::new(topology(ratio, panes));
    for number in 0..RECORDS {
        let key = format!("key-{}", number % KEYS);
        driver.append("in", Some(key.as_bytes()), Some(b"1"), number * 1000 / (RATE * KEYS));
    }
    // All windows close.
    let last = RECORDS * 1000 / (RATE * KEYS) + 1000 * i64::try_from(ratio).unwrap();
    driver.append("in", Some(b"last"), Some(b"1"), last);
    let clock = SystemClock::new();
    let begun = clock.elapsed();
    driver.commit();
    let took = clock.elapsed() - begun;
    (took.as_secs_f64() * 1e6, driver.read_raw("out").len())
}

#[test]
fn window_curve() {
    let mut table = String::from(
        "| size / advance | from panes, µs a record | results | whole windows, µs a record |\n\
         |--:|--:|--:|--:|\n",
    );
    let mut costs = Vec::new();
    for ratio in [1, 4, 16, 64, 256, 1024] {
        let (panes, results) = run(ratio, true);
        let each = panes / RECORDS as f64;
        costs.push(each);
        let whole = if ratio <= 64 {
            let (whole, same) = run(ratio, false);
            assert_eq!(results, same);
            format!("{:.1}", whole / RECORDS as f64)
        } else {
            "–".to_owned()
        };
        writeln!(table, "| {ratio} | {each:.1} | {results} | {whole} |").unwrap();
    }
    println!("{table}");
    let (few, many) = (costs[1], costs[costs.len() - 1]);
    assert!(many < 8.0 * few, "256 times as many windows cost {many:.1} µs and not {few:.1}");
}
