//! What a seed decides before anything runs: how many workers and machines, their settings, which
//! kinds of trouble there are, and the schedule.
//!
//! The schedule is a list of steps, each with dice of its own: a list from which steps are left
//! out runs the others as before, so a failing one can be shrunk.

use std::fmt;

use super::dice::Dice;

/// Who dies, and what survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// One worker: its overlays and queues. Its machine's state goes on.
    Worker,
    /// All workers of one machine, and what of its state had not been flushed. The group learns of
    /// it by a session timeout.
    Machine,
    /// Everything that runs. The log keeps what it was given.
    Process,
    /// Everything that runs; log, state and indexes each lose what they had not synced.
    Power,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The next records are appended to the sources.
    Append(usize),
    /// A worker takes a turn; one that is not there joins.
    Turn(usize),
    /// A worker takes a turn and dies at its `calls`-th call of the log.
    Die {
        /// Which worker.
        worker: usize,
        /// At which call of the log; beyond the last one, after the turn.
        calls: u32,
        /// Who dies with it.
        death: Death,
    },
    /// A worker commits and leaves.
    Close(usize),
    /// A newer worker of the same name starts on another machine; the older one goes on.
    Replace(usize),
    /// The group takes a worker for dead, which is not.
    Expire(usize),
    /// An older worker that has been replaced takes a turn.
    Zombie,
    /// The group learns that dead workers are dead.
    Timeout,
    /// The next write of the log fails; it was made, or it was not.
    FailWrite(bool),
    /// The disk of the log is full.
    Full,
    /// Writes succeed again.
    Heal,
    /// The state of a machine is brought to files.
    Flush(usize),
    /// Retention and compaction.
    Clean,
    /// Repartition topics are purged up to what has been consumed.
    Purge,
    /// Time passes, in milliseconds.
    Wait(u32),
    /// The wall clock jumps by so many milliseconds; no time passes.
    Jump(i64),
    /// The index follower takes a turn.
    Follow,
    /// The index follower dies and is opened again.
    FollowerDies,
    /// Everything that is written is compared.
    Look,
}

impl Action {
    /// The same in a world of one worker on one machine.
    pub(super) fn on_one_machine(&self) -> Self {
        match self.clone() {
            Self::Turn(_) => Self::Turn(0),
            Self::Die { calls, death, .. } => Self::Die { worker: 0, calls, death },
            Self::Close(_) => Self::Close(0),
            Self::Replace(_) => Self::Replace(0),
            Self::Expire(_) => Self::Expire(0),
            Self::Flush(_) => Self::Flush(0),
            other => other,
        }
    }
}

/// A step of a schedule.
#[derive(Clone, PartialEq, Eq)]
pub struct Step {
    /// What happens.
    pub action: Action,
    /// The seed of what is left to chance in it.
    pub dice: u64,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} #{:04x}", self.action, self.dice & 0xffff)
    }
}

/// How often the log misbehaves, in percent of the calls that could.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// A poll answers with nothing, though there is something.
    pub(super) delayed: u32,
    /// A poll hands over a part of what it has got.
    pub(super) held: u32,
    /// A commit is decided, or its outcome told, some polls later.
    pub(super) late: u32,
    pub(super) aborted: u32,
    pub(super) unknown: u32,
    /// A poll fails.
    pub(super) away: u32,
}

impl Trouble {
    /// Whether calls of the log can fail.
    pub(super) fn is_with_the_log(self) -> bool {
        self.aborted + self.unknown + self.away > 0
    }
}

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) partitions: u32,
    pub(super) machines: usize,
    pub(super) workers: usize,
    pub(super) sync: bool,
    pub(super) indexed: bool,
    /// Sources that stand still are left out of the clocks' minimum.
    pub(super) idle: bool,
    pub(super) trouble: Trouble,
    pub(super) limits: Limits,
    pub(super) steps: Vec<Step>,
}

/// Bounds and intervals, small enough to matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) commit_interval_ms: u64,
    pub(super) progress_interval_ms: u64,
    pub(super) poll_records_max: usize,
    pub(super) overlay_bytes_max: usize,
    pub(super) queue_bytes_max: usize,
    pub(super) fetch_bytes_max: usize,
    pub(super) turn_ms: u32,
    pub(super) coalesce: bool,
}

/// What a scenario may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    pub(super) steps: usize,
    /// In how many of a hundred seeds the indexes are kept.
    pub(super) indexed: u32,
    /// In how many of a hundred seeds time leaves sources behind.
    pub(super) idle: u32,
}

impl Scenario {
    pub(super) fn new(dice: &mut Dice, wishes: Wishes) -> Self {
        let mut scenario = Self {
            partitions: *dice.pick(&[1, 2, 3, 3, 4]),
            machines: *dice.pick(&[1, 2, 2, 3]),
            workers: *dice.pick(&[1, 2, 2, 3, 4]),
            sync: dice.chance(25),
            indexed: dice.chance(wishes.indexed),
            idle: dice.chance(wishes.idle),
            trouble: trouble(dice),
            limits: limits(dice),
            steps: Vec::new(),
        };
        let kinds = kinds(dice, &scenario);
        let count = wishes.steps / 2 + dice.below(wishes.steps);
        scenario.steps = (0..count)
            .map(|_| Step { action: action(dice, &kinds, &scenario), dice: dice.roll() })
            .collect();
        scenario
    }
}

fn trouble(dice: &mut Dice) -> Trouble {
    let mut some = |often: u32, percent: &[u32]| {
        if dice.chance(often) { *dice.pick(percent) } else { 0 }
    };
    Trouble {
        delayed: some(50, &[10, 30]),
        held: some(50, &[20, 50]),
        late: some(60, &[20, 60, 90]),
        aborted: some(35, &[3, 10]),
        unknown: some(35, &[3, 10]),
        away: some(20, &[1, 3]),
    }
}

fn limits(dice: &mut Dice) -> Limits {
    Limits {
        commit_interval_ms: *dice.pick(&[0, 10, 30, 100]),
        progress_interval_ms: *dice.pick(&[0, 20, 100]),
        poll_records_max: *dice.pick(&[1, 3, 7, 50, 1_000]),
        overlay_bytes_max: *dice.pick(&[400, 3_000, 1 << 20, 1 << 20]),
        queue_bytes_max: *dice.pick(&[100, 1_000, 1 << 20]),
        fetch_bytes_max: *dice.pick(&[1, 300, 2_000, 1 << 20]),
        turn_ms: *dice.pick(&[1, 7, 20]),
        coalesce: !dice.chance(20),
    }
}

/// Kinds of actions with their weights: a seed has some kinds of trouble and not others, so that
/// each occurs often where it occurs.
fn kinds(dice: &mut Dice, scenario: &Scenario) -> Vec<(Kind, u32)> {
    let mut kinds = vec![
        (Kind::Append, 16),
        (Kind::Turn, 60),
        (Kind::Wait, 4),
        (Kind::Flush, 3),
        (Kind::Look, 1),
    ];
    if scenario.indexed {
        kinds.extend([(Kind::Follow, 4), (Kind::FollowerDies, 1)]);
    }
    for (kind, often, weight) in [
        (Kind::WorkerDies, 50, 4),
        (Kind::MachineDies, 50, 4),
        (Kind::ProcessDies, 35, 2),
        (Kind::PowerFails, 30, 2),
        (Kind::Close, 40, 3),
        (Kind::Replace, 35, 3),
        (Kind::Expire, 30, 2),
        (Kind::FailWrite, 30, 3),
        (Kind::Full, 15, 1),
        (Kind::Clean, 50, 4),
        (Kind::Purge, 40, 4),
        (Kind::Jump, 20, 2),
    ] {
        if dice.chance(often) {
            kinds.push((kind, weight));
        }
    }
    kinds
}

#[derive(Clone, Copy)]
enum Kind {
    Append,
    Turn,
    Wait,
    Flush,
    Look,
    Follow,
    FollowerDies,
    WorkerDies,
    MachineDies,
    ProcessDies,
    PowerFails,
    Close,
    Replace,
    Expire,
    FailWrite,
    Full,
    Clean,
    Purge,
    Jump,
}

fn action(dice: &mut Dice, kinds: &[(Kind, u32)], scenario: &Scenario) -> Action {
    let total: u32 = kinds.iter().map(|(_, weight)| weight).sum();
    let mut at = u32::try_from(dice.below(total as usize)).unwrap_or(0);
    let chosen = kinds.iter().find(|(_, weight)| {
        let here = at < *weight;
        at = at.saturating_sub(*weight);
        here
    });
    let worker = dice.below(scenario.workers);
    let mut dies = |death| Action::Die { worker, calls: 1 + dice.roll() as u32 % 14, death };
    match chosen.map_or(Kind::Turn, |(kind, _)| *kind) {
        Kind::WorkerDies => dies(Death::Worker),
        Kind::MachineDies => dies(Death::Machine),
        Kind::ProcessDies => dies(Death::Process),
        Kind::PowerFails => dies(Death::Power),
        Kind::Append => Action::Append(1 + dice.below(12)),
        Kind::Turn => Action::Turn(worker),
        Kind::Wait => Action::Wait(*dice.pick(&[1, 30, 150, 2_000, 40_000])),
        Kind::Flush => Action::Flush(dice.below(scenario.machines)),
        Kind::Look => Action::Look,
        Kind::Follow => Action::Follow,
        Kind::FollowerDies => Action::FollowerDies,
        Kind::Close => Action::Close(worker),
        Kind::Replace if dice.chance(60) => Action::Replace(worker),
        Kind::Replace => Action::Zombie,
        Kind::Expire if dice.chance(60) => Action::Expire(worker),
        Kind::Expire => Action::Timeout,
        Kind::FailWrite => Action::FailWrite(dice.chance(50)),
        Kind::Full if dice.chance(50) => Action::Full,
        Kind::Full => Action::Heal,
        Kind::Clean => Action::Clean,
        Kind::Purge => Action::Purge,
        Kind::Jump => Action::Jump(*dice.pick(&[-90_000_000, -3_600_000, 3_600_000, 90_000_000])),
    }
}
