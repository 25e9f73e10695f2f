//! `millpond simulate`.

mod records;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use pipeline::clock::{Clock, SystemClock};
use pipeline::sim::{Run, Shrunk, SimSettings, Simulation, Subject, built_in};
use serde::Serialize;

use super::Place;
use super::print::Printer;
use crate::app::App;
use crate::error::AppError;

const EXAMPLES: &str = "\
Examples:
  millpond simulate --seeds 10000
  millpond simulate --seeds 10000 --from 6500        go on where it was interrupted
  millpond simulate --seed 4711 --shrink             the shortest schedule that fails
  millpond simulate --topology fraud --seeds 200     a topology of this binary
  millpond simulate --topology mine --records mine.jsonl

A line of --records is {\"topic\": ..., \"key\": ..., \"value\": ..., \"timestamp_ms\": ...}.";

/// Seeds between two lines about how far it is.
const TOLD_EVERY: u64 = 500;
/// Seeds that fail and are told of; the rest is counted.
const SHOWN_MAX: usize = 20;

/// Run topologies in a simulated world, where everything that can go wrong goes wrong, and compare
/// everything with an undisturbed run. No data is touched. A seed decides everything.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Simulate {
    #[command(flatten)]
    place: Place,
    /// Run this seed alone, and show its schedule.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds.
    #[arg(long, default_value_t = 100, conflicts_with = "seed")]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    from: u64,
    /// About how many steps a schedule has.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    /// A topology of this binary, in place of the small ones that have every operator.
    #[arg(long, value_name = "NAME")]
    topology: Option<String>,
    /// Records for the topology, one JSON object a line; without it, the demo's traffic.
    #[arg(long, value_name = "FILE", requires = "topology")]
    records: Option<PathBuf>,
    /// Look for the shortest schedule with which a failing seed still fails.
    #[arg(long)]
    shrink: bool,
    /// Threads; each runs seeds of its own.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

impl Simulate {
    pub(super) fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        let subjects = match &self.topology {
            None => built_in(),
            Some(name) => vec![records::subject(app, &self.place, (name, self.records.clone()))?],
        };
        let name = format!("millpond-simulate-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let mut settings = SimSettings::new(&folder);
        settings.steps = self.steps as usize;
        let answer = match self.seed {
            Some(seed) => self.run_one(seed, subjects, settings, printer),
            None => self.run_many(&subjects, &settings, printer),
        };
        // Each run has removed what it made; what is left after a kill is in a temporary folder.
        drop(std::fs::remove_dir_all(&folder));
        answer
    }

    fn run_one(
        &self,
        seed: u64,
        subjects: Vec<Subject>,
        settings: SimSettings,
        printer: &Printer,
    ) -> Result<(), AppError> {
        let simulation = Simulation::new(subjects, settings);
        let run = simulation.run(seed);
        printer
            .answer(&Told::of(&run), |_| format!("{}{}", simulation.describe(seed), told(&run)))?;
        if run.faults.is_empty() {
            return Ok(());
        }
        if self.shrink
            && let Some(shrunk) = simulation.shrink(seed)
        {
            printer.text(&describe(&shrunk))?;
        }
        Err(AppError::Failed(format!("seed {seed} fails")))
    }

    fn run_many(
        &self,
        subjects: &[Subject],
        settings: &SimSettings,
        printer: &Printer,
    ) -> Result<(), AppError> {
        let clock = SystemClock::new();
        let tally = Tally::new(self.from, self.seeds);
        let jobs = self.jobs.or_else(|| std::thread::available_parallelism().ok());
        let jobs = jobs.map_or(1, NonZeroUsize::get);
        std::thread::scope(|scope| {
            for job in 0..jobs {
                let (subjects, mut settings) = (subjects.to_vec(), settings.clone());
                settings.folder = settings.folder.join(format!("job-{job}"));
                let tally = &tally;
                scope.spawn(move || tally.work(&Simulation::new(subjects, settings), printer));
            }
        });
        let summary = tally.summary(clock.elapsed().as_secs());
        printer.answer(&summary, Summary::text)?;
        let failed = summary.failed.len();
        let Some(first) = summary.failed.first() else { return Ok(()) };
        if self.shrink {
            let simulation = Simulation::new(subjects.to_vec(), settings.clone());
            if let Some(shrunk) = simulation.shrink(first.seed) {
                printer.text(&describe(&shrunk))?;
            }
        }
        let again = self.again(first.seed);
        Err(AppError::Failed(format!("{failed} seeds fail; run the first again with `{again}`")))
    }

    fn again(&self, seed: u64) -> String {
        let mut again = format!("millpond simulate --seed {seed} --steps {}", self.steps);
        if let Some(name) = &self.topology {
            again.push_str(&format!(" --topology {name}"));
        }
        if let Some(records) = &self.records {
            again.push_str(&format!(" --records {}", records.display()));
        }
        again.push_str(" --shrink");
        again
    }
}

/// What the threads have done together.
struct Tally {
    from: u64,
    upto: u64,
    next: AtomicU64,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    seeds: u64,
    steps: u64,
    records: u64,
    by_topology: BTreeMap<String, u64>,
    failed: Vec<Told>,
}

/// A run, for programs.
#[derive(Clone, Serialize)]
struct Told {
    seed: u64,
    topology: String,
    trace: String,
    faults: Vec<String>,
}

impl Told {
    fn of(run: &Run) -> Self {
        Self {
            seed: run.seed,
            topology: run.subject.clone(),
            trace: format!("{:016x}", run.trace),
            faults: run.faults.iter().map(ToString::to_string).collect(),
        }
    }
}

/// All runs, for programs.
#[derive(Serialize)]
struct Summary {
    from: u64,
    seeds: u64,
    steps: u64,
    records: u64,
    seconds: u64,
    by_topology: BTreeMap<String, u64>,
    failed: Vec<Told>,
}

impl Tally {
    fn new(from: u64, seeds: u64) -> Self {
        let upto = from.saturating_add(seeds);
        Self { from, upto, next: AtomicU64::new(from), done: Mutex::default() }
    }

    fn work(&self, simulation: &Simulation, printer: &Printer) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.upto {
                return;
            }
            let run = simulation.run(seed);
            let line = self.add(&run);
            if let Some(line) = line.filter(|_| !printer.is_json()) {
                // Whoever reads it may have seen enough.
                drop(printer.text(&line));
            }
        }
    }

    /// Answers with a line about how far it is, now and then.
    fn add(&self, run: &Run) -> Option<String> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.seeds += 1;
        done.steps += run.steps as u64;
        done.records += run.records as u64;
        *done.by_topology.entry(run.subject.clone()).or_default() += 1;
        if !run.faults.is_empty() {
            done.failed.push(Told::of(run));
            return Some(told(run));
        }
        let seeds = done.seeds;
        seeds.is_multiple_of(TOLD_EVERY).then(|| {
            let failed = done.failed.len();
            format!("{seeds} seeds from {} on: {failed} violations", self.from)
        })
    }

    fn summary(&self, seconds: u64) -> Summary {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed = std::mem::take(&mut done.failed);
        failed.sort_by_key(|told| told.seed);
        Summary {
            from: self.from,
            seeds: done.seeds,
            steps: done.steps,
            records: done.records,
            seconds,
            by_topology: std::mem::take(&mut done.by_topology),
            failed,
        }
    }
}

impl Summary {
    fn text(&self) -> String {
        let Self { from, seeds, steps, records, seconds, by_topology, failed } = self;
        let mut text = String::new();
        for told in failed.iter().take(SHOWN_MAX) {
            let (seed, topology, faults) = (told.seed, &told.topology, told.faults.join("; "));
            text.push_str(&format!("seed {seed} ({topology}) fails: {faults}\n"));
        }
        for (topology, seeds) in by_topology {
            text.push_str(&format!("{topology:<14} {seeds} seeds\n"));
        }
        let last = (from + seeds).saturating_sub(1);
        text.push_str(&format!(
            "{seeds} seeds ({from} to {last}), {steps} steps, {records} records, {seconds} s: \
             {} violations",
            failed.len()
        ));
        text
    }
}

fn told(run: &Run) -> String {
    if run.faults.is_empty() {
        return format!("seed {} ({}) holds, trace {:016x}", run.seed, run.subject, run.trace);
    }
    let faults: Vec<String> = run.faults.iter().map(ToString::to_string).collect();
    format!("seed {} ({}) fails: {}", run.seed, run.subject, faults.join("; "))
}

fn describe(shrunk: &Shrunk) -> String {
    let (workers, machines, partitions) = shrunk.world();
    let mut text =
        format!("shrunk: {workers} workers on {machines} machines, {partitions} partitions\n");
    for input in shrunk.records() {
        let show = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or("null".to_owned(), |bytes| bytes.escape_ascii().to_string())
        };
        let (topic, key, value) = (&input.topic, show(&input.key), show(&input.value));
        text.push_str(&format!("record {topic} {key}={value} at {}\n", input.timestamp_ms));
    }
    for line in &shrunk.journal {
        text.push_str(&format!("{line}\n"));
    }
    for fault in &shrunk.faults {
        text.push_str(&format!("fails: {fault}\n"));
    }
    text
}
