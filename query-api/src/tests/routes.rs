//! What the routes answer when all is well.

use super::*;

#[tokio::test]
async fn views_are_listed_with_their_positions() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, view) = open(dir.path(), "alarms");
    writer.commit(&progress(3)).unwrap();
    fixture.api.views.add(view);

    let answer = fixture.server.get("/v1/views").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("millpond-positions"), Some("v1.auth:0:3:3"), "what both reflect");
    let names = answer.body["views"].as_array().unwrap().iter();
    let listed: Vec<_> = names.map(|view| (&view["name"], &view["documents"])).collect();
    assert_eq!(listed, [(&json!("alarms"), &json!(0)), (&json!("logins"), &json!(4))]);
    assert_eq!(answer.body["views"][1]["positions"]["token"], "v1.auth:0:4:3");
}

#[tokio::test]
async fn a_view_that_knows_nothing_leaves_nothing_in_common() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let (_writer, view) = open(dir.path(), "alarms");
    fixture.api.views.add(view);
    let answer = fixture.server.get("/v1/views").await;
    assert_eq!(answer.header("millpond-positions"), Some("v1."));
}

#[tokio::test]
async fn a_view_shows_its_schema_and_progress() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let expected = json!({
        "name": "logins",
        "fields": [
            { "name": "line", "kind": "text", "sortable": false },
            { "name": "count", "kind": "i64", "sortable": true },
            { "name": "at", "kind": "timestamp", "sortable": true },
        ],
        "sources": [{ "topic": "auth", "reach": "same" }],
        "partitions": 1,
        "documents": 4,
        "positions": {
            "token": "v1.auth:0:4:3",
            "partitions": [{ "partition": 0, "offset": 4, "epoch": 3 }],
            "sources": [{
                "topic": "auth", "partition": 0, "offset": 4, "epoch": 3,
                "clock_ms": 1_700_000_000_000_i64, "idle": false,
            }],
        },
    });
    assert_eq!(fixture.get("/v1/views/logins").await, expected);
}

#[tokio::test]
async fn a_document_is_found_by_its_key() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    for (path, key, count) in [("a%2F1", "a/1", 2), ("b", "b", 10), ("c%20%C3%A4", "c ä", -1)] {
        let body = fixture.get(&format!("/v1/views/logins/docs/{path}")).await;
        assert_eq!((&body["view"], &body["key"]), (&json!("logins"), &json!(key)));
        assert_eq!(body["time"], "2024-05-01T00:00:00.000Z");
        assert_eq!(body["document"]["count"], count);
        assert_eq!(body["document"]["at"], "2024-05-01T00:00:00.003Z");
        assert_eq!(body["positions"]["token"], "v1.auth:0:4:3");
    }
}

/// The keys and the total that a search gives.
async fn found(fixture: &Fixture, parameters: &str) -> (Vec<String>, u64) {
    let body = fixture.get(&format!("/v1/views/logins/search{parameters}")).await;
    let keys = body["hits"].as_array().unwrap().iter().map(|hit| hit["key"].as_str().unwrap());
    (keys.map(str::to_owned).collect(), body["total"].as_u64().unwrap())
}

#[tokio::test]
async fn a_search_finds_sorts_and_pages() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    for (parameters, keys, total) in [
        ("", &["a/1", "b", "c ä", "d"][..], 4),
        ("?q=*", &["a/1", "b", "c ä", "d"], 4),
        ("?q=", &["a/1", "b", "c ä", "d"], 4),
        ("?q=failed", &["c ä", "a/1"], 2),
        ("?q=line:%22failed+password%22", &["a/1"], 1),
        ("?q=count:%5B2%20TO%20*%5D&sort=count", &["a/1", "d", "b"], 3),
        ("?sort=-count", &["b", "d", "a/1", "c ä"], 4),
        ("?sort=at,-_key", &["d", "c ä", "b", "a/1"], 4),
        ("?sort=_key&limit=2&offset=1", &["b", "c ä"], 4),
        ("?limit=0", &[], 4),
        ("?q=nobody", &[], 0),
    ] {
        let expected = (keys.iter().map(|&key| key.to_owned()).collect(), total);
        assert_eq!(found(&fixture, parameters).await, expected, "{parameters}");
    }
}

#[tokio::test]
async fn a_hit_has_its_document_and_a_score_if_that_is_the_order() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let answer = fixture.server.get("/v1/views/logins/search?q=accepted").await;
    assert_eq!(answer.header("millpond-positions"), Some("v1.auth:0:4:3"));
    let hit = &answer.body["hits"][0];
    assert_eq!(hit["key"], "b");
    assert_eq!(hit["time"], "2024-05-01T00:00:00.000Z");
    assert_eq!(hit["document"]["line"], "accepted password");
    assert!(hit["score"].as_f64().unwrap() > 0.0);
    let body = fixture.get("/v1/views/logins/search?q=accepted&sort=_key").await;
    assert_eq!(body["hits"][0].get("score"), None);
}

#[tokio::test]
async fn the_description_names_every_route() {
    let fixture = Fixture::start(QuerySettings::default()).await;
    let description = fixture.get("/openapi.json").await;
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().cloned().collect();
    let expected =
        ["/v1/views", "/v1/views/{view}", "/v1/views/{view}/docs/{key}", "/v1/views/{view}/search"];
    assert_eq!(paths, expected);
    for path in paths {
        let path = path.replace("{view}", "logins").replace("{key}", "b");
        fixture.get(&path).await;
    }
    let search = &description["paths"]["/v1/views/{view}/search"]["get"]["parameters"];
    let names: Vec<_> = search.as_array().unwrap().iter().map(|p| &p["name"]).collect();
    let expected = ["view", "q", "sort", "limit", "offset", "after", "after_timeout_ms"];
    assert_eq!(names, expected);
    let problem = &description["components"]["schemas"]["Problem"]["properties"];
    assert!(problem["missing"].is_object(), "{problem}");
}
