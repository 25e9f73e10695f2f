//! A simulated world: the real tasks, overlays, stores, followers and log, on one thread, under a
//! clock that is turned by hand, where everything that can go wrong goes wrong.
//!
//! A seed decides everything: the records, how many workers there are and on which machines, what
//! happens to them and when, and how the log misbehaves. After each run all outputs, stores,
//! indexes and alerts are compared with a `model` that nothing has disturbed. A seed that fails
//! fails again, and can be shrunk to the steps and records that it takes.
//!
//! What is real: operators, tasks, workers, state (RocksDB in memory), the embedded log with its
//! epochs, compaction and failed writes, the index follower and its indexes. What is simulated:
//! the calls between a worker and the log (`log`), machines, disks and time. Threads are not:
//! what depends on the interleaving of two of them is not found here.

mod cases;
mod check;
mod dice;
mod expect;
mod index;
mod input;
mod log;
mod model;
mod mutants;
mod plan;
mod shadow;
mod shrink;
mod subject;
mod trace;
mod truth;
mod world;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cases::built_in;
pub use dice::Dice;
pub use input::{BASE_MS, Input, Inputs, Pace, stream};
pub use mutants::Mutant;
pub use plan::{Action, Death, Step};
pub use shadow::Stored;
pub use shrink::Shrunk;
use stores::state::{StateDb, StateImage};
pub use subject::{Check, Contains, Facts, Subject};

use plan::{Scenario, Wishes};
use world::World;

/// How simulations are run.
#[derive(Clone, Debug)]
pub struct SimSettings {
    /// About how many steps a schedule has.
    pub steps: usize,
    /// In how many of a hundred seeds the indexes are kept as well: they cost most of the time.
    pub indexed_percent: u32,
    /// A folder for the indexes; it is made, and what is made in it is removed.
    pub folder: PathBuf,
    /// A broken engine to try the invariants on.
    #[doc(hidden)]
    pub mutant: Option<Mutant>,
}

impl SimSettings {
    /// Settings with `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { steps: 60, indexed_percent: 10, folder: folder.to_owned(), mutant: None }
    }
}

/// Something that must hold and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What must hold.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The topology.
    pub subject: String,
    /// What did not hold; empty if all is well.
    pub faults: Vec<Fault>,
    /// Everything that happened, as one number.
    pub trace: u64,
    /// The steps of its schedule.
    pub steps: usize,
    /// The records of its sources.
    pub records: usize,
}

/// Runs seeds, one after the other. Each thread takes one of its own.
pub struct Simulation {
    subjects: Vec<Subject>,
    settings: SimSettings,
    pool: Pool,
    runs: Cell<u64>,
}

/// Where a run keeps things.
struct Places<'a> {
    folder: &'a Path,
    pool: &'a Pool,
}

/// States that are used again: opening one takes longer than a run.
#[derive(Default)]
struct Pool {
    states: RefCell<Vec<Arc<StateDb>>>,
}

impl Pool {
    /// An empty state.
    fn take(&self) -> Arc<StateDb> {
        let kept = self.states.borrow_mut().pop();
        kept.unwrap_or_else(|| {
            let state = StateDb::in_memory();
            Arc::new(state.expect("RocksDB in memory opens as long as there is memory"))
        })
    }

    /// Takes a state back, unless somebody still has it or it cannot be emptied.
    fn put(&self, state: Arc<StateDb>) {
        if Arc::strong_count(&state) == 1 && state.load(&StateImage::default()).is_ok() {
            self.states.borrow_mut().push(state);
        }
    }
}

/// A scenario with its records.
#[derive(Clone)]
struct Script {
    scenario: Scenario,
    inputs: Inputs,
    /// Somebody wants to read what happens.
    journaled: bool,
}

/// What came of a script.
struct Outcome {
    faults: Vec<Fault>,
    trace: u64,
    journal: Vec<String>,
}

impl Simulation {
    /// Simulations of `subjects`; a seed takes one of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(subjects: Vec<Subject>, settings: SimSettings) -> Self {
        assert!(!subjects.is_empty(), "there is something to simulate");
        Self { subjects, settings, pool: Pool::default(), runs: Cell::new(0) }
    }

    /// Runs `seed`.
    pub fn run(&self, seed: u64) -> Run {
        let (subject, script) = self.script(seed);
        let outcome = self.play(subject, &script);
        Run {
            seed,
            subject: subject.name().to_owned(),
            faults: outcome.faults,
            trace: outcome.trace,
            steps: script.scenario.steps.len(),
            records: script.inputs.count(),
        }
    }

    /// What `seed` does: the world and the schedule, for people.
    pub fn describe(&self, seed: u64) -> String {
        let (subject, script) = self.script(seed);
        let Scenario { partitions, machines, workers, sync, indexed, idle, .. } = script.scenario;
        let mut text = format!(
            "{}: {workers} workers on {machines} machines, {partitions} partitions, sync {sync}, \
             indexed {indexed}, idle {idle}, {} records\n{:?}\n{:?}\n",
            subject.name(),
            script.inputs.count(),
            script.scenario.trouble,
            script.scenario.limits
        );
        for (number, step) in script.scenario.steps.iter().enumerate() {
            text.push_str(&format!("{number:>5} {step:?}\n"));
        }
        text
    }

    /// Looks for the shortest schedule with the fewest records with which `seed` still fails;
    /// `None` if it does not fail.
    pub fn shrink(&self, seed: u64) -> Option<Shrunk> {
        let (subject, script) = self.script(seed);
        let mut shrunk = shrink::shrink(&script, &mut |script| self.play(subject, script).faults)?;
        let smallest = Script { journaled: true, ..shrunk.script.clone() };
        shrunk.journal = self.play(subject, &smallest).journal;
        Some(shrunk)
    }

    fn script(&self, seed: u64) -> (&Subject, Script) {
        let count = self.subjects.len() as u64;
        let place = usize::try_from(seed % count).unwrap_or(0);
        let subject = &self.subjects[place];
        let mut dice = Dice::new(seed);
        let indexed = match self.settings.mutant {
            Some(mutant) if mutant.is_of_index() => 100,
            Some(_) => 0,
            None => self.settings.indexed_percent,
        };
        let idle = subject.idle_percent;
        let wishes = Wishes { steps: self.settings.steps, indexed, idle };
        let scenario = Scenario::new(&mut dice.fork(1), wishes);
        let inputs = (subject.inputs)(&mut dice.fork(2));
        (subject, Script { scenario, inputs, journaled: false })
    }

    fn play(&self, subject: &Subject, script: &Script) -> Outcome {
        self.runs.set(self.runs.get() + 1);
        let folder = self.settings.folder.join(format!("run-{}", self.runs.get()));
        let places = Places { folder: &folder, pool: &self.pool };
        let Script { scenario, inputs, journaled } = script;
        let world = World::new(subject, scenario, inputs, (&places, self.settings.mutant));
        let outcome = match world {
            Ok(world) => {
                world.log.wire().journal = journaled.then(Vec::new);
                self.live(world)
            }
            Err(error) => {
                let fault = Fault { invariant: "a world begins", what: error.to_string() };
                Outcome { faults: vec![fault], trace: 0, journal: Vec::new() }
            }
        };
        if scenario.indexed {
            // What is left behind is in a folder that its owner removes.
            drop(std::fs::remove_dir_all(&folder));
        }
        outcome
    }

    fn live(&self, mut world: World<'_>) -> Outcome {
        world.run();
        let mut faults = std::mem::take(&mut world.faults);
        if faults.is_empty() {
            faults = check::at_rest(&world, &self.pool);
        }
        if faults.is_empty() && world.restores() {
            let before = world.written();
            world.restore_from_nothing();
            faults = std::mem::take(&mut world.faults);
            if faults.is_empty() {
                faults = check::restored(&world, &before);
            }
        }
        let (trace, journal) = {
            let mut wire = world.log.wire();
            (wire.trace.hash(), wire.journal.take().unwrap_or_default())
        };
        self.pool.put_back(world);
        Outcome { faults, trace, journal }
    }
}

#[cfg(test)]
mod tests;
