//! Records that break off in operators which remember, and results of time that break off: one of
//! them among many costs the others nothing.

use std::time::Duration;

use crate::aggregates::Sum;
use crate::codec::int64;
use crate::driver::TopologyDriver;
use crate::processor::{KeyValueStore, Processor, ProcessorContext, ProcessorError, Schedule};
use crate::{
    BufferConfig, JoinGrace, JoinWindows, Record, SlidingWindows, Stream, StreamJoined, Suppressed,
    TimeWindows, Topology, TopologyBuilder,
};

type Ints = Stream<String, i64>;

fn topology(build: impl FnOnce(&TopologyBuilder, &Ints)) -> Topology {
    let builder = TopologyBuilder::new("app");
    let stream = builder.stream::<String, i64>("in");
    build(&builder, &stream);
    builder.build().unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// 13 cannot be handled.
fn fragile<K: Clone + 'static>(stream: &Stream<K, i64>) -> Stream<K, i64> {
    stream.map_values(|_, value| {
        assert!(value != 13, "thirteen");
        value
    })
}

/// Topic, key, value and second of each record.
type Input = Vec<(&'static str, &'static str, i64, i64)>;

/// What is in `out`, and the dead letters; no task was made again.
fn run(topology: Topology, input: &Input) -> (Vec<String>, usize) {
    let mut driver = TopologyDriver::new(topology);
    for (topic, key, value, second) in input {
        driver.pipe(topic, key, value, second * 1_000);
    }
    driver.commit();
    assert_eq!(driver.restarts(), 0);
    let out = driver.read_raw("out").into_iter().map(|record| {
        let value = int64().decode(record.value.as_deref()).unwrap();
        format!("{} @{}", value, record.timestamp)
    });
    (out.collect(), driver.read_raw("app-dlq").len())
}

/// Both runs end the same, but for the dead letters: of the records with 13 nothing is left.
fn comes_to_nothing(topology: &dyn Fn() -> Topology, input: &Input) {
    let (out, dead) = run(topology(), input);
    let good: Input = input.iter().copied().filter(|(_, _, value, _)| *value != 13).collect();
    assert_eq!(dead, input.len() - good.len());
    assert!(!out.is_empty() && dead > 0);
    assert_eq!((out, 0), run(topology(), &good));
}

/// Records of both topics, one key, some of them bad.
fn mixed() -> Input {
    let value = |n: i64| if n % 10 == 9 { 13 } else { n };
    (0..200).map(|n| (if n % 3 == 0 { "other" } else { "in" }, "k", value(n), n)).collect()
}

#[test]
fn a_join_forgets_a_record_that_comes_to_nothing() {
    let joined = || {
        topology(|builder, stream| {
            let other = builder.stream::<String, i64>("other");
            let windows = JoinWindows::of_time_difference_with_no_grace(seconds(5));
            let named = StreamJoined::named("joined");
            let both = stream.outer_join_stream(&other, windows, named, |_, left, right| {
                assert!(left != Some(&13) && right != Some(&13), "thirteen");
                left.unwrap_or(&0) * 1_000 + right.unwrap_or(&0)
            });
            both.to_with("out", int64());
        })
    };
    comes_to_nothing(&joined, &mixed());
}

#[test]
fn a_join_as_of_a_time_forgets_a_record_that_comes_to_nothing() {
    let joined = || {
        topology(|builder, stream| {
            let rates = builder.table_versioned::<String, i64>("other", "rates", seconds(60));
            let grace = JoinGrace::named("waiting", seconds(0));
            let joined = stream.left_join_as_of(&rates, grace, |_, value, rate| {
                assert!(*value != 13, "thirteen");
                value * 1_000 + rate.unwrap_or(&0)
            });
            joined.to_with("out", int64());
        })
    };
    let input: Input = mixed().into_iter().filter(|r| r.0 == "in" || r.2 != 13).collect();
    comes_to_nothing(&joined, &input);
}

#[test]
fn a_suppressed_table_forgets_a_record_that_comes_to_nothing() {
    let held = || {
        topology(|_, stream| {
            let last = stream.group_by_key().reduce("last", |_, new| *new);
            let limit = Suppressed::until_time_limit(seconds(3), BufferConfig::max_records(100));
            let told = last.suppress("held", limit).to_stream();
            fragile(&told).to_with("out", int64());
        })
    };
    let input: Input = vec![
        ("in", "a", 1, 0),
        ("in", "b", 13, 1),
        ("in", "a", 2, 10), // in place of the first, whose time has come
        ("in", "a", 3, 20),
        ("in", "c", 4, 30),
        ("in", "a", 5, 40),
    ];
    let (out, dead) = run(held(), &input);
    assert_eq!(out, ["2 @10000", "3 @20000", "4 @30000"]);
    assert_eq!(dead, 1);
}

/// Windows that a record has closed are open again when it comes to nothing: final ones, put
/// together from parts and not.
#[test]
fn windows_forget_a_record_that_comes_to_nothing() {
    let hopping = TimeWindows::of_size_with_no_grace(seconds(4)).advance_by(seconds(2));
    let tumbling = TimeWindows::of_size_with_no_grace(seconds(4));
    let sliding = SlidingWindows::of_time_difference_with_no_grace(seconds(4));
    let sum = || Sum::of(|n: &i64| *n);
    let tumbling = || {
        topology(|_, stream| {
            let held = stream.group_by_key().windowed_by(tumbling).emit_final();
            held.aggregate_by("sums", sum()).to_stream().to_with("out", int64());
            fragile(stream).to("behind");
        })
    };
    let hopping = || {
        topology(|_, stream| {
            let held = stream.group_by_key().windowed_by(hopping).emit_final();
            held.aggregate_by("sums", sum()).to_stream().to_with("out", int64());
            fragile(stream).to("behind");
        })
    };
    let sliding = || {
        topology(|_, stream| {
            let held = stream.group_by_key().windowed_by(sliding).emit_final();
            held.aggregate_by("sums", sum()).to_stream().to_with("out", int64());
            fragile(stream).to("behind");
        })
    };
    let input: Input = mixed().into_iter().map(|(_, key, n, at)| ("in", key, n, at)).collect();
    comes_to_nothing(&tumbling, &input);
    comes_to_nothing(&hopping, &input);
    comes_to_nothing(&sliding, &input);
}

#[test]
fn a_window_that_cannot_be_told_does_not_hold_up_the_others() {
    let windows = TimeWindows::of_size_with_no_grace(seconds(10));
    let sums = || {
        topology(|_, stream| {
            let grouped = stream.group_by_key().windowed_by(windows).emit_final();
            let sums = grouped.reduce("sums", |left, right| left + right).to_stream();
            fragile(&sums).to_with("out", int64());
        })
    };
    let input: Input =
        (0..50).map(|n| ("in", "k", if n == 3 { 10 } else { i64::from(n < 3) }, n)).collect();
    let (out, dead) = run(sums(), &input);
    assert_eq!(out, ["0 @19000", "0 @29000", "0 @39000"], "the first window's sum is 13");
    assert_eq!(dead, 1);
}

#[test]
fn a_record_that_waits_in_vain_and_breaks_does_not_hold_up_the_others() {
    let joined = || {
        topology(|builder, stream| {
            let other = builder.stream::<String, i64>("other");
            let windows = JoinWindows::of_time_difference_with_no_grace(seconds(1));
            let named = StreamJoined::named("joined");
            let left = stream.left_join_stream(&other, windows, named, |_, left, _| *left);
            fragile(&left).to_with("out", int64());
        })
    };
    let input: Input = (0..6).map(|n| ("in", "k", if n == 2 { 13 } else { n }, 10 * n)).collect();
    let (out, dead) = run(joined(), &input);
    assert_eq!(out, ["0 @0", "1 @10000", "3 @30000", "4 @40000"]);
    assert_eq!(dead, 1);
}

/// Counts in its store, and tells the count every ten seconds; 13 and the count 13 break it.
struct Counting {
    count: KeyValueStore<String, i64>,
}

impl Processor<String, i64> for Counting {
    type Key = String;
    type Value = i64;

    const KEEPS_STATE: bool = false;

    fn process(
        &mut self,
        record: Record<String, i64>,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        let mut counts = ctx.store(&self.count);
        let count = counts.get(&record.key)?.unwrap_or(0) + 1;
        counts.put(&record.key, &count)?;
        assert!(record.value != 13, "thirteen");
        Ok(())
    }

    fn schedule(&self) -> Vec<Schedule> {
        vec![Schedule::StreamTime(seconds(10))]
    }

    fn punctuate(
        &mut self,
        _schedule: Schedule,
        now: i64,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        let key = "k".to_owned();
        let value = ctx.store(&self.count).get(&key)?.unwrap_or(0);
        ctx.store(&self.count).delete(&key)?;
        assert!(value != 13, "thirteen records");
        ctx.forward(Record { key, value, timestamp: now })
    }
}

#[test]
fn a_processor_without_fields_of_its_own_forgets_what_comes_to_nothing() {
    let counting = || {
        topology(|builder, stream| {
            let count = builder.key_value_store("count");
            let stores = [count.id()];
            let counted =
                stream.process("tell", &stores, move || Counting { count: count.clone() });
            counted.to_with("out", int64());
        })
    };
    comes_to_nothing(
        &counting,
        &(0..60).map(|n| ("in", "k", if n % 7 == 2 { 13 } else { n }, n)).collect(),
    );

    // The third call meets thirteen records: it is taken back alone, with what it deleted.
    let input: Input = [5, 15, 16, 17, 18, 25]
        .into_iter()
        .chain([26; 12])
        .chain([35, 45])
        .map(|second| ("in", "k", 1, second))
        .collect();
    let (out, dead) = run(counting(), &input);
    assert_eq!(out, ["2 @10000", "4 @20000", "14 @40000"]);
    assert_eq!(dead, 1);
}
