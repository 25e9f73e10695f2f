//! Commits and their outcomes.

use std::sync::Arc;

use pipeline::log::record::put_header;
use pipeline::log::{BatchBuilder, Commit, CommitHandle, Outcome, TopicPartition};

use super::bench::{Bench, Check, TOO_LARGE_BYTES, appends, batch, committed};

/// Timestamp, key, value, headers.
type Parts<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>, &'a [u8]);

pub(super) const CHECKS: &[Check] = &[
    ("records_read_back_in_order", records_read_back_in_order),
    ("every_part_of_a_record_reads_back", every_part_of_a_record_reads_back),
    ("a_commit_spans_partitions", a_commit_spans_partitions),
    ("commits_of_a_writer_keep_their_order", commits_of_a_writer_keep_their_order),
    ("every_append_has_its_entry", every_append_has_its_entry),
    ("an_unknown_topic_aborts_the_whole_commit", an_unknown_topic_aborts_the_whole_commit),
    ("a_batch_too_large_aborts_the_whole_commit", a_batch_too_large_aborts_the_whole_commit),
    ("a_newer_writer_fences_the_older", a_newer_writer_fences_the_older),
    ("writers_of_two_names_do_not_fence", writers_of_two_names_do_not_fence),
    ("a_handle_can_be_awaited", a_handle_can_be_awaited),
    ("a_handle_without_its_log_is_unknown", a_handle_without_its_log_is_unknown),
    ("a_log_that_goes_away_leaves_no_handle_open", a_log_that_goes_away_leaves_no_handle_open),
];

fn records_read_back_in_order(bench: &Bench<'_>) {
    let at = bench.partition();
    let mut writer = bench.writer("writer");
    let first = committed(writer.as_mut(), appends(&at, &["a", "b"]))[0];
    let second = committed(writer.as_mut(), appends(&at, &["c"]))[0];
    assert!(second.base_offset >= first.next.offset);
    assert!(second.next.epoch >= first.next.epoch);
    let read = bench.read(&at, 0, 3);
    assert!(read.is_sorted_by(|a, b| a.offset < b.offset), "{read:?}");
    assert_eq!([read[0].offset, read[2].offset], [first.base_offset, second.base_offset]);
    assert_eq!(bench.values(&at, 0, 3), ["a", "b", "c"]);
}

fn every_part_of_a_record_reads_back(bench: &Bench<'_>) {
    let at = bench.partition();
    let mut headers = Vec::new();
    put_header(&mut headers, "one", b"1");
    put_header(&mut headers, "empty", b"");
    let long = vec![0xff_u8; 100_000];
    let parts: [Parts<'_>; 5] = [
        (1_700_000_000_000, Some(b"k"), Some(b"v"), &headers),
        (1_600_000_000_000, None, Some(b"no key"), &[]),
        (1_700_000_000_001, Some(b"tombstone"), None, &[]),
        (1_700_000_000_002, Some(b""), Some(b""), &[]),
        (0, Some(b"long"), Some(&long), &headers),
    ];
    let mut builder = BatchBuilder::new();
    for (timestamp, key, value, headers) in parts {
        builder.push(timestamp, key, value, headers);
    }
    let commit = Commit { appends: vec![(at.clone(), builder)], offsets: Vec::new() };
    committed(bench.writer("writer").as_mut(), commit);
    for (read, (timestamp, key, value, headers)) in bench.read(&at, 0, 5).iter().zip(parts) {
        assert_eq!(read.timestamp, timestamp);
        assert_eq!((read.key.as_deref(), read.value.as_deref()), (key, value));
        assert_eq!(read.headers, headers);
    }
}

fn a_commit_spans_partitions(bench: &Bench<'_>) {
    let (x, y) = (bench.topic("x", 2), bench.topic("y", 1));
    let places = [("x", &x, 0), ("x", &x, 1), ("y", &y, 0)];
    let mut commit = Commit::default();
    for (value, topic, partition) in places {
        commit.appends.push((TopicPartition::new(topic.as_str(), partition), batch(&[value])));
    }
    let appended = committed(bench.writer("writer").as_mut(), commit);
    assert_eq!(appended.len(), 3);
    for ((value, topic, partition), appended) in places.into_iter().zip(appended) {
        let read = bench.read(&TopicPartition::new(topic.as_str(), partition), 0, 1);
        assert_eq!((read[0].text().as_str(), read[0].offset), (value, appended.base_offset));
    }
}

fn commits_of_a_writer_keep_their_order(bench: &Bench<'_>) {
    let at = bench.partition();
    let mut writer = bench.writer("writer");
    let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let handles: Vec<_> =
        values.iter().map(|value| writer.commit(appends(&at, &[value.as_str()]))).collect();
    for handle in handles {
        assert!(matches!(handle.wait(), Outcome::Committed { .. }));
    }
    assert_eq!(bench.values(&at, 0, 100), values);
}

fn every_append_has_its_entry(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 3);
    let at = |partition| TopicPartition::new(topic.as_str(), partition);
    let mut writer = bench.writer("writer");
    assert_eq!(committed(writer.as_mut(), Commit::default()), []);
    let batches = vec![(at(0), batch(&["a"])), (at(1), batch(&[])), (at(2), batch(&["b", "c"]))];
    let commit = Commit { appends: batches, offsets: Vec::new() };
    let appended = committed(writer.as_mut(), commit);
    assert_eq!(appended.len(), 3);
    assert_eq!(appended[1].base_offset, appended[1].next.offset, "nothing was appended there");
    assert!(appended[2].next.offset > appended[2].base_offset + 1);
    assert_eq!(bench.values(&at(2), 0, 2), ["b", "c"]);
}

fn an_unknown_topic_aborts_the_whole_commit(bench: &Bench<'_>) {
    let at = bench.partition();
    let mut writer = bench.writer("writer");
    let mut commit = appends(&at, &["never seen"]);
    commit.appends.push((TopicPartition::new(bench.name("nowhere"), 0), batch(&["nor this"])));
    let outcome = writer.commit(commit).wait();
    assert!(matches!(&outcome, Outcome::Aborted(reason) if !reason.is_empty()), "{outcome:?}");
    committed(writer.as_mut(), appends(&at, &["the first one"]));
    assert_eq!(bench.values(&at, 0, 1), ["the first one"]);
}

fn a_batch_too_large_aborts_the_whole_commit(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 2);
    let at = |partition| TopicPartition::new(topic.as_str(), partition);
    let mut writer = bench.writer("writer");
    let mut commit = appends(&at(0), &["never seen"]);
    let mut builder = BatchBuilder::new();
    builder.push(0, None, Some(&vec![7; TOO_LARGE_BYTES]), &[]);
    commit.appends.push((at(1), builder));
    let outcome = writer.commit(commit).wait();
    assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    committed(writer.as_mut(), appends(&at(0), &["the first one"]));
    assert_eq!(bench.values(&at(0), 0, 1), ["the first one"]);
}

fn a_newer_writer_fences_the_older(bench: &Bench<'_>) {
    let at = bench.partition();
    let mut older = bench.writer("writer");
    committed(older.as_mut(), appends(&at, &["older"]));
    let mut newer = bench.writer("writer");
    let outcome = older.commit(appends(&at, &["too late"])).wait();
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    committed(newer.as_mut(), appends(&at, &["newer"]));
    let outcome = older.commit(appends(&at, &["still too late"])).wait();
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    assert_eq!(bench.values(&at, 0, 2), ["older", "newer"]);
}

fn writers_of_two_names_do_not_fence(bench: &Bench<'_>) {
    let at = bench.partition();
    let (mut one, mut two) = (bench.writer("one"), bench.writer("two"));
    committed(one.as_mut(), appends(&at, &["a"]));
    committed(two.as_mut(), appends(&at, &["b"]));
    committed(one.as_mut(), appends(&at, &["c"]));
    assert_eq!(bench.values(&at, 0, 3), ["a", "b", "c"]);
}

fn a_handle_can_be_awaited(bench: &Bench<'_>) {
    let at = bench.partition();
    let handle = bench.writer("writer").commit(appends(&at, &["a"]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(handle), Outcome::Committed { .. }));
}

fn a_handle_without_its_log_is_unknown(_: &Bench<'_>) {
    let (sender, mut handle) = CommitHandle::new();
    assert_eq!(handle.try_outcome(), None);
    drop(sender);
    assert!(matches!(handle.try_outcome(), Some(Outcome::Unknown(_))));
    let (sender, handle) = CommitHandle::new();
    drop(sender);
    assert!(matches!(handle.wait(), Outcome::Unknown(_)));
}

fn a_log_that_goes_away_leaves_no_handle_open(bench: &Bench<'_>) {
    let lone = Bench::new(bench.make, "lone");
    let at = lone.partition();
    let mut writer = lone.writer("writer");
    let handles: Vec<_> = (0..20).map(|_| writer.commit(appends(&at, &["a"]))).collect();
    let log = Arc::downgrade(&lone.log);
    drop(lone);
    assert!(log.upgrade().is_none(), "nobody else keeps the log open");
    let late = writer.commit(appends(&at, &["a"]));
    for handle in handles.into_iter().chain([late]) {
        // Either is right; what may not be is to wait for ever.
        let outcome = handle.wait();
        assert!(matches!(outcome, Outcome::Committed { .. } | Outcome::Unknown(_)), "{outcome:?}");
    }
}
