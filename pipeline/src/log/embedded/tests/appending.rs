//! The queue, the writes of a group, and writes that fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;

use super::super::super::storage::Op;
use super::*;

const WELL: u8 = 0;
const FAILS: u8 = 1;
const FAILS_AFTER_WRITING: u8 = 2;

/// Storage whose writes fail on demand, before or after they are made.
#[derive(Default)]
struct Failing {
    inner: MemoryStorage,
    mode: AtomicU8,
}

impl Storage for Failing {
    fn place(&self) -> String {
        "a test".to_owned()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        range: (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        self.inner.scan(space, range, visit)
    }

    fn scan_around(
        &self,
        space: Space,
        range: (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        self.inner.scan_around(space, range, visit)
    }

    fn write(&self, ops: &[Op], sync: bool) -> Result<(), StorageError> {
        let mode = self.mode.load(Ordering::SeqCst);
        if mode != FAILS {
            self.inner.write(ops, sync)?;
        }
        if mode == WELL { Ok(()) } else { Err(StorageError::Failed("the disk is gone".into())) }
    }

    fn reclaim(&self, _: Space, _: (&[u8], &[u8])) -> Result<(), StorageError> {
        Ok(())
    }

    fn reopen(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

fn drain(log: &EmbeddedLog) {
    log.shared.append(log.shared.queue.take().unwrap());
}

#[test]
fn after_a_failed_write_nothing_is_appended_until_the_log_is_opened_again() {
    for (mode, survives) in [(FAILS, false), (FAILS_AFTER_WRITING, true)] {
        let storage = Arc::new(Failing::default());
        let log = Bench::new().open_queued(Arc::<Failing>::clone(&storage));
        let at = topic(&log, "topic", KEEP);
        let mut writer = log.writer("writer").unwrap();
        let mut send = |value| writer.commit(commit(&at, batch(&[("k", Some(value))])));

        storage.mode.store(mode, Ordering::SeqCst);
        let first = send("first");
        drain(&log);
        assert!(matches!(first.wait(), Outcome::Unknown(_)));
        storage.mode.store(WELL, Ordering::SeqCst);
        let second = send("second");
        drain(&log);
        assert!(matches!(second.wait(), Outcome::Aborted(_)), "it may not overtake the first");
        let spec = TopicSpec { name: "new".into(), partitions: 1, cleanup: KEEP };
        assert!(log.create_topic(&spec).is_err());
        assert!(!log.topics().unwrap().contains_key("new"));
        let waiting = send("waiting");
        log.reconnect().unwrap();
        drain(&log);
        assert!(matches!(waiting.wait(), Outcome::Aborted(_)), "it was made before");

        let third = send("third");
        drain(&log);
        let offset = appended(third.wait()).base_offset;
        assert_eq!(offset, u64::from(survives), "no offset is used twice");
        let values: Vec<_> = read(&log, &at, 0).into_iter().filter_map(|row| row.2).collect();
        let expected: &[&str] = if survives { &["first", "third"] } else { &["third"] };
        assert_eq!(values, expected);
    }
}

#[test]
fn what_waits_is_one_write() {
    let bench = Bench::new();
    let log = bench.open_queued(Arc::<MemoryStorage>::clone(&bench.storage));
    let at = topic(&log, "topic", KEEP);
    let mut writer = log.writer("writer").unwrap();
    let send = |_| writer.commit(commit(&at, batch(&[("k", None)])));
    let handles: Vec<_> = (0..10).map(send).collect();
    drain(&log);
    assert_eq!(bench.storage.unsynced(), 1);
    for (offset, handle) in (0..).zip(handles) {
        assert_eq!(appended(handle.wait()).base_offset, offset);
    }
}

#[test]
fn a_member_that_leaves_takes_its_waiting_commits_along() {
    let bench = Bench::new();
    let log = bench.open_queued(Arc::<MemoryStorage>::clone(&bench.storage));
    let at = topic(&log, "topic", KEEP);
    let topics = vec!["topic".to_owned()];
    let config = GroupConfig { group: "group".into(), instance: "a".into(), topics };
    let mut member = log.join(config).unwrap();
    let handle = member.commit(commit(&at, batch(&[("k", None)])));
    drop(member);
    drain(&log);
    assert!(matches!(handle.wait(), Outcome::Fenced(_)));
    assert_eq!(read(&log, &at, 0), []);
}

#[test]
fn a_full_queue_makes_writers_wait() {
    let mut bench = Bench::new();
    bench.settings.queue_bytes_max = 1;
    let log = bench.open_queued(Arc::<MemoryStorage>::clone(&bench.storage));
    let at = topic(&log, "topic", KEEP);
    let (sender, sent) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = log.writer("writer").unwrap();
            for offset in 1..=3 {
                // Offsets alone count too: nothing waits without a bound.
                let offsets = vec![(at.clone(), Position::new(offset, 1))];
                writer.commit(Commit { appends: Vec::new(), offsets });
                sender.send(offset).unwrap();
            }
        });
        assert_eq!(sent.recv(), Ok(1));
        for next in 2..=3 {
            let early = sent.recv_timeout(Duration::from_millis(30));
            assert!(early.is_err(), "the queue is full, yet commit {next} got in");
            drain(&log);
            assert_eq!(sent.recv(), Ok(next));
        }
    });
}

#[test]
fn closing_frees_a_writer_that_waits() {
    let mut bench = Bench::new();
    bench.settings.queue_bytes_max = 1;
    let log = bench.open_queued(Arc::<MemoryStorage>::clone(&bench.storage));
    let at = topic(&log, "topic", KEEP);
    let mut writer = log.writer("writer").unwrap();
    let first = writer.commit(commit(&at, batch(&[("k", None)])));
    thread::scope(|scope| {
        let second = scope.spawn(|| writer.commit(commit(&at, batch(&[("k", None)]))).wait());
        log.shared.queue.close();
        assert!(matches!(second.join().unwrap(), Outcome::Unknown(_)));
    });
    drain(&log);
    assert_eq!(appended(first.wait()).base_offset, 0, "what had its place is finished");
    assert!(log.shared.queue.take().is_none());
}

#[test]
fn eight_writers_at_once_keep_their_orders() {
    let directory = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings { queue_bytes_max: 64 << 10, ..EmbeddedSettings::default() };
    let log = EmbeddedLog::open(directory.path(), settings, Arc::new(ManualClock::at(0))).unwrap();
    let at = topic(&log, "topic", KEEP);
    thread::scope(|scope| {
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let (log, at) = (&log, &at);
            scope.spawn(move || {
                let mut writer = log.writer(name).unwrap();
                let send = |number: u32| {
                    let value = number.to_string();
                    writer.commit(commit(at, batch(&[(name, Some(&value))])))
                };
                for handle in (0..500).map(send).collect::<Vec<_>>() {
                    appended(handle.wait());
                }
            });
        }
    });
    let mut next: HashMap<String, u32> = HashMap::new();
    for (index, (offset, key, value)) in (0_u64..).zip(read(&log, &at, 0)) {
        assert_eq!(offset, index);
        let expected = next.entry(key).or_default();
        assert_eq!(value, Some(expected.to_string()));
        *expected += 1;
    }
    assert!(next.len() == 8 && next.values().all(|count| *count == 500), "{next:?}");
}
