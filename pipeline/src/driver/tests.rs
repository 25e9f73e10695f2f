//! The DSL and the task through the driver: what no single operator shows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::driver::TopologyDriver;
use crate::{
    AlertRule, Severity, TimeWindows, Topology, TopologyBuilder, TopologyError, ViewFields,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    customer: String,
    cents: i64,
}

fn order(customer: &str, cents: i64) -> Order {
    Order { customer: customer.to_owned(), cents }
}

fn enriched() -> Topology {
    let builder = TopologyBuilder::new("shop");
    let customers = builder.global_table::<String, String>("customers", "customers");
    let mut split = builder
        .stream::<String, Order>("orders")
        .left_join_global(
            &customers,
            |_, order| order.customer.clone(),
            |_, order, name: Option<&String>| (name.cloned(), order.cents),
        )
        .split();
    split.branch(|_, (name, _)| name.is_none()).to("unknown");
    split.branch(|_, (_, cents)| *cents >= 100).to("large");
    split.done().to("small");
    builder.build().unwrap()
}

#[test]
fn a_global_table_is_joined_and_a_split_takes_the_first_branch() {
    let mut driver = TopologyDriver::with_partitions(enriched(), 3);
    driver.pipe("customers", "c1", &"Ann".to_owned(), 0);
    driver.pipe("orders", "o1", &order("c1", 50), 1);
    driver.pipe("orders", "o2", &order("c1", 500), 2);
    driver.pipe("orders", "o3", &order("c2", 500), 3);
    driver.kill();
    driver.pipe_bytes("customers", Some(b"c1"), None, 4);
    driver.pipe("orders", "o4", &order("c1", 7), 5);
    let keys = |topic: &str| {
        let mut keys: Vec<String> = driver
            .read::<String, (Option<String>, i64)>(topic)
            .into_iter()
            .map(|r| r.key)
            .collect();
        keys.sort();
        keys
    };
    assert_eq!(keys("small"), ["o1"]);
    assert_eq!(keys("large"), ["o2"]);
    assert_eq!(keys("unknown"), ["o3", "o4"]);
}

fn alerting() -> Topology {
    let builder = TopologyBuilder::new("app");
    let windows = TimeWindows::of_size_and_grace(Duration::from_secs(10), Duration::from_secs(5));
    let counts =
        builder.stream::<String, i64>("in").group_by_key().windowed_by(windows).count("counts");
    counts.filter(|_, count| *count >= 2).view(
        "busy",
        ViewFields::new().keyword("key").i64("count"),
        |key, count| json!({ "key": key.key, "count": count }),
    );
    counts
        .to_stream()
        .filter(|_, count| *count >= 2)
        .alert(AlertRule::new("busy", Severity::Warning), |key, count| {
            (format!("{} is busy", key.key), *count)
        });
    builder.build().unwrap()
}

#[test]
fn an_alert_comes_once_for_each_key_and_window() {
    let mut driver = TopologyDriver::new(alerting());
    for at in [1_000, 2_000, 3_000, 11_000, 12_000] {
        driver.pipe("in", "k", &1_i64, at);
        driver.kill();
    }
    // Late for its window, and so nothing.
    driver.pipe("in", "k", &1_i64, 16_000);
    driver.pipe("in", "k", &1_i64, 4_000);
    let alerts = driver.read_alerts();
    let ids: Vec<_> = alerts.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["busy:k:0", "busy:k:10000"]);
    assert_eq!(alerts[0]["window"]["end"], "1970-01-01T00:00:10.000Z");
    assert_eq!(alerts[0]["data"], 2);
    assert_eq!(driver.counters().total("late"), 1);
    let documents = driver.read_view("busy");
    assert_eq!(documents[0].key, "k@1970-01-01T00:00:00Z");
    assert_eq!(documents[1].value, Some(json!({ "key": "k", "count": 3 })));
}

#[test]
fn a_topology_prints_itself_as_kafka_streams_would() {
    let builder = TopologyBuilder::new("app");
    builder
        .stream::<String, i64>("in")
        .group_by("by-value", |_, value| value.to_string())
        .count("counts")
        .to("out");
    let topology = builder.build().unwrap();
    let expected = expect_test::expect![[r#"
        Topologies:
           Sub-topology: 0
            Source: KSTREAM-SOURCE-0000000000 (topics: [in])
              --> KSTREAM-KEY-SELECT-0000000001
            Processor: KSTREAM-KEY-SELECT-0000000001 (stores: [])
              --> KSTREAM-SINK-0000000002
              <-- KSTREAM-SOURCE-0000000000
            Sink: KSTREAM-SINK-0000000002 (topic: app-g1-by-value-repartition)
              <-- KSTREAM-KEY-SELECT-0000000001
           Sub-topology: 1
            Source: KSTREAM-SOURCE-0000000003 (topics: [app-g1-by-value-repartition])
              --> KSTREAM-AGGREGATE-0000000004
            Processor: KSTREAM-AGGREGATE-0000000004 (stores: [counts])
              --> KSTREAM-SINK-0000000005
              <-- KSTREAM-SOURCE-0000000003
            Sink: KSTREAM-SINK-0000000005 (topic: out)
              <-- KSTREAM-AGGREGATE-0000000004
    "#]];
    expected.assert_eq(&topology.describe());
}

fn refused(build: impl FnOnce(&TopologyBuilder)) -> TopologyError {
    let builder = TopologyBuilder::new("app");
    build(&builder);
    match builder.build() {
        Ok(_) => panic!("the topology was accepted"),
        Err(error) => error,
    }
}

#[test]
fn a_topology_that_cannot_work_says_which_node_and_what_to_do() {
    let same_store = refused(|builder| {
        let stream = builder.stream::<String, i64>("in");
        stream.group_by_key().count("counts");
        stream.group_by_key().count("counts");
    });
    assert_eq!(
        same_store.to_string(),
        "there are two stores called `counts`: give one of them another name"
    );
    let unpartitioned = refused(|builder| {
        let table = builder.table::<String, i64>("table", "table");
        let stream = builder.stream::<String, i64>("in").select_key(|_, _| "x".to_owned());
        stream.join(&table, |_, _, _| 1_i64).to("out");
    });
    let text = unpartitioned.to_string();
    assert!(text.starts_with("KSTREAM-KEY-SELECT-0000000003 needs"), "{text}");
    assert!(text.contains(".repartition("), "{text}");
    let cycle = refused(|builder| builder.stream::<String, i64>("in").to("in"));
    assert!(cycle.to_string().contains("`in` is read and written by KSTREAM-SINK"), "{cycle}");
    let window = refused(|builder| {
        let windows = TimeWindows::of_size_with_no_grace(Duration::ZERO);
        builder.stream::<String, i64>("in").group_by_key().windowed_by(windows).count("counts");
    });
    assert!(matches!(window, TopologyError::Window { size_ms: 0, .. }), "{window}");
    assert_eq!(refused(|_| {}), TopologyError::Empty("app".into()));
    let global = refused(|builder| {
        builder.global_table::<String, i64>("rates", "rates");
        builder.stream::<String, i64>("in").to("rates");
    });
    assert!(matches!(global, TopologyError::Cycle { .. }), "{global}");
    let unnamed = refused(|builder| {
        builder.stream::<String, i64>("");
    });
    assert!(unnamed.to_string().starts_with("`` cannot be a source topic"), "{unnamed}");
    let dots = refused(|builder| {
        builder.global_table::<String, i64>("..", "rates");
    });
    assert!(dots.to_string().contains("cannot be a global table's topic"), "{dots}");
    let name = refused(|builder| {
        builder.stream::<String, i64>("in").group_by_key().count("no spaces");
    });
    assert!(matches!(name, TopologyError::Name { what: "store", .. }), "{name}");
}
