//! The simulation of itself: seeds hold, repeat, shrink; mutants are caught.

mod regressions;

use super::*;

fn simulation(mutant: Option<Mutant>) -> (Simulation, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = SimSettings::new(folder.path());
    settings.mutant = mutant;
    (Simulation::new(built_in(), settings), folder)
}

#[test]
fn the_first_seeds_hold() {
    let (simulation, _folder) = simulation(None);
    for seed in 0..300 {
        let run = simulation.run(seed);
        let faults: Vec<String> = run.faults.iter().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "seed {seed} ({}): {}", run.subject, faults.join("; "));
    }
}

/// Seeds within which every mutant must be caught.
const MUTANT_SEEDS: u64 = 1_200;

#[test]
fn every_mutant_is_caught() {
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        let (simulation, _folder) = simulation(Some(mutant));
        let caught =
            (0..MUTANT_SEEDS).map(|seed| simulation.run(seed)).find(|run| !run.faults.is_empty());
        match caught {
            Some(run) => println!(
                "{mutant:?}: seed {} ({}): {}",
                run.seed, run.subject, run.faults[0].invariant
            ),
            None => survivors.push(mutant),
        }
    }
    assert!(survivors.is_empty(), "not caught within {MUTANT_SEEDS} seeds: {survivors:?}");
}

/// Every topology twice, in simulations that share nothing: each step, each thing that a worker
/// hears, each commit and each record of the log is the same.
#[test]
fn a_seed_does_the_same_again() {
    let play = |seed: u64| {
        let (simulation, _folder) = simulation(None);
        let (subject, mut script) = simulation.script(seed);
        script.journaled = true;
        simulation.play(subject, &script)
    };
    for seed in 0..built_in().len() as u64 {
        let (first, second) = (play(seed), play(seed));
        assert!(first.journal.len() > 10, "seed {seed} does something");
        let differs = first.journal.iter().zip(&second.journal).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.journal.len(), second.journal.len(), "seed {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_ne!(first.trace, play(seed + built_in().len() as u64).trace, "seed {seed}");
    }
}

#[test]
fn a_failing_seed_is_shrunk_to_little() {
    let (simulation, _folder) = simulation(Some(Mutant::ChangelogMissed));
    let failing = (0..MUTANT_SEEDS).find(|seed| !simulation.run(*seed).faults.is_empty());
    let shrunk = simulation.shrink(failing.unwrap()).unwrap();
    assert!(!shrunk.faults.is_empty());
    let (steps, records) = (shrunk.steps().len(), shrunk.records().count());
    assert!(steps <= 8 && records <= 10, "{steps} steps, {records} records");
}
