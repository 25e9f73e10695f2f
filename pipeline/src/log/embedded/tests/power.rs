//! Closing, opening, and the power failing in between.

use super::*;
use crate::log::storage::FailedWrite;

fn open_on_disk(path: &Path) -> Arc<EmbeddedLog> {
    let clock = Arc::new(ManualClock::at(0));
    EmbeddedLog::open(path, EmbeddedSettings::default(), clock).unwrap()
}

fn reopening_keeps_everything(open: &dyn Fn() -> Arc<EmbeddedLog>) {
    let log = open();
    let (at, other) = (topic(&log, "topic", KEEP), topic(&log, "other", Cleanup::Compact));
    let first = append(&log, &at, &[("a", Some("1")), ("b", None)]);
    let mut writer = log.writer("group").unwrap();
    let offsets = vec![(at.clone(), first.next)];
    let handle = writer.commit(Commit { appends: Vec::new(), offsets });
    assert!(matches!(handle.wait(), Outcome::Committed { .. }));
    append(&log, &other, &[("x", Some("y"))]);
    log.purge(&other, 1).unwrap();
    let (topics, rows) = (log.topics().unwrap(), read(&log, &at, 0));
    drop((writer, log));

    let log = open();
    assert_eq!(log.topics().unwrap(), topics);
    assert_eq!(read(&log, &at, 0), rows);
    assert_eq!(log.committed("group", std::slice::from_ref(&at)).unwrap(), [Some(first.next)]);
    let range = log.range(&other).unwrap();
    assert_eq!((range.start, range.end.offset), (1, 1));
    assert_eq!(range.end.epoch, first.next.epoch + 1);
    assert_eq!(log.validate(&at, first.next).unwrap(), Validity::Valid);
    let second = append(&log, &at, &[("c", None)]);
    assert_eq!(second.base_offset, 2);
    assert_eq!(second.next, Position::new(3, first.next.epoch + 1));
}

#[test]
fn reopening_in_memory_keeps_everything() {
    let bench = Bench::new();
    reopening_keeps_everything(&|| bench.open());
}

#[test]
fn reopening_on_disk_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    reopening_keeps_everything(&|| open_on_disk(directory.path()));
}

#[test]
fn a_closed_log_answers_unknown() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    let mut writer = log.writer("writer").unwrap();
    drop(log);
    let outcome = writer.commit(commit(&at, batch(&[("a", None)]))).wait();
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert_eq!(read(&bench.open(), &at, 0), []);
}

#[test]
fn a_follower_ahead_of_what_survived_is_told() {
    for kept in 0..=5 {
        let bench = Bench::new();
        let log = bench.open();
        let at = topic(&log, "topic", KEEP);
        let positions: Vec<Position> =
            (0..5).map(|_| append(&log, &at, &[("k", Some("old")), ("l", None)]).next).collect();
        drop(log);
        bench.storage.lose_power(kept);

        let log = bench.open();
        let end = log.range(&at).unwrap().end.offset;
        assert_eq!(end, 2 * kept as u64, "whole commits survive, the oldest first");
        let check = |log: &EmbeddedLog| {
            for position in &positions {
                let expected = if position.offset <= end {
                    Validity::Valid
                } else {
                    Validity::Truncated { epoch_end: end }
                };
                assert_eq!(log.validate(&at, *position).unwrap(), expected, "{position}");
            }
        };
        check(&log);
        for _ in 0..10 {
            append(&log, &at, &[("k", Some("new"))]);
        }
        check(&log);
        drop(log);
        bench.storage.lose_power(usize::MAX);
        check(&bench.open());
    }
}

#[test]
fn an_epoch_that_wrote_nothing_hides_no_loss() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    let kept = append(&log, &at, &[("a", None)]).next;
    drop(log);
    let log = bench.open();
    let lost = append(&log, &at, &[("b", None), ("c", None)]).next;
    drop(log);
    bench.storage.lose_power(0);
    drop(bench.open());
    let log = bench.open();
    append(&log, &at, &[("d", None), ("e", None), ("f", None)]);
    assert_eq!(log.validate(&at, kept).unwrap(), Validity::Valid);
    assert_eq!(log.validate(&at, lost).unwrap(), Validity::Truncated { epoch_end: 1 });
}

#[test]
fn a_position_of_an_epoch_to_come_is_told() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    append(&log, &at, &[("a", None)]);
    let validity = log.validate(&at, Position::new(1, 9)).unwrap();
    assert!(matches!(validity, Validity::Truncated { .. }), "{validity:?}");
}

#[test]
fn an_epoch_is_never_used_again() {
    let bench = Bench::new();
    let mut last = 0;
    for round in 0..6 {
        let log = bench.open();
        let at = topic(&log, "topic", KEEP);
        let epoch = log.range(&at).unwrap().end.epoch;
        assert!(epoch > last, "round {round}");
        last = epoch;
        append(&log, &at, &[("a", None)]);
        drop(log);
        bench.storage.lose_power(0);
    }
}

#[test]
fn records_and_offsets_survive_together() {
    for kept in 0..=6 {
        let bench = Bench::new();
        let log = bench.open();
        let (input, output) = (topic(&log, "input", KEEP), topic(&log, "output", KEEP));
        let mut writer = log.writer("group").unwrap();
        for offset in 1..=6 {
            let mut commit = commit(&output, batch(&[("k", None)]));
            commit.offsets.push((input.clone(), Position::new(offset, 1)));
            appended(writer.commit(commit).wait());
        }
        drop((writer, log));
        bench.storage.lose_power(kept);
        let log = bench.open();
        let committed = log.committed("group", &[input]).unwrap()[0];
        assert_eq!(committed.map_or(0, |p| p.offset), kept as u64);
        assert_eq!(read(&log, &output, 0).len(), kept);
    }
}

#[test]
fn with_sync_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.settings.durability = Durability::Sync;
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    append(&log, &at, &[("a", None)]);
    drop(log);
    bench.storage.lose_power(0);
    assert_eq!(read(&bench.open(), &at, 0).len(), 1);
}

/// A worker that began at the offsets from before a write of unknown outcome would do once more what
/// the write had done.
#[test]
fn after_a_failed_write_committed_offsets_are_known_again_when_somebody_has_connected() {
    for (failure, expected) in [(FailedWrite::Applied, 2), (FailedWrite::Lost, 1)] {
        let bench = Bench::new();
        let log = bench.open();
        let at = topic(&log, "topic", KEEP);
        append(&log, &at, &[("a", None), ("b", None)]);
        let commit = |offset| Commit {
            appends: Vec::new(),
            offsets: vec![(at.clone(), Position::new(offset, 1))],
        };
        let mut writer = log.writer("group").unwrap();
        assert!(matches!(writer.commit(commit(1)).wait(), Outcome::Committed { .. }));
        bench.storage.fail_next_write(failure);
        let outcome = writer.commit(commit(2)).wait();
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        let committed = || log.committed("group", std::slice::from_ref(&at));
        assert!(committed().is_err(), "{failure:?}: nobody knows yet");
        log.reconnect().unwrap();
        let offset = committed().unwrap()[0].map(|position| position.offset);
        assert_eq!(offset, Some(expected), "{failure:?}");
    }
}

/// A partition that was given and taken away by one poll was fetched from, until its records were
/// purged by its owner.
#[test]
fn a_member_fetches_nothing_that_is_not_its_own() {
    let bench = Bench::new();
    let log = bench.open();
    log.create_topic(&TopicSpec { name: "topic".into(), partitions: 2, cleanup: KEEP }).unwrap();
    let join = |instance: &str| {
        let topics = vec!["topic".to_owned()];
        log.join(GroupConfig { group: "group".into(), instance: instance.into(), topics }).unwrap()
    };
    let mut member = join("one");
    member.poll(Duration::ZERO).unwrap();
    let _other = join("two");
    let mut revoked = Vec::new();
    for _ in 0..3 {
        for event in member.poll(Duration::ZERO).unwrap() {
            if let crate::log::Event::Revoked(partitions) = event {
                revoked.extend(partitions);
            }
        }
    }
    assert_eq!(revoked.len(), 1);
    append(&log, &revoked[0], &[("a", None)]);
    member.start(&revoked[0], 0).unwrap();
    let heard = member.poll(Duration::ZERO).unwrap();
    assert!(heard.is_empty(), "{heard:?}");
}
