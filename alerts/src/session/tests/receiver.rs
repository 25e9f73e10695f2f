//! The receiver of the calls and the wire to it: calls that do not arrive, answers that do not,
//! refusals; and when each delivery is tried next, by the real schedule and the clock of the world.

use std::collections::BTreeMap;

use pipeline::log::{Log, Position, TopicPartition};
use pipeline::sim::Dice;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::delivery::{Ending, Job};
use crate::endpoint::Endpoint;
use crate::partition::{Partition, Taken};
use crate::schedule::{Reply, Schedule, Step};
use crate::undelivered::{Failure, Undelivered};

/// What has arrived of an alert.
#[derive(Debug, Default)]
pub(super) struct Heard {
    webhook_id: String,
    body: Vec<u8>,
    /// Calls that were answered with success, and the answer arrived.
    pub(super) accepted: usize,
}

/// Who is called.
#[derive(Default)]
pub(super) struct Receiver {
    /// By the alert's id.
    pub(super) heard: BTreeMap<String, Heard>,
}

impl Receiver {
    /// A call arrives: whenever it is repeated, it is the same.
    fn hear(&mut self, job: &Job) -> &mut Heard {
        let heard = self.heard.entry(job.id.clone()).or_insert_with(|| Heard {
            webhook_id: job.webhook_id.clone(),
            body: job.body.clone(),
            accepted: 0,
        });
        assert_eq!(heard.webhook_id, job.webhook_id, "another id for {}", job.id);
        assert_eq!(heard.body, job.body, "another body for {}", job.id);
        heard
    }

    /// One attempt, and what the caller hears of it.
    fn attempt(&mut self, job: &Job, dice: &mut Dice) -> Reply {
        let status = |status, wait: Option<&str>| Reply::Status {
            status,
            retry_after: wait.map(str::to_owned),
        };
        match dice.below(10) {
            0 => Reply::Error("the call did not arrive".into()),
            1 => {
                self.hear(job);
                Reply::Error("the answer did not arrive".into())
            }
            2 => {
                self.hear(job);
                status(500, None)
            }
            3 => status(503, Some("2")),
            _ => {
                self.hear(job).accepted += 1;
                status(204, None)
            }
        }
    }
}

/// An alert on its way.
pub(super) struct Delivery {
    pub(super) job: Job,
    schedule: Schedule,
    /// When it is tried next, by the wall clock.
    pub(super) due_ms: i64,
}

impl Delivery {
    /// The delivery of what lies at a place, made of it as a session does.
    pub(super) fn of(
        log: &dyn Log,
        endpoint: &Endpoint,
        (at, offset, assignment): (&TopicPartition, u64, u64),
    ) -> Self {
        let mut partition = Partition::new(at.clone(), Position::new(offset, 0), None, assignment);
        let mut reader = log.reader().unwrap();
        reader.assign(at, offset).unwrap();
        partition.push(reader.poll(std::time::Duration::ZERO).unwrap().swap_remove(0));
        let Some(Taken::Job(job)) = partition.take(endpoint, 0) else {
            panic!("{at} has no alert at {offset}")
        };
        assert_eq!(job.source.offset, offset);
        let schedule = Schedule::new(endpoint, ChaCha8Rng::seed_from_u64(offset));
        Self { job, schedule, due_ms: i64::MIN }
    }

    /// Tries once; answers with how it ended, if it has.
    pub(super) fn attempt(
        &mut self,
        receiver: &mut Receiver,
        now_ms: i64,
        dice: &mut Dice,
    ) -> Option<Ending> {
        let reply = receiver.attempt(&self.job, dice);
        match self.schedule.after(&reply, now_ms) {
            Step::Delivered => Some(Ending::Delivered),
            Step::Disable => Some(Ending::Disabled),
            Step::Retry(wait) => {
                self.due_ms = now_ms + i64::try_from(wait.as_millis()).unwrap();
                None
            }
            Step::GiveUp => {
                let failure = Failure { reason: format!("{reply:?}"), ..Failure::default() };
                let alert = (self.job.id.as_str(), &*self.job.alert);
                let source = &self.job.source;
                Some(Ending::Undelivered(Undelivered::alert("pager", source, alert, &failure, 1)))
            }
        }
    }
}
