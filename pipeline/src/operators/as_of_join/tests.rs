//! Joins as of a time: by script, and against models that keep every version in a list.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::driver::{RawRecord, Script, TopologyDriver, check_four_ways};
use crate::log::partition_for;
use crate::{JoinGrace, Topology, TopologyBuilder, TopologyError};

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// Joins `orders` with the rate that was valid at their time. Behind a repartition, keys are the
/// part of a value before the `:`.
fn topology(history: i64, grace: Option<i64>, rekeyed: bool) -> Topology {
    let builder = TopologyBuilder::new("app");
    let side = |topic: &str| {
        let stream = builder.stream::<String, String>(topic);
        if !rekeyed {
            return stream;
        }
        let key = |_: &String, value: &String| value.split(':').next().unwrap().to_owned();
        stream.select_key(key).repartition(&format!("{topic}-by-currency"))
    };
    let rate = |_: &String, value: String| (!value.ends_with("gone")).then_some(value);
    let rates = side("rates").map_values(rate).materialize_versioned("rates", ms(history));
    let grace = grace.map_or_else(JoinGrace::none, |grace| JoinGrace::named("waiting", ms(grace)));
    side("orders")
        .left_join_as_of(&rates, grace, |_, order, rate: Option<&String>| {
            format!("{order} {}", rate.map_or("-", String::as_str))
        })
        .to("out");
    builder.build().unwrap()
}

fn text(record: &RawRecord) -> String {
    let utf8 = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    format!("{} {} @{}", utf8(&record.key), utf8(&record.value), record.timestamp)
}

#[test]
fn each_grace_in_four_ways() {
    let line = |topic: &str, value: &str, at: i64| {
        (topic.to_owned(), Some("EUR".to_owned()), Some(format!("{value:?}")), at)
    };
    let script: Script = vec![
        line("rates", "1", 100),
        line("orders", "a", 120),
        line("rates", "3", 130),
        line("rates", "2", 110),
        line("orders", "b", 129),
        line("orders", "c", 99),
        line("rates", "gone", 140),
        line("orders", "d", 145),
        line("orders", "e", 160),
        line("rates", "4", 200),
        line("orders", "f", 130),
        line("orders", "g", 190),
    ];
    let run = |grace| {
        let out = check_four_ways(&|| topology(50, grace, false), &script, &["out"]);
        out["out"].iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(
        run(None),
        [
            "EUR \"a 1\" @120",
            "EUR \"b 2\" @129",
            "EUR \"c -\" @99",
            "EUR \"d -\" @145",
            "EUR \"e -\" @160",
            // The table's newest update is 200: it remembers what was from 150 on.
            "EUR \"f -\" @130",
            "EUR \"g -\" @190",
        ]
    );
    assert_eq!(
        run(Some(20)),
        [
            // Too late to wait: 99 is more than 20 before 129.
            "EUR \"c -\" @99",
            // The rate of 110 came in time for it.
            "EUR \"a 2\" @120",
            "EUR \"b 2\" @129",
            "EUR \"f -\" @130",
            "EUR \"d -\" @145",
            "EUR \"e -\" @160",
        ]
    );
}

#[test]
fn the_newest_version_is_remembered_whatever_its_age() {
    let line = |topic: &str, key: &str, value: &str, at: i64| {
        let value = format!("{:?}", format!("{key}:{value}"));
        (topic.to_owned(), Some(key.to_owned()), Some(value), at)
    };
    let script: Script = vec![
        line("rates", "EUR", "1", 100),
        line("rates", "USD", "1", 100),
        line("rates", "USD", "2", 110),
        line("rates", "GBP", "gone", 120),
        line("rates", "CHF", "1", 1_000),
        line("orders", "CHF", "a", 1_000),
        line("orders", "EUR", "b", 100),
        line("orders", "EUR", "c", 99),
        line("orders", "USD", "d", 109),
        line("orders", "GBP", "e", 120),
    ];
    let expected = [
        "CHF \"CHF:a CHF:1\" @1000",
        "EUR \"EUR:b EUR:1\" @100",
        "EUR \"EUR:c -\" @99",
        "USD \"USD:d -\" @109",
        "GBP \"GBP:e -\" @120",
    ];
    let directly = check_four_ways(&|| topology(50, None, false), &script, &["out"]);
    assert_eq!(directly["out"].iter().map(text).collect::<Vec<_>>(), expected);
    let mut driver = TopologyDriver::new(topology(50, None, true));
    for (topic, key, value, at) in &script {
        let bytes = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        driver.pipe_bytes(topic, bytes(key).as_deref(), bytes(value).as_deref(), *at);
    }
    let rekeyed: Vec<String> = driver.read_raw("out").iter().map(text).collect();
    assert_eq!(rekeyed, expected);
}

#[test]
fn a_record_without_a_key_does_not_wait() {
    let joined = |inner: bool| {
        let builder = TopologyBuilder::new("app");
        let rates = builder.table_versioned::<Option<String>, i64>("rates", "rates", ms(50));
        let orders = builder.stream::<Option<String>, i64>("orders");
        let grace = JoinGrace::named("waiting", ms(50));
        if inner {
            orders.join_as_of(&rates, grace, |_, n, _| *n).to("out");
        } else {
            orders.left_join_as_of(&rates, grace, |_, n, rate| (*n, rate.copied())).to("out");
        }
        builder.build().unwrap()
    };
    let script: Script = vec![("orders".to_owned(), None, Some("7".to_owned()), 100)];
    let left = check_four_ways(&|| joined(false), &script, &["out"]);
    assert_eq!(left["out"][0].value.as_deref(), Some(b"[7,null]".as_slice()));
    let inner = check_four_ways(&|| joined(true), &script, &["out"]);
    assert!(inner["out"].is_empty());
    let mut driver = TopologyDriver::new(joined(true));
    driver.pipe_bytes("orders", None, Some(b"7"), 100);
    assert_eq!(driver.counters().total("null key"), 1);
}

#[test]
fn a_grace_beyond_the_history_is_refused() {
    let builder = TopologyBuilder::new("app");
    let rates = builder.table_versioned::<String, i64>("rates", "rates", ms(500));
    let grace = JoinGrace::named("waiting", ms(501));
    builder.stream::<String, i64>("orders").join_as_of(&rates, grace, |_, _, _| 1_i64).to("out");
    let error = builder.build().err().unwrap();
    assert_eq!(
        error.to_string(),
        "KSTREAM-JOIN-0000000003 waits 501 ms for late updates, but `rates` remembers 500 ms: \
         give the table a longer history or the join a shorter grace"
    );
    assert!(matches!(error, TopologyError::GraceBeyondHistory { .. }));
}

#[test]
fn versions_that_nobody_can_ask_for_are_forgotten() {
    let mut driver = TopologyDriver::new(topology(50, None, false));
    for at in 0..300 {
        let value = if at % 5 == 4 { "gone".to_owned() } else { format!("{at}") };
        driver.pipe("rates", &format!("k{}", at % 3), &value, at * 10);
    }
    let mut last = BTreeMap::new();
    for record in driver.read_raw("app-g1-rates-changelog") {
        last.insert(record.key, record.value.is_some());
    }
    let kept = last.values().filter(|kept| **kept).count();
    // Six updates in the history and one, or two, for each of three keys; and their expiries.
    assert!(kept < 2 * (6 + 2 * 3), "{kept} entries");
}

/// An update (false) or an order (true) of a key, its time, whether an update deletes, and what
/// happens to the worker.
type Step = (bool, u8, i64, bool, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Half of the times are round, so that some are equal.
    let at = prop_oneof![0..150_i64, (0..15_i64).prop_map(|at| 10 * at)];
    let step = (any::<bool>(), 0..3_u8, at, prop::bool::weighted(0.2), 0..6_u8);
    prop::collection::vec(step, 1..40)
}

fn topic(order: bool) -> &'static str {
    if order { "orders" } else { "rates" }
}

fn play(driver: &mut TopologyDriver, after: u8) {
    match after {
        0 => driver.commit(),
        1 => {
            driver.commit();
            driver.kill();
        }
        _ => driver.process(),
    }
}

/// A version of a key, the clock of its source when it was read, and the source's partition.
struct Version {
    key: u8,
    at: i64,
    clock: i64,
    partition: u32,
    value: Option<String>,
}

fn as_of(versions: &[Version], key: u8, at: i64, read_until: i64) -> String {
    let known = versions.iter().filter(|v| v.key == key && v.at <= at && v.clock <= read_until);
    let found = known.max_by_key(|version| (version.at, version.clock, version.partition));
    found.and_then(|version| version.value.clone()).unwrap_or_else(|| "-".to_owned())
}

/// What Kafka Streams answers (KIP-914, KIP-923).
fn kafka_streams(history: i64, grace: Option<i64>, steps: &[Step]) -> Vec<String> {
    let (mut table_time, mut stream_time) = (i64::MIN, i64::MIN);
    let mut versions: Vec<Version> = Vec::new();
    let mut waiting: Vec<(i64, u8, usize)> = Vec::new();
    let mut out = Vec::new();
    for (id, (order, key, at, gone, _)) in steps.iter().copied().enumerate() {
        if !order {
            table_time = table_time.max(at);
            if at >= table_time - history {
                let value = (!gone).then(|| format!("{key}:{id}"));
                versions.push(Version { key, at, clock: at, partition: 0, value });
            }
            continue;
        }
        stream_time = stream_time.max(at);
        waiting.push((at, key, id));
        let mut due: Vec<_> = Vec::new();
        match grace {
            None => due.append(&mut waiting),
            Some(grace) => {
                if at < stream_time - grace {
                    due.extend(waiting.pop());
                }
                waiting.sort_unstable();
                let ready = waiting.partition_point(|waits| waits.0 <= stream_time - grace);
                due.extend(waiting.drain(..ready));
            }
        }
        for (at, key, id) in due {
            // The newest version of a row is remembered for ever.
            let is_newest = versions.iter().all(|v| v.key != key || v.at <= at);
            let remembered = is_newest || at >= table_time.saturating_sub(history);
            let rate = if remembered { as_of(&versions, key, at, i64::MAX) } else { "-".into() };
            out.push(format!("k{key} \"{key}:{id} {rate}\" @{at}"));
        }
    }
    out
}

fn source_key(id: usize) -> String {
    format!("source-{}", id * 7 % 11)
}

/// Behind a repartition: an order meets the updates that were read, by their own source's clock,
/// before it had waited long enough.
fn by_source_clocks(history: i64, grace: i64, steps: &[Step]) -> Vec<String> {
    let mut clocks = BTreeMap::new();
    let mut versions: Vec<Version> = Vec::new();
    let mut orders = Vec::new();
    for (id, (order, key, at, gone, _)) in steps.iter().copied().enumerate() {
        let partition = partition_for(source_key(id).as_bytes(), 3);
        let clock = clocks.entry((order, partition)).or_insert(at);
        *clock = at.max(*clock);
        if order {
            orders.push((id, key, at, *clock));
        } else if at >= *clock - history {
            let value = (!gone).then(|| format!("k{key}:{id}"));
            versions.push(Version { key, at, clock: *clock, partition, value });
        }
    }
    let joined = orders.into_iter().map(|(id, key, at, clock)| {
        let remembered = at >= clock - history;
        let rate = if remembered { as_of(&versions, key, at, at + grace) } else { "-".into() };
        format!("k{key} \"k{key}:{id} {rate}\" @{at}")
    });
    let mut out: Vec<String> = joined.collect();
    out.sort();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn read_directly_it_is_kafka_streams(
        steps in steps(), history in 0..80_i64, grace in prop::option::of(0..80_i64),
    ) {
        let grace = grace.map(|grace| grace.min(history));
        let mut driver = TopologyDriver::new(topology(history, grace, false));
        for (id, (order, key, at, gone, after)) in steps.iter().enumerate() {
            let value = if *gone && !order { "gone".to_owned() } else { format!("{key}:{id}") };
            let (key, value) = (format!("k{key}"), format!("{value:?}"));
            driver.append(topic(*order), Some(key.as_bytes()), Some(value.as_bytes()), *at);
            play(&mut driver, *after);
        }
        driver.commit();
        let out: Vec<String> = driver.read_raw("out").iter().map(text).collect();
        prop_assert_eq!(out, kafka_streams(history, grace, &steps));
    }

    #[test]
    fn behind_a_repartition_the_order_of_arrival_does_not_matter(
        steps in steps(), history in 0..80_i64, grace in 0..80_i64,
    ) {
        let grace = grace.min(history);
        let built = topology(history, Some(grace), true);
        let mut driver = TopologyDriver::with_partitions(built, 3);
        for (id, (order, key, at, gone, after)) in steps.iter().enumerate() {
            let end = if *gone && !order { "gone".to_owned() } else { id.to_string() };
            let value = format!("\"k{key}:{end}\"");
            let source = source_key(id);
            driver.append(topic(*order), Some(source.as_bytes()), Some(value.as_bytes()), *at);
            play(&mut driver, *after);
        }
        // Time goes on in every partition, so that nothing waits any more.
        for order in [false, true] {
            for key in (0..40).map(|n| format!("end-{n}")) {
                let value = format!("\"{key}:\"");
                driver.append(topic(order), Some(key.as_bytes()), Some(value.as_bytes()), 9_999);
            }
        }
        driver.commit();
        let mut out: Vec<String> = driver.read_raw("out").iter().map(text).collect();
        out.retain(|line| !line.starts_with("end-"));
        out.sort();
        prop_assert_eq!(out, by_source_clocks(history, grace, &steps));
    }
}
