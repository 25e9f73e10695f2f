//! What goes wrong, and how it is told.

use std::sync::atomic::Ordering;

use stores::views::QueryError;

use super::*;
use crate::errors::Problem;

#[track_caller]
fn check_problem(answer: &http::Answer, status: u16, slug: &str, detail: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.body["type"], format!("/problems/{slug}"));
    assert_eq!(answer.body["status"], status);
    assert!(!answer.body["title"].as_str().unwrap().is_empty());
    let told = answer.body["detail"].as_str().unwrap();
    assert!(told.contains(detail), "{told}");
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let long = format!("/logins/search?q={}", "x".repeat(4_097));
    for (path, status, slug, detail) in [
        ("/nobody", 404, "unknown-view", "no view `nobody`"),
        ("/nobody/search", 404, "unknown-view", "no view `nobody`"),
        ("/nobody/docs/b", 404, "unknown-view", "no view `nobody`"),
        ("/logins/docs/z", 404, "unknown-document", "no document with the key `z`"),
        ("/logins/docs", 404, "unknown-route", "`/v1/views/logins/docs`"),
        ("/logins/docs/a/1", 404, "unknown-route", "`/v1/views/logins/docs/a/1`"),
        ("/logins/docs/%ff", 400, "invalid-parameter", "UTF-8"),
        ("/logins/search?query=x", 400, "invalid-parameter", "unknown field `query`"),
        ("/logins?q=x", 400, "invalid-parameter", "unknown field `q`"),
        ("?limit=1", 400, "invalid-parameter", "unknown field `limit`"),
        ("/logins/search?limit=many", 400, "invalid-parameter", "limit"),
        ("/logins/search?limit=-1", 400, "invalid-parameter", "limit"),
        ("/logins/search?q=a&q=b", 400, "invalid-parameter", "duplicate field `q`"),
        ("/logins/search?sort=", 400, "invalid-parameter", "`sort` is ``"),
        ("/logins/search?sort=count,-", 400, "invalid-parameter", "`sort` is `count,-`"),
        ("/logins/search?limit=1001", 400, "limit-exceeded", "`limit` is 1001, at most 1000"),
        ("/logins/search?offset=10001", 400, "limit-exceeded", "`offset` is 10001, at most 10000"),
        (&long, 400, "limit-exceeded", "`q` is 4097, at most 4096"),
        ("/logins?after_timeout_ms=30001", 400, "limit-exceeded", "at most 30000"),
        ("/logins?after=auth:0:1:1", 400, "invalid-token", "starts with `v1.`"),
        ("/logins/search?after=v1.auth", 400, "invalid-token", "`auth` is not"),
        ("/logins/search?q=line:", 400, "invalid-query", "syntax error at byte 5"),
        ("/logins/search?q=nope:1", 400, "invalid-query", "its fields are _key, _time, at, count"),
        ("/logins/search?sort=line", 400, "invalid-query", "cannot be sorted by `line`"),
    ] {
        let answer = fixture.server.get(&format!("/v1/views{path}")).await;
        check_problem(&answer, status, slug, detail);
    }
    let answer = fixture.server.send("POST", "/v1/views/logins").await;
    check_problem(&answer, 405, "method-not-allowed", "`/v1/views/logins`");
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let settings = QuerySettings { query_answer_max_bytes: 150, ..QuerySettings::default() };
    let fixture = Fixture::start(settings).await;
    let answer = fixture.server.get("/v1/views/logins/search").await;
    check_problem(&answer, 400, "invalid-query", "more than 150 bytes; ask for fewer");
    fixture.get("/v1/views/logins/search?limit=1").await;
}

#[tokio::test]
async fn one_search_too_many_is_turned_away() {
    let settings = QuerySettings { query_concurrency_max: 2, ..QuerySettings::default() };
    let fixture = Fixture::start(settings).await;
    let under_way = fixture.api.running.try_acquire_many(2).unwrap();
    for path in ["/v1/views/logins/search", "/v1/views/logins/docs/b"] {
        let answer = fixture.server.get(path).await;
        check_problem(&answer, 503, "too-many-requests", "2 requests");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    fixture.get("/v1/views/logins").await;
    drop(under_way);
    fixture.get("/v1/views/logins/search").await;
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_given_up_and_counts_until_it_ends() {
    let settings = QuerySettings {
        query_timeout_ms: 20,
        query_concurrency_max: 1,
        ..QuerySettings::default()
    };
    let fixture = Fixture::start(settings).await;
    let (ended, wait_for_end) = tokio::sync::oneshot::channel();
    let (go_on, wait_to_go_on) = std::sync::mpsc::channel::<()>();
    let search = fixture.api.run(move |cancelled| {
        while !cancelled.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        wait_to_go_on.recv().unwrap();
        ended.send(()).unwrap();
        Err::<(), _>(QueryError::Cancelled)
    });
    assert!(matches!(search.await, Err(Problem::Timeout(20))));
    assert_eq!(fixture.api.running.available_permits(), 0, "the thread is still busy");
    go_on.send(()).unwrap();
    wait_for_end.await.unwrap();
    let permit = fixture.api.running.acquire().await;
    assert!(permit.is_ok(), "the permit comes back with the thread");
}

#[tokio::test]
async fn a_search_that_panics_is_an_internal_error() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let search = fixture.api.run::<(), _>(|_| panic!("a bug"));
    assert!(matches!(search.await, Err(Problem::Internal)));
    assert_eq!(fixture.api.running.available_permits(), 16);
}
