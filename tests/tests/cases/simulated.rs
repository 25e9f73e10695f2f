//! The records of each case in the simulated world: workers that die, commits that end in doubt,
//! disks that fail. What comes out is what comes out without all that.

use pipeline::sim::{BASE_MS, Dice, Inputs, SimSettings, Simulation, Subject};

use super::joins::UNORDERED;
use super::{CASES, Case, Input};

/// Worlds for each case.
const SEEDS: u64 = 12;
/// Records of one run.
const RECORDS_MAX: usize = 120;
const DAY_MS: i64 = 86_400_000;

/// A stretch of the case's records, by whole days in the time of the simulated world.
fn excerpt(all: &[Input], dice: &mut Dice) -> Inputs {
    let first = all.iter().map(|input| input.timestamp).min().unwrap();
    let shift = BASE_MS / DAY_MS * DAY_MS - first / DAY_MS * DAY_MS;
    let count = all.len().min(RECORDS_MAX);
    let from = dice.below(all.len() - count + 1);
    let bytes = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
    let input = |input: &Input| pipeline::sim::Input {
        topic: input.topic.clone(),
        key: bytes(&input.key),
        value: bytes(&input.value),
        timestamp_ms: input.timestamp + shift,
        event_id: None,
    };
    Inputs::as_scheduled(all[from..from + count].iter().map(input).collect())
}

fn simulate(case: &Case) {
    let (params, inputs, _) = case.files();
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::new(case.topology(&params), move |dice| excerpt(&inputs, dice));
    let simulation = Simulation::new(vec![subject], SimSettings::new(folder.path()));
    let mut records = 0;
    for seed in 0..SEEDS {
        let run = simulation.run(seed);
        let faults: Vec<String> = run.faults.iter().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "{}, seed {seed}: {}", case.name, faults.join("; "));
        records += run.records;
    }
    println!("{}: {SEEDS} seeds, {records} records, 0 violations", case.name);
}

#[test]
fn every_case_holds_in_the_simulated_world() {
    CASES.iter().chain(UNORDERED).for_each(simulate);
}
