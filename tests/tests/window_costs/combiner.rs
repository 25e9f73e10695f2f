//! What `combined` saves before windows, where few keys have most of the records.

use std::fmt::Write as _;
use std::time::Duration;

use pipeline::driver::TopologyDriver;
use pipeline::{TimeWindows, Topology, TopologyBuilder, Windowed};

use super::commit_micros;

const PARTITIONS: u32 = 3;
const COMMITS: i64 = 6;
/// Of one commit. 98 in 100 have one key.
const RECORDS: i64 = 1_000;

/// Counts by value of a minute, every ten seconds.
fn topology(combined: bool) -> Topology {
    let seconds = Duration::from_secs;
    let windows = TimeWindows::of_size_and_grace(seconds(60), seconds(5));
    let builder = TopologyBuilder::new("saving");
    let grouped = builder.stream::<String, i64>("in").group_by("by-value", |_, value| *value);
    let grouped = if combined { grouped.combined(10_000) } else { grouped };
    grouped.windowed_by(windows.advance_by(seconds(10))).count("counts").to("counts");
    builder.build().unwrap()
}

type Counts = std::collections::BTreeMap<(i64, i64), i64>;

/// The last count of each value and window, records that were sent, updates, and microseconds for
/// each record.
fn run(combined: bool) -> (Counts, usize, usize, f64) {
    let mut driver = TopologyDriver::with_partitions(topology(combined), PARTITIONS);
    let mut micros = 0.0;
    for commit in 0..COMMITS {
        for number in commit * RECORDS..(commit + 1) * RECORDS {
            let value = if number % 50 == 0 { number } else { 7 };
            let (key, value) = (number.to_string(), value.to_string());
            driver.append("in", Some(key.as_bytes()), Some(value.as_bytes()), 100_000 + number);
        }
        micros += commit_micros(&mut driver);
    }
    let updates = driver.read::<Windowed<i64>, i64>("counts");
    let sent = driver.read_raw("saving-g1-by-value-repartition").len();
    let told = updates.len();
    let last = updates.into_iter().map(|u| ((u.key.key, u.key.window.start), u.value.unwrap()));
    (last.collect(), sent, told, micros / (COMMITS * RECORDS) as f64)
}

#[test]
fn combined_saves_most_of_the_shuffle_of_a_skewed_key() {
    let (plain, all, all_told, plain_micros) = run(false);
    let (combined, few, few_told, combined_micros) = run(true);
    assert_eq!(plain, combined);
    let mut table = String::from("| | records sent | updates | µs a record |\n|---|--:|--:|--:|\n");
    writeln!(table, "| without | {all} | {all_told} | {plain_micros:.1} |").unwrap();
    writeln!(table, "| `combined` | {few} | {few_told} | {combined_micros:.1} |").unwrap();
    println!("Partial aggregates before windows:\n\n{table}");
    assert!(few * 10 < all, "{few} of {all} are sent");
    assert!(combined_micros < plain_micros, "{combined_micros:.1} µs and not {plain_micros:.1}");
}
