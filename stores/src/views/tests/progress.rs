//! Which positions a view contains.

use super::*;
use crate::position::Token;

fn source(topic: &str, partition: u32) -> SourcePartition {
    SourcePartition { topic: topic.to_owned(), partition }
}

fn heard(offset: u64, clock_ms: i64, idle: bool) -> SourceProgress {
    SourceProgress { position: Position::new(offset, 1), clock_ms, idle }
}

/// `auth` reaches both partitions of the view, `hosts` the one of the same number.
fn some_progress() -> Progress {
    let partition = |sources: Vec<(SourcePartition, SourceProgress)>| PartitionProgress {
        position: Position::new(9, 1),
        sources: sources.into_iter().collect(),
    };
    let first = partition(vec![
        (source("auth", 0), heard(10, 700, true)),
        (source("auth", 1), heard(5, 300, true)),
        (source("hosts", 0), heard(3, 100, false)),
    ]);
    let second = partition(vec![
        (source("auth", 0), heard(7, 900, false)),
        (source("hosts", 1), heard(4, 200, true)),
    ]);
    Progress { log: None, partitions: [(0, first), (1, second)].into() }
}

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

#[test]
fn a_view_contains_what_all_partitions_that_a_source_reaches_have_seen() {
    let progress = some_progress();
    for (text, contained) in [
        ("v1.", true),
        ("v1.auth:0:7:1", true),
        ("v1.auth:0:8:1", false),
        ("v1.auth:1:1:1", false),
        ("v1.auth:9:1:1", false),
        ("v1.hosts:0:3:1", true),
        ("v1.hosts:0:4:1", false),
        ("v1.hosts:1:4:1", true),
        ("v1.hosts:2:0:1", false),
        ("v1.elsewhere:0:99:1", true),
        ("v1.auth:0:7:1,hosts:0:3:1,elsewhere:4:4:4", true),
        ("v1.auth:0:7:1,hosts:0:9:1", false),
    ] {
        assert_eq!(progress.contains(&schema(), &token(text)), contained, "{text}");
        assert_eq!(progress.missing(&schema(), &token(text)).is_empty(), contained, "{text}");
    }
    assert!(!Progress::default().contains(&schema(), &token("v1.auth:0:0:1")));
}

#[test]
fn what_is_missing_is_told_by_partition() {
    let missing = some_progress().missing(&schema(), &token("v1.auth:1:6:1"));
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "view partition 0 has seen `auth` 1 up to offset 5, 6 is asked for",
            "view partition 1 has seen `auth` 1 not at all, 6 is asked for",
        ]
    );
}

#[test]
fn sources_fold_to_what_all_partitions_say() {
    let folded = some_progress().sources(&schema());
    let expected = [
        (source("auth", 0), Some(heard(7, 700, false))),
        (source("auth", 1), None),
        (source("hosts", 0), Some(heard(3, 100, false))),
        (source("hosts", 1), Some(heard(4, 200, true))),
    ];
    assert_eq!(folded, expected.into());
    let token = some_progress().token(&schema());
    assert_eq!(token.to_string(), "v1.auth:0:7:1,hosts:0:3:1,hosts:1:4:1");
    assert!(some_progress().contains(&schema(), &token));
}

#[test]
fn progress_reads_back_from_its_text() {
    let text = serde_json::to_string(&some_progress()).unwrap();
    assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), some_progress());
}
