//! A disk that is full or read-only, and a process that may open no more files.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::crashes::Stage;
use tests::crashes::process::{Process, eventually};

use super::{Quiet, not_checked, send, survive_in};

/// A file system of its own size, in memory; unmounted in the end.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    /// `None` if this user may not mount.
    fn mount(path: &'a Path, size: &str) -> Option<Self> {
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &option, "millpond-test"]).arg(path);
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(path))
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &how]).arg(self.0).status().unwrap();
        assert!(done.success(), "{how}");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // What cannot be unmounted is gone with the machine.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

const NO_MOUNT: &str = "this user may not mount a file system; run the tests as root";

/// Ends when the process has, and gives back what it said since `from`.
fn last_words(process: &mut Process, messages: &dyn Fn() -> String) -> String {
    let status = process.ended_within(Duration::from_secs(30)).unwrap();
    let said = messages();
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

/// Fills the disk to the last byte.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    while file.write_all(&[7]).is_ok() {}
}

#[test]
fn a_full_disk_ends_the_process_with_the_cause_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = Disk::mount(directory.path(), "160m") else {
        return not_checked("a full disk", NO_MOUNT);
    };
    let ballast = directory.path().join("ballast");
    let report = survive_in(directory.path(), |stage: &mut Stage| {
        stage.flow(2_000)?;
        fill(&ballast);
        let start = stage.start.clone();
        let said = last_words(&mut stage.process, &|| start.messages());
        assert!(said.starts_with("error: "), "{said}");
        // A thread of the index's own does not pass on why it has ended: then the view is named.
        let is_index = said.contains("An index writer was killed") && said.contains("`regions`");
        let is_named = said.contains("No space left on device") && said.contains("/data/");
        assert!(is_index || is_named, "{said}");
        // What the process had set aside for itself is free now.
        let more = directory.path().join("more");
        fill(&more);
        let mut refused = start.process(None)?;
        let said = last_words(&mut refused, &|| start.messages());
        assert!(said.contains("is full: "), "{said}");
        std::fs::remove_file(&ballast)?;
        std::fs::remove_file(&more)?;
        stage.revive()?;
        stage.flow(500)
    });
    println!("{report}");
}

#[test]
fn a_read_only_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(directory.path(), "96m") else {
        return not_checked("a read-only directory", NO_MOUNT);
    };
    let quiet = Quiet::new("");
    let mut start = quiet.start.clone();
    let text = std::fs::read_to_string(&start.config).unwrap();
    let data_dir = directory.path().join("data");
    let (old, new) = (start.data_dir.display().to_string(), data_dir.display().to_string());
    std::fs::write(&start.config, text.replace(&old, &new)).unwrap();
    start.data_dir = data_dir;
    let mut process = start.process(None).unwrap();
    process.holder_or_end().unwrap();
    process.stop().unwrap();
    disk.remount("ro");
    let mut refused = start.process(None).unwrap();
    let said = last_words(&mut refused, &|| start.messages());
    assert!(said.contains("/data/millpond.lock`: Read-only file system"), "{said}");
    disk.remount("rw");
    let mut process = start.process(None).unwrap();
    process.holder_or_end().unwrap();
    process.stop().unwrap();
}

/// The binary behind a shell that lets it have `most` files open.
fn limited(binary: &Path, most: u64) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]).arg(binary);
    command
}

#[test]
fn too_few_files_for_a_start_are_named() {
    let quiet = Quiet::new("");
    let command = limited(&quiet.start.binary, 20);
    let mut process = quiet.start.process_in(None, command).unwrap();
    let said = last_words(&mut process, &|| quiet.start.messages());
    assert!(said.contains("Too many open files"), "{said}");
}

#[test]
fn connections_beyond_the_limit_take_no_files_from_the_rest() {
    const CONNECTIONS_MAX: u64 = 8;
    let quiet = Quiet::new("");
    let text = std::fs::read_to_string(&quiet.start.config).unwrap();
    let limit = format!("[http]\nconnections_max = {CONNECTIONS_MAX}");
    std::fs::write(&quiet.start.config, text.replace("[http]", &limit)).unwrap();
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    assert_eq!(send(&holder, 0..20), [200; 20]);
    let at_rest = files_of(&process);
    process.stop().unwrap();

    // What the process needs for itself, and not one for each of the crowd.
    let command = limited(&quiet.start.binary, at_rest + CONNECTIONS_MAX + 40);
    let mut process = quiet.start.process_in(None, command).unwrap();
    let holder = process.holder_or_end().unwrap();
    let crowd: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(holder.address).unwrap()).collect();
    let ended = process.ended_within(Duration::from_secs(1)).unwrap();
    assert_eq!(ended, None, "{}", quiet.start.messages());
    assert!(files_of(&process) <= at_rest + CONNECTIONS_MAX + 20, "the crowd waits outside");
    drop(crowd);
    // The places of the crowd are free a moment later.
    let first = || Ok((send(&holder, 20..21) == [200]).then_some(()));
    eventually("a free place", first).unwrap();
    assert_eq!(send(&holder, 21..40), [200; 19]);
    let documents = holder.documents("regions", &holder.token("payments").unwrap()).unwrap();
    assert_eq!(documents.iter().map(|one| one["count"].as_u64().unwrap()).sum::<u64>(), 40);
    process.stop().unwrap();
}

/// How many files a process has open.
fn files_of(process: &Process) -> u64 {
    std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count() as u64
}
