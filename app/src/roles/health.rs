//! Whether the process is ready, and if not, why.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Shared;
use super::overview::Overview;

/// How many failures are remembered: the first ones say why.
const FAILURES_MAX: usize = 16;

/// Something that the process must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signal asks it to end.
    Signal,
    /// A part has failed: see [`Health::failures`].
    Failed,
}

/// What stands in the way of being ready.
#[derive(Debug)]
pub(crate) struct Health {
    stopping: AtomicBool,
    failures: Mutex<Vec<String>>,
    events: SyncSender<Event>,
}

/// The body of `/readyz`.
#[derive(Serialize)]
pub(crate) struct Ready {
    ready: bool,
    reasons: Vec<String>,
}

impl Health {
    /// Nothing stands in the way yet. `events` hears of failures.
    pub(crate) fn new(events: SyncSender<Event>) -> Self {
        Self { stopping: AtomicBool::new(false), failures: Mutex::default(), events }
    }

    /// From now on the process is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the process ends.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A part has failed and does not come back.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(reason, "a part has failed, the process ends");
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_MAX {
            failures.push(reason);
        }
        // Full means that the process is told to end already.
        let _ = self.events.try_send(Event::Failed);
    }

    /// What has failed, the first one first.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why the process is not ready; nothing if it is.
fn reasons(overview: &Overview) -> Vec<String> {
    let mut reasons = overview.health.failures();
    reasons.extend(overview.damaged_views());
    if overview.health.is_stopping() {
        reasons.push("the process is stopping".to_owned());
    }
    reasons.extend(overview.open_log.away().map(|reason| format!("no broker answers: {reason}")));
    if overview.open_log.is_shared() {
        // Which tasks run here is the group's to say; there may be none.
        reasons.extend(restoring(overview));
        return reasons;
    }
    for topology in overview.topologies.iter().filter(|topology| !topology.stats.is_empty()) {
        reasons.extend(topology.stats.iter().flat_map(|stats| stats.damage()));
        let (tasks, running) = (topology.plan.tasks().len(), topology.running_tasks());
        if running < tasks {
            let name = topology.plan.topology().name();
            reasons.push(format!("topology `{name}`: {running} of {tasks} tasks run"));
        }
    }
    reasons
}

/// The topologies whose stores are being brought up to their changelogs.
fn restoring(overview: &Overview) -> impl Iterator<Item = String> {
    overview.topologies.iter().filter_map(|topology| {
        let tasks: usize = topology.stats.iter().map(|stats| stats.restoring_tasks()).sum();
        let name = topology.plan.topology().name();
        (tasks > 0).then(|| format!("topology `{name}`: {tasks} tasks are being restored"))
    })
}

/// The process answers: it lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 if the process does its work, 503 with the reasons if not.
pub(super) async fn readyz(State(shared): State<Shared>) -> (StatusCode, Json<Ready>) {
    let reasons = reasons(&shared.overview);
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, reasons }))
}
