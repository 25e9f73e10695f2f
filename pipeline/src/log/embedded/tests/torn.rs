//! Torn writes: of the last commits a part of the bytes has reached the disk, or other bytes have.
//! The file that is torn is RocksDB's own, as an open log has written it.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Commits that can be torn; each appends to two topics and moves an offset.
const COMMITS: usize = 5;
const GROUP: &str = "group";

fn open_on_disk(path: &Path) -> Arc<EmbeddedLog> {
    let clock = Arc::new(ManualClock::at(0));
    EmbeddedLog::open(path, EmbeddedSettings::default(), clock).unwrap()
}

fn places() -> [TopicPartition; 2] {
    ["first", "second"].map(|name| TopicPartition::new(name, 0))
}

/// RocksDB's log of writes that are in no other file yet: the newest one.
fn write_ahead(path: &Path) -> PathBuf {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max().unwrap()
}

/// A log with some commits, which is still open, and how long its file was after each.
struct Torn {
    directory: tempfile::TempDir,
    _log: Arc<EmbeddedLog>,
    lengths: Vec<usize>,
}

impl Torn {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = open_on_disk(directory.path());
        let places = places();
        for at in &places {
            let spec = TopicSpec { name: at.topic.to_string(), partitions: 1, cleanup: KEEP };
            log.create_topic(&spec).unwrap();
        }
        let length = || usize::try_from(fs::metadata(write_ahead(directory.path())).unwrap().len());
        let mut lengths = vec![length().unwrap()];
        for number in 1..=COMMITS {
            let value = number.to_string().repeat(20);
            let appends =
                places.iter().map(|at| (at.clone(), batch(&[("key", Some(&value))]))).collect();
            let offsets = vec![(places[0].clone(), Position::new(number as u64, 1))];
            let outcome = log.writer(GROUP).unwrap().commit(Commit { appends, offsets }).wait();
            assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
            lengths.push(length().unwrap());
        }
        Self { directory, _log: log, lengths }
    }

    /// What a start finds after `tear` has torn the file: whole commits, as many as it answers.
    fn after(&self, tear: impl FnOnce(&mut Vec<u8>)) -> usize {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let torn = write_ahead(copy.path());
        let mut bytes = fs::read(&torn).unwrap();
        tear(&mut bytes);
        fs::write(&torn, bytes).unwrap();
        let survived = commits_in(&open_on_disk(copy.path()));
        // A second start finds the same.
        assert_eq!(commits_in(&open_on_disk(copy.path())), survived);
        survived
    }

    /// The commits that lie whole in the first `length` bytes.
    fn whole(&self, length: usize) -> usize {
        self.lengths[1..].iter().filter(|end| **end <= length).count()
    }
}

/// How many commits a log has: each whole.
fn commits_in(log: &EmbeddedLog) -> usize {
    let counts = places().map(|at| read(log, &at, 0).len());
    let offset = log.committed(GROUP, &places()[..1]).unwrap()[0].map_or(0, |at| at.offset);
    assert_eq!(counts, [counts[0]; 2], "a commit is there in both topics or in none");
    assert_eq!(offset, counts[0] as u64, "and with its offsets");
    counts[0]
}

#[test]
fn of_a_commit_that_was_cut_off_nothing_is_left() {
    let torn = Torn::new();
    let (begin, end) = (torn.lengths[0], torn.lengths[COMMITS]);
    for length in (begin..end).step_by(23).chain(torn.lengths.iter().copied()) {
        let survived = torn.after(|bytes| bytes.truncate(length));
        assert_eq!(survived, torn.whole(length), "cut off at {length} of {begin} to {end}");
    }
}

#[test]
fn of_a_commit_whose_tail_is_not_what_was_written_nothing_is_left() {
    let torn = Torn::new();
    let (last, end) = (torn.lengths[COMMITS - 1], torn.lengths[COMMITS]);
    for at in (last..end).step_by(17) {
        let flipped = torn.after(|bytes| bytes[at] ^= 0x10);
        assert_eq!(flipped, COMMITS - 1, "a bit of byte {at} of {last} to {end}");
        let empty = torn.after(|bytes| bytes[at..].fill(0));
        assert_eq!(empty, COMMITS - 1, "nothing from byte {at} of {last} to {end}");
    }
}
