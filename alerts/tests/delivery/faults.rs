//! What a receiver can do wrong, and what comes of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use alerts::{EndpointState, EndpointStats, Secret};
use axum::body::Body;
use axum::response::Response;
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn alerts_arrive_signed_with_the_body_of_standard_webhooks() {
    let hooks = Hooks::start(|_, _| Reply::Status(204)).await;
    let log = log();
    write_alerts(&*log, 0..50);
    let mut endpoint = endpoint("ops", hooks.url());
    endpoint.secrets.insert(0, Secret::from_bytes(&[9; 24]).unwrap());
    let notifier = start(&log, vec![endpoint]);
    hooks.wait_for(&ids(0..50)).await;
    write_alerts(&*log, 50..100);
    hooks.wait_for(&ids(0..100)).await;
    let call = &hooks.calls()[0];
    assert_eq!(call.body["type"], "alert.firing");
    assert_eq!(call.body["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(call.body["data"]["id"], call.id.as_str());
    assert_eq!(call.headers["content-type"], "application/json");
    assert!(call.headers["user-agent"].to_str().unwrap().starts_with("Millpond/"));
    let signatures = call.headers["webhook-signature"].to_str().unwrap();
    assert_eq!(signatures.split(' ').count(), 2, "one for each secret");
    eventually("all is counted", || stats(&notifier).delivered == 100).await;
    stop(notifier).await;
    assert_eq!(uncommitted(&*log, "ops"), 0);
    assert_eq!(hooks.calls().len(), 100, "nothing came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_and_control_records_are_not_sent() {
    let hooks = Hooks::start(|_, _| Reply::Status(200)).await;
    let log = log();
    write(&*log, "task", Some(b"\x01\x02"), &[("mp.c", b"")]);
    write(&*log, "x", Some(json!({"id": "x", "rule": "brute-force"}).to_string().as_bytes()), &[]);
    write_alerts(&*log, 0..1);
    let mut endpoint = endpoint("ops", hooks.url());
    endpoint.rules = vec!["card-testing".into()];
    let notifier = start(&log, vec![endpoint]);
    hooks.wait_for(&ids(0..1)).await;
    eventually("progress without calls is committed", || uncommitted(&*log, "ops") == 0).await;
    let stats = stats(&notifier);
    assert_eq!((stats.delivered, stats.filtered, stats.undelivered), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_retried_with_the_same_id_and_a_fresh_timestamp() {
    let hooks = Hooks::start(|_, number| match number {
        1 => Reply::Status(500),
        2 => Reply::Never,
        _ => Reply::Status(200),
    })
    .await;
    let log = log();
    write_alerts(&*log, 0..3);
    let mut endpoint = endpoint("ops", hooks.url());
    endpoint.timeout_ms = 1100;
    let notifier = start(&log, vec![endpoint]);
    hooks.wait_for(&ids(0..3)).await;
    let of_one: Vec<_> = hooks.calls().into_iter().filter(|call| call.id == id(0)).collect();
    assert_eq!(of_one.len(), 3);
    let timestamp = |index: usize| of_one[index].headers["webhook-timestamp"].clone();
    assert!(timestamp(2) > timestamp(0), "of the attempt, not of the alert");
    assert_eq!(of_one[2].body, of_one[0].body);
    let is_settled = |stats: EndpointStats| (stats.delivered, stats.in_flight) == (3, 0);
    eventually("committed", || is_settled(stats(&notifier))).await;
    let stats = stats(&notifier);
    assert_eq!((stats.attempts, stats.failed), (9, 6));
    assert!(stats.recent.iter().any(|attempt| attempt.status == Some(500)));
    let timed_out = |error: &String| error.contains("no answer within 1100 ms");
    assert!(stats.recent.iter().any(|attempt| attempt.error.as_ref().is_some_and(timed_out)));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_waited_for() {
    let hooks = Hooks::start(|_, number| match number {
        1 => Reply::With(
            Response::builder().status(429).header("retry-after", "1").body(Body::empty()).unwrap(),
        ),
        _ => Reply::Status(200),
    })
    .await;
    let log = log();
    write_alerts(&*log, 0..1);
    let _notifier = start(&log, vec![endpoint("ops", hooks.url())]);
    hooks.wait_for(&ids(0..1)).await;
    let calls = hooks.calls();
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_never_followed() {
    let elsewhere = Hooks::start(|_, _| Reply::Status(200)).await;
    let location = elsewhere.url();
    let hooks = Hooks::start(move |_, number| {
        let status = [301, 302, 303, 307, 308][number - 1];
        let response = Response::builder().status(status).header("location", &location);
        Reply::With(response.body(Body::empty()).unwrap())
    })
    .await;
    let log = log();
    write_alerts(&*log, 0..1);
    let notifier = start(&log, vec![endpoint("ops", hooks.url())]);
    eventually("given up", || stats(&notifier).undelivered == 1).await;
    assert_eq!((hooks.calls().len(), elsewhere.calls().len()), (5, 0));
    assert_eq!(undelivered(&*log)[&format!("ops/{}", id(0))]["status"], 308);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_is_kept_with_the_reason() {
    let hooks = Hooks::start(|_, _| {
        Reply::With(Response::builder().status(503).body(Body::from("x".repeat(5 << 20))).unwrap())
    })
    .await;
    let log = log();
    write_alerts(&*log, 0..2);
    write(&*log, "bad", Some(b"no json"), &[]);
    write(&*log, "gone", None, &[]);
    let large = json!({ "id": "large", "text": "y".repeat(3000) }).to_string();
    write(&*log, "large", Some(large.as_bytes()), &[]);
    let mut endpoint = endpoint("ops", hooks.url());
    endpoint.payload_bytes_max = 2048;
    let notifier = start(&log, vec![endpoint]);
    eventually("all are kept", || stats(&notifier).undelivered == 5).await;
    let kept = undelivered(&*log);
    let of = |key: &str| kept.iter().find(|(found, _)| found.contains(key)).unwrap().1.clone();
    let exhausted = of(&id(0));
    assert_eq!(
        (exhausted["attempts"].as_u64(), exhausted["status"].as_u64()),
        (Some(5), Some(503))
    );
    assert_eq!(exhausted["answer"].as_str().unwrap().len(), 1024);
    assert_eq!(exhausted["alert"]["id"], id(0));
    assert_eq!((&exhausted["endpoint"], &exhausted["topic"]), (&json!("ops"), &json!(TOPIC)));
    let reasons: Vec<_> = kept.values().map(|value| value["reason"].as_str().unwrap()).collect();
    for reason in ["not the JSON of an alert", "no value", "payload_bytes_max is 2048"] {
        assert!(reasons.iter().any(|found| found.contains(reason)), "{reason}: {reasons:?}");
    }
    assert!(kept.values().any(|value| value["value_base64"] == "bm8ganNvbg=="));
    eventually("committed with them", || uncommitted(&*log, "ops") == 0).await;
    assert_eq!(hooks.calls().len(), 10, "only real alerts were called for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_disables_the_endpoint_and_keeps_its_position() {
    let hooks = Hooks::start(|id_, _| Reply::Status(if id_ == id(0) { 410 } else { 200 })).await;
    let log = log();
    write_alerts(&*log, 0..1);
    let notifier = start(&log, vec![endpoint("ops", hooks.url())]);
    eventually("disabled", || stats(&notifier).state == EndpointState::Disabled).await;
    write_alerts(&*log, 1..5);
    stop(notifier).await;
    assert_eq!(hooks.calls().len(), 1);
    assert_eq!(uncommitted(&*log, "ops"), 5);
    let back = Hooks::start(|_, _| Reply::Status(200)).await;
    let _notifier = start(&log, vec![endpoint("ops", back.url())]);
    back.wait_for(&ids(0..5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_is_held_back_and_delays_no_other() {
    let dead = Hooks::start(|_, _| Reply::Status(500)).await;
    let healthy = Hooks::start(|_, _| Reply::Status(200)).await;
    let log = log();
    write_alerts(&*log, 0..500);
    let mut unlucky = endpoint("dead", dead.url());
    unlucky.concurrency_max = 4;
    unlucky.attempts_max = 1000;
    let notifier = start(&log, vec![unlucky, endpoint("healthy", healthy.url())]);
    healthy.wait_for(&ids(0..500)).await;
    eventually("it goes on trying", || dead.calls().len() > 20).await;
    let tried: std::collections::BTreeSet<_> = dead.calls().into_iter().map(|c| c.id).collect();
    assert_eq!(tried.len(), 4, "no more than concurrency_max are begun");
    eventually("the lag shows", || stats(&notifier).lag == 500).await;
    stop(notifier).await;
}

/// Answers connection after connection in the ways that no HTTP library does.
fn raw_server(ways: Vec<fn(TcpStream)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for way in ways {
            let (stream, _) = listener.accept().unwrap();
            std::thread::spawn(move || way(stream));
        }
    });
    address
}

fn read_some(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 4096]).unwrap();
}

/// Closes while unread bytes wait, which the system tells the sender as a reset.
fn reset(stream: TcpStream) {
    let _ = stream.peek(&mut [0; 1]).unwrap();
    drop(stream);
}

fn close_before_the_answer(mut stream: TcpStream) {
    read_some(&mut stream);
}

fn garbage(mut stream: TcpStream) {
    read_some(&mut stream);
    let _ = stream.write_all(b"\x15\x03\x01 no http \r\n\r\n");
}

fn reset_within_the_head(mut stream: TcpStream) {
    read_some(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 O");
}

/// One byte of a header now and then, for as long as somebody listens.
fn slow_loris(mut stream: TcpStream) {
    read_some(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ");
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    // Reading times out, which paces the drip, until the client has hung up.
    while stream.write_all(b"x").is_ok() && !matches!(stream.read(&mut [0; 1]), Ok(0)) {}
}

/// Success, and a body without an end.
fn endless_body(mut stream: TcpStream) {
    read_some(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n");
    while stream.write_all(&[b'x'; 65_536]).is_ok() {}
}

/// Success, and a body that never begins.
fn silent_body(mut stream: TcpStream) {
    read_some(&mut stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
    while !matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_retried_and_a_2xx_counts_whatever_its_body_does() {
    let address = raw_server(vec![
        reset,
        close_before_the_answer,
        garbage,
        reset_within_the_head,
        slow_loris,
        endless_body,
        silent_body,
    ]);
    let log = log();
    write_alerts(&*log, 0..2);
    let mut endpoint = endpoint("ops", format!("http://{address}/"));
    endpoint.concurrency_max = 1;
    endpoint.timeout_ms = 300;
    endpoint.attempts_max = 10;
    let notifier = start(&log, vec![endpoint]);
    eventually("both arrive", || stats(&notifier).delivered == 2).await;
    let stats = stats(&notifier);
    assert_eq!((stats.attempts, stats.failed), (7, 5), "{:#?}", stats.recent);
    let of_slow = stats.recent[4].error.as_deref();
    assert_eq!(of_slow, Some("no answer within 300 ms"));
    assert_eq!(stats.recent[5].answer.len(), 1024);
    stop(notifier).await;
    assert_eq!(uncommitted(&*log, "ops"), 0);
}
