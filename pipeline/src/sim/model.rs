//! The same tasks, undisturbed: one worker, everything there before it begins, one commit after
//! the other until nothing is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Pool;
use super::shadow::{Shadow, Stored};
use super::subject::Subject;
use super::trace::Trace;
use super::world::{WALL_MS, plan};
use crate::clock::ManualClock;
use crate::log::embedded::{EmbeddedLog, EmbeddedSettings};
use crate::log::storage::MemoryStorage;
use crate::log::{BatchBuilder, Commit, Log, Outcome, TopicPartition};
use crate::worker::{Worker, WorkerParts, WorkerSettings, WorkerStats};

/// The records of sources, as far as they count.
pub(super) type Sources<'a> = BTreeMap<&'a TopicPartition, &'a [Stored]>;

/// Runs `subject` on `sources` and answers with everything that came to be in the log.
///
/// # Errors
/// What went wrong, as a text.
pub(super) fn run(
    subject: &Subject,
    partitions: u32,
    sources: &Sources<'_>,
    pool: &Pool,
) -> Result<Shadow, String> {
    let clock = Arc::new(ManualClock::at(WALL_MS));
    let log = EmbeddedLog::in_memory(
        Arc::new(MemoryStorage::new()),
        EmbeddedSettings::default(),
        Arc::clone(&clock) as _,
    )
    .map_err(|error| error.to_string())?;
    let plan = Arc::new(plan(subject, log.as_ref(), partitions).map_err(|e| e.to_string())?);
    append(log.as_ref(), sources)?;
    let state = pool.take();
    let mut settings = WorkerSettings::new("model");
    settings.commit_interval = Duration::ZERO;
    settings.task.progress_interval = Duration::ZERO;
    settings.task.idle_timeout = None;
    settings.task.coalesce = false;
    settings.task.record_bytes_max = subject.record_bytes_max;
    let parts = WorkerParts {
        plan,
        log: Arc::clone(&log) as _,
        state: Arc::clone(&state),
        clock: Arc::clone(&clock) as _,
        stats: Arc::new(WorkerStats::default()),
    };
    let mut worker = Worker::new(parts, settings).map_err(|error| error.to_string())?;
    let ended = worker.run_until_idle();
    drop(worker);
    pool.put(state);
    ended.map_err(|error| format!("undisturbed, a worker stops: {error}"))?;
    let mut shadow = Shadow::default();
    shadow.follow(log.as_ref(), &mut Trace::new())?;
    Ok(shadow)
}

fn append(log: &dyn Log, sources: &Sources<'_>) -> Result<(), String> {
    let mut commit = Commit::default();
    for (at, records) in sources {
        let mut batch = BatchBuilder::new();
        for record in *records {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            batch.push(record.timestamp, key, value, &record.headers);
        }
        if !batch.is_empty() {
            commit.appends.push(((*at).clone(), batch));
        }
    }
    let writer = log.writer("source").map_err(|error| error.to_string());
    match writer?.commit(commit).wait() {
        Outcome::Committed { .. } => Ok(()),
        other => Err(format!("undisturbed, the sources cannot be appended: {other:?}")),
    }
}
