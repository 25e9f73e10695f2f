//! Dead letters that a topology wrote, dealt with once each.

use super::*;
use crate::driver::TopologyDriver;
use crate::format::dead_letter as header;
use crate::log::record::put_header;
use crate::log::{BatchBuilder, Commit, Outcome, TopicPartition};
use crate::{Topology, TopologyBuilder};

fn topology() -> Topology {
    let builder = TopologyBuilder::new("app");
    builder
        .stream::<String, i64>("in")
        .map_values(|_, value| {
            assert!(value != 13, "thirteen");
            value
        })
        .to("out");
    builder.build().unwrap()
}

/// A driver with the dead letters `{` (0), `13` (1), `[` (2).
fn driver() -> TopologyDriver {
    let mut driver = TopologyDriver::with_partitions(topology(), 2);
    for (at, value) in ["{", "13", "1", "["].into_iter().enumerate() {
        let at = i64::try_from(at).unwrap();
        driver.pipe_bytes("in", Some(b"k"), Some(value.as_bytes()), 100 + at);
    }
    driver
}

fn id(offset: u64) -> LetterId {
    LetterId { at: TopicPartition::new("app-dlq", 0), offset }
}

fn values(driver: &TopologyDriver, topic: &str) -> Vec<String> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
    driver.read_raw(topic).into_iter().map(|record| text(record.value)).collect()
}

fn states(driver: &TopologyDriver) -> Vec<LetterState> {
    let listed = list(&*driver.log(), &Filter::default(), None, 100).unwrap();
    listed.letters.into_iter().map(|(_, state)| state).collect()
}

#[test]
fn letters_are_listed_by_filter_and_page() {
    let driver = driver();
    let log = driver.log();
    let found = |filter: &Filter| {
        let listed = list(&*log, filter, None, 100).unwrap();
        listed.letters.iter().map(|(letter, _)| letter.id.offset).collect::<Vec<_>>()
    };
    let all = Filter::default();
    assert_eq!(found(&all), [0, 1, 2]);
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(found(&Filter { defect: is("panic"), ..all.clone() }), [1]);
    assert_eq!(found(&Filter { node: is("KSTREAM-MAPVALUES-0000000001"), ..all.clone() }), [1]);
    assert_eq!(found(&Filter { owner: is("app"), topic: is("in"), ..all.clone() }), [0, 1, 2]);
    assert_eq!(found(&Filter { owner: is("other"), ..all.clone() }), [0; 0]);
    let now = TopologyDriver::WALL_MS;
    assert_eq!(found(&Filter { from_ms: Some(now), ..all.clone() }), [0, 1, 2]);
    assert_eq!(found(&Filter { to_ms: Some(now), ..all.clone() }), [0; 0]);
    let first = list(&*log, &all, None, 2).unwrap();
    assert_eq!((first.letters.len(), first.next.clone()), (2, Some(id(1))));
    let last = list(&*log, &all, first.next.as_ref(), 2).unwrap();
    assert_eq!((last.letters[0].0.id.clone(), last.next), (id(2), None));
    let counted = count(&*log, &all, None).unwrap();
    let counts: Vec<_> = counted.groups.iter().map(|(g, n)| (g.defect.as_str(), *n)).collect();
    assert_eq!(counts, [("bad-value", 2), ("panic", 1)]);
}

#[test]
fn a_letter_is_shown_as_it_was_read() {
    let driver = driver();
    let (letter, state) = read(&*driver.log(), &id(1)).unwrap();
    assert_eq!(state, LetterState::Open);
    assert_eq!((letter.defect(), letter.message()), ("panic", "thirteen"));
    assert!(letter.header(header::STACKTRACE).unwrap().contains("dead_letters/tests.rs:"));
    assert_eq!((letter.timestamp, letter.set_aside_ms), (101, TopologyDriver::WALL_MS));
    assert_eq!(letter.value.as_deref(), Some(&b"13"[..]));
    let (at, offset) = letter.record().unwrap();
    assert_eq!((&*at.topic, offset), ("in", 1));
    let unknown = read(&*driver.log(), &id(9)).unwrap_err().to_string();
    assert!(unknown.contains("`app-dlq-0@9`"), "{unknown}");
    let elsewhere = LetterId { at: TopicPartition::new("in", 0), offset: 0 };
    assert!(matches!(read(&*driver.log(), &elsewhere), Err(DeadLetterError::Unknown(_))));
}

#[test]
fn ids_read_back() {
    let id = LetterId { at: TopicPartition::new("a-b.c-dlq", 3), offset: 17 };
    assert_eq!(id.to_string(), "a-b.c-dlq-3@17");
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "x", "x@1", "-0@1", "x-0@", "x-y@1", "x-0@-1"] {
        let error = text.parse::<LetterId>().unwrap_err().to_string();
        assert!(error.contains("fraud-dlq-0@17"), "{error}");
    }
}

#[test]
fn a_letter_is_sent_again_once() {
    let mut driver = driver();
    let log = driver.log();
    let before = driver.read_raw("in").len();
    let mut first = Handler::open(&*log, "app-dlq").unwrap();
    let handled = first.replay(&[id(1), id(1)], 5_000).unwrap();
    assert_eq!((handled.done, handled.before), (1, 1));
    // Another one knows; and the one before it may do nothing any more.
    let mut second = Handler::open(&*log, "app-dlq").unwrap();
    assert_eq!(second.replay(&[id(1)], 5_000).unwrap().before, 1);
    assert_eq!(
        second.drop(&[id(1), id(2)], 5_000).unwrap(),
        Handled { done: 1, before: 1, refused: vec![] }
    );
    assert!(matches!(first.replay(&[id(0)], 5_000), Err(DeadLetterError::Fenced { .. })));
    assert_eq!(states(&driver), [LetterState::Open, LetterState::Replayed, LetterState::Dropped]);

    let sent = driver.read_raw("in");
    assert_eq!(sent.len(), before + 1);
    let again = sent.iter().filter(|record| record.value.as_deref() == Some(b"13"));
    let again: Vec<_> = again.collect();
    assert_eq!(again.len(), 2);
    assert_eq!(again[0], again[1], "key, value, timestamp and partition are the same");
    let headers = driver.read_headers("in");
    let marked: Vec<_> = headers.iter().filter_map(|all| all.get(header::REPLAY)).collect();
    assert_eq!(marked, ["app-dlq-0@1"]);

    // It is bad still: a new letter, which says where it comes from.
    driver.commit();
    let (letter, state) = read(&*log, &id(3)).unwrap();
    assert_eq!((letter.defect(), state), ("panic", LetterState::Open));
    assert_eq!(letter.header(header::REPLAY), Some("app-dlq-0@1"));
    assert_eq!(values(&driver, "out"), ["1"]);
}

#[test]
fn what_cannot_be_sent_again_says_why() {
    let driver = driver();
    let log = driver.log();
    let mut handler = Handler::open(&*log, "app-dlq").unwrap();
    let elsewhere = LetterId { at: TopicPartition::new("x-dlq", 0), offset: 0 };
    let absent = LetterId { at: TopicPartition::new("app-dlq", 7), offset: 0 };
    let handled = handler.replay(&[id(44), id(0), elsewhere, absent], 5_000).unwrap();
    assert_eq!((handled.done, handled.refused.len()), (1, 3));
    assert!(matches!(
        Handler::open(&*log, "no-dlq").err(),
        Some(DeadLetterError::Log(crate::log::LogError::UnknownTopic(_)))
    ));

    // A line that a source could not read never was a record; one of a topic that is gone was.
    let mut batch = BatchBuilder::new();
    let mut headers = Vec::new();
    put_header(&mut headers, header::TOPIC, b"/var/log/auth.log");
    batch.push(1, None, Some(b"?"), &headers);
    put_header(&mut headers, header::PARTITION, b"0");
    put_header(&mut headers, header::OFFSET, b"5");
    batch.push(1, None, Some(b"?"), &headers);
    let appends = vec![(TopicPartition::new("app-dlq", 0), batch)];
    let mut writer = log.writer("test").unwrap();
    let outcome = writer.commit(Commit { appends, offsets: Vec::new() }).wait();
    assert!(matches!(outcome, Outcome::Committed { .. }));
    let handled = handler.replay(&[id(3), id(4)], 5_000).unwrap();
    let reasons: Vec<_> = handled.refused.iter().map(|one| one.reason.as_str()).collect();
    assert!(reasons[0].contains("never was a record"), "{reasons:?}");
    assert!(reasons[1].contains("does not exist"), "{reasons:?}");
    assert_eq!(handler.drop(&[id(3), id(4)], 5_000).unwrap().done, 2);
}

#[test]
fn what_was_left_out_of_a_letter_is_sent_again_from_its_topic() {
    let builder = TopologyBuilder::new("app");
    builder.stream::<String, i64>("in").to("out");
    let mut driver = TopologyDriver::new(builder.build().unwrap()).with_record_bytes_max(600);
    let large = "x".repeat(500);
    driver.pipe_bytes("in", Some(b"k"), Some(large.as_bytes()), 1);
    let log = driver.log();
    let (letter, _) = read(&*log, &id(0)).unwrap();
    assert_eq!(
        (letter.value.as_deref(), letter.omitted().collect::<Vec<_>>()),
        (None, vec!["value"])
    );
    let mut handler = Handler::open(&*log, "app-dlq").unwrap();
    assert_eq!(handler.replay(&[id(0)], 5_000).unwrap().done, 1);
    assert_eq!(values(&driver, "in"), [large.clone(), large]);
}
