//! Events in both modes, from the specification and from nobody.

use axum::http::HeaderName;
use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

const LEAST: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/till"), ("ce-type", "sold")];

fn with(more: &[(&str, &str)]) -> Result<Attributes, EventError> {
    from_headers(&headers(&[&LEAST, more].concat()))
}

fn structured(text: &str) -> Result<(Attributes, Cow<'_, [u8]>), EventError> {
    from_json(text.as_bytes())
}

#[test]
fn binary_mode_has_attributes_in_headers() {
    let event = with(&[
        ("content-type", "application/json; charset=utf-8"),
        ("CE-Time", "2018-04-05T03:56:24Z"),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80 100%"),
        ("ce-quoted", "\"a \\\"b\\\" %22\""),
        ("accept", "x"),
    ]);
    let event = event.unwrap();
    assert_eq!(event.all["subject"], "Euro \u{20ac} \u{1f600} 100%");
    assert_eq!(event.all["quoted"], "a \"b\" \"");
    assert_eq!((event.all.len(), event.time_ms), (7, Some(1_522_900_584_000)));
    assert!(event.is_json());
}

#[test]
fn structured_mode_has_everything_in_the_body() {
    let (event, data) = structured(
        r#"{"specversion":"1.0","id":"A234","source":"/mycontext","type":"com.example.someevent",
            "comexampleextension":"value","n":7,"yes":true,"gone":null,
            "datacontenttype":"application/vnd.acme+json","data":{ "appinfoA" : [1, 2.50] }}"#,
    )
    .unwrap();
    assert_eq!(&*data, br#"{ "appinfoA" : [1, 2.50] }"#, "byte for byte");
    assert_eq!((event.all["n"].as_str(), event.all["yes"].as_str()), ("7", "true"));
    assert!(!event.all.contains_key("gone"));

    let least = r#""specversion":"1.0","id":"1","source":"s","type":"t""#;
    let encoded = format!("{{{least},\"data_base64\":\"AAH/\"}}");
    assert_eq!(&*structured(&encoded).unwrap().1, b"\x00\x01\xff");
    let text = format!("{{{least},\"datacontenttype\":\"text/plain\",\"data\":\"a\\nb\"}}");
    assert_eq!(&*structured(&text).unwrap().1, b"a\nb");
    assert_eq!(&*structured(&format!("{{{least}}}")).unwrap().1, b"");
}

#[test]
fn what_is_no_event_is_refused_by_the_attribute() {
    for missing in REQUIRED {
        let header = format!("ce-{missing}");
        let pairs: Vec<_> = LEAST.into_iter().filter(|(name, _)| *name != header).collect();
        let error = from_headers(&headers(&pairs)).unwrap_err();
        assert_eq!(error, EventError::Missing(missing));
    }
    for (more, told) in [
        (("ce-id", "8"), "attribute `id`: it stands there twice"),
        (("ce-time", "yesterday"), "attribute `time`: `yesterday` is neither"),
        (("ce-a_b", "x"), "attribute `a_b`: a name is made of"),
        (("ce-", "x"), "attribute ``: a name"),
    ] {
        let error = with(&[more]).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let large = "x".repeat(ATTRIBUTES_BYTES_MAX);
    assert_eq!(with(&[("ce-large", &large)]), Err(EventError::TooLarge));
    let other = headers(&[&LEAST[1..], &[("ce-specversion", "0.3")]].concat());
    assert_eq!(from_headers(&other), Err(EventError::Version("0.3".into())));
    for text in [
        "",
        "[]",
        "{}",
        r#"{"specversion":1.0,"id":"1","source":"s","type":"t"}"#,
        r#"{"specversion":"1.0","id":{},"source":"s","type":"t"}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"AA=="}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"?"}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"a/b","data":1}"#,
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","Big":1}"#,
    ] {
        assert!(structured(text).is_err(), "{text}");
    }
}

#[test]
fn the_request_goes_before_the_event() {
    let event = with(&[("ce-partitionkey", "k"), ("ce-time", "1970-01-01T00:00:01Z")]).unwrap();
    let options = event.clone().complete(Options::lines(Format::Json)).unwrap();
    assert_eq!(options.event_id.as_deref(), Some("/till 7"));
    assert_eq!((options.else_key, options.else_timestamp_ms), (Some(b"k".to_vec()), Some(1000)));
    let asked = Options { event_id: Some("own".into()), ..Options::lines(Format::Json) };
    assert_eq!(event.complete(asked).unwrap().event_id.as_deref(), Some("own"));

    let event = with(&[("content-type", "text/plain")]).unwrap();
    assert_eq!(event.clone().complete(Options::lines(Format::Json)).unwrap().format, Format::Lines);
    let key_field = Some("a".parse().unwrap());
    let asked = Options { key_field, ..Options::lines(Format::Json) };
    assert_eq!(event.complete(asked).unwrap_err(), EventError::NoFields);
}

proptest! {
    /// Any text comes back from the header that the binding makes of it.
    #[test]
    fn header_values_come_back(text in any::<String>()) {
        let encode = |byte: u8| match byte {
            b'"' | b'%' | 0..=b' ' | 0x7f.. => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        };
        let encoded: String = text.bytes().map(encode).collect();
        let value = HeaderValue::from_bytes(encoded.as_bytes()).unwrap();
        prop_assert_eq!(from_header(&value), text);
    }

    /// The same event is read of both modes.
    #[test]
    fn both_modes_say_the_same(id in "[!-~&&[^\"%]]{1,20}", value in "[ -~&&[^\"%]]{0,20}") {
        let value = value.trim();
        let binary = from_headers(&headers(&[
            LEAST[0], LEAST[2], LEAST[3], ("ce-id", &id), ("ce-ext", value),
        ]));
        let text = serde_json::json!({
            "specversion": "1.0", "source": "/till", "type": "sold", "id": id, "ext": value
        });
        let text = text.to_string();
        prop_assert_eq!(binary, structured(&text).map(|(attributes, _)| attributes));
    }

    #[test]
    fn any_bytes_are_refused_or_taken(body: Vec<u8>, value: Vec<u8>) {
        let _ = from_json(&body);
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut all = headers(&LEAST);
            all.insert("ce-subject", value.clone());
            all.insert("ce-time", value);
            let _ = from_headers(&all);
        }
    }
}
