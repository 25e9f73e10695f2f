//! Aggregates of several streams: by script, and what is refused.

use std::time::Duration;

use crate::driver::{Script, TopologyDriver, check_last_values_four_ways};
use crate::{Grouped, Topology, TopologyBuilder, TopologyError};

/// Stock: orders by item take from it, deliveries of an item add to it.
fn stock() -> Topology {
    let builder = TopologyBuilder::new("app");
    let orders = builder
        .stream::<String, String>("orders")
        .group_by("orders-by-item", |_, item: &String| item.clone());
    let deliveries = builder.stream::<String, i64>("deliveries").group_by_key();
    deliveries
        .cogroup(|_, pieces, stock: i64| stock + pieces)
        .cogroup(orders, |_, _, stock| stock - 1)
        .aggregate("stock", || 10)
        .to("stock");
    builder.build().unwrap()
}

#[test]
fn streams_of_several_types_make_one_aggregate_in_four_ways() {
    let row = |topic: &str, key: &str, value: &str, at: i64| {
        (topic.to_owned(), Some(key.to_owned()), Some(value.to_owned()), at)
    };
    let script: Script = vec![
        row("orders", "o1", "\"lamp\"", 5),
        row("deliveries", "lamp", "3", 2),
        row("orders", "o2", "\"desk\"", 7),
        row("deliveries", "lamp", "1", 9),
    ];
    // One of the streams is repartitioned: which comes first is up to the commits.
    check_last_values_four_ways(&stock, &script, &["stock"]);
    let mut driver = TopologyDriver::new(stock());
    for (topic, key, value, at) in &script {
        let bytes = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
        driver.pipe_bytes(topic, bytes(key).as_deref(), bytes(value).as_deref(), *at);
    }
    let rows = driver.read::<String, i64>("stock");
    let rows = rows.iter().map(|row| (row.key.as_str(), row.value.unwrap(), row.timestamp));
    let expected = [("lamp", 9, 5), ("lamp", 12, 5), ("desk", 9, 7), ("lamp", 13, 9)];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn options_of_one_stream_are_refused() {
    let refused = |option: fn(Grouped<String, i64>) -> Grouped<String, i64>| {
        let builder = TopologyBuilder::new("app");
        let sales = option(builder.stream::<String, i64>("sales").group_by_key());
        sales.cogroup(|_, pieces, sum: i64| sum + pieces).aggregate("sums", || 0).to("sums");
        builder.build().err().unwrap().to_string()
    };
    let expected = "KSTREAM-SOURCE-0000000000 is one of the streams of a `cogroup`, which takes \
                    neither `combined` nor `expire_after`: leave them out, or `merge` the streams \
                    as one type before they are grouped";
    assert_eq!(refused(|sales| sales.combined(10)), expected);
    assert_eq!(refused(|sales| sales.expire_after(Duration::from_secs(1))), expected);
}

#[test]
fn two_repartition_topics_need_two_names() {
    let builder = TopologyBuilder::new("app");
    let by_value = |topic| {
        let stream = builder.stream::<String, i64>(topic);
        stream.select_key(|_, value| *value).group_by_key()
    };
    let (one, two) = (by_value("one"), by_value("two"));
    one.cogroup(|_, n, sum: i64| sum + n).cogroup(two, |_, n, sum| sum - n).aggregate("s", || 0);
    assert!(matches!(builder.build().err(), Some(TopologyError::NameTwice { .. })));
}
