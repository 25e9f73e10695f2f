//! Topologies that do not fit the topics that are there, and loops between sub-topologies.

use std::sync::Arc;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::log::embedded::{EmbeddedLog, EmbeddedSettings};
use crate::log::storage::MemoryStorage;
use crate::{JoinWindows, StreamJoined, TopologyBuilder};

const KEEP: Cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };

fn log(topics: &[(&str, u32)]) -> Arc<EmbeddedLog> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
    let storage = Arc::new(MemoryStorage::new());
    let log = EmbeddedLog::in_memory(storage, EmbeddedSettings::default(), clock).unwrap();
    for (name, partitions) in topics {
        let (name, partitions) = ((*name).to_owned(), *partitions);
        log.create_topic(&TopicSpec { name, partitions, cleanup: KEEP }).unwrap();
    }
    log
}

fn plan(builder: TopologyBuilder, topics: &[(&str, u32)]) -> Result<Plan, PlanError> {
    Plan::make(Arc::new(builder.build().unwrap()), log(topics).as_ref(), (1, KEEP))
}

fn refused(builder: TopologyBuilder, topics: &[(&str, u32)]) -> String {
    plan(builder, topics).err().expect("the plan was made").to_string()
}

#[test]
fn inputs_that_are_joined_must_have_equally_many_partitions() {
    let builder = TopologyBuilder::new("app");
    let left = builder.stream::<String, i64>("left");
    let right = builder.stream::<String, i64>("right");
    let windows = JoinWindows::of_time_difference_with_no_grace(std::time::Duration::ZERO);
    left.join_stream(&right, windows, StreamJoined::named("join"), |_, l, r| l + r).to("out");
    assert_eq!(
        refused(builder, &[("left", 2), ("right", 3)]),
        "KSTREAM-JOIN-0000000002 in sub-topology 0 of `app` puts together topics that must have \
         equally many partitions, but `left` has 2, `right` has 3; make a topic with the right \
         number and copy, or put `.repartition(\"name\")` behind one of them"
    );
}

#[test]
fn a_stream_and_a_table_that_it_is_joined_with_must_have_equally_many_partitions() {
    let builder = TopologyBuilder::new("app");
    let table = builder.table::<String, i64>("table", "table");
    let stream = builder.stream::<String, i64>("stream");
    stream.join(&table, |_, l, r| l + r).to("out");
    let text = refused(builder, &[("stream", 2), ("table", 3)]);
    assert!(text.starts_with("KSTREAM-JOIN-0000000003 in sub-topology 0"), "{text}");
    assert!(text.contains("`table` has 3, `stream` has 2"), "{text}");
}

#[test]
fn a_repartition_has_as_many_partitions_as_what_it_is_joined_with() {
    let builder = TopologyBuilder::new("app");
    let left = builder.stream::<String, i64>("left").select_key(|_, value| value.to_string());
    let right = builder.stream::<String, i64>("right");
    let windows = JoinWindows::of_time_difference_with_no_grace(std::time::Duration::ZERO);
    left.join_stream(&right, windows, StreamJoined::named("join"), |_, l, r| l + r).to("out");
    let plan = plan(builder, &[("left", 2), ("right", 3)]).unwrap();
    let partitions: Vec<u32> = plan.subs.iter().map(|sub| sub.partitions).collect();
    assert_eq!(partitions, [2, 3]);
    assert_eq!(plan.sink_partitions[0], 3);
}

#[test]
fn tables_that_answer_each_other_hear_of_all_sources_but_not_of_themselves() {
    let builder = TopologyBuilder::new("app");
    let left = builder.table::<String, i64>("left", "left");
    let right = builder.table::<i64, i64>("right", "right");
    left.join_foreign(&right, "joined", |_, row| Some(*row), |_, l, r| l + r).to("out");
    let plan = plan(builder, &[("left", 2), ("right", 3)]).unwrap();
    let [of_left, of_right] = &plan.subs[..] else { panic!("{} sub-topologies", plan.subs.len()) };
    assert_eq!((of_left.partitions, of_right.partitions), (2, 3));
    let range = |source, partitions, reach| SourceRange { source, partitions, reach };
    // Numbers of sources: `left` is 0, `right` is 1.
    assert_eq!(of_left.sources, [range(0, 2, Reach::All), range(1, 3, Reach::All)]);
    assert_eq!(of_right.sources, [range(0, 2, Reach::All), range(1, 3, Reach::Same)]);
    let subscriptions = &of_right.upstreams[0];
    assert_eq!(subscriptions.sources, [range(0, 2, Reach::Same)]);
    assert_eq!(subscriptions.tasks, 2);
    let answers = &of_left.upstreams[0];
    assert_eq!(answers.sources, [range(0, 2, Reach::All), range(1, 3, Reach::Same)]);
    assert_eq!(answers.tasks, 3);
}
