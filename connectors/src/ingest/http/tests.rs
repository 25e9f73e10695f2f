//! Ingest over a real socket.

use pipeline::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::counters::Counters;
use crate::ingest::{IngestSettings, TopicSettings};
use crate::shared_tests::{Fault, TestLog};

/// A server on a real socket.
struct Server {
    log: Arc<TestLog>,
    counters: Counters,
    address: std::net::SocketAddr,
}

/// An answer, taken apart.
struct Answered {
    status: u16,
    head: String,
    body: Value,
}

impl Server {
    async fn start(change: impl FnOnce(&mut IngestSettings)) -> Self {
        let log = TestLog::with_topic("t", 1);
        let topic = TopicSettings { key_field: Some("id".parse().unwrap()), ..Default::default() };
        let mut settings =
            IngestSettings { topics: [("t".to_owned(), topic)].into(), ..Default::default() };
        change(&mut settings);
        let counters = Counters::new();
        let clock: Arc<dyn Clock> = Arc::clone(&log.clock) as _;
        let ingest =
            Ingest::open(Arc::clone(&log) as _, clock, "test", settings, &counters).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(Arc::new(ingest));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { log, counters, address }
    }

    /// Posts to `/v1/topics/<target>` with header lines.
    async fn post(&self, target: &str, headers: &[&str], body: &str) -> Answered {
        let length = format!("Content-Length: {}", body.len());
        let headers = [headers, &[&length]].concat().join("\r\n");
        self.send(&format!("POST /v1/topics/{target} HTTP/1.1\r\n{headers}"), body).await
    }

    async fn send(&self, head: &str, body: &str) -> Answered {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answered {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    fn counted(&self, count: Count) -> u64 {
        self.counters.source("http").get(count)
    }
}

const JSON: &str = "Content-Type: application/json";
const NDJSON: &str = "Content-Type: application/x-ndjson; charset=utf-8";
const PLAIN: &str = "Content-Type: text/plain";

#[tokio::test]
async fn a_record_is_appended_and_the_answer_has_its_token() {
    let server = Server::start(|_| {}).await;
    let answered = server.post("t", &[JSON, "Idempotency-Key: \"e-1\""], "{\"id\":\"a\"}").await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let token = answered.body["token"].as_str().unwrap();
    assert!(token.starts_with("v1.t:0:1:"), "{token}");
    assert!(answered.head.contains(&format!("millpond-token: {token}")));
    assert_eq!(answered.body["records"], 1);
    let stored = server.log.stored("t");
    assert_eq!(stored[0].key.as_deref(), Some("a"));
    assert_eq!(stored[0].headers["mp.id"], "e-1");
}

#[tokio::test]
async fn headers_and_query_say_key_and_time() {
    let server = Server::start(|_| {}).await;
    let headers = [NDJSON, "Millpond-Key: k", "Millpond-Timestamp: 1970-01-01T00:00:01Z"];
    let answered = server.post("t", &headers, "{}\n{}").await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let target = "t?key_field=meta.card&timestamp_field=meta.ts";
    let body = "{\"meta\":{\"card\":7,\"ts\":2000}}";
    assert_eq!(server.post(target, &[NDJSON], body).await.status, 200);
    let stored = server.log.stored("t");
    let shown: Vec<_> = stored.iter().map(|it| (it.key.as_deref(), it.timestamp)).collect();
    assert_eq!(shown, [(Some("k"), 1000), (Some("k"), 1000), (Some("7"), 2000)]);
}

#[tokio::test]
async fn bad_lines_are_told_by_number_and_nothing_is_appended() {
    let server = Server::start(|_| {}).await;
    let answered = server.post("t", &[NDJSON], "{\"id\":1}\n[1]\n{\"id\":2}\n{}\n").await;
    assert_eq!(answered.status, 400);
    assert!(answered.head.contains("application/problem+json"), "{}", answered.head);
    assert_eq!(answered.body["status"], 400);
    assert_eq!(answered.body["bad_lines_total"], 2);
    assert_eq!(answered.body["bad_lines"][0]["line"], 2);
    assert_eq!(
        answered.body["bad_lines"][1],
        json!({"line": 4, "reason": "field `id` is missing"})
    );
    assert_eq!(answered.body["retryable"], false);
    assert!(server.log.values("t").is_empty());
}

#[tokio::test]
async fn syslog_is_read_with_its_settings() {
    let server = Server::start(|_| {}).await;
    let body = "Jul  1 12:00:00 h sshd[1]: x\nwhat?\n";
    let target = "t?format=syslog&year=2005&zone=Europe/Berlin";
    assert_eq!(server.post(target, &[PLAIN], body).await.status, 400);
    let answered = server.post(&format!("{target}&on_bad_line=dlq"), &[PLAIN], body).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    assert_eq!(answered.body["dead_letters"], 1);
    assert_eq!(answered.body["year"], "2005-07");
    assert_eq!(server.log.stored("t")[0].timestamp, 1_120_212_000_000);
    assert_eq!(server.log.values("t-dlq"), ["what?"]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_reason() {
    let server = Server::start(|settings| {
        (settings.body_bytes_max, settings.lines_max) = (100, 3);
    })
    .await;
    let long = "x".repeat(101);
    for (target, headers, body, status, words) in [
        ("other", &[JSON][..], "{}", 404, "made by the configuration"),
        ("t", &["Content-Type: text/html"], "{}", 415, "application/x-ndjson"),
        ("t", &["X-None: 1"], "{}", 415, "application/json"),
        ("t", &[JSON, "Content-Encoding: gzip"], "{}", 415, "gzip"),
        ("t", &[PLAIN], &long, 413, "body_bytes_max"),
        ("t", &[PLAIN], "1\n2\n3\n4\n", 413, "lines_max"),
        ("t?nonsense=1", &[JSON], "{}", 400, "nonsense"),
        ("t?key_field=a..b", &[JSON], "{}", 400, "key_field"),
        ("t?key_field=a", &[PLAIN], "x", 400, "only JSON"),
        ("t?format=lines", &[JSON], "{}", 400, "text/plain"),
        ("t?year=2005", &[PLAIN], "x", 400, "format=syslog"),
        ("t?format=syslog&year=5", &[PLAIN], "x", 400, "2005-12"),
        ("t?format=syslog&zone=Mars", &[PLAIN], "x", 400, "zone"),
        ("t?on_bad_line=drop", &[PLAIN], "x", 400, "refuse or dlq"),
        ("t", &[JSON, "Millpond-Timestamp: soon"], "{}", 400, "RFC 3339"),
        ("t", &[JSON, "Millpond-Key:"], "{}", 400, "empty"),
        ("t", &[JSON], "", 400, "nothing was appended"),
    ] {
        let answered = server.post(target, headers, body).await;
        let detail = answered.body["detail"].as_str().unwrap_or_default();
        assert_eq!(answered.status, status, "{target} {headers:?}: {detail}");
        assert!(detail.contains(words), "{target} {headers:?}: {detail}");
        assert!(answered.head.contains("application/problem+json"), "{}", answered.head);
    }
    assert!(server.log.values("t").is_empty());
    assert_eq!(server.send("GET /v1/topics/t HTTP/1.1", "").await.status, 405);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let server = Server::start(|settings| settings.body_bytes_max = 100).await;
    let head = format!("POST /v1/topics/t HTTP/1.1\r\n{PLAIN}\r\nTransfer-Encoding: chunked");
    let body = format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101));
    assert_eq!(server.send(&head, &body).await.status, 413);
    assert_eq!(server.counted(Count::Body), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let server = Server::start(|settings| settings.body_read_ms_max = 30).await;
    let head = format!("POST /v1/topics/t HTTP/1.1\r\n{PLAIN}\r\nContent-Length: 10");
    assert_eq!(server.send(&head, "half").await.status, 408);
    assert!(server.log.values("t").is_empty());
}

#[tokio::test]
async fn too_many_records_a_second_must_wait() {
    let server = Server::start(|settings| settings.records_per_second_max = 2).await;
    assert_eq!(server.post("t", &[PLAIN], "1\n2\n3\n4\n5").await.status, 200);
    let answered = server.post("t", &[PLAIN], "6").await;
    assert_eq!(answered.status, 429);
    assert!(answered.head.contains("retry-after: 2"), "{}", answered.head);
    assert_eq!(answered.body["retryable"], true);
    server.log.clock.advance(2000);
    assert_eq!(server.post("t", &[PLAIN], "6").await.status, 200);
    assert_eq!(server.counted(Count::RateLimited), 1);
}

#[tokio::test]
async fn too_many_requests_at_once_must_wait() {
    let server = Arc::new(Server::start(|settings| settings.requests_max = 1).await);
    server.log.spoil([Fault::Hang]);
    let first = Arc::clone(&server);
    let hanging = tokio::spawn(async move { first.post("t", &[PLAIN], "1").await });
    while !server.log.is_hanging() {
        tokio::task::yield_now().await;
    }
    let refused = server.post("t", &[PLAIN], "2").await;
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    assert_eq!(server.counted(Count::Busy), 1);
    server.log.release();
    assert_eq!(hanging.await.unwrap().status, 503);
}

#[tokio::test]
async fn an_outcome_that_is_unknown_says_so() {
    let server = Server::start(|_| {}).await;
    server.log.spoil([Fault::UnknownMade, Fault::Abort, Fault::Fence]);
    for words in ["Idempotency-Key", "aborted", "taken over"] {
        let answered = server.post("t", &[PLAIN], "x").await;
        assert_eq!(answered.status, 503);
        assert_eq!(answered.body["retryable"], true);
        let detail = answered.body["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(server.post("t", &[PLAIN], "y").await.status, 200);
    assert_eq!(server.log.values("t"), ["x", "y"]);
}

#[tokio::test]
async fn cloud_events_are_taken_in_both_modes() {
    let server = Server::start(|_| {}).await;
    let binary = [
        "Content-Type: application/json",
        "ce-specversion: 1.0",
        "ce-id: 7",
        "ce-source: /till",
        "ce-type: sold",
        "ce-time: 1970-01-01T00:00:05Z",
        "ce-subject: a%20b",
    ];
    let answered = server.post("t", &binary, r#"{ "id":"k"}"#).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let event = r#"{"specversion":"1.0","id":"8","source":"/till","type":"sold",
        "partitionkey":"p","data":{"id":"own"},"time":"1970-01-01T00:00:06Z"}"#;
    let structured = "Content-Type: application/cloudevents+json; charset=UTF-8";
    let answered = server.post("t", &[structured], event).await;
    assert_eq!(answered.status, 200, "{}", answered.body);

    let stored = server.log.stored("t");
    let shown: Vec<_> = stored
        .iter()
        .map(|it| (it.key.as_deref().unwrap(), it.value.as_str(), it.timestamp))
        .collect();
    assert_eq!(shown, [("k", r#"{ "id":"k"}"#, 5000), ("own", r#"{"id":"own"}"#, 6000)]);
    let of = |place: usize, name: &str| stored[place].headers[name].clone();
    assert_eq!((of(0, "mp.id"), of(1, "mp.id")), ("/till 7".to_owned(), "/till 8".to_owned()));
    assert_eq!((of(0, "ce_subject"), of(0, "ce_type")), ("a b".to_owned(), "sold".to_owned()));
    assert_eq!((of(0, "content-type"), of(1, "ce_id")), ("application/json".into(), "8".into()));
}

#[tokio::test]
async fn cloud_events_without_json_take_their_key_from_the_event() {
    let server = Server::start(|_| {}).await;
    let least = ["ce-specversion: 1.0", "ce-id: 7", "ce-source: s", "ce-type: t"];
    let more = ["Content-Type: text/plain", "ce-partitionkey: p"];
    let answered = server.post("t", &[&least[..], &more].concat(), "a\nb").await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let stored = server.log.stored("t");
    assert_eq!((stored.len(), stored[0].key.as_deref()), (1, Some("p")));
    assert_eq!(stored[0].value, "a\nb", "the body is one record");

    for (headers, body, told) in [
        (&least[1..], "{}", "attribute `specversion` is missing"),
        (&["Content-Type: application/cloudevents+json"][..], "{}", "`specversion` is missing"),
        (&["Content-Type: application/cloudevents+json"][..], "x", "not one event in JSON"),
        (&["Content-Type: application/cloudevents-batch+json"][..], "[]", "cloudevents+json"),
    ] {
        let refused = server.post("t", headers, body).await;
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(refused.status >= 400 && detail.contains(told), "{} {detail}", refused.status);
    }
    assert_eq!(server.post("t?format=lines", &least, "{}").await.status, 400);
    assert_eq!(server.log.stored("t").len(), 1, "nothing more was appended");
}
