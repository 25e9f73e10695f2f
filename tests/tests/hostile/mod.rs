//! Hostile bytes: whatever comes in from outside is read or refused, never a panic, a hang, or
//! memory without bound.
//!
//! Each target reads bytes. It gets the inputs of its corpus (`tests/corpus/<target>/`: what once
//! broke something, or reaches far), its own seeds (well-formed inputs that the code itself
//! makes), and mutations of both by a seeded generator, so that a run can be repeated. There is no
//! coverage feedback: it runs on stable Rust, as a test. More of it:
//!
//! ```sh
//! MILLPOND_FUZZ_SECONDS=600 cargo test --workspace --test main hostile -- --nocapture
//! ```
//!
//! `MILLPOND_FUZZ_SEED` begins elsewhere. An input that breaks a target is printed; kept in the
//! corpus under a name that says what broke, it is tried for ever. What is not here: the formats
//! that only their own crates can reach have property tests beside them (batches of the log, keys
//! and meta entries, positions of files, marks of deliveries, framing of TCP).

mod formats;
mod http;
mod lines;
mod mutate;
mod settings;
mod topologies;
mod views;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stores::clock::{Clock, SystemClock};

use self::mutate::Mutator;

/// What one input may take at most; a machine that is busy with other things is given time.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);

/// Something that reads bytes from outside.
struct Target<'a> {
    /// The name of its folder in the corpus.
    name: &'static str,
    /// Inputs that are well-formed, to be mutated.
    seeds: Vec<Vec<u8>>,
    /// The mutations in a run of the test command.
    mutations: u64,
    /// What one input may allocate at once: this many bytes, and [`ALLOCATED_PER_BYTE`] times its
    /// length. Zero is no bound, for what allocates on other threads.
    allocated_max: u64,
    /// Reads one input.
    read: &'a mut dyn FnMut(&[u8]),
}

/// Parsers build trees: a byte of JSON may become an entry of a map.
const ALLOCATED_PER_BYTE: u64 = 200;

impl Target<'_> {
    fn run(mut self) {
        let corpus = corpus(self.name);
        assert!(!corpus.is_empty() || !self.seeds.is_empty(), "{} has no inputs", self.name);
        let inputs: Vec<Vec<u8>> = corpus.into_iter().chain(self.seeds.clone()).collect();
        for input in &inputs {
            self.try_one(input);
        }
        let clock = SystemClock::new();
        let until = setting("MILLPOND_FUZZ_SECONDS").map(Duration::from_secs);
        let mut mutator = Mutator::new(setting("MILLPOND_FUZZ_SEED").unwrap_or(1), inputs);
        let mut tried = 0;
        while until.map_or(tried < self.mutations, |until| clock.elapsed() < until) {
            let input = mutator.next_input();
            self.try_one(&input);
            tried += 1;
        }
        println!("{}: {tried} mutations in {:.1?}", self.name, clock.elapsed());
    }

    fn try_one(&mut self, input: &[u8]) {
        let clock = SystemClock::new();
        let mut result = Ok(());
        let allocated = allocation_counter::measure(|| {
            result = catch_unwind(AssertUnwindSafe(|| (self.read)(input)));
        });
        let shown = input.escape_ascii();
        assert!(result.is_ok(), "{} panics on b\"{shown}\"", self.name);
        let taken = clock.elapsed();
        assert!(taken < INPUT_TIME_MAX, "{} takes {taken:?} for b\"{shown}\"", self.name);
        let bound = self.allocated_max + ALLOCATED_PER_BYTE * input.len() as u64;
        assert!(
            self.allocated_max == 0 || allocated.bytes_max <= bound,
            "{} allocates {} bytes for {} bytes: b\"{shown}\"",
            self.name,
            allocated.bytes_max,
            input.len(),
        );
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// The kept inputs of a target, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
