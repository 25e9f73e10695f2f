//! Kafka Streams itself as the oracle: random inputs, both sides run them, every record compared.
//!
//! A seed makes parameters and records for a topology of [`CASES`]; ours runs them in our test
//! driver, the peer's in Kafka Streams' (`tests/peers`). What comes out must be the same, record by
//! record. A difference prints its seed, the fewest records that still show it, and both outputs.
//! What differs on purpose is in `docs/kafka-streams.md`.
//!
//! `./dev oracle --seeds N [--operator X]` runs more seeds than the tests do, and goes on where it
//! stopped.

mod generate;
mod peer;
mod shrink;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use generate::generate;
use peer::Peer;

use crate::cases::joins::{UNORDERED, agrees, to_the_end};
use crate::cases::{CASES, Case, Input, Output, Params, answer};

/// Seeds of each topology in the test command.
const SEEDS: u64 = 100;

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

/// Compares `seeds` of `case`; the first difference ends it.
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
            peer.ask(case.name, &params, &to_the_end(case, &records));
            asked.push_back((seed, params, records));
        }
        let Some((seed, params, records)) = asked.pop_front() else { return Ok(()) };
        let ours = answer(case, &params, &to_the_end(case, &records));
        let peers = peer.answer();
        if !agrees(case, &ours, &peers) {
            asked.iter().for_each(|_| drop(peer.answer()));
            return Err(shrunk(peer, case, Difference { seed, params, records, ours, peers }));
        }
        passed(seed);
    }
}

/// The same difference with fewer records.
fn shrunk(peer: &mut Peer, case: &Case, found: Difference) -> Box<Difference> {
    let Difference { seed, params, records, .. } = found;
    let mut both = |records: &[Input]| {
        let records = to_the_end(case, records);
        peer.ask(case.name, &params, &records);
        (answer(case, &params, &records), peer.answer())
    };
    let mut fails = |records: &[Input]| {
        let (ours, peers) = both(records);
        !agrees(case, &ours, &peers)
    };
    let records = shrink::shrink(records, &mut fails);
    let (ours, peers) = both(&records);
    Box::new(Difference { seed, params, records, ours, peers })
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

#[test]
fn random_inputs_give_what_kafka_streams_gives() {
    let wanted = std::env::var("ORACLE_SEEDS").ok();
    let only = std::env::var("ORACLE_OPERATOR").ok();
    let seeds = wanted.as_ref().map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let all = CASES.iter().chain(UNORDERED);
    let cases: Vec<&Case> =
        all.filter(|case| only.as_ref().is_none_or(|only| only == case.name)).collect();
    assert!(!cases.is_empty(), "no operator is called {only:?}");
    let mut peer = Peer::start();
    let mut differences = Vec::new();
    for case in &cases {
        let progress = Progress::of(case);
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
        peer.ask(case.name, &params, &inputs);
        assert!(
            peer.answer() == expected,
            "{}: tests/peers is not what made tests/cases",
            case.name
        );
    }
}
