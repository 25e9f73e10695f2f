//! Retention, purge and compaction.

use std::thread;

use super::super::super::batch::RecordParts;
use super::*;

const COUNTED: Cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: Some(1000) };

/// The bytes that the log has counted are those that are stored, now and after opening again.
fn assert_counted(bench: &Bench, log: &EmbeddedLog, at: &TopicPartition) {
    let stored: usize = bench.stored().iter().map(|(_, value)| value.len()).sum();
    assert_eq!(log.partition_bytes(at).unwrap(), stored as u64);
    assert_eq!(bench.open().partition_bytes(at).unwrap(), stored as u64);
}

#[test]
fn old_batches_go_by_append_time() {
    let bench = Bench::new();
    let log = bench.open();
    let cleanup = Cleanup::Delete { retention_ms: Some(1000), retention_bytes: None };
    let at = topic(&log, "topic", cleanup);
    for _ in 0..5 {
        append(&log, &at, &[("k", Some("v")), ("l", None)]);
        bench.clock.advance(400);
    }
    log.clean().unwrap();
    // Appended 2000, 1600, 1200, 800 and 400 ms ago.
    assert_eq!(log.range(&at).unwrap().start, 6);
    assert_eq!(read(&log, &at, 6).len(), 4);
    assert_counted(&bench, &log, &at);
    bench.clock.advance(10_000);
    log.clean().unwrap();
    let range = log.range(&at).unwrap();
    assert_eq!((range.start, range.end.offset), (8, 10), "the last batch stays");
    assert_counted(&bench, &log, &at);
    assert_eq!(append(&bench.open(), &at, &[("k", None)]).base_offset, 10);
}

#[test]
fn old_batches_go_by_bytes() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", COUNTED);
    for number in 0..50 {
        append(&log, &at, &[("k", Some(&number.to_string()))]);
    }
    log.clean().unwrap();
    let bytes = log.partition_bytes(&at).unwrap();
    assert!(bytes <= 1000 && bytes > 900, "{bytes}");
    let rows = read(&log, &at, log.range(&at).unwrap().start);
    assert_eq!(rows.last().unwrap().2.as_deref(), Some("49"));
    assert_counted(&bench, &log, &at);
    append(&log, &at, &[("k", Some(&"x".repeat(5000)))]);
    log.clean().unwrap();
    assert_counted(&bench, &log, &at);
    let mut reader = log.reader().unwrap();
    reader.assign(&at, 0).unwrap();
    assert!(matches!(reader.poll(Duration::ZERO), Err(LogError::OutOfRange { offset: 0, .. })));
}

#[test]
fn cleaning_removes_what_was_purged() {
    for cleanup in [KEEP, Cleanup::Compact] {
        let bench = Bench::new();
        let log = bench.open();
        let at = topic(&log, "topic", cleanup);
        for number in 0..10 {
            append(&log, &at, &[("a", Some(&number.to_string())), ("b", None)]);
        }
        log.purge(&at, 13).unwrap();
        assert_eq!(log.range(&at).unwrap().start, 13, "at once, within a batch");
        let before = log.partition_bytes(&at).unwrap();
        log.clean().unwrap();
        let first = read(&log, &at, 13).first().unwrap().0;
        // Compaction leaves the last of each key before the last batch, which begins at 18.
        assert_eq!(first, if cleanup == KEEP { 13 } else { 16 });
        assert!(log.partition_bytes(&at).unwrap() <= before * 4 / 10);
        assert_counted(&bench, &log, &at);
    }
}

#[test]
fn an_error_in_one_partition_does_not_stop_cleaning() {
    let bench = Bench::new();
    let log = bench.open();
    let (first, second) = (topic(&log, "a", COUNTED), topic(&log, "b", COUNTED));
    for at in [&first, &second] {
        for _ in 0..50 {
            append(&log, at, &[("k", None)]);
        }
    }
    let (key, mut value) = bench.stored().swap_remove(0);
    value[20] ^= 1;
    bench.storage.write(&[Op::Put(Space::Batches, key, value)], false).unwrap();
    let error = log.clean().unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { partition, .. } if partition == "a-0"), "{error}");
    assert!(log.partition_bytes(&second).unwrap() <= 1000);
}

#[test]
fn compaction_keeps_the_last_of_each_key_at_its_offset() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", Cleanup::Compact);
    for number in 0..20_u32 {
        let value = number.to_string();
        append(&log, &at, &[("a", Some(&value)), ("b", Some(&value)), ("c", None)]);
    }
    log.clean().unwrap();
    // The last batch is never touched, and of the others only the last of each key stays; it is
    // superseded by the last batch when that has got a successor.
    let offsets: Vec<u64> = read(&log, &at, 0).iter().map(|row| row.0).collect();
    assert_eq!(offsets, [54, 55, 56, 57, 58, 59]);
    assert_counted(&bench, &log, &at);
    append(&log, &at, &[("d", None)]);
    log.clean().unwrap();
    let offsets: Vec<u64> = read(&log, &at, 0).iter().map(|row| row.0).collect();
    assert_eq!(offsets, [57, 58, 59, 60]);
    assert_eq!(read(&log, &at, 58).len(), 3, "reading starts inside a merged batch");
    assert_counted(&bench, &log, &at);
}

#[test]
fn a_dropped_tombstone_is_remembered() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", Cleanup::Compact);
    let put = append(&log, &at, &[("a", Some("1"))]).next;
    let gone = append(&log, &at, &[("a", None)]).next;
    let end = append(&log, &at, &[("b", Some("2"))]).next;
    log.clean().unwrap();
    assert_eq!(read(&log, &at, 0).len(), 2, "a young tombstone stays");
    assert_eq!(log.validate(&at, put).unwrap(), Validity::Valid);
    let age = bench.settings.tombstone_retention_ms;
    bench.clock.advance(u32::try_from(age).unwrap() + 1);
    append(&log, &at, &[("c", Some("3"))]);
    append(&log, &at, &[("d", Some("4"))]);
    log.clean().unwrap();
    let check = |log: &EmbeddedLog| {
        assert_eq!(read(log, &at, 0).first().unwrap().1, "b");
        assert_eq!(log.validate(&at, put).unwrap(), Validity::Compacted { tombstone: 1 });
        for valid in [Position::default(), gone, end] {
            assert_eq!(log.validate(&at, valid).unwrap(), Validity::Valid, "{valid}");
        }
    };
    check(&log);
    drop(log);
    check(&bench.open());
}

#[test]
fn a_cleaning_without_enough_memory_goes_on_next_time() {
    let mut bench = Bench::new();
    bench.settings.clean_bytes_max = 1000;
    let log = bench.open();
    let at = topic(&log, "topic", Cleanup::Compact);
    for round in 0..3_u32 {
        for key in 0..60_u32 {
            append(&log, &at, &[(&key.to_string(), Some(&round.to_string()))]);
        }
    }
    for _ in 0..30 {
        log.clean().unwrap();
        assert_counted(&bench, &log, &at);
    }
    append(&log, &at, &[("last", None)]);
    for _ in 0..30 {
        log.clean().unwrap();
    }
    let rows = read(&log, &at, 0);
    assert!(rows.len() < 100, "{} records are left of 181", rows.len());
    assert_eq!(rows.iter().filter(|row| row.2.as_deref() == Some("2")).count(), 60);
}

#[test]
fn batches_that_span_too_many_offsets_are_not_merged() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", Cleanup::Compact);
    let mut writer = log.writer("writer").unwrap();
    let mut expected = Vec::new();
    for number in 0..4_u64 {
        let mut builder = BatchBuilder::new();
        for (index, delta) in [0, 3_000_000_000].into_iter().enumerate() {
            let key = format!("{number}-{index}");
            let parts =
                RecordParts { timestamp: 0, key: Some(key.as_bytes()), value: None, headers: &[] };
            builder.push_at(delta, parts);
            expected.push((number * 3_000_000_001 + u64::from(delta), key, None));
        }
        appended(writer.commit(commit(&at, builder)).wait());
    }
    log.clean().unwrap();
    assert_eq!(read(&log, &at, 0), expected);
}

/// A reader that is in the middle when batches are merged behind, under and before it.
fn readers_miss_nothing(log: &EmbeddedLog) {
    const COUNT: u64 = 3000;
    let at = &topic(log, "topic", Cleanup::Compact);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..COUNT {
                append(log, at, &[(&number.to_string(), Some("v")), ("shared", Some("v"))]);
            }
        });
        let cleaning = scope.spawn(move || {
            while !writing.is_finished() {
                log.clean().unwrap();
            }
        });
        let (mut reader, mut next) = (log.reader().unwrap(), 0);
        reader.assign(at, 0).unwrap();
        while next < COUNT {
            for (_, key, _) in reader.poll(Duration::ZERO).unwrap().iter().flat_map(rows_of) {
                if key != "shared" {
                    assert_eq!(key, next.to_string());
                    next += 1;
                }
            }
        }
        cleaning.join().unwrap();
    });
}

#[test]
fn a_reader_misses_nothing_while_batches_are_merged_in_memory() {
    let mut bench = Bench::new();
    bench.settings.fetch_bytes_max = 64;
    bench.settings.dirty_ratio_min = 0.0;
    readers_miss_nothing(&bench.open());
}

#[test]
fn a_reader_misses_nothing_while_batches_are_merged_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings {
        fetch_bytes_max: 64,
        dirty_ratio_min: 0.0,
        ..EmbeddedSettings::default()
    };
    let clock = Arc::new(ManualClock::at(0));
    readers_miss_nothing(&EmbeddedLog::open(directory.path(), settings, clock).unwrap());
}
