//! One alert on its way to one endpoint: attempts until it is there, or given up.
//!
//! An async task. It does not touch the log: how it ended goes to the session, which commits it.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use pipeline::clock::Clock;
use pipeline::fail_point::{self, FailPoint};
use serde_json::value::RawValue;

use crate::caller::{Attempt, Caller};
use crate::schedule::{Reply, Schedule, Step};
use crate::stats::{AttemptReport, Counters};
use crate::undelivered::{Failure, Source, Undelivered};
use crate::worker::{Phase, PhaseReceiver};

/// An alert to deliver.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Source,
    /// Which assignment of the partition it belongs to: what an earlier one began is stale.
    pub(crate) assignment: u64,
    pub(crate) id: String,
    pub(crate) webhook_id: String,
    pub(crate) alert: Box<RawValue>,
    pub(crate) body: Vec<u8>,
}

/// A job that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) source: Source,
    pub(crate) assignment: u64,
    pub(crate) ending: Ending,
}

/// How a job ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The receiver has it.
    Delivered,
    /// It goes to the topic of the undelivered.
    Undelivered(Undelivered),
    /// The receiver wants nothing any more.
    Disabled,
    /// The notifier stops: the alert is left for its next start.
    Abandoned,
}

/// What all deliveries of an endpoint share.
#[derive(Clone)]
pub(crate) struct Courier {
    pub(crate) endpoint: Arc<str>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) phase: PhaseReceiver,
}

impl Courier {
    /// Delivers `job` and reports. The channel has room for every job that can be under way.
    pub(crate) async fn run(mut self, job: Job, schedule: Schedule, ended: SyncSender<Finished>) {
        let ending = self.deliver(&job, schedule).await;
        let Job { source, assignment, .. } = job;
        // No receiver: the session has ended, and a later one delivers the alert again.
        let _ = ended.send(Finished { source, assignment, ending });
    }

    async fn deliver(&mut self, job: &Job, mut schedule: Schedule) -> Ending {
        loop {
            if *self.phase.borrow() != Phase::Running {
                return Ending::Abandoned;
            }
            fail_point::pass(FailPoint::DeliveryBeforeCall);
            let attempt = self.caller.call(&job.webhook_id, &job.body).await;
            fail_point::pass(FailPoint::DeliveryAfterAnswer);
            let step = schedule.after(&attempt.reply, self.clock.wall_ms());
            self.note(job, &attempt, schedule.attempts());
            match step {
                Step::Delivered => return Ending::Delivered,
                Step::Disable => return Ending::Disabled,
                Step::GiveUp => return self.give_up(job, attempt, schedule.attempts()),
                Step::Retry(wait) => {
                    let stopping = self.phase.wait_for(|phase| *phase != Phase::Running);
                    // Over, or told to stop: the head of the loop knows which.
                    let _ = tokio::time::timeout(wait, stopping).await;
                }
            }
        }
    }

    fn note(&self, job: &Job, attempt: &Attempt, number: u32) {
        let (status, error) = match &attempt.reply {
            Reply::Status { status, .. } => (Some(*status), None),
            Reply::Error(error) => (None, Some(error.clone())),
        };
        tracing::debug!(
            endpoint = %self.endpoint, id = %job.webhook_id, number, status, error, "attempt"
        );
        self.counters.note_attempt(AttemptReport {
            webhook_id: job.webhook_id.clone(),
            attempt: number,
            at_ms: attempt.at_ms,
            duration_ms: attempt.duration_ms,
            status,
            error,
            answer: attempt.answer.clone(),
        });
    }

    fn give_up(&self, job: &Job, attempt: Attempt, attempts: u32) -> Ending {
        let (reason, status) = match attempt.reply {
            Reply::Status { status, .. } => {
                (format!("the receiver answered {status}"), Some(status))
            }
            Reply::Error(error) => (error, None),
        };
        tracing::warn!(
            endpoint = %self.endpoint, id = %job.webhook_id, attempts, reason, "alert undelivered"
        );
        let failure = Failure { reason, attempts, status, answer: attempt.answer };
        let alert = (job.id.as_str(), &*job.alert);
        let now_ms = self.clock.wall_ms();
        Ending::Undelivered(Undelivered::alert(
            &self.endpoint,
            &job.source,
            alert,
            &failure,
            now_ms,
        ))
    }
}
