//! What a document may be, and how it comes back.

use super::*;

#[track_caller]
fn check_refused(document: &str, expected: &str) {
    let (_dir, mut writer, _view) = fresh();
    let error = writer.upsert("k", 0, document.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(writer.pending(), 0);
}

#[test]
fn a_value_of_another_type_is_refused_by_name() {
    for (document, expected) in [
        (r#"{"line":1}"#, "field `line`: expected a string, got a number"),
        (r#"{"host":["a",{}]}"#, "field `host`: expected a string, got an object"),
        (r#"{"count":"1"}"#, "field `count`: expected a signed integer, got a string"),
        (r#"{"count":1.5}"#, "field `count`: 1.5 is not a signed 64-bit integer"),
        (r#"{"bytes":-1}"#, "field `bytes`: -1 is not an unsigned 64-bit integer"),
        (r#"{"share":true}"#, "field `share`: expected a number, got a boolean"),
        (r#"{"open":0}"#, "field `open`: expected true or false, got a number"),
        (
            r#"{"at":false}"#,
            "field `at`: expected RFC 3339 text or integer milliseconds, got a boolean",
        ),
        (r#"{"attributes":[[]]}"#, "field `attributes`: expected an object, got an array"),
        (r#"{"count":1,"count":2}"#, "field `count`: given twice"),
    ] {
        check_refused(document, expected);
    }
    for at in [r#""yesterday""#, "1.5", "9300000000000000", r#""2300-01-01T00:00:00Z""#] {
        let shown = at.trim_matches('"');
        let expected = format!(
            "field `at`: `{shown}` is neither RFC 3339 nor integer milliseconds, between the \
             years 1677 and 2262"
        );
        check_refused(&format!(r#"{{"at":{at}}}"#), &expected);
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    let (_dir, mut writer, _view) = fresh();
    for document in [&b""[..], b"1", b"[]", b"null", b"{", b"{}{}", b"{\"line\":\"\xff\"}"] {
        let error = writer.upsert("k", 0, document).unwrap_err();
        assert!(matches!(error, DocumentError::NotAnObject(_)), "{error}");
    }
    assert_eq!(writer.upsert("k", i64::MAX, b"{}"), Err(DocumentError::Time(i64::MAX)));
    assert_eq!(writer.pending(), 0);
}

#[test]
fn a_refused_document_leaves_the_earlier_one() {
    let (_dir, mut writer, view) = fresh();
    put(&mut writer, "a", &count(1));
    writer.upsert("a", 0, b"{\"count\":true}").unwrap_err();
    writer.commit(&progress(1)).unwrap();
    assert_eq!(source_of(&view, "a"), Some(count(1)));
}

#[test]
fn a_document_comes_back_as_it_was() {
    let (_dir, mut writer, view) = fresh();
    let text = r#"{ "z":1.10, "host":null, "_key":"other", "line":"A \u00e4 B", "count":[1, 2],
        "big":123456789012345678901234567890, "nested":{"at":5} }"#;
    writer.upsert("a", -5, text.as_bytes()).unwrap();
    writer.commit(&progress(1)).unwrap();
    let document = view.snapshot().document("a").unwrap().unwrap();
    assert_eq!(document.source.get(), text);
    assert_eq!(document.time_ms, -5);
    assert_eq!(keys(&view, "count:2 AND line:ä"), ["a"]);
    assert_eq!(keys(&view, "_key:other"), Vec::<String>::new());
}

#[test]
fn timestamps_come_back_in_one_form() {
    let (_dir, mut writer, view) = fresh();
    let noon = "2024-02-29T12:00:00.250Z";
    for (key, given, answered) in [
        (
            "number",
            r#"{"a":1,"at": 1709208000250 ,"b":2}"#,
            format!(r#"{{"a":1,"at": "{noon}" ,"b":2}}"#),
        ),
        ("text", r#"{"at":"2024-02-29T13:30:00.2504+01:30"}"#, format!(r#"{{"at":"{noon}"}}"#)),
        ("array", r#"{"at":[1709208000250,null]}"#, format!(r#"{{"at":["{noon}"]}}"#)),
        ("null", r#"{"at":null}"#, r#"{"at":null}"#.to_owned()),
        ("empty", r#"{"at":[]}"#, r#"{"at":[]}"#.to_owned()),
    ] {
        writer.upsert(key, 0, given.as_bytes()).unwrap();
        writer.commit(&progress(1)).unwrap();
        let document = view.snapshot().document(key).unwrap().unwrap();
        assert_eq!(document.source.get(), answered);
    }
    assert_eq!(keys(&view, "at:1709208000250"), ["array", "number", "text"]);
    assert_eq!(keys(&view, "at:1709208000251"), Vec::<String>::new());
}

#[test]
fn a_schema_is_checked_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let change = |change: &dyn Fn(&mut ViewSchema)| {
        let mut changed = schema();
        change(&mut changed);
        match ViewWriter::open(dir.path(), changed, MEMORY_BYTES) {
            Err(ViewError::Schema(error)) => error,
            _ => panic!("the schema is not valid"),
        }
    };
    for name in ["", "..", "a/b", ".hidden", "ä", &"n".repeat(129)] {
        let error = change(&|schema| name.clone_into(&mut schema.name));
        assert_eq!(error, SchemaError::ViewName(name.to_owned()));
    }
    for name in ["", "_key", "a.b", "-a", "a:b", "1"] {
        let error = change(&|schema| name.clone_into(&mut schema.fields[0].name));
        let expected = SchemaError::FieldName { view: "logins".into(), field: name.into() };
        assert_eq!(error, expected);
    }
    let twice = |name: &str| SchemaError::Twice { view: "logins".into(), name: name.into() };
    assert_eq!(change(&|schema| schema.fields[1].name = "line".into()), twice("line"));
    assert_eq!(change(&|schema| schema.sources[1].topic = "auth".into()), twice("auth"));
    assert_eq!(change(&|schema| schema.partitions = 0), SchemaError::NoPartition("logins".into()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
