//! Reading one's own writes.

use super::*;

#[tokio::test]
async fn what_is_reflected_is_answered_at_once() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    // The wait may not last at all, so an answer shows that there was none.
    for token in ["v1.", "v1.auth:0:4:3", "v1.elsewhere:7:99:1"] {
        for path in ["", "/logins", "/logins/docs/b", "/logins/search"] {
            fixture.get(&format!("/v1/views{path}?after={token}&after_timeout_ms=0")).await;
        }
    }
}

#[tokio::test]
async fn a_wait_ends_when_the_writer_commits() {
    let mut fixture = Fixture::start(QuerySettings::default()).await;
    let requests: Vec<_> = ["", "/logins", "/logins/docs/new", "/logins/search?q=_key:new"]
        .into_iter()
        .map(|path| {
            let separator = if path.contains('?') { '&' } else { '?' };
            let path = format!("/v1/views{path}{separator}after=v1.auth:0:6:3");
            tokio::spawn(fixture.server.get(&path))
        })
        .collect();
    // All four wait: that they hold a permit is how it can be seen.
    let most = QuerySettings::default().after_waiting_max;
    while fixture.api.waiting.available_permits() > most - requests.len() {
        tokio::task::yield_now().await;
    }
    fixture.writer.commit(&progress(5)).unwrap();
    fixture.writer.upsert("new", 0, b"{}").unwrap();
    assert!(requests.iter().all(|request| !request.is_finished()));
    fixture.writer.commit(&progress(6)).unwrap();

    let mut answers = Vec::new();
    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("millpond-positions"), Some("v1.auth:0:6:3"));
        answers.push(answer.body);
    }
    assert_eq!(answers[1]["documents"], 5);
    assert_eq!(answers[2]["key"], "new");
    assert_eq!(answers[3]["total"], 1);
    assert_eq!(fixture.api.waiting.available_permits(), most);
}

#[tokio::test]
async fn a_wait_in_vain_tells_what_is_missing() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let token = "v1.auth:0:9:3,elsewhere:0:9:3,auth:5:1:3";
    let path = format!("/v1/views/logins/search?after={token}&after_timeout_ms=10");
    let answer = fixture.server.get(&path).await;
    assert_eq!(answer.status, 504, "{}", answer.body);
    assert_eq!(answer.body["type"], "/problems/not-reached");
    let missing = json!([
        { "view_partition": 0, "topic": "auth", "partition": 0, "offset": 9, "reached": 4 },
        { "view_partition": 5, "topic": "auth", "partition": 5, "offset": 1, "reached": null },
    ]);
    assert_eq!(answer.body["missing"], missing);
}

#[tokio::test]
async fn the_views_of_a_list_share_the_wait() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let (_writer, view) = open(dir.path(), "alarms");
    fixture.api.views.add(view);
    let answer = fixture.server.get("/v1/views?after=v1.auth:0:1:3&after_timeout_ms=10").await;
    assert_eq!(answer.status, 504, "{}", answer.body);
    let missing = json!([
        { "view_partition": 0, "topic": "auth", "partition": 0, "offset": 1, "reached": null },
    ]);
    assert_eq!(answer.body["missing"], missing);
    let answer = fixture.server.get("/v1/views?after=v1.auth:0:1:3&after_timeout_ms=30001").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[tokio::test]
async fn one_wait_too_many_is_turned_away() {
    let settings = QuerySettings { after_waiting_max: 0, ..QuerySettings::default() };
    let fixture = Fixture::start(settings).await;
    let answer = fixture.server.get("/v1/views/logins?after=v1.auth:0:5:3").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.body["type"], "/problems/too-many-requests");
    fixture.get("/v1/views/logins?after=v1.auth:0:4:3").await;
}
