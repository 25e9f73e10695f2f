//! Every damaged byte is an error that says where.

use super::*;

fn flip(bench: &Bench, space: Space, (key, value): &(Vec<u8>, Vec<u8>), index: usize) {
    let mut bad = value.clone();
    bad[index] ^= 0x10;
    bench.storage.write(&[Op::Put(space, key.clone(), bad)], true).unwrap();
}

fn mend(bench: &Bench, space: Space, (key, value): &(Vec<u8>, Vec<u8>)) {
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
        match bench.try_open() {
            // A payload is not read when the log opens.
            Ok(_) => assert!(index >= 72, "byte {index} of the header went unnoticed"),
            Err(error) => assert!(is_at(&error, "topic-0", 2), "byte {index}: {error}"),
        }
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
    let error = bench.try_open().err().unwrap();
    assert!(is_at(&error, "topic-0", 1), "{error}");
    let mut reader = log.reader().unwrap();
    reader.assign(&at, 1).unwrap();
    assert!(is_at(&reader.poll(Duration::ZERO).unwrap_err(), "topic-0", 1));
}

#[test]
fn damaged_entries_keep_the_log_shut() {
    let bench = Bench::new();
    let log = bench.open();
    let at = topic(&log, "topic", KEEP);
    let next = append(&log, &at, &[("k", None)]).next;
    log.purge(&at, 1).unwrap();
    let offsets = vec![(at.clone(), next)];
    log.writer("g").unwrap().commit(Commit { appends: Vec::new(), offsets });
    let entries = entries(bench.storage.as_ref(), Space::Meta);
    let kinds: Vec<u8> = entries.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(kinds, *b"eopst", "one of each kind");
    for entry in &entries {
        for index in 0..entry.1.len() {
            flip(&bench, Space::Meta, entry, index);
            let error = bench.try_open().err().unwrap().to_string();
            let name = entry.0.escape_ascii().to_string();
            assert!(error.contains(&name), "byte {index} of {name}: {error}");
            mend(&bench, Space::Meta, entry);
        }
    }
    bench.open();
}
