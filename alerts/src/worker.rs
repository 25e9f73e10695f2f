//! The thread of one endpoint: joins the group, runs a session, and joins again when it broke.
//!
//! It decides when to try again and when to stop for good; what happens within one membership is
//! the session's.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use pipeline::clock::Clock;
use pipeline::log::{GroupConfig, Log};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::delivery::Courier;
use crate::endpoint::Endpoint;
use crate::session::{End, Session};
use crate::stats::{Counters, EndpointState};

const BACKOFF_FIRST_MS: u64 = 100;
const BACKOFF_MAX_MS: u64 = 10_000;

/// How far the notifier is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Deliver.
    Running,
    /// Begin nothing; end what is under way by `deadline` on the clock, commit, leave.
    Draining {
        /// By [`Clock::elapsed`].
        deadline: Duration,
    },
    /// Leave as a crash would.
    Killed,
}

/// Tells the phase to threads and tasks.
pub(crate) type PhaseReceiver = watch::Receiver<Phase>;

/// Everything that the sessions of one endpoint share.
pub(crate) struct Worker {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) endpoint: Endpoint,
    pub(crate) group: GroupConfig,
    /// Partitions of the topics that are written to.
    pub(crate) undelivered_partitions: u32,
    pub(crate) deliveries_partitions: u32,
    pub(crate) courier: Courier,
    pub(crate) runtime: Handle,
    pub(crate) rng: ChaCha8Rng,
    /// Ends a wait early when the phase has changed.
    pub(crate) wake: Receiver<()>,
}

impl Worker {
    /// Runs until the notifier stops, the receiver disables the endpoint, or another process has
    /// its place.
    pub(crate) fn run(mut self) {
        let mut failures = 0;
        while self.phase() == Phase::Running {
            let mut session_worked = false;
            let end = match self.log.join(self.group.clone()) {
                Ok(member) => {
                    let mut session = Session::new(&mut self, member);
                    let end = session.run();
                    session_worked = session.has_committed();
                    end
                }
                Err(error) => End::Broken(error.to_string()),
            };
            failures = if session_worked { 1 } else { failures + 1 };
            if !self.goes_on(end, failures) {
                return;
            }
        }
        self.counters().set_state(EndpointState::Stopped);
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.courier.phase.borrow()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.courier.counters
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.courier.clock.as_ref()
    }

    /// A generator for one delivery.
    pub(crate) fn fresh_rng(&mut self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.rng.random())
    }

    /// Whether there is to be another session; waits before it.
    fn goes_on(&mut self, end: End, failures: u32) -> bool {
        let endpoint = self.endpoint.name.as_str();
        match end {
            End::Stopped => {
                self.counters().set_state(EndpointState::Stopped);
                return false;
            }
            End::Disabled => {
                tracing::warn!(endpoint, "disabled: the receiver answered 410");
                self.counters().set_state(EndpointState::Disabled);
                return false;
            }
            End::Fenced(reason) => {
                tracing::error!(endpoint, reason, "stopped: another process has its place");
                self.counters().set_error(format!("fenced: {reason}"));
                self.counters().set_state(EndpointState::Failed);
                return false;
            }
            End::Broken(reason) => {
                tracing::warn!(endpoint, reason, "joining the group again");
                self.counters().set_error(reason);
            }
            End::Unknown(reason) => {
                tracing::warn!(endpoint, reason, "commit unknown: connecting to the log again");
                self.counters().set_error(reason);
                if let Err(error) = self.log.reconnect() {
                    self.counters().set_error(error.to_string());
                }
            }
        }
        self.back_off(failures);
        true
    }

    fn back_off(&mut self, failures: u32) {
        let doublings = failures.saturating_sub(1).min(16);
        let bound_ms = (BACKOFF_FIRST_MS << doublings).min(BACKOFF_MAX_MS);
        let wait = Duration::from_millis(self.rng.random_range(bound_ms / 2..=bound_ms));
        match self.wake.recv_timeout(wait) {
            // Woken, or nobody is left to wake us: the phase says what to do.
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}
