//! The topologies that a simulation runs by itself: small ones that together have every operator.
//!
//! A new one is a function in one of the modules and a line in [`built_in`].

mod broken;
mod good;
mod held;
mod joins;
mod pairs;
mod references;
mod silence;
mod spans;
mod streams;
mod tables;
mod windows;

use super::dice::Dice;
use super::input::{Input, Pace};
use super::subject::Subject;
use crate::topology::{Topology, TopologyError};

/// All of them.
pub fn built_in() -> Vec<Subject> {
    vec![
        streams::copy(),
        streams::once(),
        streams::merged(),
        windows::groups(),
        windows::readings(),
        windows::hops(),
        tables::rows(),
        tables::totals(),
        joins::standing(),
        joins::moving(),
        broken::breaking(),
        spans::hopping(),
        spans::sliding(),
        spans::sessions(),
        spans::calendar(),
        pairs::pairs(),
        pairs::meetings(),
        pairs::as_of(),
        references::couples(),
        references::referring(),
        references::regrouped(),
        held::suppressed(),
        held::combined(),
        held::processors(),
        silence::accounts(),
        silence::advancing(),
        silence::cascade(),
    ]
}

/// A topology that its author has got right.
fn built(built: Result<Topology, TopologyError>) -> Topology {
    built.unwrap_or_else(|error| panic!("a built-in topology is wrong: {error}"))
}

/// How most inputs are spread: some hundred milliseconds apart, a few far out of order.
const PACE: Pace = Pace { step_ms: 300, jitter_ms: 3_000, outlier_ms: 40_000 };

/// Makes a few of the records bad: no value, no key, bytes that are nothing.
fn spoil(dice: &mut Dice, mut inputs: Vec<Input>) -> Vec<Input> {
    for input in &mut inputs {
        if dice.chance(4) {
            match dice.below(5) {
                0 => input.value = None,
                1 => input.value = Some(b"{\"cut".to_vec()),
                2 => input.value = Some(vec![0xff, 0x00]),
                3 => input.key = Some(vec![0xc3, 0x28]),
                _ => input.timestamp_ms = -1,
            }
        }
    }
    inputs
}
