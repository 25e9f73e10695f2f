//! Real faults: a process whose disk, files or time go wrong, under traffic.
//!
//! Each test says what must hold and what the process must say; `docs/operations.md` tells the
//! same to whoever runs one. Results are compared as after the kills of `crashes`.

mod clock;
mod damage;
mod disk;
mod stopping;

use std::path::{Path, PathBuf};

use tests::crashes::process::{Holder, Start};
use tests::crashes::{Campaign, Report, Stage};

fn binary() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_crashes")).to_owned()
}

/// What a fault is done to, and that nothing is lost or doubled by it.
fn survive(disturb: impl FnOnce(&mut Stage) -> anyhow::Result<()>) -> Report {
    let directory = tempfile::tempdir().unwrap();
    survive_in(directory.path(), disturb)
}

fn survive_in(directory: &Path, disturb: impl FnOnce(&mut Stage) -> anyhow::Result<()>) -> Report {
    let directory = directory.to_owned();
    let campaign = Campaign { binary: binary(), directory, seed: 7, kills: 0, threads: 2 };
    let report = campaign.disturbed(disturb).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.is_sound(), "{report}");
    assert!(report.records > 0, "{report}");
    report
}

/// A process on a directory of its own, without traffic.
struct Quiet {
    _directory: tempfile::TempDir,
    start: Start,
}

impl Quiet {
    fn new(settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, data_dir) =
            (directory.path().join("millpond.toml"), directory.path().join("data"));
        let text = format!(
            "data_dir = \"{}\"\nmemory_mib = 80\n{settings}\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [topics.payments]\nkey_field = \"card\"\ntimestamp_field = \"ts\"\npartitions = 2\n",
            data_dir.display()
        );
        std::fs::write(&config, text).unwrap();
        let messages = directory.path().join("messages.txt");
        let start = Start { binary: binary(), config, data_dir, messages };
        Self { _directory: directory, start }
    }
}

/// Sends payments with the ids, each in a batch of its own; the cards take turns.
fn send(holder: &Holder, ids: std::ops::Range<u64>) -> Vec<u16> {
    use tests::crashes::http::{Request, ask};
    let headers = [("content-type", "application/json")];
    let status = |id: u64| {
        let payment = tests::crashes::ledger::Payment {
            id,
            card: format!("card-{}", id % 8),
            region: "north".to_owned(),
            cents: 1,
            ts: 1_700_000_000_000 + i64::try_from(id).unwrap(),
            note: note(id),
        };
        let body = serde_json::to_vec(&payment).unwrap();
        let line = "POST /v1/topics/payments";
        ask(holder.address, Request { line, headers: &headers, body: &body })
            .map_or(0, |a| a.status)
    };
    ids.map(status).collect()
}

/// A text that no compression shortens, and that is not there twice.
fn note(id: u64) -> String {
    let mut state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + u8::try_from(state % 90).unwrap())
    };
    (0..700).map(|_| next()).filter(|c| !matches!(c, '"' | '\\')).collect()
}

/// Says, in the output of a test that passes too, that something was not looked at.
fn not_checked(what: &str, why: &str) {
    use std::io::Write as _;
    let bar = "!".repeat(80);
    let text = format!("\n{bar}\nNOT CHECKED: {what}: {why}\n{bar}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
