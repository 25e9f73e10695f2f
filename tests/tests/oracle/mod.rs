//! Kafka Streams itself as the oracle: random inputs, both sides run them, every record compared.
//!
//! A seed makes parameters and records for a topology of [`CASES`]; ours runs them in our test
//! driver, the peer's in Kafka Streams' (`tests/peers`). What comes out must be the same, record by
//! record. A difference prints its seed, the fewest records that still show it, and both outputs.
//! What differs on purpose is in `docs/kafka-streams.md`.
//!
//! `./dev oracle --seeds N [--operator X]` runs more seeds than the tests do, and goes on where it
//! stopped.

mod differences;
mod further;
mod generate;
mod peer;
mod shrink;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use further::FURTHER;
use generate::generate;
use peer::{Peer, Stores};

use crate::cases::joins::{UNORDERED, agrees, to_the_end};
use crate::cases::{Agreement, CASES, Case, Input, Output, Params, answer};

/// Seeds of each of the cases in the test command, and of each of the further topologies.
const SEEDS: u64 = 100;
const FURTHER_SEEDS: u64 = 12;

/// Requests that the peer has while ours works.
const AHEAD: usize = 4;

/// What two sides answered to one seed.
struct Difference {
    seed: u64,
    params: Params,
    records: Vec<Input>,
    ours: Vec<Output>,
    peers: Vec<Output>,
}

/// A seed that the peer was asked about, and its answer if that has come.
struct Asked {
    seed: u64,
    params: Params,
    records: Vec<Input>,
    answer: Option<Vec<Output>>,
}

/// Compares `seeds` of `case`; the first difference ends it. The peer's stores are in memory, but
/// what differs then counts only if it does with those that Kafka Streams has by default, too.
fn compare(
    peer: &mut Peer,
    case: &Case,
    seeds: std::ops::Range<u64>,
    passed: &mut dyn FnMut(u64),
) -> Result<(), Box<Difference>> {
    let mut seeds = seeds.into_iter();
    let mut asked = VecDeque::new();
    loop {
        while asked.len() < AHEAD
            && let Some(seed) = seeds.next()
        {
            let (params, records) = generate(case.name, seed);
            peer.ask(case.name, &params, &to_the_end(case, &records), Stores::Memory);
            asked.push_back(Asked { seed, params, records, answer: None });
        }
        let Some(Asked { seed, params, records, answer }) = asked.pop_front() else {
            return Ok(());
        };
        let peers = settled(case, &records, answer.unwrap_or_else(|| peer.answer()));
        let ours = ours(case, &params, &records);
        if !agrees(case, &ours, &peers) {
            for later in &mut asked {
                later.answer.get_or_insert_with(|| peer.answer());
            }
            let peers = peers_by_default(peer, case, (&params, &records));
            if !agrees(case, &ours, &peers) {
                return Err(shrunk(peer, case, Difference { seed, params, records, ours, peers }));
            }
        }
        passed(seed);
    }
}

fn ours(case: &Case, params: &Params, records: &[Input]) -> Vec<Output> {
    settled(case, records, answer(case, params, &to_the_end(case, records)))
}

/// What Kafka Streams answers with the stores that it has by default. No other answer is awaited.
fn peers_by_default(
    peer: &mut Peer,
    case: &Case,
    (params, records): (&Params, &[Input]),
) -> Vec<Output> {
    peer.ask(case.name, params, &to_the_end(case, records), Stores::RocksDb);
    settled(case, records, peer.answer())
}

/// The same difference with fewer records.
fn shrunk(peer: &mut Peer, case: &Case, found: Difference) -> Box<Difference> {
    let Difference { seed, params, records, .. } = found;
    let mut both = |records: &[Input]| {
        (ours(case, &params, records), peers_by_default(peer, case, (&params, records)))
    };
    let mut fails = |records: &[Input]| {
        let (ours, peers) = both(records);
        !agrees(case, &ours, &peers)
    };
    let records = shrink::shrink(records, &mut fails);
    let (ours, peers) = both(&records);
    Box::new(Difference { seed, params, records, ours, peers })
}

/// Where the last results are compared, those of windows that the last record does not lie in: that
/// one is far later, but Kafka Streams tells of windows that end with it at once.
fn settled(case: &Case, records: &[Input], mut outputs: Vec<Output>) -> Vec<Output> {
    if case.agreement == Agreement::Last {
        let last = records.iter().map(|record| record.timestamp).max();
        outputs.retain(|output| output.window_end < last);
    }
    outputs
}

fn explain(case: &Case, difference: &Difference) -> String {
    let Difference { seed, params, records, ours, peers } = difference;
    let mut text = format!("{} differs at seed {seed}: {params:?}\ninput:\n", case.name);
    let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    for (line, Input { topic, key, value, timestamp }) in records.iter().enumerate() {
        let (key, value) = (or_null(key), or_null(value));
        writeln!(text, "  {:3} {timestamp} {topic} {key} {value}", line + 1).unwrap();
    }
    for (whose, outputs) in [("ours", ours), ("Kafka Streams'", peers)] {
        writeln!(text, "{whose}:").unwrap();
        for Output { key, value, timestamp, window_start, window_end, line } in outputs {
            let key = or_null(key);
            let window = window_start.zip(*window_end);
            let window =
                window.map_or_else(String::new, |(start, end)| format!(" [{start}, {end}]"));
            writeln!(text, "  {line:3} {timestamp} {key}{window} {value}").unwrap();
        }
    }
    text
}

/// A longer run: how far it came with each topology is kept in a file, so that it can be stopped
/// and goes on from there, if it is still the same binary.
struct Progress {
    path: PathBuf,
    binary: String,
}

impl Progress {
    fn of(case: &Case) -> Self {
        let binary = std::env::current_exe().and_then(|path| path.metadata()?.modified());
        let binary = format!("{:?}", binary.expect("a running binary is a file"));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("oracle-{}", case.name));
        Self { path, binary }
    }

    fn next_seed(&self) -> u64 {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let next = text.strip_prefix(&self.binary).map(|seed| seed.trim().parse().unwrap());
        next.unwrap_or(0)
    }

    fn passed(&self, seed: u64) {
        if (seed + 1).is_multiple_of(100) {
            std::fs::write(&self.path, format!("{} {}", self.binary, seed + 1)).unwrap();
        }
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether `only` names the case, or its group: all before the colon, and the colon.
fn is_meant(case: &Case, only: &str) -> bool {
    only == case.name || only.ends_with(':') && case.name.starts_with(only)
}

#[test]
fn random_inputs_give_what_kafka_streams_gives() {
    let wanted = std::env::var("ORACLE_SEEDS").ok();
    let only = std::env::var("ORACLE_OPERATOR").ok();
    let wanted: Option<u64> = wanted.map(|seeds| seeds.parse().expect("a number of seeds"));
    let all = CASES.iter().chain(UNORDERED).chain(FURTHER.iter().copied().flatten());
    let cases: Vec<&Case> =
        all.filter(|case| only.as_ref().is_none_or(|only| is_meant(case, only))).collect();
    assert!(!cases.is_empty(), "no operator is called {only:?}");
    let mut peer = Peer::start();
    let mut differences = Vec::new();
    for case in &cases {
        let progress = Progress::of(case);
        let few = if case.name.contains(':') { FURTHER_SEEDS } else { SEEDS };
        let seeds = wanted.unwrap_or(few);
        let start = if wanted.is_some() { progress.next_seed().min(seeds) } else { 0 };
        let mut passed = |seed| {
            if wanted.is_some() {
                progress.passed(seed);
            }
        };
        match compare(&mut peer, case, start..seeds, &mut passed) {
            Ok(()) => println!("{:32} {seeds:7} seeds, 0 differences", case.name),
            Err(difference) => differences.push(explain(case, &difference)),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    cases.iter().for_each(|case| Progress::of(case).forget());
}

#[test]
fn the_peer_answers_what_the_cases_say() {
    let mut peer = Peer::start();
    for case in CASES.iter().chain(UNORDERED) {
        let (params, inputs, expected) = case.files();
        peer.ask(case.name, &params, &inputs, Stores::Memory);
        assert!(
            peer.answer() == expected,
            "{}: tests/peers is not what made tests/cases",
            case.name
        );
    }
}
