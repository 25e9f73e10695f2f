//! What an endpoint has done, for people and metrics.
//!
//! Counters of this process; what must survive it is in the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// How many attempts are kept for [`EndpointStats::recent`].
const RECENT_MAX: usize = 32;

/// What an endpoint is doing.
///
/// ```text
/// Running ---410---> Disabled
///    |----fenced---> Failed
///    '-----stop----> Stopped
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// It delivers, or tries to.
    Running,
    /// The receiver answered 410: nothing is sent, the position is kept until the next start.
    Disabled,
    /// Another process has taken its place; see [`EndpointStats::last_error`].
    Failed,
    /// The notifier was stopped.
    Stopped,
}

/// One attempt, as it is shown to a person.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptReport {
    /// The `webhook-id`.
    pub webhook_id: String,
    /// Which attempt of this alert it was, from 1.
    pub attempt: u32,
    /// When it began, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The status, if the receiver answered.
    pub status: Option<u16>,
    /// What went wrong, if it did not.
    pub error: Option<String>,
    /// The first KiB of the answer.
    pub answer: String,
}

/// What an endpoint has done since the start.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStats {
    /// The endpoint.
    pub name: String,
    /// What it is doing.
    pub state: EndpointState,
    /// Alerts that the receiver answered with 2xx.
    pub delivered: u64,
    /// HTTP calls.
    pub attempts: u64,
    /// HTTP calls that were no success.
    pub failed: u64,
    /// Records that went to [`crate::UNDELIVERED_TOPIC`].
    pub undelivered: u64,
    /// Alerts of rules that the endpoint does not want.
    pub filtered: u64,
    /// Alerts that retention took before they were read: an upper bound.
    pub expired: u64,
    /// Alerts that are being sent, wait for a retry, or wait for their commit.
    pub in_flight: u64,
    /// Records between the committed position and the end of the alert topics.
    pub lag: u64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// The last attempts, newest last.
    pub recent: Vec<AttemptReport>,
}

/// The counters behind [`EndpointStats`].
#[derive(Debug)]
pub(crate) struct Counters {
    name: String,
    pub(crate) delivered: AtomicU64,
    attempts: AtomicU64,
    failed: AtomicU64,
    pub(crate) undelivered: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) lag: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    state: EndpointState,
    error: Option<String>,
    recent: VecDeque<AttemptReport>,
}

impl Counters {
    pub(crate) fn new(name: &str) -> Self {
        let state = EndpointState::Running;
        Self {
            name: name.to_owned(),
            delivered: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            undelivered: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            last: Mutex::new(Last { state, error: None, recent: VecDeque::new() }),
        }
    }

    pub(crate) fn set_state(&self, state: EndpointState) {
        self.last().state = state;
    }

    pub(crate) fn set_error(&self, error: impl Into<String>) {
        self.last().error = Some(error.into());
    }

    pub(crate) fn note_attempt(&self, report: AttemptReport) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let failure = match (report.status, &report.error) {
            (Some(200..=299), _) => None,
            (Some(status), _) => Some(format!("the receiver answered {status}")),
            (None, error) => Some(error.clone().unwrap_or_default()),
        };
        let mut last = self.last();
        if let Some(failure) = failure {
            self.failed.fetch_add(1, Ordering::Relaxed);
            last.error = Some(failure);
        }
        if last.recent.len() == RECENT_MAX {
            last.recent.pop_front();
        }
        last.recent.push_back(report);
    }

    pub(crate) fn snapshot(&self) -> EndpointStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last = self.last();
        EndpointStats {
            name: self.name.clone(),
            state: last.state,
            delivered: read(&self.delivered),
            attempts: read(&self.attempts),
            failed: read(&self.failed),
            undelivered: read(&self.undelivered),
            filtered: read(&self.filtered),
            expired: read(&self.expired),
            in_flight: read(&self.in_flight),
            lag: read(&self.lag),
            last_error: last.error.clone(),
            recent: last.recent.iter().cloned().collect(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
