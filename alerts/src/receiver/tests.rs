//! The receiver, asked over a real socket.

use pipeline::clock::ManualClock;

use super::*;
use crate::signature::sign;

const NOW_S: i64 = 1_700_000_000;

fn secret() -> Secret {
    Secret::from_bytes(&[7; 32]).unwrap()
}

fn receiver(alerts_max: usize) -> Receiver {
    let config = ReceiverConfig { alerts_max, ..ReceiverConfig::new(vec![secret()]) };
    Receiver::new(config, Arc::new(ManualClock::at(NOW_S * 1000)))
}

fn headers(id: &str, timestamp_s: i64, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse().unwrap());
    headers.insert("webhook-timestamp", timestamp_s.into());
    headers.insert("webhook-signature", signature.parse().unwrap());
    headers
}

fn send(receiver: &Receiver, id: &str, timestamp_s: i64, body: &str) -> Result<(), Refusal> {
    let message = Message { id, timestamp_s, body: body.as_bytes() };
    let signature = sign(&[secret()], message);
    receiver.accept(&headers(id, timestamp_s, &signature), body.as_bytes())
}

#[test]
fn repeats_are_counted_and_the_newest_comes_first() {
    let receiver = receiver(10);
    for id in ["a", "b", "a"] {
        send(&receiver, id, NOW_S, "{}").unwrap();
    }
    let summary = receiver.summary();
    assert_eq!((summary.accepted, summary.repeats, summary.refused), (3, 1, 0));
    let counts: Vec<_> = summary.alerts.iter().map(|a| (a.webhook_id.as_str(), a.count)).collect();
    assert_eq!(counts, [("a", 2), ("b", 1)]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let receiver = receiver(3);
    for id in 0..10 {
        send(&receiver, &id.to_string(), NOW_S, "{}").unwrap();
    }
    let ids: Vec<_> = receiver.summary().alerts.into_iter().map(|a| a.webhook_id).collect();
    assert_eq!(ids, ["9", "8", "7"]);
}

#[test]
fn calls_that_do_not_check_are_refused_with_the_reason() {
    let receiver = receiver(3);
    let refused = |result: Result<(), Refusal>, why: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
    };
    refused(send(&receiver, "a", NOW_S - 301, "{}"), "301 s off");
    refused(send(&receiver, "a", NOW_S + 301, "{}"), "301 s off");
    refused(send(&receiver, "a", NOW_S, "{"), "not JSON");
    refused(receiver.accept(&headers("a", NOW_S, "v1,AAAA"), b"{}"), "no signature");
    refused(receiver.accept(&HeaderMap::new(), b"{}"), "`webhook-id`");
    let summary = receiver.summary();
    assert_eq!((summary.accepted, summary.refused), (0, 5));
}

#[test]
fn nothing_from_the_network_becomes_markup() {
    let receiver = receiver(10);
    let evil = r#"<script>alert('x')</script>"#;
    let body = serde_json::json!({
        "type": evil,
        "data": { "text": evil, "severity": evil, "key": evil, evil: "\u{202e}" },
    });
    send(&receiver, "\"><script>", NOW_S, &body.to_string()).unwrap();
    send(&receiver, "<img src=x>", NOW_S, r#"{"data":{}}"#).unwrap();
    let page = page::render(&receiver.summary());
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'));
    assert_eq!(page.matches("&lt;script&gt;").count(), 8, "{page}");
}
