//! Binary formats: headers, control records, keys, values of the codecs, tokens, alerts, secrets.

use pipeline::Key;
use pipeline::codec::{bytes, int32, int64, json, nullable, utf8};
use pipeline::format::control::{self, Control, Progress};
use pipeline::format::origin::Origin;
use pipeline::record::Windowed;
use stores::position::{Position, SourcePosition, Token};

use super::{Target, texts};

#[test]
fn control_records() {
    let entry = |source, clock| Progress {
        source,
        partition: 7,
        position: Position::new(u64::MAX, 3),
        clock,
        idle: true,
    };
    let whole = Control { entries: vec![entry(0, 1_700_000_000_000), entry(9, i64::MIN)] };
    let read = &mut |input: &[u8]| {
        if let Some(control) = Control::decode(input) {
            assert_eq!(Control::decode(&control.encode()), Some(control));
        }
        let _ = control::parse_key(input);
    };
    let seeds = vec![whole.encode(), Control { entries: Vec::new() }.encode()];
    Target { name: "control", seeds, mutations: 50_000, allocated_max: 4096, read }.run();
}

#[test]
fn origins() {
    let mut seed = Vec::new();
    Origin { source: 3, partition: 2, offset: 1 << 40, clock: 5 }.encode(1_000, &mut seed);
    let read = &mut |input: &[u8]| {
        for timestamp in [0, 1_000, i64::MAX, i64::MIN] {
            if let Some(origin) = Origin::decode(input, timestamp) {
                let mut again = Vec::new();
                origin.encode(timestamp, &mut again);
                assert_eq!(Origin::decode(&again, timestamp), Some(origin));
            }
        }
    };
    let target =
        Target { name: "origin", seeds: vec![seed], mutations: 50_000, allocated_max: 4096, read };
    target.run();
}

#[test]
fn keys_and_values() {
    let seeds = texts(&[
        "card-1",
        "\0\0\0\0\0\0\0\x01",
        "{\"a\":[1,2.5,null]}",
        "card-1@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
    ]);
    let read = &mut |input: &[u8]| {
        let input = Some(input);
        let mut text = String::new();
        if let Ok(key) = Windowed::<String>::decode(input) {
            key.write_text(&mut text);
        }
        if let Ok(key) = Windowed::<Option<i64>>::decode(input) {
            key.write_text(&mut text);
        }
        let _ = (String::decode(input), i64::decode(input), Vec::<u8>::decode(input));
        let _ = nullable(json::<serde_json::Value>()).decode(input);
        let _ = (utf8().decode(input), bytes().decode(input));
        let _ = (int32().decode(input), int64().decode(input));
    };
    Target { name: "values", seeds, mutations: 20_000, allocated_max: 16_384, read }.run();
}

#[test]
fn tokens() {
    let positions = |partition| SourcePosition {
        topic: "payments".into(),
        partition,
        position: Position::new(u64::MAX, u32::MAX),
    };
    let seed = Token { positions: (0..40).map(positions).collect() }.to_string();
    let read = &mut |input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        match text.parse::<Token>() {
            Ok(token) => assert_eq!(token.to_string().parse(), Ok(token)),
            Err(error) => assert!(error.to_string().len() < 1_000, "{error}"),
        }
    };
    let seeds = vec![seed.into_bytes(), b"v1.a:0:1:2".to_vec(), b"v1.".to_vec()];
    Target { name: "token", seeds, mutations: 20_000, allocated_max: 65_536, read }.run();
}

#[test]
fn alerts_and_secrets() {
    let alert = r#"{"id":"r:k:0","rule":"r","key":"k","kind":"firing","window":{"start":"2023-11-14T22:15:00Z","end":"2023-11-14T22:16:00Z"},"severity":"critical","text":"t","timestamp":"2023-11-14T22:15:09Z","data":{"a":1}}"#;
    let read = &mut |input: &[u8]| {
        let _ = alerts::Alert::parse(Some(input));
        if let Ok(text) = std::str::from_utf8(input) {
            let _ = text.parse::<alerts::Secret>();
            if let Ok(address) = text.parse() {
                let _ = alerts::refusal(address);
            }
        }
    };
    let seeds = texts(&[alert, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "::ffff:10.0.0.1"]);
    Target { name: "alert", seeds, mutations: 10_000, allocated_max: 65_536, read }.run();
}
