//! `millpond dlq` on the real binary: what was set aside is found, sent again once, and dropped.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::demo::{Running, error_of, eventually, json_of, millpond, text};

/// A process without traffic of its own.
fn start(directory: &Path) -> Running {
    let mut command = millpond(directory, &["run"]);
    command.env("MILLPOND_HTTP__LISTEN", "127.0.0.1:0");
    Running::start(directory, command)
}

/// Sends lines to `payments` that are no payments.
fn ingest(directory: &Path, lines: usize) {
    let file = directory.join("lines.txt");
    let text: String = (0..lines).map(|n| format!("no payment {n}\n")).collect();
    std::fs::write(&file, text).unwrap();
    let arguments = ["ingest", file.to_str().unwrap(), "--topic", "payments", "--format", "lines"];
    let sent = millpond(directory, &arguments).output().unwrap();
    assert!(sent.status.success(), "{}", error_of(&sent));
}

fn dlq(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["--output", "json", "dlq"];
    all.extend(arguments);
    json_of(directory, &all)
}

fn letters(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["list", "--limit", "100000"];
    all.extend(arguments);
    dlq(directory, &all)
}

#[test]
fn dead_letters_are_listed_shown_sent_again_and_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut process = start(at);
    ingest(at, 3);
    let found = eventually("three letters", || {
        Some(letters(at, &["--topology", "fraud"])).filter(|found| found.len() == 3)
    });
    assert_eq!((text(&found[0]["topic"]), text(&found[0]["state"])), ("payments", "open"));
    assert!(letters(at, &["--topology", "orders"]).is_empty());
    assert_eq!(letters(at, &["--topic", "payments", "--since", "1h"]).len(), 3);
    assert!(letters(at, &["--until", "2020-01-01T00:00:00Z"]).is_empty());
    let counts = dlq(at, &["counts"]);
    assert_eq!(counts[0][0]["count"], 3, "{counts:?}");

    let first = text(&found[0]["id"]);
    let shown = &dlq(at, &["show", first])[0];
    assert!(text(&shown["value"]).starts_with("no payment"), "{shown}");
    assert_eq!(shown["headers"]["__streams.errors.topic"], "payments");
    let task = text(&shown["headers"]["millpond.errors.task"]);
    assert!(task.starts_with("0_"), "{task}");
    let people = millpond(at, &["dlq", "show", first]).output().unwrap();
    let people = String::from_utf8(people.stdout).unwrap();
    assert!(people.contains("node       KSTREAM-SOURCE-"), "{people}");

    assert_eq!(dlq(at, &["replay", first])[0]["done"], 1);
    assert_eq!(dlq(at, &["replay", first])[0]["before"], 1);
    let again = eventually("the letter of the record that was sent again", || {
        let all = letters(at, &["--topology", "fraud"]);
        all.into_iter().find(|one| !one["headers"]["millpond.replay"].is_null())
    });
    assert_eq!(text(&again["headers"]["millpond.replay"]), first);
    assert_eq!(text(&again["value"]), text(&found[0]["value"]));
    assert_eq!(dlq(at, &["drop", "--topology", "fraud"])[0]["done"], 3);
    assert!(letters(at, &[]).is_empty());
    let without = millpond(at, &["dlq", "replay"]).output().unwrap();
    assert_eq!(without.status.code(), Some(2));
    let unknown = millpond(at, &["dlq", "show", "fraud-dlq-0@99"]).output().unwrap();
    assert!(error_of(&unknown).contains("`fraud-dlq-0@99`"), "{}", error_of(&unknown));
    assert_eq!(process.signal("-TERM"), Some(0));

    // Nobody holds the directory now: the command opens it itself.
    let states: Vec<_> = letters(at, &["--state", "all"]);
    let states: Vec<_> = states.iter().map(|one| text(&one["state"])).collect();
    assert_eq!(states, ["replayed", "dropped", "dropped", "dropped"]);
}

#[test]
fn a_replay_that_is_cut_off_sends_each_record_once() {
    const LETTERS: usize = 3_000;
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut process = start(at);
    ingest(at, LETTERS);
    let found = eventually("the letters", || {
        Some(letters(at, &["--topology", "fraud"])).filter(|found| found.len() == LETTERS)
    });
    let last = found.iter().map(|one| one["set_aside_ms"].as_i64().unwrap()).max().unwrap();
    // What is sent again comes back as new letters: those are not meant.
    let until = chrono::DateTime::from_timestamp_millis(last + 1).unwrap().to_rfc3339();
    let replay = ["dlq", "replay", "--topology", "fraud", "--until", &until];
    for _ in 0..3 {
        let mut command = millpond(at, &replay);
        let mut command = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("some are sent again", || {
            let described = json_of(at, &["--output", "json", "topics", "list"]);
            let topics = described[0].as_array().unwrap().iter();
            let marks = topics.clone().any(|topic| topic["name"] == "fraud-dlq-marks");
            (marks || command.try_wait().unwrap().is_some()).then_some(())
        });
        process.signal("-KILL");
        // It may have come to its end before.
        command.wait().unwrap();
        process = start(at);
    }
    let last = millpond(at, &replay).output().unwrap();
    assert!(last.status.success(), "{}", error_of(&last));

    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for record in json_of(at, &["topics", "read", "payments", "--limit", "1000000"]) {
        if let Some(letter) = record["headers"]["millpond.replay"].as_str() {
            *sent.entry(letter.to_owned()).or_default() += 1;
        }
    }
    let doubled = sent.values().filter(|count| **count > 1).count();
    println!("3 kills, {LETTERS} letters, {} lost, {doubled} doubled", LETTERS - sent.len());
    assert_eq!((sent.len(), doubled), (LETTERS, 0));
    process.signal("-TERM");
}
