//! A log with alerts in it, a receiver with faults, and a notifier between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alerts::{Endpoint, EndpointStats, Message, Notifier, NotifierConfig, Secret, verify};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use pipeline::clock::SystemClock;
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::record::put_header;
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{
    BatchBuilder, Cleanup, Commit, Log, Outcome, TopicPartition, TopicSpec, partition_for,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

pub(crate) const TOPIC: &str = "fraud-alerts";
pub(crate) const PARTITIONS: u32 = 3;
/// More than any step of a test takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn secret() -> Secret {
    Secret::from_bytes(&[7; 32]).unwrap()
}

/// A log with an alert topic.
pub(crate) fn log() -> Arc<EmbeddedLog> {
    let clock = Arc::new(SystemClock::new());
    let storage = Arc::new(MemoryStorage::default());
    let log = EmbeddedLog::in_memory(storage, EmbeddedSettings::default(), clock).unwrap();
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
    let spec = TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, cleanup };
    log.create_topic(&spec).unwrap();
    log
}

/// The id of the alert with that number.
pub(crate) fn id(number: usize) -> String {
    format!("card-testing:card-{number:06}:1700000000000")
}

pub(crate) fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(id).collect()
}

/// Writes alerts as a topology would.
pub(crate) fn write_alerts(log: &dyn Log, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let id = id(number);
        let alert = json!({
            "id": id, "rule": "card-testing", "key": format!("card-{number:06}"),
            "kind": "firing", "severity": "critical", "text": "many small payments",
            "timestamp": "2023-11-14T22:13:20Z", "data": { "number": number },
        });
        write(log, &id, Some(alert.to_string().as_bytes()), &[]);
    }
}

/// Writes one record into the alert topic.
pub(crate) fn write(log: &dyn Log, key: &str, value: Option<&[u8]>, headers: &[(&str, &[u8])]) {
    let mut encoded = Vec::new();
    for (name, value) in headers {
        put_header(&mut encoded, name, value);
    }
    let mut batch = BatchBuilder::new();
    batch.push(1_700_000_000_000, Some(key.as_bytes()), value, &encoded);
    let at = TopicPartition::new(TOPIC, partition_for(key.as_bytes(), PARTITIONS));
    let commit = Commit { appends: vec![(at, batch)], offsets: Vec::new() };
    // The log in memory decides before it returns, so nothing blocks the runtime here.
    let outcome = log.writer("test").unwrap().commit(commit).try_outcome();
    assert!(matches!(outcome, Some(Outcome::Committed { .. })), "{outcome:?}");
}

/// What the topic of the undelivered holds, by key.
pub(crate) fn undelivered(log: &dyn Log) -> BTreeMap<String, Value> {
    let at = TopicPartition::new(alerts::UNDELIVERED_TOPIC, 0);
    let end = log.range(&at).unwrap().end.offset;
    let mut reader = log.reader().unwrap();
    reader.assign(&at, 0).unwrap();
    let mut found = BTreeMap::new();
    while reader.position(&at).unwrap() < end {
        for record in reader.poll(PATIENCE).unwrap().iter().flat_map(|fetched| fetched.records()) {
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            found.insert(key, serde_json::from_slice(record.value.unwrap()).unwrap());
        }
    }
    found
}

/// How many alerts the endpoint's group has not committed.
pub(crate) fn uncommitted(log: &dyn Log, endpoint: &str) -> u64 {
    let all: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(TOPIC, p)).collect();
    let committed = log.committed(&format!("notify-{endpoint}"), &all).unwrap();
    let open = all.iter().zip(committed).map(|(at, committed)| {
        log.range(at).unwrap().end.offset - committed.map_or(0, |position| position.offset)
    });
    open.sum()
}

/// One call that a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// Whether it was answered with 2xx.
    pub(crate) accepted: bool,
    pub(crate) at: tokio::time::Instant,
}

/// What a receiver answers to the n-th call (from 1) with an id.
pub(crate) type Answer = dyn Fn(&str, usize) -> Reply + Send + Sync;

/// An answer, or none.
pub(crate) enum Reply {
    Status(u16),
    With(Response),
    After(Duration, u16),
    Never,
}

/// A receiver on a real socket.
#[derive(Clone)]
pub(crate) struct Hooks {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<Answer>,
}

impl Hooks {
    pub(crate) async fn start(
        answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hooks = Self { address, calls: Arc::default(), answer: Arc::new(answer) };
        let router = Router::new().route("/hook", post(handle)).with_state(hooks.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hooks
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// How often each id was answered with 2xx.
    pub(crate) fn accepted(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls().into_iter().filter(|call| call.accepted) {
            *counts.entry(call.id).or_default() += 1;
        }
        counts
    }

    /// Waits until these ids, and no others, were accepted.
    pub(crate) async fn wait_for(&self, ids: &[String]) {
        eventually("the alerts arrive", || self.accepted().len() >= ids.len()).await;
        let accepted: Vec<String> = self.accepted().into_keys().collect();
        let mut ids = ids.to_vec();
        ids.sort();
        assert_eq!(accepted, ids);
    }
}

async fn handle(State(hooks): State<Hooks>, headers: HeaderMap, bytes: Bytes) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let id = text("webhook-id");
    let timestamp_s = text("webhook-timestamp").parse().unwrap();
    let message = Message { id: &id, timestamp_s, body: &bytes };
    verify(&[secret()], message, &text("webhook-signature")).expect("every call is signed");
    let body = serde_json::from_slice(&bytes).unwrap();
    let (index, number) = {
        let mut calls = hooks.calls.lock().unwrap();
        let at = tokio::time::Instant::now();
        calls.push(Call { id: id.clone(), headers, body, accepted: false, at });
        (calls.len() - 1, calls.iter().filter(|call| call.id == id).count())
    };
    let response = match (hooks.answer)(&id, number) {
        Reply::Status(status) => status_only(status),
        Reply::With(response) => response,
        Reply::After(wait, status) => {
            tokio::time::sleep(wait).await;
            status_only(status)
        }
        Reply::Never => std::future::pending().await,
    };
    hooks.calls.lock().unwrap()[index].accepted = response.status().is_success();
    response
}

pub(crate) fn status_only(status: u16) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// An endpoint for tests: short waits, loopback allowed.
pub(crate) fn endpoint(name: &str, url: impl Into<String>) -> Endpoint {
    Endpoint {
        timeout_ms: 5000,
        attempts_max: 5,
        backoff_first_ms: 10,
        backoff_max_ms: 2000,
        allow_private_addresses: true,
        ..Endpoint::new(name, url, vec![secret()])
    }
}

/// Starts a notifier as a process named `instance` would.
pub(crate) fn start_as(instance: &str, log: Arc<dyn Log>, endpoints: Vec<Endpoint>) -> Notifier {
    Notifier::start(NotifierConfig {
        log,
        endpoints,
        alert_topics: vec![TOPIC.into()],
        instance: instance.into(),
        clock: Arc::new(SystemClock::new()),
        seed: 7,
        runtime: Handle::current(),
    })
    .unwrap()
}

pub(crate) fn start(log: &Arc<EmbeddedLog>, endpoints: Vec<Endpoint>) -> Notifier {
    start_as("one", Arc::clone(log) as Arc<dyn Log>, endpoints)
}

pub(crate) async fn stop(notifier: Notifier) {
    tokio::task::spawn_blocking(move || notifier.stop(PATIENCE)).await.unwrap().unwrap();
}

pub(crate) fn stats(notifier: &Notifier) -> EndpointStats {
    notifier.stats().remove(0)
}

/// Waits, with a bound, until `holds`.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
