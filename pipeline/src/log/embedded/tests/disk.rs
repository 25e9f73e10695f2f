//! On RocksDB: who holds the directory, how large it gets, how fast it is.

use super::*;
use crate::clock::SystemClock;

const BATCH_BYTES: usize = 50_000;

fn open(path: &Path) -> Result<Arc<EmbeddedLog>, LogError> {
    EmbeddedLog::open(path, EmbeddedSettings::default(), Arc::new(SystemClock::new()))
}

fn directory_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// What the directory has once it has less than `most` bytes, or after half a minute: RocksDB
/// deletes no file while a flush or a compaction runs that began before the file was dropped.
fn bytes_when_below(most: u64, path: &Path) -> u64 {
    let clock = SystemClock::new();
    loop {
        let bytes = directory_bytes(path);
        if bytes < most || clock.elapsed() > Duration::from_secs(30) {
            return bytes;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Appends `count` batches that do not compress, some at a time.
fn fill(log: &EmbeddedLog, at: &TopicPartition, count: u64) {
    let mut writer = log.writer("fill").unwrap();
    let mut send = |seed| {
        let mut builder = BatchBuilder::new();
        builder.push(0, Some(b"key"), Some(&noise(seed, BATCH_BYTES)), &[]);
        writer.commit(commit(at, builder))
    };
    let handles: Vec<_> = (0..count).map(|number| send(number + 1)).collect();
    for handle in handles {
        appended(handle.wait());
    }
}

#[test]
fn a_directory_has_one_holder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/log");
    let log = open(&path).unwrap();
    let at = topic(&log, "topic", KEEP);
    append(&log, &at, &[("a", None)]);
    let error = open(&path).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, LogError::Held(_)), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains("deep/log"), "{text}");
    log.reconnect().unwrap();
    assert!(matches!(open(&path).err(), Some(LogError::Held(_))), "held across a reopening");
    drop(log);
    assert_eq!(read(&open(&path).unwrap(), &at, 0).len(), 1);
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = open(&file.join("log")).err().unwrap().to_string();
    assert!(error.contains("file/log"), "{error}");
}

#[test]
fn retention_gives_the_disk_its_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: Some(20 << 20) };
    let at = topic(&log, "topic", cleanup);
    fill(&log, &at, 4_000);
    let full = directory_bytes(directory.path());
    assert!(full > 150 << 20, "nothing is dropped before cleaning: {full} bytes");
    log.clean().unwrap();
    let bytes = bytes_when_below(60 << 20, directory.path());
    println!("200 MB written, 20 MB kept: {full} bytes on disk, then {bytes}");
    assert!(bytes < 60 << 20, "{bytes} bytes");
    let start = log.range(&at).unwrap().start;
    let mut reader = log.reader().unwrap();
    reader.assign(&at, start).unwrap();
    let first = reader.poll(Duration::ZERO).unwrap().swap_remove(0);
    assert_eq!(first.records().next().unwrap().value, Some(&noise(start + 1, BATCH_BYTES)[..]));
}

#[test]
fn retention_in_small_steps_bounds_the_disk_too() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: Some(20 << 20) };
    let at = topic(&log, "topic", cleanup);
    let mut peak = 0;
    for _ in 0..40 {
        fill(&log, &at, 150);
        log.clean().unwrap();
        peak = peak.max(directory_bytes(directory.path()));
    }
    println!("300 MB written in steps of 7.5 MB, 20 MB kept: {peak} bytes on disk at most");
    assert!(peak < 180 << 20, "{peak} bytes");
}

#[test]
fn compaction_gives_the_disk_its_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    let at = topic(&log, "topic", Cleanup::Compact);
    for _ in 0..4 {
        fill(&log, &at, 1_000);
        log.clean().unwrap();
    }
    let bytes = bytes_when_below(120 << 20, directory.path());
    println!("200 MB of one key written and compacted: {bytes} bytes on disk");
    assert!(bytes < 120 << 20, "{bytes} bytes");
    assert!(log.partition_bytes(&at).unwrap() < 1 << 20);
}

#[test]
fn opening_reads_little() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    let at = topic(&log, "topic", KEEP);
    fill(&log, &at, 6_000);
    let (bytes, range) = (log.partition_bytes(&at).unwrap(), log.range(&at).unwrap());
    drop(log);
    let clock = SystemClock::new();
    let log = open(directory.path()).unwrap();
    let took = clock.elapsed();
    println!("opening {bytes} bytes in 6,000 batches took {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(log.partition_bytes(&at).unwrap(), bytes);
    assert_eq!(log.range(&at).unwrap().end.offset, range.end.offset);
}

#[test]
fn appending_is_fast() {
    const BATCHES: u64 = 1_000;
    const RECORDS: u64 = 1_000;
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    let at = topic(&log, "topic", KEEP);
    let mut writer = log.writer("writer").unwrap();
    let clock = SystemClock::new();
    let mut handles = Vec::new();
    let mut bytes = 0;
    for number in 0..BATCHES {
        let mut builder = BatchBuilder::new();
        for record in 0..RECORDS {
            let key = (number * RECORDS + record).to_le_bytes();
            let value =
                [b"{\"amount\":12.5,\"country\":\"CH\",\"card\":\"", &key[..], b"\"}"].concat();
            builder.push(0, Some(&key), Some(&value), &[]);
        }
        bytes += builder.bytes();
        handles.push(writer.commit(commit(&at, builder)));
    }
    for handle in handles {
        appended(handle.wait());
    }
    let seconds = clock.elapsed().as_secs_f64();
    let rate = (BATCHES * RECORDS) as f64 / seconds;
    println!("{rate:.0} records/s, {:.0} MB/s appended", bytes as f64 / 1e6 / seconds);
    assert_eq!(log.range(&at).unwrap().end.offset, BATCHES * RECORDS);
    assert!(rate > 20_000.0, "{rate} records/s");
}
