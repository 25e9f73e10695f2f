//! Scripts of orders.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use pipeline::driver::{RawRecord, Script, check_four_ways};
use pipeline::{Topology, TopologyError};

use super::{Order, OrderEvent, Reason, Settings, Status, build};
use crate::tests::script::{drive, parse, run};

const CUSTOMERS: &str = r#"
customers cust-1 0 {"customer_id":"cust-1","name":"Ada Novak","tier":"gold","country":"CZ"}
"#;

fn topology() -> Topology {
    build(&Settings::default()).unwrap()
}

/// Reads lines of seconds, order, event and what happened; or of seconds, order and `!`, then a
/// value as it is.
fn orders(text: &str) -> Script {
    let record = |line: &str| {
        let (seconds, rest) = line.trim().split_once(' ').unwrap();
        let (order, rest) = rest.trim().split_once(' ').unwrap();
        let (event, what) = rest.trim().split_once(' ').unwrap();
        match event {
            "!" => format!("orders {order} {seconds} {what}\n"),
            _ => format!("orders {order} {seconds} {}\n", event_json(event, what)),
        }
    };
    parse(&text.lines().filter(|line| !line.trim().is_empty()).map(record).collect::<String>())
}

fn event_json(event: &str, what: &str) -> String {
    let parts: Vec<&str> = what.split_whitespace().collect();
    let details = match parts[..] {
        ["placed", customer] => format!(r#""type":"placed","customer_id":"{customer}""#),
        ["item_added", sku, quantity, price] => format!(
            r#""type":"item_added","sku":"{sku}","quantity":{quantity},"unit_price_cents":{price}"#
        ),
        ["rescheduled", date] => format!(r#""type":"rescheduled","delivery_date":"{date}""#),
        ["shipped"] => r#""type":"shipped""#.to_owned(),
        ["cancelled"] => r#""type":"cancelled""#.to_owned(),
        ["cancelled", reason] => format!(r#""type":"cancelled","reason":"{reason}""#),
        _ => panic!("nothing that happens to orders: {what}"),
    };
    format!(r#"{{{details},"event_id":"{event}","ts":@}}"#)
}

fn check(script: &str, expected: &Expect) {
    let outputs = [
        "orders-g1-order-totals-view",
        "order-rejections",
        "orders-g1-order-rejections-view",
        "orders-alerts",
        "orders-dlq",
    ];
    let mut whole = parse(CUSTOMERS);
    whole.extend(orders(script));
    expected.assert_eq(&run(&topology, &whole, &outputs));
}

#[test]
fn an_order_is_summed_up_with_its_customer() {
    check(
        "
        0 ord-1 e1 placed cust-1
        1 ord-1 e2 item_added lamp-01 2 1250
        2 ord-1 e3 item_added rug-07 1 9900
        3 ord-1 e4 rescheduled 2023-11-20
        4 ord-1 e5 shipped
        ",
        &expect![[r#"
            orders-g1-order-totals-view:
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":0,"order_id":"ord-1","status":"placed","tier":"gold","total_cents":0,"updated":1700000100000}
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":2,"order_id":"ord-1","status":"placed","tier":"gold","total_cents":2500,"updated":1700000101000}
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":3,"order_id":"ord-1","status":"placed","tier":"gold","total_cents":12400,"updated":1700000102000}
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":"2023-11-20","items":3,"order_id":"ord-1","status":"placed","tier":"gold","total_cents":12400,"updated":1700000103000}
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":"2023-11-20","items":3,"order_id":"ord-1","status":"shipped","tier":"gold","total_cents":12400,"updated":1700000104000}
            order-rejections:
            orders-g1-order-rejections-view:
            orders-alerts:
            orders-dlq:
        "#]],
    );
}

#[test]
fn an_item_added_to_a_cancelled_order_is_rejected_and_never_counts() {
    check(
        "
        0 ord-1 e1 placed cust-1
        1 ord-1 e2 item_added lamp-01 2 1250
        9 ord-1 e3 cancelled mistake
        5 ord-1 e4 item_added rug-07 1 9900
        5 ord-1 e4 item_added rug-07 1 9900
        11 ord-1 e5 cancelled again
        ",
        &expect![[r#"
            orders-g1-order-totals-view:
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":0,"order_id":"ord-1","status":"placed","tier":"gold","total_cents":0,"updated":1700000100000}
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":2,"order_id":"ord-1","status":"placed","tier":"gold","total_cents":2500,"updated":1700000101000}
              ord-1 {"cancel_reason":"mistake","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":2,"order_id":"ord-1","status":"cancelled","tier":"gold","total_cents":2500,"updated":1700000109000}
              ord-1 {"cancel_reason":"mistake","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":2,"order_id":"ord-1","status":"cancelled","tier":"gold","total_cents":2500,"updated":1700000111000}
            order-rejections:
              ord-1 {"order_id":"ord-1","customer_id":"cust-1","reason":"order_cancelled","event":{"event_id":"e4","ts":1700000105000,"type":"item_added","sku":"rug-07","quantity":1,"unit_price_cents":9900}}
            orders-g1-order-rejections-view:
              ord-1/e4 {"customer_id":"cust-1","event":{"event_id":"e4","quantity":1,"sku":"rug-07","ts":1700000105000,"type":"item_added","unit_price_cents":9900},"event_id":"e4","order_id":"ord-1","reason":"order_cancelled","text":"ord-1: 1 × rug-07 not added, the order was cancelled before","ts":1700000105000}
            orders-alerts:
              order-rejection:ord-1/e4 {"id":"order-rejection:ord-1/e4","rule":"order-rejection","key":"ord-1/e4","kind":"firing","severity":"info","text":"ord-1: 1 × rug-07 not added, the order was cancelled before","timestamp":"2023-11-14T22:15:09.000Z","data":{"customer_id":"cust-1","event":{"event_id":"e4","quantity":1,"sku":"rug-07","ts":1700000105000,"type":"item_added","unit_price_cents":9900},"event_id":"e4","order_id":"ord-1","reason":"order_cancelled","text":"ord-1: 1 × rug-07 not added, the order was cancelled before","ts":1700000105000}}
            orders-dlq:
        "#]],
    );
}

#[test]
fn an_unknown_customer_does_not_lose_the_order() {
    check(
        "
        0 ord-1 e1 item_added lamp-01 2 1250
        1 ord-1 e2 placed cust-404
        ",
        &expect![[r#"
            orders-g1-order-totals-view:
              ord-1 {"cancel_reason":"","country":null,"customer":null,"customer_id":null,"delivery_date":null,"items":2,"order_id":"ord-1","status":"unknown","tier":null,"total_cents":2500,"updated":1700000100000}
              ord-1 {"cancel_reason":"","country":null,"customer":null,"customer_id":"cust-404","delivery_date":null,"items":2,"order_id":"ord-1","status":"placed","tier":null,"total_cents":2500,"updated":1700000101000}
            order-rejections:
            orders-g1-order-rejections-view:
            orders-alerts:
            orders-dlq:
        "#]],
    );
}

#[test]
fn events_that_nobody_can_read_are_set_aside() {
    check(
        r#"
        0 ord-1 e1 placed cust-1
        1 ord-1 ! {"event_id":17,"host":false,"ts":"yesterday"}
        2 ord-1 ! {"type":"eaten","event_id":"e2","ts":5}
        3 ord-1 ! {"type":"rescheduled","event_id":"e3","delivery_date":"tomorrow","ts":5}
        4 ord-1 ! {"type":"item_added","event_id":"e4","sku":"x","quantity":-1,"unit_price_cents":5,"ts":5}
        "#,
        &expect![[r#"
            orders-g1-order-totals-view:
              ord-1 {"cancel_reason":"","country":"CZ","customer":"Ada Novak","customer_id":"cust-1","delivery_date":null,"items":0,"order_id":"ord-1","status":"placed","tier":"gold","total_cents":0,"updated":1700000100000}
            order-rejections:
            orders-g1-order-rejections-view:
            orders-alerts:
            orders-dlq:
              ord-1 {"event_id":17,"host":false,"ts":"yesterday"}
              ord-1 {"type":"eaten","event_id":"e2","ts":5}
              ord-1 {"type":"rescheduled","event_id":"e3","delivery_date":"tomorrow","ts":5}
              ord-1 {"type":"item_added","event_id":"e4","sku":"x","quantity":-1,"unit_price_cents":5,"ts":5}
        "#]],
    );
}

fn after(events: &[&str]) -> (Order, Vec<Reason>) {
    let mut reasons = Vec::new();
    let order = events.iter().fold(Order::default(), |order, what| {
        let json = event_json("e", what).replace('@', "7");
        let event: OrderEvent = serde_json::from_str(&json).unwrap();
        let before = order.clone();
        let outcome = order.take("ord-1", &event);
        if let Some(rejection) = outcome.rejection {
            assert_eq!(outcome.order, before, "{what} was rejected, so it changes nothing");
            reasons.push(rejection.reason);
        }
        outcome.order
    });
    (order, reasons)
}

#[test]
fn each_state_takes_what_the_table_says() {
    use Reason::{OrderCancelled, OrderShipped, OtherCustomer};
    let cases: [(&[&str], Status, &[Reason]); 12] = [
        (&["item_added a 1 5"], Status::Unknown, &[]),
        (&["placed c", "item_added a 1 5"], Status::Placed, &[]),
        (&["shipped", "item_added a 1 5"], Status::Shipped, &[OrderShipped]),
        (&["shipped", "rescheduled 2023-11-20"], Status::Shipped, &[OrderShipped]),
        (&["shipped", "cancelled"], Status::Shipped, &[OrderShipped]),
        (&["shipped", "shipped"], Status::Shipped, &[]),
        (&["cancelled", "item_added a 1 5"], Status::Cancelled, &[OrderCancelled]),
        (&["cancelled", "rescheduled 2023-11-20"], Status::Cancelled, &[OrderCancelled]),
        (&["cancelled", "shipped"], Status::Cancelled, &[OrderCancelled]),
        (&["cancelled a", "cancelled b"], Status::Cancelled, &[]),
        (&["cancelled", "placed c"], Status::Cancelled, &[]),
        (&["placed c", "placed c", "placed d"], Status::Placed, &[OtherCustomer]),
    ];
    for (events, status, rejected) in cases {
        let (order, reasons) = after(events);
        assert_eq!((order.status, reasons.as_slice()), (status, rejected), "{events:?}");
    }
    let (order, _) = after(&["cancelled a", "cancelled b", "placed c"]);
    assert_eq!((order.cancel_reason.as_str(), order.customer_id.as_deref()), ("a", Some("c")));
}

#[test]
fn a_total_beyond_all_numbers_stays_at_the_largest() {
    let item = "item_added a 4294967295 4294967295";
    let (order, _) = after(&[item, item]);
    assert_eq!((order.items, order.total_cents), (2 * u64::from(u32::MAX), u64::MAX));
}

#[test]
fn a_customer_who_changes_shows_with_the_next_event() {
    let mut script = parse(CUSTOMERS);
    script.extend(orders("0 ord-1 e1 placed cust-1"));
    let mut driver = drive(topology(), &script);
    driver.pipe_bytes("customers", Some(b"cust-1"), None, 5);
    for (topic, key, value, at) in orders("1 ord-1 e2 item_added lamp-01 2 1250") {
        driver.pipe_bytes(
            &topic,
            key.as_deref().map(str::as_bytes),
            Some(value.unwrap().as_bytes()),
            at,
        );
    }
    let documents = driver.read_view("order-totals");
    let names: Vec<_> =
        documents.iter().map(|d| d.value.as_ref().unwrap()["customer"].clone()).collect();
    assert_eq!(names, [serde_json::json!("Ada Novak"), serde_json::Value::Null]);
}

#[test]
fn one_topic_for_two_things_is_refused() {
    let orders = || "orders".to_owned();
    let built = build(&Settings { customers_topic: orders(), ..Settings::default() });
    assert_eq!(built.err(), Some(TopologyError::SourceTwice { topic: orders() }));
    let built = build(&Settings { rejections_topic: orders(), ..Settings::default() });
    assert!(matches!(built.err(), Some(TopologyError::Cycle { topic, .. }) if topic == orders()));
}

#[test]
fn an_event_with_a_rejection_does_not_hide_the_one_before() {
    let outputs = ["orders-g1-order-rejections-view", "orders-alerts"];
    let script = orders(
        "
        0 ord-1 e1 cancelled
        1 ord-1 e2 item_added rug-07 1 9900
        2 ord-1 e3 shipped
        3 ord-1 e4 item_added lamp-01 1 1250
        ",
    );
    let keys = |topic: &str| {
        let written = run(&topology, &script, &[topic]);
        let keys = written.lines().skip(1).map(|line| line.trim().split(' ').next().unwrap());
        keys.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(keys(outputs[0]), ["ord-1/e2", "ord-1/e3", "ord-1/e4"]);
    assert_eq!(keys(outputs[1]), ["order-rejection:ord-1/e2", "order-rejection:ord-1/e4"]);
}

#[test]
fn the_leaderboard_follows_orders_up_and_down() {
    let whole = orders(
        "
        0 ord-1 e1 placed cust-1
        1 ord-1 e2 item_added lamp-01 2 1000
        2 ord-2 e3 placed cust-2
        3 ord-2 e4 item_added rug-07 1 2000
        4 ord-3 e5 item_added rug-07 1 500
        5 ord-3 e6 placed cust-2
        90000 ord-4 e7 placed cust-3
        90001 ord-4 e8 item_added lamp-01 1 100
        90002 ord-2 e9 cancelled
        90003 ord-1 e10 shipped
        90004 ord-4 e11 cancelled
        ",
    );
    let expected = expect![[r#"
        orders-g1-customer-leaderboard-view:
          2023-11-14 {"customers":["cust-1"],"day":"2023-11-14","leader":"cust-1","leader_cents":2000,"places":[{"cents":2000,"customer_id":"cust-1"}]}
          2023-11-14 {"customers":["cust-1","cust-2"],"day":"2023-11-14","leader":"cust-1","leader_cents":2000,"places":[{"cents":2000,"customer_id":"cust-1"},{"cents":2000,"customer_id":"cust-2"}]}
          2023-11-14 {"customers":["cust-2","cust-1"],"day":"2023-11-14","leader":"cust-2","leader_cents":2500,"places":[{"cents":2500,"customer_id":"cust-2"},{"cents":2000,"customer_id":"cust-1"}]}
          2023-11-15 {"customers":["cust-3"],"day":"2023-11-15","leader":"cust-3","leader_cents":100,"places":[{"cents":100,"customer_id":"cust-3"}]}
          2023-11-14 {"customers":["cust-1","cust-2"],"day":"2023-11-14","leader":"cust-1","leader_cents":2000,"places":[{"cents":2000,"customer_id":"cust-1"},{"cents":500,"customer_id":"cust-2"}]}
          2023-11-15 -
    "#]];
    expected.assert_eq(&run(&topology, &whole, &["orders-g1-customer-leaderboard-view"]));
}

/// Orders and rejections leave after a minute, leaders after two days.
fn archiving() -> Topology {
    let kept = Settings {
        archive_after_ms: 60_000,
        rejections_kept_ms: 60_000,
        leaders_kept_ms: 172_800_000,
        ..Settings::default()
    };
    build(&kept).unwrap()
}

/// Each record's key, and what there is of the fields that tell documents apart.
fn brief(records: &[RawRecord]) -> Vec<String> {
    let fields = ["status", "total_cents", "reason", "leader_cents"];
    let what = |value: &Vec<u8>| {
        let value: serde_json::Value = serde_json::from_slice(value).unwrap();
        let known = fields.iter().map(|field| &value[field]).filter(|v| !v.is_null());
        known.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let line = |record: &RawRecord| {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap()).into_owned();
        format!("{key} {}", record.value.as_ref().map_or_else(|| "-".to_owned(), what))
    };
    records.iter().map(line).collect()
}

#[test]
fn what_is_finished_leaves_state_views_and_changelogs_and_stays_on_the_leaderboard() {
    let mut script = parse(CUSTOMERS);
    script.extend(orders(
        "
        0 ord-1 e1 placed cust-1
        1 ord-1 e2 item_added lamp-01 2 1250
        2 ord-1 e3 cancelled mistake
        3 ord-1 e4 item_added rug-07 1 9900
        40 ord-2 e5 placed cust-1
        41 ord-2 e6 item_added rug-07 1 2000
        75 ord-3 e7 placed cust-1
        4 ord-1 e8 shipped
        76 ord-1 e9 item_added lamp-01 1 1250
        120 ord-3 e10 shipped
        130 ord-3 e11 item_added lamp-01 1 1250
        ",
    ));
    let outputs = [
        "orders-g1-order-totals-view",
        "orders-g1-order-rejections-view",
        "orders-g1-customer-leaderboard-view",
    ];
    let written = check_four_ways(&archiving, &script, &outputs);
    expect![[r#"
        [
            "ord-1 \"placed\" 0",
            "ord-1 \"placed\" 2500",
            "ord-1 \"cancelled\" 2500",
            "ord-2 \"placed\" 0",
            "ord-2 \"placed\" 2000",
            "ord-3 \"placed\" 0",
            "ord-1 -",
            "ord-1 \"unknown\" 1250",
            "ord-3 \"shipped\" 0",
            "ord-2 -",
        ]
    "#]]
    .assert_debug_eq(&brief(&written[outputs[0]]));
    expect![[r#"
        [
            "ord-1/e4 \"order_cancelled\"",
            "ord-3/e11 \"order_shipped\"",
            "ord-1/e4 -",
        ]
    "#]]
    .assert_debug_eq(&brief(&written[outputs[1]]));
    expect![[r#"
        [
            "2023-11-14 2500",
            "2023-11-14 -",
            "2023-11-14 2000",
        ]
    "#]]
    .assert_debug_eq(&brief(&written[outputs[2]]));
    let mut left = BTreeMap::new();
    for record in drive(archiving(), &script).read_raw("orders-g1-orders-changelog") {
        left.insert(record.key, record.value);
    }
    let left = left.iter().filter(|(key, value)| {
        let is_row = key.as_ref().is_some_and(|key| key.starts_with(&[1]));
        is_row && value.is_some()
    });
    assert_eq!(left.count(), 2, "ord-3, and ord-1 that began anew");
}

#[test]
fn without_places_there_is_no_leaderboard() {
    let topology = build(&Settings { leaders_max: 0, ..Settings::default() }).unwrap();
    assert_eq!(topology.view_names(), ["order-totals", "order-rejections"]);
}
