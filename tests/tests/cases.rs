//! Kafka Streams' own answers, record by record: key, window, value, timestamp, and the input
//! record that caused it.

pub(crate) mod joins;
mod simulated;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::codec::{Serde, int64, nullable, utf8};
use pipeline::driver::{
    RawRecord, Script, TopologyDriver, check_four_ways, check_last_values_four_ways,
};
use pipeline::{
    Consumed, Key, SessionWindows, SlidingWindows, Stream, Suppressed, Table, TimeWindows,
    Topology, TopologyBuilder, Windowed,
};
use serde::{Deserialize, Serialize};

pub(crate) type Text = Option<String>;

/// A record that goes in.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Input {
    pub(crate) topic: String,
    pub(crate) key: Text,
    pub(crate) value: Text,
    pub(crate) timestamp: i64,
}

/// A record that comes out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Output {
    pub(crate) key: Text,
    pub(crate) value: serde_json::Value,
    pub(crate) timestamp: i64,
    pub(crate) window_start: Option<i64>,
    pub(crate) window_end: Option<i64>,
    /// The input, from 1, that caused it.
    pub(crate) line: usize,
}

/// The parameters of a topology, in milliseconds; those that it has not are 0.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    pub(crate) size: u64,
    pub(crate) advance: u64,
    pub(crate) grace: u64,
    pub(crate) gap: u64,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl Params {
    pub(crate) fn tumbling(&self) -> TimeWindows {
        TimeWindows::of_size_and_grace(millis(self.size), millis(self.grace))
    }

    pub(crate) fn hopping(&self) -> TimeWindows {
        self.tumbling().advance_by(millis(self.advance))
    }

    pub(crate) fn sessions(&self) -> SessionWindows {
        SessionWindows::of_inactivity_gap_and_grace(millis(self.gap), millis(self.grace))
    }

    pub(crate) fn sliding(&self) -> SlidingWindows {
        SlidingWindows::of_time_difference_and_grace(millis(self.size), millis(self.grace))
    }
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A topology of ours that is a Kafka Streams topology of this name; and how keys and values of
/// its output topic are read. What stands in [`CASES`] is compared with the files in
/// `tests/cases`, and by [`crate::oracle`] on random inputs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) build: Build,
    /// Keys of the output are windowed.
    pub(crate) windowed: bool,
    /// Values of the output are numbers.
    pub(crate) number: bool,
    pub(crate) agreement: Agreement,
}

/// Makes a case's topology.
pub(crate) enum Build {
    Of(fn(&Params) -> Topology),
    /// One of several, by the case's name.
    Named(fn(&'static str, &Params) -> Topology),
}

/// What of Kafka Streams' answers must be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// Each record, in its place.
    Exact,
    /// What left and outer joins of streams hand on, whenever: see [`joins::agrees`].
    Unmatched,
    /// Each record, but not deletions of what is not there.
    Live,
    /// Each record of Kafka Streams', in its place; ours may have more: where time jumps, Kafka
    /// Streams' stores drop windows before they are told.
    Kept,
    /// Each record that changes a value: Kafka Streams says some twice.
    Changed,
    /// The same of each key: the order among keys does not count.
    ChangedByKey,
    /// The last record of each key and window that has closed, which is our only one.
    Last,
}

pub(crate) fn texts(builder: &TopologyBuilder, topic: &str) -> Stream<Text, Text> {
    builder.stream_with(topic, Consumed::with(nullable(utf8())))
}

/// Without the records whose value is null, as Kafka Streams leaves them out of reductions.
pub(crate) fn present(builder: &TopologyBuilder, topic: &str) -> Stream<Text, String> {
    texts(builder, topic).flat_map_values(|_, value| value)
}

fn count<W>(windows: W, counted: fn(&TopologyBuilder, W) -> Counts) -> Topology {
    let builder = TopologyBuilder::new("case");
    counted(&builder, windows).to_with("out", int64());
    builder.build().unwrap()
}

/// The same, with results when windows close only.
fn count_suppressed<W>(windows: W, counted: fn(&TopologyBuilder, W) -> Counts) -> Topology {
    let builder = TopologyBuilder::new("case");
    counted(&builder, windows)
        .suppress("open", Suppressed::until_window_closes())
        .to_with("out", int64());
    builder.build().unwrap()
}

type Counts = Table<Windowed<Text>, i64>;

fn time_counts(builder: &TopologyBuilder, windows: TimeWindows) -> Counts {
    texts(builder, "in").group_by_key().windowed_by(windows).count("counts")
}

fn session_counts(builder: &TopologyBuilder, windows: SessionWindows) -> Counts {
    texts(builder, "in").group_by_key().windowed_by(windows).count("counts")
}

/// Sliding windows, unlike others, leave null values out.
fn sliding_counts(builder: &TopologyBuilder, windows: SlidingWindows) -> Counts {
    present(builder, "in").group_by_key().windowed_by(windows).count("counts")
}

fn aggregate_sum(_: &Params) -> Topology {
    let builder = TopologyBuilder::new("case");
    present(&builder, "in")
        .group_by_key()
        .aggregate_with("sums", int64(), || 0, |_, value, sum| sum + value.parse::<i64>().unwrap())
        .to_with("out", int64());
    builder.build().unwrap()
}

fn reduce_latest(_: &Params) -> Topology {
    let builder = TopologyBuilder::new("case");
    present(&builder, "in")
        .group_by_key()
        .reduce("latest", |_, new| new.clone())
        .to_with("out", utf8());
    builder.build().unwrap()
}

fn to_table(_: &Params) -> Topology {
    let builder = TopologyBuilder::new("case");
    texts(&builder, "in").materialize("table").to_with("out", utf8());
    builder.build().unwrap()
}

fn stream_table_inner(_: &Params) -> Topology {
    let builder = TopologyBuilder::new("case");
    let right = texts(&builder, "right").materialize("right");
    present(&builder, "left")
        .join(&right, |_, left, right| format!("{left},{right}"))
        .to_with("out", utf8());
    builder.build().unwrap()
}

fn stream_table_left(_: &Params) -> Topology {
    let builder = TopologyBuilder::new("case");
    let right = texts(&builder, "right").materialize("right");
    present(&builder, "left")
        .left_join(&right, |_, left, right| {
            format!("{left},{}", right.map_or("null", String::as_str))
        })
        .to_with("out", utf8());
    builder.build().unwrap()
}

pub(crate) const CASES: &[Case] = &[
    counts("tumbling-count", |params| count(params.tumbling(), time_counts)),
    counts("hopping-count", |params| count(params.hopping(), time_counts)),
    counts("session-count", |params| count(params.sessions(), session_counts)),
    counts("sliding-window-count", |params| count(params.sliding(), sliding_counts)),
    counts("tumbling-count-suppress", |params| count_suppressed(params.tumbling(), time_counts)),
    counts("hopping-count-suppress", |params| count_suppressed(params.hopping(), time_counts)),
    counts("session-count-suppress", |params| count_suppressed(params.sessions(), session_counts)),
    counts("sliding-window-count-suppress", |params| {
        count_suppressed(params.sliding(), sliding_counts)
    }),
    summed("aggregate-sum", aggregate_sum),
    joined("reduce-latest", reduce_latest),
    joined("to-table", to_table),
    joined("stream-table-inner", stream_table_inner),
    joined("stream-table-left", stream_table_left),
    joined("stream-stream-inner", joins::stream_stream_inner),
    joined("table-table-inner", joins::table_table_inner),
    joined("table-table-left", joins::table_table_left),
    joined("table-table-outer", joins::table_table_outer),
    joined("fk-table-table-inner", joins::fk_table_table_inner),
    joined("fk-table-table-left", joins::fk_table_table_left),
    summed("table-groupby-sum", joins::table_groupby_sum),
];

/// A case of texts without windows.
const fn joined(name: &'static str, build: fn(&Params) -> Topology) -> Case {
    let build = Build::Of(build);
    Case { name, build, windowed: false, number: false, agreement: Agreement::Exact }
}

/// A case of numbers without windows.
const fn summed(name: &'static str, build: fn(&Params) -> Topology) -> Case {
    Case { number: true, ..joined(name, build) }
}

/// A case of windowed counts.
const fn counts(name: &'static str, build: fn(&Params) -> Topology) -> Case {
    Case { windowed: true, ..summed(name, build) }
}

impl Case {
    /// The topology with these parameters.
    pub(crate) fn topology(&self, params: &Params) -> Topology {
        match self.build {
            Build::Of(build) => build(params),
            Build::Named(build) => build(self.name, params),
        }
    }

    /// Parameters, input and output in `tests/cases`.
    pub(crate) fn files(&self) -> (Params, Vec<Input>, Vec<Output>) {
        let folder = folder(self);
        (params(self), lines(&folder.join("1.in.jsonl")), lines(&folder.join("1.out.jsonl")))
    }
}

fn folder(case: &Case) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(case.name)
}

fn lines<T: for<'de> Deserialize<'de>>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn params(case: &Case) -> Params {
    let text = std::fs::read_to_string(folder(case).join("1.params.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn value(case: &Case, bytes: Option<&[u8]>) -> serde_json::Value {
    match bytes {
        None => serde_json::Value::Null,
        Some(bytes) if case.number => decode(&int64(), bytes).into(),
        Some(bytes) => decode(&utf8(), bytes).into(),
    }
}

fn decode<T>(codec: &Serde<T>, bytes: &[u8]) -> T {
    codec.decode(Some(bytes)).unwrap()
}

pub(crate) fn output(case: &Case, record: &RawRecord, line: usize) -> Output {
    let key = record.key.as_deref();
    let (key, window) = if case.windowed {
        let key = Windowed::<String>::decode(key).unwrap();
        (Some(key.key), Some(key.window))
    } else {
        (Text::decode(key).unwrap(), None)
    };
    Output {
        key,
        value: value(case, record.value.as_deref()),
        timestamp: record.timestamp,
        window_start: window.map(|window| window.start),
        window_end: window.map(|window| window.end),
        line,
    }
}

/// What `case` answers to `inputs`, each with a commit after it.
pub(crate) fn answer(case: &Case, params: &Params, inputs: &[Input]) -> Vec<Output> {
    let mut driver = TopologyDriver::new(case.topology(params));
    let mut answered = Vec::new();
    for (line, input) in inputs.iter().enumerate() {
        let (key, value) = (input.key.as_deref(), input.value.as_deref());
        driver.pipe_bytes(
            &input.topic,
            key.map(str::as_bytes),
            value.map(str::as_bytes),
            input.timestamp,
        );
        let new = driver.take_raw("out");
        answered.extend(new.iter().map(|record| output(case, record, line + 1)));
    }
    answered
}

#[test]
fn every_record_is_kafka_streams() {
    for case in CASES {
        let (params, inputs, expected) = case.files();
        let answered = answer(case, &params, &inputs);
        assert!(!expected.is_empty());
        for (ours, kafkas) in answered.iter().zip(&expected) {
            assert_eq!(ours, kafkas, "{}", case.name);
        }
        assert_eq!(answered.len(), expected.len(), "{}", case.name);
    }
}

#[test]
fn every_case_is_the_same_in_four_ways() {
    for case in CASES.iter().chain(joins::UNORDERED) {
        let (params, inputs, _) = case.files();
        let script: Script =
            inputs.into_iter().map(|i| (i.topic, i.key, i.value, i.timestamp)).collect();
        let build = || case.topology(&params);
        // The tasks of a foreign-key join answer each other: commits decide when.
        if case.name.starts_with("fk-") {
            check_last_values_four_ways(&build, &script, &["out"]);
        } else {
            check_four_ways(&build, &script, &["out"]);
        }
    }
}
