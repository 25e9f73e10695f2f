//! What the simulation has found, each as the shortest schedule that failed. None of them needs any
//! trouble.

use super::*;
use crate::sim::plan::{Limits, Trouble};

/// A world in which nothing goes wrong.
fn calm() -> Scenario {
    Scenario {
        partitions: 3,
        machines: 1,
        workers: 1,
        sync: false,
        indexed: false,
        idle: false,
        trouble: Trouble::default(),
        limits: Limits {
            commit_interval_ms: 0,
            progress_interval_ms: 0,
            poll_records_max: 1_000,
            overlay_bytes_max: 1 << 20,
            queue_bytes_max: 1 << 20,
            fetch_bytes_max: 1 << 20,
            turn_ms: 1,
            coalesce: true,
        },
        steps: Vec::new(),
    }
}

fn record(topic: &str, key: &[u8], value: &str, timestamp_ms: i64) -> Input {
    Input { key: Some(key.to_vec()), ..Input::new(topic, "", value, timestamp_ms) }
}

/// Runs a topology in `scenario`, with `actions` and then rest.
fn check(name: &str, scenario: Scenario, actions: &[Action], records: Vec<Input>) {
    check_inputs(name, scenario, actions, Inputs::as_scheduled(records));
}

fn check_inputs(name: &str, mut scenario: Scenario, actions: &[Action], inputs: Inputs) {
    let (simulation, _folder) = simulation(None);
    let subject = simulation.subjects.iter().find(|subject| subject.name() == name).unwrap();
    let step = |action: &Action| Step { action: action.clone(), dice: 0 };
    scenario.steps = actions.iter().map(step).collect();
    let script = Script { scenario, inputs, journaled: false };
    let outcome = simulation.play(subject, &script);
    assert_eq!(outcome.faults, []);
}

/// What happened within the progress interval before a silence was never told to the partitions
/// that had been told something just before.
#[test]
fn the_last_control_records_before_a_silence_are_written() {
    let mut scenario = calm();
    (scenario.limits.progress_interval_ms, scenario.limits.turn_ms) = (20, 7);
    let turns = [Action::Append(10), Action::Turn(0), Action::Turn(0), Action::Turn(0)];
    let records = vec![
        record("groups-in", b"k0", "93", BASE_MS + 32_564),
        record("groups-in", &[0xc3, 0x28], "5", BASE_MS + 33_735),
    ];
    check("sim-groups", scenario, &turns, records);
}

/// A record so late that what it might repeat is forgotten was remembered, if the commit that
/// forgets came before it: for ever, for no later commit looked there again.
#[test]
fn a_very_late_record_is_remembered_nowhere() {
    let mut scenario = calm();
    (scenario.limits.poll_records_max, scenario.limits.commit_interval_ms) = (1, 10);
    let late =
        Input { event_id: Some("e23".into()), ..record("once-in", b"k5", "19", BASE_MS + 15_763) };
    check("sim-once", scenario, &[], vec![record("once-in", b"k2", "2", BASE_MS + 35_561), late]);
}

/// Behind two repartitions a position counted before all tasks that its records may come through
/// had spoken of it.
#[test]
fn a_position_counts_when_all_tasks_have_spoken_of_it() {
    let mut scenario = calm();
    (scenario.workers, scenario.machines, scenario.limits.turn_ms) = (2, 3, 20);
    let records = vec![record("hops-in", b"k0", "5", BASE_MS + 13_016)];
    check("sim-hops", scenario, &[Action::Turn(0)], records);
}

/// An update came again, the second time too late for a record that had met it or was about to:
/// the second took the place of the first, and whether they met depended on what came first.
#[test]
fn an_update_that_comes_again_does_not_take_the_first_one_away() {
    let mut scenario = calm();
    scenario.partitions = 1;
    (scenario.limits.commit_interval_ms, scenario.limits.progress_interval_ms) = (30, 100);
    (scenario.limits.poll_records_max, scenario.limits.fetch_bytes_max) = (1, 300);
    let update = record("as-of-rows", b"k6", "26", BASE_MS + 16_141);
    let rest = vec![
        update.clone(),
        record("as-of-in", b"k7", "32", BASE_MS + 17_202),
        record("as-of-rows", b"k2", "34", BASE_MS + 23_328),
        update,
        record("as-of-in", b"k5", "35", BASE_MS + 23_063),
    ];
    let last = |topic: &str| record(topic, b"last", "-1", BASE_MS + 1_000_000);
    let last = vec![last("as-of-rows"), last("as-of-in")];
    check_inputs("sim-as-of", scenario, &[], Inputs { rest, last, ..Inputs::default() });
}
