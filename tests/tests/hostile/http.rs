//! Requests over real sockets: bodies for ingest, queries for views, and bytes that are no HTTP.
//!
//! Whatever is sent, the server answers it with something other than a 5xx, or closes; and then
//! answers the next one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use connectors::Counters;
use connectors::ingest::{Ingest, IngestSettings, TopicSettings};
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{Cleanup, Log, TopicSpec};
use query_api::QuerySettings;
use stores::clock::{Clock, SystemClock};
use stores::views::Views;

use super::views::Fixture;
use super::{Target, texts};

/// A server whose requests end after this long has hung.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Ingest and queries on one port of the loopback.
struct Server {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
    _views: Fixture,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut fixture = Fixture::open();
        fixture.fill();
        let views = Arc::new(Views::new());
        views.add(Arc::clone(&fixture.view));
        let router = query_api::router(views, QuerySettings::default())
            .merge(connectors::ingest::router(Arc::new(ingest())));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
        Self { address, _runtime: runtime, _views: fixture }
    }

    /// Sends bytes and gives what is answered until the server closes. `ends` says that no more
    /// will come: for what may be no whole request, which the server would otherwise wait for. It
    /// may then close without an answer.
    fn ask(&self, request: &[u8], ends: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        // The server may refuse and close before it has heard everything.
        let _ = stream.write_all(request);
        if ends {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("no answer within {ANSWER_TIMEOUT:?}")
            }
            _ => answer,
        }
    }

    fn check(&self, request: &[u8], ends: bool) {
        let answer = self.ask(request, ends);
        let is_answer = answer.is_empty() && ends || answer.starts_with(b"HTTP/1.1 ");
        assert!(is_answer, "{}", answer.escape_ascii());
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", answer.escape_ascii());
        let next = b"GET /v1/views HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        let next = self.ask(next, false);
        assert!(next.starts_with(b"HTTP/1.1 200"), "{}", next.escape_ascii());
    }
}

fn ingest() -> Ingest {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let storage = Arc::new(MemoryStorage::new());
    let log =
        EmbeddedLog::in_memory(storage, EmbeddedSettings::default(), Arc::clone(&clock)).unwrap();
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: Some(1 << 20) };
    log.create_topic(&TopicSpec { name: "t".into(), partitions: 2, cleanup }).unwrap();
    let topic = TopicSettings {
        key_field: Some("id".parse().unwrap()),
        timestamp_field: Some("at".parse().unwrap()),
    };
    let settings =
        IngestSettings { topics: [("t".to_owned(), topic)].into(), ..IngestSettings::default() };
    Ingest::open(log, clock, "hostile", settings, &Counters::new()).unwrap()
}

#[test]
fn raw_requests() {
    let server = Server::start();
    let read = &mut |input: &[u8]| server.check(input, true);
    let seeds = texts(&[
        "GET /v1/views/logins/search?q=line:failed&sort=-count&limit=3 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        "POST /v1/topics/t HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\nidempotency-key: k\r\ncontent-length: 34\r\nconnection: close\r\n\r\n{\"id\":\"a\",\"at\":5}\n{\"id\":1,\"at\":6}",
        "POST /v1/topics/t HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n11\r\n{\"id\":\"a\",\"at\":5}\r\n0\r\n\r\n",
        "POST /v1/topics/t HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\nce-specversion: 1.0\r\nce-id: 7\r\nce-source: /s%20\r\nce-type: t\r\nce-time: 2023-11-14T22:15:09Z\r\ncontent-length: 17\r\nconnection: close\r\n\r\n{\"id\":\"a\",\"at\":5}",
        "GET /v1/views/logins/documents/a%2F1?after=v1.auth:0:1:1 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
    ]);
    Target { name: "request", seeds, mutations: 500, allocated_max: 0, read }.run();
}

#[test]
fn bodies() {
    let server = Server::start();
    let read = &mut |input: &[u8]| {
        for kind in ["application/json", "application/x-ndjson", "application/cloudevents+json"] {
            let head = format!(
                "POST /v1/topics/t HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                input.len()
            );
            server.check(&[head.as_bytes(), input].concat(), false);
        }
    };
    let seeds = texts(&[
        "{\"id\":\"a\",\"at\":5}\n{\"id\":\"b\",\"at\":\"2023-11-14T22:15:09Z\"}\n",
        "{\"id\":{\"x\":[1,2,{\"y\":null}]},\"at\":-5}",
        "[{\"id\":\"a\",\"at\":1e3}]",
        "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/s\",\"type\":\"t\",\"data\":{\"id\":\"a\",\"at\":5}}",
        "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/s\",\"type\":\"t\",\"datacontenttype\":\"a/b\",\"data_base64\":\"AAE=\"}",
    ]);
    Target { name: "body", seeds, mutations: 300, allocated_max: 0, read }.run();
}

#[test]
fn queries() {
    let server = Server::start();
    let read = &mut |input: &[u8]| {
        let encoded: String = input.iter().map(|byte| format!("%{byte:02X}")).collect();
        // The length of a request's head is bounded by the server.
        for parameter in ["q", "sort", "limit", "after"] {
            let request = format!(
                "GET /v1/views/logins/search?{parameter}={encoded} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
            );
            server.check(request.as_bytes(), false);
        }
    };
    let seeds = texts(&[
        "line:failed AND count:[1 TO 5} OR NOT at:>2023-11-14T22:15:09Z",
        "+line:\"failed password\"~2 -line:fail* ((count:2^3.5))",
        "-count,_score,line",
        "10",
        "v1.auth:0:3:1",
    ]);
    Target { name: "query", seeds, mutations: 200, allocated_max: 0, read }.run();
}
