//! Ingest without HTTP.

use super::*;
use crate::parser::Format;
use crate::shared_tests::{Fault, NOW_MS, TestLog};

fn ingest(log: &Arc<TestLog>, topic: TopicSettings) -> Ingest {
    let topics = [("t".to_owned(), topic)].into();
    let settings = IngestSettings { topics, line_bytes_max: 64, ..IngestSettings::default() };
    let (log, clock) = (Arc::clone(log) as _, Arc::clone(&log.clock) as _);
    Ingest::open(log, clock, "test", settings, &Counters::new()).unwrap()
}

fn keyed() -> TopicSettings {
    TopicSettings {
        key_field: Some("id".parse().unwrap()),
        timestamp_field: Some("at".parse().unwrap()),
    }
}

#[test]
fn lines_are_appended_as_they_stand_and_the_token_is_their_end() {
    let log = TestLog::with_topic("t", 3);
    let ingest = ingest(&log, keyed());
    let body = b"{\"id\":\"a\", \"at\":5}\r\n\n{\"id\":\"b\",\"at\":\"1970-01-01T00:00:00.006Z\"}";
    let options = Options { event_id: Some("e".into()), ..Options::lines(Format::Json) };
    let receipt = ingest.append("t", body, &options).unwrap();
    assert_eq!((receipt.records, receipt.dead_letters, receipt.skipped), (2, 0, 1));

    let mut stored = log.stored("t");
    stored.sort_by_key(|record| record.timestamp);
    let shown: Vec<_> = stored
        .iter()
        .map(|it| {
            (it.key.as_deref(), it.value.as_str(), it.timestamp, it.headers["mp.id"].as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [
            (Some("a"), "{\"id\":\"a\", \"at\":5}", 5, "e:1"),
            (Some("b"), "{\"id\":\"b\",\"at\":\"1970-01-01T00:00:00.006Z\"}", 6, "e:3"),
        ]
    );
    for record in &stored {
        let key = record.key.as_ref().unwrap().as_bytes();
        assert_eq!(record.partition, pipeline::log::partition_for(key, 3));
    }
    for source in &receipt.token.positions {
        let at = pipeline::log::TopicPartition::new("t", source.partition);
        assert_eq!(log.range(&at).unwrap().end, source.position);
    }
    let written: std::collections::BTreeSet<u32> = stored.iter().map(|it| it.partition).collect();
    assert_eq!(receipt.token.positions.len(), written.len());
}

#[test]
fn a_bad_line_refuses_all_of_them() {
    let log = TestLog::with_topic("t", 1);
    let ingest = ingest(&log, keyed());
    let mut body = "{\"id\":1,\"at\":1}\n{\"at\":1}\n".to_owned();
    body.push_str(&"nonsense\n".repeat(20));
    let error = ingest.append("t", body.as_bytes(), &Options::lines(Format::Json)).unwrap_err();
    let IngestError::BadLines { total, first } = error else { panic!("{error}") };
    assert_eq!((total, first.len()), (21, BAD_LINES_SHOWN_MAX));
    assert_eq!((first[0].line, first[0].reason.to_string()), (2, "field `id` is missing".into()));
    assert_eq!(first[9].line, 11);
    assert!(log.values("t").is_empty());
    assert_eq!(ingest.counters.get(Count::BadLines), 1);
}

#[test]
fn bad_lines_may_go_to_the_dead_letters() {
    let log = TestLog::with_topic("t", 1);
    let ingest = ingest(&log, TopicSettings::default());
    let year = "2005".parse().unwrap();
    let format = Format::Syslog { year, zone: chrono_tz::Tz::UTC };
    let options = Options { on_bad_line: OnBadLine::DeadLetter, ..Options::lines(format) };
    let body = b"Dec 31 00:00:00 h a: 1\nnonsense\nJan  1 00:00:00 h a: 2\n-- Boot x --\n";
    let receipt = ingest.append("t", body, &options).unwrap();
    assert_eq!((receipt.records, receipt.dead_letters, receipt.skipped), (2, 1, 1));
    assert_eq!(receipt.year.map(|year| year.to_string()).as_deref(), Some("2006-01"));
    assert_eq!(receipt.token.positions.len(), 1);
    assert_eq!(receipt.token.positions[0].position.offset, 2);
    let times: Vec<i64> = log.stored("t").iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [1_135_987_200_000, 1_136_073_600_000]);
    let dead = &log.stored("t-dlq")[0];
    assert_eq!((dead.value.as_str(), dead.timestamp), ("nonsense", NOW_MS));
    assert_eq!(dead.headers["__streams.errors.offset"], "2");
}

#[test]
fn records_without_a_key_take_turns_by_request() {
    let log = TestLog::with_topic("t", 2);
    let ingest = ingest(&log, TopicSettings::default());
    for _ in 0..2 {
        ingest.append("t", b"one\ntwo", &Options::lines(Format::Lines)).unwrap();
    }
    let stored = log.stored("t");
    let placed: Vec<(u32, &str)> =
        stored.iter().map(|record| (record.partition, record.value.as_str())).collect();
    assert_eq!(placed, [(0, "one"), (0, "two"), (1, "one"), (1, "two")]);
    assert!(stored.iter().all(|record| record.timestamp == NOW_MS));
}

#[test]
fn a_request_may_say_key_and_time_of_all_its_records() {
    let log = TestLog::with_topic("t", 2);
    let ingest = ingest(&log, keyed());
    let options = Options {
        shape: Shape::Record,
        key: Some(b"k".to_vec()),
        timestamp_ms: Some(7),
        event_id: Some("e".into()),
        ..Options::lines(Format::Json)
    };
    ingest.append("t", b"{\n}\n", &options).unwrap();
    let stored = log.stored("t");
    assert_eq!((stored[0].key.as_deref(), stored[0].timestamp), (Some("k"), 7));
    assert_eq!((stored[0].value.as_str(), stored[0].headers["mp.id"].as_str()), ("{\n}\n", "e"));
    assert!(matches!(ingest.append("t", b" ", &options), Err(IngestError::BadLines { .. })));
}

#[test]
fn topics_that_are_not_configured_take_nothing() {
    let log = TestLog::with_topic("t", 1);
    let cleanup = pipeline::log::Cleanup::Compact;
    let spec = pipeline::log::TopicSpec { name: "state".into(), partitions: 1, cleanup };
    log.create_topic(&spec).unwrap();
    let ingest = ingest(&log, keyed());
    let error = ingest.append("state", b"{}", &Options::lines(Format::Json)).unwrap_err();
    assert!(matches!(error, IngestError::UnknownTopic(topic) if topic == "state"));
}

#[test]
fn each_outcome_has_its_error_and_the_next_request_goes_on() {
    let log = TestLog::with_topic("t", 1);
    let ingest = ingest(&log, TopicSettings::default());
    log.spoil([Fault::Abort, Fault::UnknownLost, Fault::UnknownMade, Fault::Fence]);
    let append = |value: &str| {
        ingest.append("t", value.as_bytes(), &Options::lines(Format::Lines)).map(|it| it.records)
    };
    assert!(matches!(append("1"), Err(IngestError::Aborted(_))));
    assert!(matches!(append("2"), Err(IngestError::Unknown(_))));
    assert!(matches!(append("3"), Err(IngestError::Unknown(_))));
    assert!(matches!(append("4"), Err(IngestError::Fenced(_))));
    assert_eq!(append("5").unwrap(), 1);
    assert_eq!(log.values("t"), ["3", "5"]);
    assert_eq!(ingest.counters.get(Count::Records), 1);
    assert_eq!(append("").unwrap(), 0);
}
