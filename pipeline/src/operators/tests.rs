//! Windows through the driver: golden scripts, each in four ways, and random records against naive
//! models.

mod goldens;
mod models;

use std::time::Duration;

use crate::aggregates::Fold;
use crate::codec::int64;
use crate::driver::{RawRecord, Script, check_four_ways};
use crate::record::Windowed;
use crate::{Key, Stream, Topology, TopologyBuilder};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

/// `a 5` is a record of key `a` at second 5, with its number as its value; a third word is its
/// value.
fn script(text: &str) -> Script {
    let line = |(number, line): (usize, &str)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = words.get(2).map_or_else(|| (number + 1).to_string(), |v| (*v).to_owned());
        let at = words[1].parse::<i64>().unwrap() * 1000;
        ("in".to_owned(), Some(words[0].to_owned()), Some(value), at)
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate().map(line).collect()
}

/// Builds a topology that reads `in` and writes `out`.
fn topology(build: impl FnOnce(&Stream<String, i64>)) -> Topology {
    let builder = TopologyBuilder::new("windows");
    build(&builder.stream("in"));
    builder.build().unwrap()
}

/// What `topology` writes to `out`, the same in four ways.
fn answer(topology: &dyn Fn() -> Topology, script: &Script) -> Vec<RawRecord> {
    check_four_ways(topology, script, &["out"]).remove("out").unwrap()
}

/// A line for each record of windowed counts: key, window and timestamp in seconds, value.
fn shown(records: &[RawRecord]) -> String {
    let line = |record: &RawRecord| {
        let key = Windowed::<String>::decode(record.key.as_deref()).unwrap();
        let value = record
            .value
            .as_deref()
            .map_or("deleted".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned());
        let (start, end) = (in_seconds(key.window.start), in_seconds(key.window.end));
        format!("{} {start}..{end} {value} at {}\n", key.key, in_seconds(record.timestamp))
    };
    records.iter().map(line).collect()
}

fn in_seconds(millis: i64) -> String {
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{millis}ms") }
}

/// A count that does not merge.
fn unmerged<K: Key>() -> Fold<
    K,
    i64,
    i64,
    impl Fn() -> i64 + Send + Sync + 'static,
    impl Fn(&K, &i64, i64) -> i64 + Send + Sync + 'static,
> {
    Fold::new(int64(), || 0, |_: &K, _: &i64, count| count + 1)
}
