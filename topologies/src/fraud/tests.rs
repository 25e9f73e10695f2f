//! Scripts of payments.

use expect_test::{Expect, expect};
use pipeline::driver::Script;
use pipeline::{Topology, TopologyError};

use super::{Settings, build};
use crate::tests::script::{drive, parse, run};

/// Three payments from two countries are suspicious here.
fn topology() -> Topology {
    build(&Settings { count_min: 3, ..Settings::default() }).unwrap()
}

/// Reads lines of seconds, card, event, cents and country; or of seconds, card and `!`, then a
/// value as it is.
fn payments(text: &str) -> Script {
    let record = |line: &str| {
        let parts: Vec<&str> = line.split_whitespace().collect();
        match parts[..] {
            [seconds, card, "!", ..] => {
                let value = line.split_once("! ").unwrap().1;
                format!("payments {card} {seconds} {value}\n")
            }
            [seconds, card, event, cents, country] => format!(
                r#"payments {card} {seconds} {{"event_id":"{event}","amount_cents":{cents},"currency":"EUR","country":"{country}","ts":@}}
"#
            ),
            _ => panic!("not a payment: {line}"),
        }
    };
    parse(&text.lines().filter(|line| !line.trim().is_empty()).map(record).collect::<String>())
}

fn check(script: &str, expected: &Expect) {
    let outputs = ["fraud-g1-suspicious-cards-view", "fraud-alerts", "fraud-dlq"];
    expected.assert_eq(&run(&topology, &payments(script), &outputs));
}

#[test]
fn a_suspicious_window_is_shown_updated_and_alerted_once() {
    check(
        "
        0  card-1 p1 150 DE
        5  card-1 p2 250 DE
        9  card-1 p3 100 FR
        12 card-2 q1 9900 DE
        20 card-1 p4 200 NL
        61 card-1 p5 100 DE
        ",
        &expect![[r#"
            fraud-g1-suspicious-cards-view:
              card-1@2023-11-14T22:15:00Z {"card":"card-1","count":3,"countries":["DE","FR"],"country_count":2,"more_countries":false,"sum_cents":500,"window_end":1700000160000,"window_start":1700000100000}
              card-1@2023-11-14T22:15:00Z {"card":"card-1","count":4,"countries":["DE","FR","NL"],"country_count":3,"more_countries":false,"sum_cents":700,"window_end":1700000160000,"window_start":1700000100000}
            fraud-alerts:
              card-testing:card-1:1700000100000 {"id":"card-testing:card-1:1700000100000","rule":"card-testing","key":"card-1","kind":"firing","window":{"start":"2023-11-14T22:15:00.000Z","end":"2023-11-14T22:16:00.000Z"},"severity":"critical","text":"card-1: 3 payments in 2 countries within 60 seconds","timestamp":"2023-11-14T22:15:09.000Z","data":{"card":"card-1","count":3,"countries":["DE","FR"],"country_count":2,"more_countries":false,"sum_cents":500,"window_end":1700000160000,"window_start":1700000100000}}
            fraud-dlq:
        "#]],
    );
}

#[test]
fn neither_count_nor_countries_alone_are_suspicious() {
    check(
        "
        0  card-1 p1 150 DE
        5  card-1 p2 250 DE
        9  card-1 p3 100 DE
        12 card-2 q1 9900 DE
        20 card-2 q2 9900 FR
        ",
        &expect![[r#"
            fraud-g1-suspicious-cards-view:
            fraud-alerts:
            fraud-dlq:
        "#]],
    );
}

#[test]
fn repeats_and_small_amounts_do_not_count() {
    check(
        "
        0  card-1 p1 150 DE
        1  card-1 p2 99 FR
        2  card-1 p3 150 FR
        3  card-1 p1 150 DE
        4  card-1 p3 150 FR
        5  card-1 p4 -500 NL
        ",
        &expect![[r#"
            fraud-g1-suspicious-cards-view:
            fraud-alerts:
            fraud-dlq:
        "#]],
    );
}

#[test]
fn late_payments_count_within_grace_and_bad_ones_are_set_aside() {
    check(
        r#"
        0  card-1 p1 150 DE
        50 card-1 p2 150 DE
        69 card-1 p3 150 DE
        55 card-1 p4 150 FR
        70 card-9 z1 150 DE
        56 card-1 p5 150 NL
        71 card-1 ! {"event_id":17,"host":false,"ts":"yesterday"}
        72 card-1 ! {"event_id":"p6","amount_cents":150,"country":"ES","ts":-5}
        73 card-1 ! nothing
        74 -      p7 150 FR
        75 card-1 ! -
        "#,
        &expect![[r#"
            fraud-g1-suspicious-cards-view:
              card-1@2023-11-14T22:15:00Z {"card":"card-1","count":3,"countries":["DE","FR"],"country_count":2,"more_countries":false,"sum_cents":450,"window_end":1700000160000,"window_start":1700000100000}
            fraud-alerts:
              card-testing:card-1:1700000100000 {"id":"card-testing:card-1:1700000100000","rule":"card-testing","key":"card-1","kind":"firing","window":{"start":"2023-11-14T22:15:00.000Z","end":"2023-11-14T22:16:00.000Z"},"severity":"critical","text":"card-1: 3 payments in 2 countries within 60 seconds","timestamp":"2023-11-14T22:15:55.000Z","data":{"card":"card-1","count":3,"countries":["DE","FR"],"country_count":2,"more_countries":false,"sum_cents":450,"window_end":1700000160000,"window_start":1700000100000}}
            fraud-dlq:
              card-1 {"event_id":17,"host":false,"ts":"yesterday"}
              card-1 {"event_id":"p6","amount_cents":150,"country":"ES","ts":-5}
              card-1 nothing
              - {"event_id":"p7","amount_cents":150,"currency":"EUR","country":"FR","ts":1700000174000}
              card-1 -
        "#]],
    );
}

#[test]
fn what_does_not_count_is_counted_by_reason() {
    let script = payments(
        "
        0  card-1 p1 150 DE
        80 card-1 p2 150 DE
        0  card-1 p1 150 DE
        1  card-1 p3 150 DE
        ",
    );
    let driver = drive(topology(), &script);
    let counters = driver.counters();
    assert_eq!((counters.total("duplicate"), counters.total("late")), (1, 1));
}

#[test]
fn a_card_in_more_countries_than_are_told_apart_stays_suspicious() {
    let settings = Settings { count_min: 3, countries_max: 0, ..Settings::default() };
    let script = payments(
        "
        0 card-1 p1 150 DE
        1 card-1 p2 150 FR
        2 card-1 p3 150 NL
        ",
    );
    let driver = drive(build(&settings).unwrap(), &script);
    let last = driver.read_view("suspicious-cards").pop().unwrap().value.unwrap();
    assert_eq!(last["countries"], serde_json::json!(["DE", "FR"]), "never less than countries_min");
    assert_eq!((&last["country_count"], &last["more_countries"]), (&2.into(), &true.into()));
}

#[test]
fn settings_that_make_no_topology_are_refused() {
    let built = build(&Settings { window_ms: 0, ..Settings::default() });
    assert_eq!(
        built.err(),
        Some(TopologyError::Window { size_ms: 0, advance_ms: 0, grace_ms: 10_000 })
    );
    assert!(build(&Settings { window_ms: u64::MAX, ..Settings::default() }).is_err());
}

#[test]
fn settings_are_read_with_defaults_and_unknown_ones_refused() {
    let read = serde_json::from_str::<Settings>(r#"{"count_min":3}"#).unwrap();
    assert_eq!(read, Settings { count_min: 3, ..Settings::default() });
    assert!(serde_json::from_str::<Settings>(r#"{"count_minimum":3}"#).is_err());
}
