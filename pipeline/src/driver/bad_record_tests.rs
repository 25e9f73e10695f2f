//! Bad records through the driver: each kind, each policy, and what they cost the others.

use std::time::Duration;

use serde_json::json;

use crate::driver::TopologyDriver;
use crate::operator::{Fault, Next, Operator};
use crate::record::Record;
use crate::task::Context;
use crate::{
    AheadBound, BadRecordPolicy, Consumed, TimeWindows, Topology, TopologyBuilder, ViewFields,
    Windowed, codec,
};

/// Panics on 13, having touched a store, a view and a repartition topic.
fn fragile() -> Topology {
    let builder = TopologyBuilder::new("fragile");
    let seen = builder.stream::<String, i64>("in").dedup(
        "seen",
        Duration::from_secs(60),
        |_, value, _| Some(value.to_string()),
    );
    seen.to("before");
    seen.view("latest", ViewFields::new().i64("value"), |_, value| json!({ "value": value }));
    seen.map_values(|_, value| {
        assert!(value != 13, "thirteen");
        value
    })
    .group_by("by-parity", |_, value| (value % 2).to_string())
    .count("counts")
    .to("out");
    builder.build().unwrap()
}

fn append(driver: &mut TopologyDriver, values: &[&str]) {
    for (at, value) in (0_i64..).zip(values) {
        driver.append("in", Some(b"k"), Some(value.as_bytes()), at);
    }
}

fn texts(driver: &TopologyDriver, topic: &str) -> Vec<String> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
    driver.read_raw(topic).into_iter().map(|record| text(record.value)).collect()
}

#[test]
fn a_panic_sets_its_record_aside_and_undoes_what_it_did() {
    for coalesce in [false, true] {
        let mut driver = TopologyDriver::new(fragile());
        if coalesce {
            driver = driver.coalescing();
        }
        append(&mut driver, &["1", "13", "3", "13"]);
        driver.commit();
        // Both came to nothing: the id that `dedup` noted for the first is forgotten, too.
        assert_eq!(texts(&driver, "fragile-dlq"), ["13", "13"], "coalesce: {coalesce}");
        assert_eq!(texts(&driver, "before"), ["1", "3"]);
        let documents = driver.read_view("latest");
        let last = documents.last().unwrap();
        assert_eq!(last.value, Some(json!({ "value": 3 })), "coalesce: {coalesce}");
        assert_eq!(documents.len(), if coalesce { 1 } else { 2 });
        let counts = driver.read::<String, i64>("out");
        assert_eq!(counts.last().unwrap().value, Some(2));
        // Nobody else has lost anything, and no task was made again.
        assert_eq!(driver.restarts(), 0);
    }
}

#[test]
fn stream_time_is_not_moved_by_a_record_that_comes_to_nothing() {
    let builder = TopologyBuilder::new("app");
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(10));
    builder
        .stream::<String, i64>("in")
        .group_by_key()
        .windowed_by(windows)
        .aggregate(
            "sums",
            || 0,
            |_, value, sum: i64| {
                assert!(*value != 13, "thirteen");
                sum + value
            },
        )
        .to("out");
    let mut driver = TopologyDriver::new(builder.build().unwrap());
    driver.append("in", Some(b"k"), Some(b"1"), 1_000);
    driver.append("in", Some(b"k"), Some(b"13"), 50_000);
    driver.append("in", Some(b"k"), Some(b"2"), 2_000);
    driver.commit();
    let sums = driver.read::<Windowed<String>, i64>("out");
    assert_eq!(sums.iter().map(|one| one.value).collect::<Vec<_>>(), [Some(1), Some(3)]);
    assert_eq!(driver.counters().total("late"), 0);
}

#[test]
fn a_dead_letter_says_where_it_comes_from_and_why() {
    let mut driver = TopologyDriver::new(fragile());
    driver.pipe_bytes("in", Some(b"k"), Some(b"{broken"), 5);
    driver.pipe_bytes("in", None, Some(b"1"), 6);
    driver.pipe_bytes("in", Some(b"k"), Some(b"1"), -1);
    driver.pipe_bytes("in", Some(b"k"), Some(b"13"), 7);
    let dead = driver.read_headers("fragile-dlq");
    let message = |index: usize| dead[index]["__streams.errors.message"].clone();
    assert!(message(0).contains("the value is not the JSON expected"), "{}", message(0));
    assert!(message(1).contains("the key is null"), "{}", message(1));
    assert!(message(2).contains("before 1970"), "{}", message(2));
    assert_eq!(message(3), "thirteen");
    assert_eq!(dead[0]["__streams.errors.topic"], "in");
    assert_eq!(dead[2]["__streams.errors.offset"], "2");
    assert_eq!(dead[2]["millpond.errors.timestamp"], "-1");
    let nodes: Vec<_> = dead.iter().map(|one| one["millpond.errors.node"].as_str()).collect();
    let source = "KSTREAM-SOURCE-0000000000";
    assert_eq!(nodes, [source, source, source, "KSTREAM-MAPVALUES-0000000005"]);
    let place = &dead[3]["__streams.errors.stacktrace"];
    assert!(place.contains("bad_record_tests.rs:"), "{place}");
    assert_eq!(dead[3]["millpond.errors.task"], "0_0");
    assert_eq!(driver.counters().total("bad record to dead letters"), 4);
    for (node, defect, count) in [(source, "bad-value", 1), (source, "bad-key", 1)] {
        assert!(driver.counters().all().contains(&(node.to_owned(), defect, count)), "{defect}");
    }
}

#[test]
fn each_source_has_a_policy_of_its_own() {
    let builder = TopologyBuilder::new("app");
    let read = |topic: &str, policy| {
        let consumed = Consumed::<i64>::default().with_bad_records(policy);
        builder.stream_with::<String, i64>(topic, consumed).repartition(&format!("{topic}-again"))
    };
    for (topic, policy) in [("kept", BadRecordPolicy::Dlq), ("lossy", BadRecordPolicy::Skip)] {
        read(topic, policy)
            .map_values(|_, value| {
                assert!(value != 13, "thirteen");
                value
            })
            .to(&format!("{topic}-out"));
    }
    let mut topology = builder.build().unwrap();
    topology.set_source_rules("absent", Default::default());
    let mut driver = TopologyDriver::new(topology);
    for topic in ["kept", "lossy"] {
        driver.pipe_bytes(topic, Some(b"k"), Some(b"{"), 0);
        // Found bad behind the repartition: the rules of the topic that it came from hold.
        driver.pipe(topic, "k", &13_i64, 1);
        driver.pipe(topic, "k", &1_i64, 2);
        assert_eq!(texts(&driver, &format!("{topic}-out")), ["1"]);
    }
    let dead = driver.read_headers("app-dlq");
    let topics: Vec<_> = dead.iter().map(|one| one["__streams.errors.topic"].as_str()).collect();
    assert_eq!(topics, ["kept", "app-g1-kept-again-repartition"]);
    assert_eq!(dead[1]["millpond.errors.source"], "kept-0@1");
    assert_eq!(driver.counters().total("bad record skipped"), 2);
}

#[test]
fn the_policy_to_fail_stops_at_the_record_and_names_it() {
    let mut topology = fragile();
    let rules =
        crate::SourceRules { bad_records: Some(BadRecordPolicy::Fail), ..Default::default() };
    topology.set_source_rules("in", rules);
    let mut driver = TopologyDriver::new(topology);
    append(&mut driver, &["1", "13", "3"]);
    let error = driver.try_commit().unwrap_err().to_string();
    assert!(error.contains("record 1 of in-0"), "{error}");
    assert!(error.contains("KSTREAM-MAPVALUES-0000000005: thirteen"), "{error}");
    // It stands before that record, and nothing went on.
    driver.kill();
    assert!(driver.try_commit().is_err());
    assert_eq!(texts(&driver, "fragile-dlq"), [""; 0]);
}

#[test]
fn a_record_of_the_year_2999_does_not_move_time() {
    let builder = TopologyBuilder::new("app");
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(10));
    let text = Consumed::with(codec::utf8())
        .with_timestamp(|text: &String, own| text.parse().unwrap_or(own));
    builder
        .stream_with::<String, String>("in", text)
        .group_by_key()
        .windowed_by(windows)
        .count("counts")
        .to("out");
    let hour = AheadBound::AtMost(Duration::from_secs(3600));
    let mut driver = TopologyDriver::new(builder.build().unwrap()).with_timestamp_ahead_max(hour);
    let now = TopologyDriver::WALL_MS;
    let year_2999 = 32_472_144_000_000_i64;
    let mut pipe = |value: &str, own: i64| {
        driver.pipe_bytes("in", Some(b"k"), Some(value.as_bytes()), own);
        driver.read_raw("out").len()
    };
    assert_eq!(pipe("first", now), 1);
    assert_eq!(pipe("own", year_2999), 1, "its own timestamp");
    assert_eq!(pipe(&year_2999.to_string(), now), 1, "its field");
    assert_eq!(pipe("on time", now + 1), 2);
    assert_eq!(pipe(&(now + 3_600_000).to_string(), now), 3, "just within");
    let dead = driver.read_headers("app-dlq");
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0]["__streams.errors.exception"], "bad-timestamp");
    assert_eq!(dead[0]["millpond.errors.timestamp"], year_2999.to_string());
    // The letter itself has a time that every log takes.
    assert_eq!(driver.read_raw("app-dlq")[0].timestamp, now);
}

#[test]
fn what_is_too_large_or_does_not_fit_its_view_is_bad() {
    let builder = TopologyBuilder::new("app");
    let source = builder.stream::<String, serde_json::Value>("in");
    source.view("v", ViewFields::new().i64("count").json("more"), |_, value| value.clone());
    source
        .group_by_key()
        .aggregate("lists", Vec::new, |_, value: &serde_json::Value, mut list: Vec<_>| {
            list.push(value.clone());
            list
        })
        .to_stream()
        .map_values(|_, list| list.len())
        .to("lengths");
    let mut driver = TopologyDriver::new(builder.build().unwrap()).with_record_bytes_max(2_000);
    driver.pipe("in", "k", &json!({ "count": 1 }), 1);
    driver.pipe("in", "k", &json!({ "count": "one" }), 2);
    driver.pipe("in", "k", &json!({ "pad": "x".repeat(1_500) }), 3);
    // The list would be too large for its changelog now; another key's is not.
    driver.pipe("in", "k", &json!({ "pad": "x".repeat(600) }), 4);
    driver.pipe("in", "j", &json!({ "pad": "x".repeat(600) }), 5);
    let dead = driver.read_headers("app-dlq");
    let said: Vec<_> = dead
        .iter()
        .map(|one| {
            let part = |name: &str| one[name].as_str();
            (part("__streams.errors.exception"), part("millpond.errors.node"))
        })
        .collect();
    assert_eq!(
        said,
        [
            ("bad-document", "KSTREAM-SINK-0000000002"),
            ("too-large", "KSTREAM-AGGREGATE-0000000003")
        ]
    );
    assert_eq!(texts(&driver, "lengths"), ["1", "2", "1"]);
    assert_eq!(driver.read_view("v").len(), 3);
}

#[test]
fn thousands_of_bad_records_cost_what_they_did_themselves() {
    let mut driver = TopologyDriver::new(fragile());
    let good = |n: i32| (n + 100).to_string();
    let values: Vec<String> =
        (0..20_000).map(|n| if n % 10 == 0 { "13".to_owned() } else { good(n) }).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    append(&mut driver, &values);
    driver.commit();
    assert_eq!(driver.read_raw("fragile-dlq").len(), 2_000);
    assert_eq!(driver.read_raw("before").len(), 18_000);
    assert_eq!(driver.restarts(), 0);
}

/// Counts in its own memory, as operators should not: it says so.
struct Forgetful<K, V> {
    seen: i64,
    next: Next<K, V>,
}

impl<K: Clone> Operator<K, i64> for Forgetful<K, i64> {
    fn process(&mut self, record: Record<K, i64>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        ctx.touch();
        self.seen += 1;
        self.next.forward(record, ctx)
    }
}

#[test]
fn an_operator_with_a_memory_of_its_own_costs_its_task_a_bounded_replay() {
    let builder = TopologyBuilder::new("app");
    builder
        .stream::<String, i64>("in")
        .then_with("KSTREAM-FORGETFUL", Vec::new(), |next| Forgetful { seen: 0, next })
        .map_values(|_, value| {
            assert!(value != 13, "thirteen");
            value
        })
        .to("out");
    let mut driver = TopologyDriver::new(builder.build().unwrap());
    let values: Vec<&str> = (0..5_000).map(|n| if n % 50 == 49 { "13" } else { "1" }).collect();
    append(&mut driver, &values);
    driver.commit();
    assert_eq!(driver.read_raw("out").len(), 4_900);
    assert_eq!(driver.read_raw("app-dlq").len(), 100);
    assert_eq!(driver.restarts(), 100);
    let dead = driver.read_headers("app-dlq");
    assert_eq!(dead[0]["millpond.errors.node"], "KSTREAM-MAPVALUES-0000000002");
    // Each record twice at most: once up to the one that broke, once more up to the commit.
    assert!(driver.processed() <= 10_000, "{} records handled", driver.processed());
}
