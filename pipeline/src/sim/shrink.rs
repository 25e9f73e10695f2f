//! Making a failing script small: steps and records are left out as long as it still fails.

use super::{Fault, Input, Inputs, Script, Step};

/// Runs until no more is tried: each costs some milliseconds.
const RUNS_MAX: usize = 1_500;

/// A script that fails, and from which little can be left out.
#[derive(Clone)]
pub struct Shrunk {
    pub(super) script: Script,
    /// What does not hold then.
    pub faults: Vec<Fault>,
    /// What happens when it runs: steps, and what the workers hear and commit.
    pub journal: Vec<String>,
}

impl Shrunk {
    /// What happens.
    pub fn steps(&self) -> &[Step] {
        &self.script.scenario.steps
    }

    /// The records: those that are there before anything runs, then the others in order.
    pub fn records(&self) -> impl Iterator<Item = &Input> {
        let Inputs { first, rest, last, behind } = &self.script.inputs;
        first.iter().chain(rest).chain(last).chain(behind)
    }

    /// How many workers there are, on how many machines, and the partitions of each topic.
    pub fn world(&self) -> (usize, usize, u32) {
        let scenario = &self.script.scenario;
        (scenario.workers, scenario.machines, scenario.partitions)
    }
}

/// Shrinks `script` by what `play` says of it.
pub(super) fn shrink(
    script: &Script,
    play: &mut dyn FnMut(&Script) -> Vec<Fault>,
) -> Option<Shrunk> {
    let mut best = Best { faults: play(script), script: script.clone(), runs: RUNS_MAX };
    if best.faults.is_empty() {
        return None;
    }
    loop {
        let before = best.size();
        best.leave_out(play, |script| &mut script.scenario.steps);
        best.leave_out(play, |script| &mut script.inputs.rest);
        best.leave_out(play, |script| &mut script.inputs.first);
        best.leave_out(play, |script| &mut script.inputs.last);
        best.leave_out(play, |script| &mut script.inputs.behind);
        best.simplify(play);
        if best.size() == before || best.runs == 0 {
            break;
        }
    }
    Some(Shrunk { script: best.script, faults: best.faults, journal: Vec::new() })
}

struct Best {
    script: Script,
    faults: Vec<Fault>,
    runs: usize,
}

impl Best {
    fn size(&self) -> usize {
        let Script { scenario, inputs, .. } = &self.script;
        scenario.steps.len() + inputs.count()
    }

    /// Keeps `candidate` if it fails too.
    fn try_out(&mut self, candidate: Script, play: &mut dyn FnMut(&Script) -> Vec<Fault>) -> bool {
        if self.runs == 0 {
            return false;
        }
        self.runs -= 1;
        let faults = play(&candidate);
        // Another failure would lead away from the one that is looked for.
        if faults.first().map(|fault| fault.invariant) != Some(self.faults[0].invariant) {
            return false;
        }
        (self.script, self.faults) = (candidate, faults);
        true
    }

    /// Leaves out stretches of a list, long ones first (Zeller and Hildebrandt's delta debugging,
    /// without its subsets).
    fn leave_out<T: Clone>(
        &mut self,
        play: &mut dyn FnMut(&Script) -> Vec<Fault>,
        list: impl Fn(&mut Script) -> &mut Vec<T>,
    ) {
        let mut length = list(&mut self.script).len();
        while length > 0 {
            let mut from = 0;
            while from < list(&mut self.script).len() {
                let mut candidate = self.script.clone();
                let items = list(&mut candidate);
                let upto = (from + length).min(items.len());
                items.drain(from..upto);
                if !self.try_out(candidate, play) {
                    from += length;
                }
            }
            length /= 2;
        }
    }

    /// Tries calmer worlds: no trouble on the wire, fewer workers and machines.
    fn simplify(&mut self, play: &mut dyn FnMut(&Script) -> Vec<Fault>) {
        let mut calm = self.script.clone();
        calm.scenario.trouble = super::plan::Trouble::default();
        self.try_out(calm, play);
        let mut alone = self.script.clone();
        (alone.scenario.workers, alone.scenario.machines) = (1, 1);
        for step in &mut alone.scenario.steps {
            step.action = step.action.on_one_machine();
        }
        self.try_out(alone, play);
    }
}
