//! What a campaign has found, and the line that says so.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use stores::fail_point::FailPoint;

/// How many differences are told in words.
const COMPLAINTS_MAX: usize = 20;

/// What one campaign, or several, have found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Processes that were killed.
    pub kills: u64,
    /// Of these, by the name of the fail-point, those that died there.
    pub at: BTreeMap<String, u64>,
    /// Of these, those killed at a random moment.
    pub random: u64,
    /// Records that were sent and acknowledged, and lines of the file.
    pub records: u64,
    /// Records, counted in windows or alerts that are nowhere to be found.
    pub lost: u64,
    /// Those that are there more than once.
    pub doubled: u64,
    /// Windows that were compared.
    pub windows: u64,
    /// Alerts that were compared.
    pub alerts: u64,
    /// Calls that the receiver accepted.
    pub calls: u64,
    /// Of these, calls with a `webhook-id` that it had accepted before.
    pub repeats: u64,
    /// What `repeats` may be at most.
    pub repeats_max: u64,
    /// Batches that the sender sent again.
    pub retries: u64,
    /// Records of the source topic that retention has dropped meanwhile.
    pub retired: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// The first differences in words; none if all is well.
    pub complaints: Vec<String>,
}

impl Report {
    /// Whether nothing was lost, doubled or otherwise wrong.
    pub fn is_sound(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.complaints.is_empty()
            && self.repeats <= self.repeats_max
    }

    /// The fail-points at which nothing has died.
    pub fn never_reached(&self) -> Vec<FailPoint> {
        let reached = |point: &FailPoint| self.at.contains_key(point.name());
        FailPoint::ALL.iter().copied().filter(|point| !reached(point)).collect()
    }

    /// Adds what another campaign has found.
    pub fn add(&mut self, other: Self) {
        self.kills += other.kills;
        for (point, kills) in other.at {
            *self.at.entry(point).or_default() += kills;
        }
        self.random += other.random;
        self.records += other.records;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.windows += other.windows;
        self.alerts += other.alerts;
        self.calls += other.calls;
        self.repeats += other.repeats;
        self.repeats_max += other.repeats_max;
        self.retries += other.retries;
        self.retired += other.retired;
        self.elapsed_ms += other.elapsed_ms;
        other.complaints.into_iter().for_each(|complaint| self.complain(complaint));
    }

    /// Notes a difference in words.
    pub(super) fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, records, lost, doubled, random, windows, alerts, calls, .. } = self;
        writeln!(f, "{kills} kills, {records} records, {lost} lost, {doubled} doubled")?;
        let seconds = self.elapsed_ms as f64 / 1000.0;
        writeln!(
            f,
            "  {} kills at {} of {} fail-points, {random} at random moments, in {seconds:.0} s",
            kills - random,
            self.at.len(),
            FailPoint::ALL.len(),
        )?;
        writeln!(
            f,
            "  {windows} windows and {alerts} alerts are those of the model; {} batches were sent \
             again; retention dropped {} records",
            self.retries, self.retired
        )?;
        write!(
            f,
            "  {calls} webhook calls accepted, {} of them repeated (at most kills x concurrency = \
             {})",
            self.repeats, self.repeats_max
        )?;
        for complaint in &self.complaints {
            write!(f, "\n  WRONG: {complaint}")?;
        }
        Ok(())
    }
}
