//! Topics.

use pipeline::log::{Cleanup, GroupConfig, LogError, TopicPartition, TopicSpec};

use super::bench::{Bench, Check, spec};

pub(super) const CHECKS: &[Check] = &[
    ("a_created_topic_is_listed", a_created_topic_is_listed),
    ("creating_a_topic_again_changes_nothing", creating_a_topic_again_changes_nothing),
    ("retention_bounds_are_set_anew", retention_bounds_are_set_anew),
    ("a_topic_that_differs_is_told", a_topic_that_differs_is_told),
    ("names_that_cannot_be_are_refused", names_that_cannot_be_are_refused),
    ("what_does_not_exist_is_told", what_does_not_exist_is_told),
];

fn a_created_topic_is_listed(bench: &Bench<'_>) {
    let plain = spec(&bench.name("plain"), 3);
    let bounded = TopicSpec {
        name: bench.name("bounded"),
        partitions: 1,
        cleanup: Cleanup::Delete { retention_ms: Some(60_000), retention_bytes: Some(1 << 20) },
    };
    let compacted =
        TopicSpec { name: bench.name("compacted"), partitions: 2, cleanup: Cleanup::Compact };
    for topic in [&plain, &bounded, &compacted] {
        assert!(!bench.log.topics().unwrap().contains_key(&topic.name));
        bench.log.create_topic(topic).unwrap();
        assert_eq!(bench.log.topics().unwrap().get(&topic.name), Some(topic));
    }
}

fn creating_a_topic_again_changes_nothing(bench: &Bench<'_>) {
    let at = bench.partition();
    bench.append_each(&at, &["kept"]);
    bench.log.create_topic(&spec(&at.topic, 1)).unwrap();
    assert_eq!(bench.values(&at, 0, 1), ["kept"]);
}

fn retention_bounds_are_set_anew(bench: &Bench<'_>) {
    let mut topic = spec(&bench.topic("topic", 1), 1);
    topic.cleanup = Cleanup::Delete { retention_ms: Some(3_600_000), retention_bytes: None };
    bench.log.create_topic(&topic).unwrap();
    assert_eq!(bench.log.topics().unwrap()[&topic.name], topic);
}

fn a_topic_that_differs_is_told(bench: &Bench<'_>) {
    let topic = spec(&bench.topic("topic", 2), 2);
    let wider = TopicSpec { partitions: 3, ..topic.clone() };
    let compacted = TopicSpec { cleanup: Cleanup::Compact, ..topic.clone() };
    for other in [wider, compacted] {
        let error = bench.log.create_topic(&other).unwrap_err();
        assert!(matches!(error, LogError::TopicDiffers { .. }), "{error}");
    }
    assert_eq!(bench.log.topics().unwrap()[&topic.name], topic);
}

fn names_that_cannot_be_are_refused(bench: &Bench<'_>) {
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "a\0b", "ä", &long] {
        let error = bench.log.create_topic(&spec(name, 1)).unwrap_err();
        assert!(matches!(error, LogError::InvalidTopic { .. }), "{name:?}: {error}");
    }
    let error = bench.log.create_topic(&spec(&bench.name("none"), 0)).unwrap_err();
    assert!(matches!(error, LogError::InvalidTopic { .. }), "{error}");
}

fn what_does_not_exist_is_told(bench: &Bench<'_>) {
    let no_topic = TopicPartition::new(bench.name("nowhere"), 0);
    let no_partition = TopicPartition::new(bench.topic("topic", 2), 2);
    let mut reader = bench.log.reader().unwrap();
    for error in [
        bench.log.range(&no_topic).unwrap_err(),
        bench.log.purge(&no_topic, 0).unwrap_err(),
        reader.assign(&no_topic, 0).unwrap_err(),
    ] {
        assert!(matches!(error, LogError::UnknownTopic(_)), "{error}");
    }
    for error in
        [bench.log.range(&no_partition).unwrap_err(), reader.assign(&no_partition, 0).unwrap_err()]
    {
        assert!(matches!(error, LogError::UnknownPartition { partitions: 2, .. }), "{error}");
    }
    let config = GroupConfig {
        group: bench.name("group"),
        instance: "a".into(),
        topics: vec![no_topic.topic.to_string()],
    };
    assert!(matches!(bench.log.join(config).err(), Some(LogError::UnknownTopic(_))));
}
