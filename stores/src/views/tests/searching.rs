//! What a query finds, in which order, and what it is refused for.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;

fn filled() -> (tempfile::TempDir, ViewWriter, Arc<View>) {
    let (dir, mut writer, view) = fresh();
    for (key, document) in [
        (
            "a",
            json!({ "line": "Failed password for root", "host": "web-1", "count": -3, "bytes": 1,
            "share": 0.5, "open": true, "at": "2024-05-01T00:00:00.001Z",
            "attributes": { "user": { "name": "Root Admin" }, "port": 22 } }),
        ),
        (
            "b",
            json!({ "line": "accepted PASSWORD", "host": "Web-1", "count": 10, "bytes": 2,
            "share": 2, "open": false, "at": "2024-05-01T00:00:00.002Z" }),
        ),
        (
            "c",
            json!({ "line": ["password", "failed"], "host": "db 1", "count": 9,
            "at": 1_714_521_600_003_i64 }),
        ),
    ] {
        put(&mut writer, key, &document);
        writer.commit(&progress(1)).unwrap();
    }
    (dir, writer, view)
}

#[test]
fn every_kind_of_field_is_searched() {
    let (_dir, _writer, view) = filled();
    for (query, expected) in [
        ("", "abc"),
        (" * ", "abc"),
        ("line:failed", "ac"),
        ("line:\"failed password\"", "a"),
        ("\"failed pass\"*", "a"),
        ("host:web-1", "a"),
        ("web-1", "a"),
        ("host:\"db 1\"", "c"),
        ("host:IN [web-1 Web-1]", "ab"),
        ("password AND -failed", "b"),
        ("count:-3", "a"),
        ("count:[9 TO *]", "bc"),
        ("count:>9", "b"),
        ("bytes:{1 TO 2]", "b"),
        ("bytes:*", "ab"),
        ("share:2", "b"),
        ("share:<=0.5", "a"),
        ("open:true", "a"),
        ("attributes.user.name:admin", "a"),
        ("attributes.port:22", "a"),
        ("_key:b", "b"),
        ("_key:[b TO *]", "bc"),
        ("_time:1000", "abc"),
        ("_time:>1000", ""),
        ("at:\"2024-05-01T00:00:00.002Z\"", "b"),
        ("at:[2024-05-01T00:00:00.002Z TO *]", "bc"),
        ("at:{1714521600002 TO *]", "c"),
        ("at:[2024-05-01T02:00:00.001+02:00 TO 2024-05-01T00:00:00.002Z}", "a"),
        ("at:IN [1714521600001 1714521600003]", "ac"),
        ("at:>9999-12-31T00:00:00Z", ""),
        ("at:<9999-12-31T00:00:00Z", "abc"),
    ] {
        let mut found = keys(&view, query);
        found.sort();
        assert_eq!(found.concat(), expected, "{query}");
    }
}

#[track_caller]
fn check_refused(query: &str, expected: &str) {
    let (_dir, _writer, view) = filled();
    let error = view.snapshot().search(&request(query)).unwrap_err();
    assert!(error.is_request());
    assert!(error.to_string().starts_with(expected), "{query}: {error}");
}

#[test]
fn a_wrong_query_is_told_what_and_where() {
    for (query, expected) in [
        ("line:", "syntax error at byte 5: expected word"),
        (
            "hots:web-1",
            "the view has no field `hots`; its fields are _key, _time, at, attributes, bytes, \
             count, host, line, open, share; to search for a text with a colon, quote it",
        ),
        ("hots:*", "the view has no field `hots`"),
        ("hots:[a TO b]", "the view has no field `hots`"),
        ("hots:IN [a]", "the view has no field `hots`"),
        ("_source:x", "the view has no field `_source`"),
        ("count.x:1", "the view has no field `count.x`"),
        ("count:many", "field `count`: `many` is not a signed integer"),
        ("bytes:[-1 TO 2]", "field `bytes`: `-1` is not an unsigned integer"),
        ("share:IN [x]", "field `share`: `x` is not a number"),
        ("open:yes", "field `open`: `yes` is not true or false"),
        ("at:noon", "field `at`: `noon` is not RFC 3339 text or integer milliseconds"),
        ("line:*", "field `line`: text and json fields cannot be asked for existence"),
        ("attributes.port:[1 TO 2]", "field `attributes.port`: a json field cannot be searched"),
        ("[a TO b]", "a range or a set needs a field before it"),
        ("-failed", "a query that only excludes finds nothing; put `*` before it"),
        ("host:/web.*/", "regular expressions are not supported"),
        ("\"pass\"*", "`pass` is one word; a prefix needs a word before it"),
    ] {
        check_refused(query, expected);
    }
    check_refused(&"(".repeat(21), "more than 20 parentheses and `NOT`s are open at byte 20");
    check_refused(&"NOT ".repeat(21), "more than 20 parentheses and `NOT`s are open at byte 80");
    check_refused(&"(NOT ".repeat(11), "more than 20 parentheses and `NOT`s are open at byte 50");
}

#[test]
fn no_text_keeps_the_parser_busy() {
    let (_dir, _writer, view) = filled();
    for part in [
        "(", "(a ", ")", "-", "+", "NOT ", "\"", "'", "a:", "a:(", "[", "{", "* ", "a AND ",
        "a OR ", "IN [", "\\", "^", "~", "a^2", "/", "-(", "+(a ", "(NOT ", "\"a\"~", "line:(",
        "a:\"", ">",
    ] {
        let text = part.repeat(2_000 / part.len());
        // Found or refused: what counts is that it ends, and soon.
        let _ = view.snapshot().search(&request(&text));
        let nested = part.replace('(', "").repeat(300) + &"(".repeat(20) + "a" + &")".repeat(20);
        let _ = view.snapshot().search(&request(&nested));
    }
    let deepest = "(+".repeat(20) + "failed" + &")".repeat(20);
    assert_eq!(view.snapshot().search(&request(&deepest)).unwrap().total, 2);
}

#[test]
fn the_best_score_comes_first_and_ties_go_by_key() {
    let (_dir, mut writer, view) = filled();
    assert_eq!(keys(&view, "failed root"), ["a", "c"]);
    assert_eq!(keys(&view, "*"), ["a", "b", "c"]);
    let scored = view.snapshot().search(&request("failed")).unwrap();
    assert!(scored.hits.iter().all(|hit| hit.score.is_some_and(|score| score > 0.0)));
    put(&mut writer, "A", &json!({ "line": "password failed" }));
    writer.commit(&progress(2)).unwrap();
    assert_eq!(keys(&view, "*"), ["A", "a", "b", "c"]);
}

#[test]
fn what_cannot_be_sorted_by_is_refused() {
    let (_dir, _writer, view) = filled();
    for field in ["line", "attributes", "hots", "_source"] {
        let sort = vec![SortField { field: field.to_owned(), descending: false }];
        let error = view.snapshot().search(&SearchRequest { sort, ..request("*") }).unwrap_err();
        let expected = format!(
            "hits cannot be sorted by `{field}`; they can by _key, _time, at, bytes, count, host, \
             open, share, _score"
        );
        assert_eq!(error.to_string(), expected);
    }
    let sort = vec![SortField { field: "count".into(), descending: true }; 5];
    let error = view.snapshot().search(&SearchRequest { sort, ..request("*") }).unwrap_err();
    assert!(matches!(error, QueryError::SortFields));
}

#[test]
fn an_answer_is_bounded_and_can_be_given_up() {
    let (_dir, _writer, view) = filled();
    let error = view.snapshot().search(&SearchRequest { bytes_max: 300, ..request("*") });
    assert!(matches!(error, Err(QueryError::TooLarge { bytes_max: 300 })));
    let none = view.snapshot().search(&SearchRequest { limit: 0, offset: 5, ..request("*") });
    let none = none.unwrap();
    assert_eq!((none.total, none.hits.len()), (3, 0));
    let cancelled = Arc::new(AtomicBool::new(true));
    let given_up = view.snapshot().search_until(&request("*"), &cancelled);
    assert!(matches!(given_up, Err(QueryError::Cancelled)));
}

/// Values that often tie, some of them missing.
fn row() -> impl Strategy<Value = serde_json::Value> {
    let host = proptest::option::of("[a-c]{0,2}");
    let count = proptest::option::of(-2..3_i64);
    let share = proptest::option::of(prop_oneof![Just(-1.5), Just(0.0), Just(1e300)]);
    let open = proptest::option::of(any::<bool>());
    let at = proptest::option::of(-3..3_i64);
    (host, count, share, open, at).prop_map(|(host, count, share, open, at)| {
        json!({ "host": host, "count": count, "share": share, "open": open, "at": at })
    })
}

fn sort() -> impl Strategy<Value = Vec<SortField>> {
    let names = vec!["host", "count", "share", "open", "at", "_key", "_time"];
    let field = (proptest::sample::select(names), any::<bool>())
        .prop_map(|(field, descending)| SortField { field: field.to_owned(), descending });
    proptest::collection::vec(field, 1..=SORT_FIELDS_MAX)
}

/// Compares two values of a field as a reader would.
fn compare(left: &serde_json::Value, right: &serde_json::Value) -> std::cmp::Ordering {
    use serde_json::Value;
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (left, right) => left.as_f64().unwrap().total_cmp(&right.as_f64().unwrap()),
    }
}

/// The keys of all rows, sorted the slow way.
fn sorted(rows: &[serde_json::Value], sort: &[SortField]) -> Vec<String> {
    use std::cmp::Ordering;
    let mut keys: Vec<usize> = (0..rows.len()).collect();
    let value = |row: usize, field: &str| match field {
        "_key" => json!(format!("{row:02}")),
        "_time" => json!(row % 3),
        field => rows[row][field].clone(),
    };
    keys.sort_by(|&left, &right| {
        let fields = sort.iter().map(|SortField { field, descending }| {
            let (left, right) = (value(left, field), value(right, field));
            match (left.is_null(), right.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) if *descending => compare(&right, &left),
                (false, false) => compare(&left, &right),
            }
        });
        fields.fold(Ordering::Equal, Ordering::then).then(left.cmp(&right))
    });
    keys.into_iter().map(|row| format!("{row:02}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_page_is_a_slice_of_the_sorted_documents(
        rows in proptest::collection::vec(row(), 1..40),
        sort in sort(),
        commit_every in 1..20_usize,
        limit in 0..12_usize,
        offset in 0..30_usize,
    ) {
        let (_dir, mut writer, view) = fresh();
        for (row, document) in rows.iter().enumerate() {
            let key = format!("{row:02}");
            let time_ms = i64::try_from(row % 3).unwrap();
            // An older version with other values must not be seen.
            writer.upsert(&key, 99, b"{\"host\":\"z\",\"count\":77}").unwrap();
            if row % commit_every == 0 {
                writer.commit(&progress(1)).unwrap();
            }
            writer.upsert(&key, time_ms, document.to_string().as_bytes()).unwrap();
        }
        writer.commit(&progress(2)).unwrap();
        let expected = sorted(&rows, &sort);
        let expected: Vec<_> = expected.iter().skip(offset).take(limit).cloned().collect();
        let request = SearchRequest { sort, limit, offset, ..request("*") };
        let found = view.snapshot().search(&request).unwrap();
        prop_assert_eq!(found.total, rows.len() as u64);
        prop_assert!(found.hits.iter().all(|hit| hit.score.is_none()));
        let found: Vec<_> = found.hits.into_iter().map(|hit| hit.key).collect();
        prop_assert_eq!(found, expected);
    }
}
