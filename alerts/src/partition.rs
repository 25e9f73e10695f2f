//! One assigned partition of an alert topic: records in, jobs out, progress in between.
//!
//! Makes no calls and no commits; it knows what is queued, under way, and done.

use std::collections::{BTreeMap, VecDeque};

use pipeline::log::{Batch, BatchCursor, Commit, Fetched, Position, RecordRef, TopicPartition};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::AbortHandle;

use crate::alert::{Alert, AlertError};
use crate::delivery::{Ending, Finished, Job};
use crate::endpoint::Endpoint;
use crate::progress::Progress;
use crate::undelivered::{Failure, Source, Undelivered};

/// The header that marks a control record: it is for tasks, not for people.
const CONTROL_HEADER: &str = "mp.c";

/// What became of the next record.
pub(crate) enum Taken {
    /// Nothing to do: a control record, or delivered before.
    Skipped,
    /// An alert of a rule that the endpoint does not want.
    Filtered,
    /// An alert to deliver.
    Job(Job),
    /// It cannot be delivered; it waits for its commit.
    Undelivered,
}

/// See the module.
pub(crate) struct Partition {
    pub(crate) at: TopicPartition,
    pub(crate) assignment: u64,
    pub(crate) progress: Progress,
    /// What the log has.
    committed: Progress,
    /// Whether the log has marks beside the offset.
    marked: bool,
    epoch: u32,
    queue: VecDeque<(Batch, BatchCursor)>,
    calls: BTreeMap<u64, AbortHandle>,
    /// Done, not yet part of a commit; with what there is to append.
    done: Vec<Option<Undelivered>>,
    /// Done, part of the commit under way.
    committing: usize,
}

/// What a commit says of a partition, to be taken over when the log has accepted it.
pub(crate) struct Snapshot {
    pub(crate) assignment: u64,
    pub(crate) progress: Progress,
    pub(crate) undelivered: Vec<Undelivered>,
    delivered: usize,
    /// Marks to write (`Some(true)`), to delete (`Some(false)`), or to leave.
    pub(crate) mark: Option<bool>,
}

impl Partition {
    pub(crate) fn new(
        at: TopicPartition,
        position: Position,
        marks: Option<Progress>,
        assignment: u64,
    ) -> Self {
        let marked = marks.is_some();
        let progress = marks.unwrap_or_else(|| Progress::at(position.offset));
        Self {
            at,
            assignment,
            committed: progress.clone(),
            progress,
            marked,
            epoch: position.epoch,
            queue: VecDeque::new(),
            calls: BTreeMap::new(),
            done: Vec::new(),
            committing: 0,
        }
    }

    /// Takes in what the log has fetched.
    pub(crate) fn push(&mut self, fetched: Fetched) {
        self.epoch = self.epoch.max(fetched.batch.epoch());
        let cursor = fetched.cursor();
        self.queue.push_back((fetched.batch, cursor));
    }

    /// Whether records wait.
    pub(crate) fn is_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Alerts that are under way or wait for their commit.
    pub(crate) fn in_flight(&self) -> usize {
        self.progress.open() + self.done.len() + self.committing
    }

    /// Handles the next record as far as that goes without a call; `None` when none waits.
    pub(crate) fn take(&mut self, endpoint: &Endpoint, now_ms: i64) -> Option<Taken> {
        loop {
            let (batch, cursor) = self.queue.front_mut()?;
            let Some(record) = cursor.peek(batch) else {
                self.queue.pop_front();
                continue;
            };
            let wanted = self.progress.begin(record.offset);
            let source = Source { at: self.at.clone(), offset: record.offset };
            let taken = if wanted {
                classify(record, source, (endpoint, self.assignment), now_ms)
            } else {
                Class::Skipped
            };
            cursor.advance(batch);
            return Some(self.enter(taken));
        }
    }

    fn enter(&mut self, class: Class) -> Taken {
        match class {
            Class::Skipped => Taken::Skipped,
            Class::Control(offset) => {
                self.progress.done(offset);
                Taken::Skipped
            }
            Class::Filtered(offset) => {
                self.progress.done(offset);
                Taken::Filtered
            }
            Class::Undelivered(offset, undelivered) => {
                self.progress.done(offset);
                self.done.push(Some(undelivered));
                Taken::Undelivered
            }
            Class::Job(job) => Taken::Job(job),
        }
    }

    /// Notes the task that delivers the alert at `offset`.
    pub(crate) fn calling(&mut self, offset: u64, task: AbortHandle) {
        self.calls.insert(offset, task);
    }

    /// The offsets of the deliveries that have not ended.
    #[cfg(test)]
    pub(crate) fn under_way(&self) -> Vec<u64> {
        self.calls.keys().copied().collect()
    }

    /// How many deliveries have not ended.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Notes the end of a delivery.
    pub(crate) fn finish(&mut self, finished: Finished) {
        let offset = finished.source.offset;
        self.calls.remove(&offset);
        match finished.ending {
            Ending::Delivered => {
                self.progress.done(offset);
                self.done.push(None);
            }
            Ending::Undelivered(undelivered) => {
                self.progress.done(offset);
                self.done.push(Some(undelivered));
            }
            // They stay open: the position is kept before them.
            Ending::Disabled | Ending::Abandoned => {}
        }
    }

    /// Whether a result waits for its commit.
    pub(crate) fn has_results(&self) -> bool {
        !self.done.is_empty()
    }

    /// Whether the log does not have all of the progress.
    pub(crate) fn is_dirty(&self) -> bool {
        self.has_results() || self.progress.next() != self.committed.next()
    }

    /// The position to commit.
    pub(crate) fn position(&self) -> Position {
        Position::new(self.progress.next(), self.epoch)
    }

    /// What a commit now says; the results are part of it from here on.
    pub(crate) fn snapshot(&mut self, commit: &mut Commit) -> Snapshot {
        assert_eq!(self.committing, 0, "one commit at a time");
        let done = std::mem::take(&mut self.done);
        self.committing = done.len();
        commit.offsets.push((self.at.clone(), self.position()));
        let delivered = done.iter().filter(|result| result.is_none()).count();
        let is_ahead = self.progress.is_ahead();
        Snapshot {
            assignment: self.assignment,
            progress: self.progress.clone(),
            undelivered: done.into_iter().flatten().collect(),
            delivered,
            mark: (is_ahead || self.marked).then_some(is_ahead),
        }
    }

    /// The log has accepted `snapshot`. Answers with what it delivered, and what it gave up.
    pub(crate) fn committed(&mut self, snapshot: Snapshot) -> (u64, u64) {
        let undelivered = self.committing - snapshot.delivered;
        self.committing = 0;
        self.committed = snapshot.progress;
        self.marked = snapshot.mark.unwrap_or(self.marked);
        (snapshot.delivered as u64, undelivered as u64)
    }

    /// Ends the calls under way: the partition goes to somebody else.
    pub(crate) fn abort(&mut self) {
        for task in std::mem::take(&mut self.calls).into_values() {
            task.abort();
        }
    }
}

enum Class {
    Skipped,
    Control(u64),
    Filtered(u64),
    Job(Job),
    Undelivered(u64, Undelivered),
}

fn classify(
    record: RecordRef<'_>,
    source: Source,
    (endpoint, assignment): (&Endpoint, u64),
    now_ms: i64,
) -> Class {
    let offset = record.offset;
    if record.headers.get(CONTROL_HEADER).is_some() {
        return Class::Control(offset);
    }
    let (alert, raw) = match parse(record.value) {
        Ok(parsed) => parsed,
        Err(error) => {
            let failure = Failure { reason: error.to_string(), ..Failure::default() };
            let name = &endpoint.name;
            let letter = Undelivered::record(name, &source, record.value, &failure, now_ms);
            return Class::Undelivered(offset, letter);
        }
    };
    if !endpoint.wants(&alert) {
        return Class::Filtered(offset);
    }
    let body = body(&alert, &raw);
    if body.len() > endpoint.payload_bytes_max {
        let (bytes, bytes_max) = (body.len(), endpoint.payload_bytes_max);
        let reason = format!("the body has {bytes} bytes, payload_bytes_max is {bytes_max}");
        let failure = Failure { reason, ..Failure::default() };
        let (name, alert) = (&endpoint.name, (alert.id.as_str(), &*raw));
        let letter = Undelivered::alert(name, &source, alert, &failure, now_ms);
        return Class::Undelivered(offset, letter);
    }
    let webhook_id = alert.webhook_id();
    Class::Job(Job { source, assignment, id: alert.id, webhook_id, alert: raw, body })
}

/// The alert, and its bytes: what is sent is what was written, to the last digit.
fn parse(value: Option<&[u8]>) -> Result<(Alert, Box<RawValue>), AlertError> {
    let alert = Alert::parse(value)?;
    let raw = serde_json::from_slice(value.ok_or(AlertError::NoValue)?)?;
    Ok((alert, raw))
}

/// The body of a call, after Standard Webhooks.
fn body(alert: &Alert, raw: &RawValue) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: String,
        timestamp: &'a str,
        data: &'a RawValue,
    }
    let r#type = format!("alert.{}", alert.kind);
    serde_json::to_vec(&Body { r#type, timestamp: &alert.timestamp, data: raw })
        .expect("strings and checked JSON")
}
