//! Files that are followed: growth, rotation, crashes.

use std::fs::{self, OpenOptions};
use std::io::Write;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::parser::Format;
use crate::shared_tests::{Fault, NOW_MS, TestLog};

const LINE_MAX: usize = 40;

/// A directory with a log to follow, and the log that takes its lines.
struct World {
    directory: TempDir,
    log: Arc<TestLog>,
    counters: Counters,
    format: Format,
    start: Start,
    read_bytes_max: usize,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            log: TestLog::with_topic("t", 1),
            counters: Counters::new(),
            format: Format::Lines,
            start: Start::Beginning,
            read_bytes_max: 100,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, text: &str) {
        let path = self.path("a.log");
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn settings(&self) -> FileSettings {
        let parser = ParserSettings {
            format: self.format,
            key_field: None,
            timestamp_field: None,
            line_bytes_max: LINE_MAX,
        };
        let settings = FileSettings::new("src", self.path("a.log"), "t", parser);
        FileSettings {
            read_bytes_max: self.read_bytes_max,
            start: self.start,
            rotate_wait_ms: 1000,
            poll_interval_ms: 1,
            ..settings
        }
    }

    fn tail(&self) -> FileTail {
        let log: Arc<dyn Log> = Arc::clone(&self.log) as _;
        FileTail::open(&log, self.settings(), &self.counters).unwrap()
    }

    fn values(&self) -> Vec<String> {
        self.log.values("t")
    }

    fn counted(&self, count: Count) -> u64 {
        self.counters.source("file:src").get(count)
    }
}

/// Runs until there is nothing more to do, at `now_ms`.
fn catch_up(tail: &mut FileTail, now_ms: i64) -> FileState {
    for _ in 0..1000 {
        match tail.run_once(now_ms).unwrap().state {
            FileState::More => {}
            state @ (FileState::CaughtUp | FileState::Missing) => return state,
        }
    }
    panic!("the tail does not come to rest");
}

#[test]
fn lines_are_read_as_they_come_and_a_part_of_one_waits() {
    let world = World::new();
    let mut tail = world.tail();
    assert_eq!(catch_up(&mut tail, NOW_MS), FileState::Missing);
    world.append("one\r\ntwo\n\nthr");
    assert_eq!(catch_up(&mut tail, NOW_MS), FileState::CaughtUp);
    assert_eq!(world.values(), ["one", "two"]);
    world.append("ee\n");
    catch_up(&mut tail, NOW_MS);
    assert_eq!(world.values(), ["one", "two", "three"]);
    assert_eq!((world.counted(Count::Records), world.counted(Count::Blank)), (3, 1));
}

#[test]
fn a_tail_that_is_dropped_anywhere_loses_and_doubles_nothing() {
    let world = World::new();
    let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    world.append(&(lines.join("\n") + "\n"));
    for _ in 0..100 {
        // A new one each time: what it knew is gone, what it committed is not.
        world.tail().run_once(NOW_MS).unwrap();
    }
    assert_eq!(world.values(), lines);
}

#[test]
fn an_aborted_commit_is_read_again() {
    let world = World::new();
    world.append("one\n");
    let mut tail = world.tail();
    world.log.spoil([Fault::Abort]);
    assert!(matches!(tail.run_once(NOW_MS), Err(FileError::Aborted(_))));
    catch_up(&mut tail, NOW_MS);
    assert_eq!(world.values(), ["one"]);
}

#[test]
fn an_unknown_outcome_is_resolved_by_asking_the_log() {
    for (fault, before) in [(Fault::UnknownMade, 1), (Fault::UnknownLost, 0)] {
        let world = World::new();
        world.append("one\n");
        let mut tail = world.tail();
        world.log.spoil([fault]);
        assert!(matches!(tail.run_once(NOW_MS), Err(FileError::Unknown(_))));
        assert_eq!(world.values().len(), before);
        world.append("two\n");
        catch_up(&mut tail, NOW_MS);
        assert_eq!(world.values(), ["one", "two"], "{fault:?}");
    }
}

#[test]
fn a_second_tail_of_the_same_name_fences_the_first() {
    let world = World::new();
    world.append("one\n");
    let mut first = world.tail();
    let mut second = world.tail();
    assert!(matches!(first.run_once(NOW_MS), Err(FileError::Fenced { .. })));
    catch_up(&mut second, NOW_MS);
    assert_eq!(world.values(), ["one"]);
}

#[test]
fn a_file_may_be_followed_from_its_end() {
    let world = World { start: Start::End, ..World::new() };
    world.append("old\nhalf a li");
    let mut tail = world.tail();
    catch_up(&mut tail, NOW_MS);
    // The place is in the log, although no line is: what is written while nobody looks is read.
    drop(tail);
    world.append("ne\nnew\n");
    catch_up(&mut world.tail(), NOW_MS);
    assert_eq!(world.values(), ["new"]);
    world.append("more\n");
    catch_up(&mut world.tail(), NOW_MS);
    assert_eq!(world.values(), ["new", "more"]);
    // A file that was truncated is read from its beginning: all of it is new.
    fs::write(world.path("a.log"), "t\n").unwrap();
    catch_up(&mut world.tail(), NOW_MS);
    assert_eq!(world.values(), ["new", "more", "t"]);
}

#[test]
fn a_file_that_comes_later_is_new_from_its_beginning() {
    let world = World { start: Start::End, ..World::new() };
    let mut tail = world.tail();
    assert_eq!(tail.run_once(NOW_MS).unwrap().state, FileState::Missing);
    drop(tail);
    world.append("first\n");
    catch_up(&mut world.tail(), NOW_MS);
    assert_eq!(world.values(), ["first"]);
    assert_eq!(world.counted(Count::Lost), 0);
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let world = World::new();
    let mut tail = world.tail();
    world.append("one\n");
    catch_up(&mut tail, NOW_MS);
    world.append("two\n");
    world.rename("a.log", "a.log.1");
    world.append("four\n");
    catch_up(&mut tail, NOW_MS);
    // Its writer has not been told yet.
    let mut old = OpenOptions::new().append(true).open(world.path("a.log.1")).unwrap();
    old.write_all(b"three\nlast").unwrap();
    catch_up(&mut tail, NOW_MS + 900);
    assert_eq!(world.values(), ["one", "two", "three"]);
    catch_up(&mut tail, NOW_MS + 1800);
    assert_eq!(world.values(), ["one", "two", "three"], "it has not stood still for long enough");
    catch_up(&mut tail, NOW_MS + 1900);
    assert_eq!(world.values(), ["one", "two", "three", "last", "four"]);
    assert_eq!(world.counted(Count::Rotated), 1);
}

#[test]
fn rotations_while_nobody_looked_are_followed_in_order() {
    let world = World::new();
    world.append("1\n");
    catch_up(&mut world.tail(), NOW_MS);
    let rotate = |line: &str| {
        if world.path("a.log.1").exists() {
            world.rename("a.log.1", "a.log.2");
        }
        world.rename("a.log", "a.log.1");
        world.append(line);
        // Times on disk must differ, as they do in life.
        let newest = fs::metadata(world.path("a.log.1")).unwrap().modified().unwrap();
        let file = OpenOptions::new().append(true).open(world.path("a.log")).unwrap();
        file.set_modified(newest + std::time::Duration::from_secs(1)).unwrap();
    };
    world.append("2\n");
    rotate("3\n");
    rotate("4\n");
    let mut tail = world.tail();
    for step in 0..4 {
        catch_up(&mut tail, NOW_MS + step * 1000);
    }
    assert_eq!(world.values(), ["1", "2", "3", "4"]);
}

#[test]
fn a_file_that_is_gone_is_reported_and_the_next_is_read() {
    let world = World::new();
    world.append("one\n");
    catch_up(&mut world.tail(), NOW_MS);
    fs::write(world.path("other"), "").unwrap();
    fs::remove_file(world.path("a.log")).unwrap();
    let mut tail = world.tail();
    assert_eq!(catch_up(&mut tail, NOW_MS), FileState::Missing);
    world.append("two\n");
    catch_up(&mut tail, NOW_MS);
    assert_eq!(world.values(), ["one", "two"]);
    assert_eq!(world.counted(Count::Lost) + world.counted(Count::Truncated), 1);
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let world = World::new();
    let mut tail = world.tail();
    world.append("one\ntwo\n");
    catch_up(&mut tail, NOW_MS);
    fs::write(world.path("a.log"), "3\n").unwrap();
    catch_up(&mut tail, NOW_MS);
    // Longer than before: only its bytes tell.
    fs::write(world.path("a.log"), "four\nfive\nsix\n").unwrap();
    catch_up(&mut tail, NOW_MS);
    assert_eq!(world.values(), ["one", "two", "3", "four", "five", "six"]);
    assert_eq!(world.counted(Count::Truncated), 2);
}

#[test]
fn the_rest_of_a_truncated_file_is_read_from_its_copy() {
    let world = World::new();
    world.append("one\n");
    catch_up(&mut world.tail(), NOW_MS);
    let mut tail = world.tail();
    world.append("two\n");
    fs::copy(world.path("a.log"), world.path("a.log.1")).unwrap();
    fs::write(world.path("a.log"), "3\n").unwrap();
    catch_up(&mut tail, NOW_MS);
    catch_up(&mut tail, NOW_MS + 1000);
    assert_eq!(world.values(), ["one", "two", "3"]);
}

#[test]
fn a_line_that_is_too_long_goes_to_the_dead_letters_alone() {
    for end in ["\n", "\r\n"] {
        for length in [LINE_MAX, LINE_MAX + 1, LINE_MAX + 2, 99, 100, 101, 350] {
            let world = World::new();
            let long = "x".repeat(length);
            world.append(&format!("before{end}{long}{end}after{end}"));
            for _ in 0..20 {
                world.tail().run_once(NOW_MS).unwrap();
            }
            if length <= LINE_MAX {
                assert_eq!(world.values(), ["before", &long, "after"]);
                continue;
            }
            assert_eq!(world.values(), ["before", "after"], "{length}");
            let dead = world.log.stored("t-dlq");
            assert_eq!(dead.len(), 1, "{length}");
            assert_eq!(dead[0].value, "x".repeat(LINE_MAX));
            let at = "before".len() + end.len();
            assert_eq!(dead[0].headers["__streams.errors.offset"], at.to_string());
            assert!(dead[0].headers["__streams.errors.message"].contains("line_bytes_max"));
            assert_eq!(world.counted(Count::LineTooLong), 1);
        }
    }
}

#[test]
fn lines_that_do_not_parse_are_kept_with_their_place() {
    let world = World { format: Format::Json, ..World::new() };
    world.append("{\"a\":1}\nnonsense \n{}\n");
    catch_up(&mut world.tail(), NOW_MS);
    assert_eq!(world.values(), ["{\"a\":1}", "{}"]);
    let dead = world.log.stored("t-dlq");
    assert_eq!(dead[0].value, "nonsense ");
    let path = world.path("a.log").display().to_string();
    assert_eq!(dead[0].headers["__streams.errors.topic"], path);
    assert_eq!(dead[0].headers["__streams.errors.offset"], "8");
    assert!(dead[0].headers["__streams.errors.message"].contains("not one JSON object"));
}

#[test]
fn the_year_of_a_syslog_file_is_part_of_its_position() {
    let year = "2005".parse().unwrap();
    let zone = chrono_tz::Tz::UTC;
    let world = World { format: Format::Syslog { year, zone }, read_bytes_max: 44, ..World::new() };
    world.append("Dec 31 00:00:00 h a: 1\nJan  1 00:00:00 h a: 2\n");
    for _ in 0..4 {
        world.tail().run_once(NOW_MS).unwrap();
    }
    world.append("Jan  2 00:00:00 h a: 3\n");
    catch_up(&mut world.tail(), NOW_MS);
    let times: Vec<i64> = world.log.stored("t").iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [1_135_987_200_000, 1_136_073_600_000, 1_136_160_000_000]);
}

#[test]
fn what_cannot_be_followed_is_said() {
    let world = World::new();
    fs::create_dir(world.path("a.log")).unwrap();
    let error = world.tail().run_once(NOW_MS).unwrap_err();
    assert!(matches!(error, FileError::NotAFile(_)), "{error}");

    let entry = PositionEntry::open(Arc::clone(&world.log) as _, "src".into()).unwrap();
    let mut commit = Commit::default();
    entry.set(&mut commit, b"{\"version\":9}", NOW_MS);
    world.log.writer("w").unwrap().commit(commit).wait();
    let log: Arc<dyn Log> = Arc::clone(&world.log) as _;
    let error = FileTail::open(&log, world.settings(), &world.counters).err().unwrap();
    assert!(matches!(error, FileError::Position { .. }), "{error}");
}

#[test]
fn a_thread_follows_until_it_is_dropped() {
    let world = World::new();
    world.append("one\n");
    let thread = world.tail().spawn(Arc::clone(&world.log.clock) as _).unwrap();
    while world.values().is_empty() {
        std::thread::yield_now();
    }
    world.append("two\n");
    while world.values().len() < 2 {
        std::thread::yield_now();
    }
    assert!(!thread.is_finished());
    drop(thread);
    world.append("three\n");
    assert_eq!(world.values(), ["one", "two"]);
}

/// What happens to a file and its tail.
#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Rotate,
    Run,
    Crash,
    Fault(Fault),
}

fn step() -> impl Strategy<Value = Step> {
    let fault =
        prop_oneof![Just(Fault::Abort), Just(Fault::UnknownMade), Just(Fault::UnknownLost),];
    prop_oneof![
        3 => (1..30_usize).prop_map(Step::Append),
        1 => Just(Step::Rotate),
        4 => Just(Step::Run),
        1 => Just(Step::Crash),
        1 => fault.prop_map(Step::Fault),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The model: the lines that were written, once each, in order.
    #[test]
    fn whatever_happens_each_line_is_there_once(steps in proptest::collection::vec(step(), 1..40)) {
        let world = World::new();
        let mut tail = world.tail();
        let (mut written, mut rotations, mut now_ms) = (Vec::new(), 0, NOW_MS);
        world.append("");
        for step in steps {
            match step {
                Step::Append(lines) => {
                    for _ in 0..lines {
                        written.push(format!("line {}", written.len()));
                        world.append(&format!("{}\n", written[written.len() - 1]));
                    }
                }
                Step::Rotate => {
                    // A tail that has come along so far: more than one unseen rotation depends on
                    // the resolution of the disk's times.
                    now_ms += 2000;
                    for _ in 0..50 {
                        let _ = tail.run_once(now_ms);
                        now_ms += 1000;
                    }
                    rotations += 1;
                    world.rename("a.log", &format!("a.log.{rotations}"));
                    world.append("");
                }
                Step::Run => {
                    let _ = tail.run_once(now_ms);
                }
                Step::Crash => tail = world.tail(),
                Step::Fault(fault) => world.log.spoil([fault]),
            }
        }
        for _ in 0..200 {
            let _ = tail.run_once(now_ms);
            now_ms += 500;
        }
        prop_assert_eq!(world.values(), written);
    }
}
