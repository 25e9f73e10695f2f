//! Every damaged byte is an error that says where.

use super::super::damage::Extent;
use super::*;

fn flip(bench: &Bench, space: Space, (key, value): &Stored, index: usize) {
    let mut bad = value.clone();
    bad[index] ^= 0x10;
    bench.storage.write(&[Op::Put(space, key.clone(), bad)], true).unwrap();
}

fn mend(bench: &Bench, space: Space, (key, value): &Stored) {
    bench.storage.write(&[Op::Put(space, key.clone(), value.clone())], true).unwrap();
}

fn is_at(error: &LogError, place: &str, at: u64) -> bool {
    matches!(error, LogError::Corrupt { partition, offset, .. } if partition == place && *offset == at)
}

#[test]
fn a_damaged_batch_is_told_after_the_good_ones_before_it() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    for values in [["a", "b"], ["c", "d"], ["e", "f"]] {
        append(&log, &at, &[("k", Some(values[0])), ("k", Some(values[1]))]);
    }
    let batch = bench.stored().swap_remove(1);
    for index in 0..batch.1.len() {
        flip(&bench, Space::Batches, &batch, index);
        let mut reader = log.reader().unwrap();
        reader.assign(&at, 0).unwrap();
        let good = reader.poll(Duration::ZERO).unwrap();
        assert_eq!(good.iter().flat_map(rows_of).count(), 2, "byte {index}");
        for _ in 0..2 {
            let error = reader.poll(Duration::ZERO).unwrap_err();
            assert!(is_at(&error, "topic-0", 2), "byte {index}: {error}");
        }
        reader.assign(&at, 3).unwrap();
        let error = reader.poll(Duration::ZERO).unwrap_err();
        assert!(is_at(&error, "topic-0", 2), "byte {index}, from inside: {error}");
        // A payload is not read when the log opens; a header is, and the end is known by the batch
        // after it.
        let log = bench.open();
        let damage = log.shared.catalog().partition(&at).unwrap().1.damage.clone();
        assert_eq!(
            damage.map(|damage| (damage.offset, damage.extent)),
            (index < 72).then_some((2, Extent::Batch)),
            "byte {index}"
        );
        assert_eq!(log.range(&at).unwrap().end.offset, 6, "byte {index}");
        mend(&bench, Space::Batches, &batch);
    }
    assert_eq!(read(&bench.open(), &at, 0).len(), 6);
}

#[test]
fn damage_in_one_partition_loses_no_records_of_another() {
    let bench = Bench::new();
    let log = bench.open();
    let (good, bad) = (topic(&log, "a", KEEP), topic(&log, "b", KEEP));
    append(&log, &good, &[("k", None)]);
    append(&log, &bad, &[("k", None)]);
    flip(&bench, Space::Batches, &bench.stored()[1].clone(), 74);
    let mut reader = log.reader().unwrap();
    reader.assign(&good, 0).unwrap();
    reader.assign(&bad, 0).unwrap();
    let fetched = reader.poll(Duration::ZERO).unwrap();
    assert_eq!(fetched.iter().map(|f| &f.partition).collect::<Vec<_>>(), [&good]);
    assert!(is_at(&reader.poll(Duration::ZERO).unwrap_err(), "b-0", 0));
}

#[test]
fn a_batch_in_anothers_place_is_told() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    append(&log, &at, &[("k", Some("a"))]);
    append(&log, &at, &[("k", Some("b"))]);
    let stored = bench.stored();
    mend(&bench, Space::Batches, &(stored[1].0.clone(), stored[0].1.clone()));
    let opened = bench.open();
    assert!(is_at(&refusal(&opened, &at), "topic-0", 1));
    let mut reader = log.reader().unwrap();
    reader.assign(&at, 1).unwrap();
    assert!(is_at(&reader.poll(Duration::ZERO).unwrap_err(), "topic-0", 1));
}

/// What a log says to a reader at the end of a partition that is damaged there.
fn refusal(log: &EmbeddedLog, at: &TopicPartition) -> LogError {
    let mut reader = log.reader().unwrap();
    let end = log.range(at).unwrap().end.offset;
    reader.assign(at, end).unwrap();
    reader.poll(Duration::ZERO).unwrap_err()
}

#[test]
fn a_damaged_last_batch_closes_its_partition_and_no_other() {
    let bench = Bench::new();
    let log = bench.open();
    let (good, bad) = (topic(&log, "a", KEEP), topic(&log, "b", KEEP));
    for at in [&good, &bad] {
        append(&log, at, &[("k", Some("1")), ("k", Some("2"))]);
        append(&log, at, &[("k", Some("3"))]);
    }
    let last = bench.stored().pop().unwrap();
    for index in 0..72 {
        flip(&bench, Space::Batches, &last, index);
        let log = bench.open();
        assert_eq!(read(&log, &bad, 0).len(), 2, "what lies before it is read");
        assert!(is_at(&refusal(&log, &bad), "b-0", 2), "byte {index}");
        let mut writer = log.writer("test").unwrap();
        let both =
            vec![(good.clone(), batch(&[("k", None)])), (bad.clone(), batch(&[("k", None)]))];
        let outcome = writer.commit(Commit { appends: both, offsets: Vec::new() }).wait();
        let named = matches!(&outcome, Outcome::Aborted(why) if why.contains("b-0 is damaged"));
        assert!(named, "byte {index}: {outcome:?}");
        let end = log.range(&good).unwrap().end.offset;
        assert_eq!(append(&log, &good, &[("k", None)]).base_offset, end, "the other one goes on");
        drop(log);
        mend(&bench, Space::Batches, &last);
    }
    assert_eq!(append(&bench.open(), &bad, &[("k", None)]).base_offset, 3);
}

#[test]
fn a_partition_whose_entries_are_damaged_is_closed_and_no_other() {
    let (bench, entries) = bench_with_one_of_each_entry();
    let at = TopicPartition::new("topic", 0);
    for entry in entries.iter().filter(|(key, _)| matches!(key[0], b'p' | b's')) {
        for index in 0..entry.1.len() {
            flip(&bench, Space::Meta, entry, index);
            let log = bench.open();
            let error = log.range(&at).unwrap_err();
            assert!(is_at(&error, "topic-0", 0), "byte {index}: {error}");
            let name = entry.0.escape_ascii().to_string();
            assert!(error.to_string().contains(&name), "byte {index} of {name}: {error}");
            assert!(log.validate(&at, Position::new(1, 1)).is_err());
            assert!(log.purge(&at, 1).is_err());
            assert!(matches!(
                log.writer("x").unwrap().commit(commit(&at, batch(&[("k", None)]))).wait(),
                Outcome::Aborted(_)
            ));
            let other = topic(&log, "other", KEEP);
            append(&log, &other, &[("k", None)]);
            log.clean().unwrap();
            mend(&bench, Space::Meta, entry);
        }
    }
    assert_eq!(bench.open().range(&at).unwrap().end.offset, 1);
}

#[test]
fn damage_in_what_holds_all_together_keeps_the_log_shut() {
    let (bench, entries) = bench_with_one_of_each_entry();
    for entry in entries.iter().filter(|(key, _)| !matches!(key[0], b'p' | b's')) {
        for index in 0..entry.1.len() {
            flip(&bench, Space::Meta, entry, index);
            let error = bench.try_open().err().unwrap();
            assert!(matches!(error, LogError::Damaged { .. }), "byte {index}: {error}");
            let (name, error) = (entry.0.escape_ascii().to_string(), error.to_string());
            assert!(error.contains(&name), "byte {index} of {name}: {error}");
            mend(&bench, Space::Meta, entry);
        }
    }
    bench.open();
}

fn bench_with_one_of_each_entry() -> (Bench, Vec<Stored>) {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    let next = append(&log, &at, &[("k", None)]).next;
    log.purge(&at, 1).unwrap();
    let offsets = vec![(at.clone(), next)];
    log.writer("g").unwrap().commit(Commit { appends: Vec::new(), offsets });
    let entries = entries(bench.storage.as_ref(), Space::Meta);
    let kinds: Vec<u8> = entries.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(kinds, *b"eiopst", "one of each kind");
    (bench, entries)
}

#[test]
fn a_log_keeps_its_id_and_another_has_its_own() {
    let bench = Bench::new();
    let id = bench.open().id().unwrap();
    let log = bench.open();
    log.reconnect().unwrap();
    assert_eq!(log.id().unwrap(), id);
    assert_ne!(Bench::new().open().id().unwrap(), id);
    let directory = tempfile::tempdir().unwrap();
    let on_disk = |name: &str| {
        let clock = Arc::new(ManualClock::at(0));
        let log =
            EmbeddedLog::open(&directory.path().join(name), EmbeddedSettings::default(), clock);
        log.unwrap().id().unwrap()
    };
    assert_eq!(on_disk("one"), on_disk("one"));
    assert_ne!(on_disk("one"), on_disk("other"));
}
