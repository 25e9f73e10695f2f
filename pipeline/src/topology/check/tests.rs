//! Topologies that cannot work: each is refused when it is built, with the node and what to do.

use std::time::Duration;

use serde_json::json;

use crate::{JoinWindows, StreamJoined, TopologyBuilder, ViewFields};

fn refused(build: impl FnOnce(&TopologyBuilder)) -> String {
    let builder = TopologyBuilder::new("app");
    build(&builder);
    builder.build().err().expect("the topology was accepted").to_string()
}

fn within_a_second() -> JoinWindows {
    JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(1))
}

#[test]
fn two_stores_of_one_name() {
    let text = refused(|builder| {
        let (left, right) =
            (builder.stream::<String, i64>("left"), builder.stream::<String, i64>("right"));
        left.join_stream(&right, within_a_second(), StreamJoined::named("sums"), |_, l, r| l + r)
            .to("out");
        left.group_by_key().count("sums").to("counts");
    });
    assert_eq!(text, "there are two stores called `sums`: give one of them another name");
}

#[test]
fn two_repartition_topics_of_one_name() {
    let text = refused(|builder| {
        let stream = builder.stream::<String, i64>("in");
        stream.group_by("by-value", |_, value| value.to_string()).count("a").to("a-out");
        stream.group_by("by-value", |_, value| (value % 2).to_string()).count("b").to("b-out");
    });
    let expected = "there are two repartitions called `by-value`: give one of them another name";
    assert_eq!(text, expected);
}

#[test]
fn two_views_of_one_name() {
    let text = refused(|builder| {
        let fields = || ViewFields::new().i64("value");
        let stream = builder.stream::<String, i64>("in");
        stream.view("values", fields(), |_, value| json!({ "value": value }));
        stream.view("values", fields(), |_, value| json!({ "value": -value }));
    });
    assert_eq!(text, "there are two views called `values`: give one of them another name");
}

#[test]
fn two_global_tables_of_one_name() {
    let text = refused(|builder| {
        builder.stream::<String, i64>("in").to("out");
        builder.global_table::<String, i64>("a", "names");
        builder.global_table::<String, i64>("b", "names");
    });
    assert_eq!(text, "there are two global tables called `names`: give one of them another name");
}

#[test]
fn one_topic_read_twice() {
    let text = refused(|builder| {
        builder.stream::<String, i64>("in").to("out");
        builder.table::<String, i64>("in", "table").to("table-out");
    });
    assert_eq!(text, "topic `in` is read twice: read it once and use the stream twice");
}

#[test]
fn a_table_of_another_topology() {
    let other = TopologyBuilder::new("other");
    let table = other.table::<String, i64>("table", "table");
    let text = refused(|builder| {
        builder.stream::<String, i64>("in").join(&table, |_, l, r| l + r).to("out");
    });
    assert_eq!(
        text,
        "KSTREAM-SOURCE-0000000000 puts together parts of two topologies: build both with one \
         builder"
    );
}

#[test]
fn a_stream_of_another_topology() {
    let other = TopologyBuilder::new("other");
    let right = other.stream::<String, i64>("right");
    let text = refused(|builder| {
        let left = builder.stream::<String, i64>("left");
        left.join_stream(&right, within_a_second(), StreamJoined::named("sums"), |_, l, r| l + r)
            .to("out");
    });
    assert!(text.contains("puts together parts of two topologies"), "{text}");
}

#[test]
fn a_table_whose_rows_are_not_where_their_keys_are() {
    let text = refused(|builder| {
        let stream = builder.stream::<String, i64>("in").select_key(|_, value| value.to_string());
        stream.to_table("table").to("out");
    });
    assert!(text.starts_with("KSTREAM-MAPVALUES-0000000002 needs its records where"), "{text}");
    assert!(text.contains("`.repartition(\"name\")`"), "{text}");
}
