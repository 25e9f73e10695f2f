//! Opening tasks, giving them up, and starting over after a failure.

use std::time::Duration;

use stores::fail_point::{self, FailPoint};

use super::{Worker, WorkerError};
use crate::log::{LogError, Position, TopicPartition, Validity};
use crate::task::restore::restore;
use crate::task::{Task, TaskError, state_name};
use crate::topology::TaskId;

/// Commits that may fail one after another; what fails so often will fail again.
const FAILURES_MAX: u32 = 10;
/// Attempts to reach the log again after a commit of unknown outcome, before giving up.
const RECONNECTS_MAX: u32 = 5;

impl Worker {
    /// Makes the tasks whose inputs are all assigned and that are not there yet.
    pub(super) fn open_tasks(&mut self) -> Result<(), WorkerError> {
        for id in self.parts.plan.tasks() {
            let inputs = Task::inputs_of(&self.parts.plan, id);
            let ready = inputs.iter().all(|input| self.assigned.contains(input));
            if ready && !self.tasks.contains_key(&id) {
                match self.open_task(id, &inputs) {
                    Ok(task) => drop(self.tasks.insert(id, task)),
                    // Its changelog or an input: the other tasks need not suffer for it.
                    Err(TaskError::Log(error @ LogError::Corrupt { .. })) => {
                        self.report_damage(&error);
                    }
                    Err(error) => return Err(WorkerError::Task { task: id, error }),
                }
            }
        }
        self.parts.stats.tasks(self.tasks.len());
        Ok(())
    }

    /// Restores a task's stores, finds where its inputs go on, and starts fetching.
    fn open_task(&mut self, id: TaskId, inputs: &[TopicPartition]) -> Result<Task, TaskError> {
        let plan = &self.parts.plan;
        let mut records = 0;
        for store in plan.store_names(id.sub) {
            let changelog =
                TopicPartition::new(plan.topology.names.changelog(&store), id.partition);
            let store = self.parts.state.store(&state_name(plan, &store), id.partition)?;
            let as_it_is = |key: &[u8], _: Option<&[u8]>| Some(key.to_vec());
            let log = self.parts.log.as_ref();
            records += restore(log, &self.parts.state, &changelog, store, &as_it_is)?.records;
        }
        fail_point::pass(FailPoint::RestoreBeforeOffsets);
        let group = plan.topology.names.group();
        let committed = self.parts.log.committed(&group, inputs)?;
        let mut starts = Vec::with_capacity(inputs.len());
        for (input, committed) in inputs.iter().zip(committed) {
            starts.push(self.start_of(&group, input, committed)?);
        }
        let shared = (self.settings.task, &self.parts.stats.counters);
        let task = Task::new(plan, id, &self.parts.state, shared, &starts)?;
        for (input, start) in inputs.iter().zip(&starts) {
            self.member.start(input, start.offset)?;
            self.paused.remove(input);
        }
        tracing::debug!(app = plan.topology.name(), task = %id, restored = records, "opened a task");
        self.parts.stats.restored(records);
        Ok(task)
    }

    /// Where an input goes on: where it was committed, or at its beginning.
    fn start_of(
        &self,
        group: &str,
        input: &TopicPartition,
        committed: Option<Position>,
    ) -> Result<Position, TaskError> {
        let log = &self.parts.log;
        let Some(committed) = committed else {
            return Ok(Position::new(log.range(input)?.start, log.range(input)?.end.epoch));
        };
        let why = match log.validate(input, committed)? {
            // Compacted inputs have lost nothing but old values of their keys.
            Validity::Valid | Validity::Compacted { .. } => return Ok(committed),
            Validity::Truncated { epoch_end } => {
                format!("the log now ends its epoch at {epoch_end}")
            }
            Validity::Expired { start } => format!("the log now begins at {start}"),
        };
        let (partition, group) = (input.clone(), group.to_owned());
        Err(TaskError::OffsetLost { partition, group, committed, why })
    }

    /// Stops fetching from an input that is damaged. What was read of it before is good, and the
    /// other inputs go on.
    pub(super) fn halt(&mut self, error: LogError) -> Result<(), WorkerError> {
        let LogError::Corrupt { partition, .. } = &error else { return Err(error.into()) };
        let damaged = self.assigned.iter().find(|input| input.to_string() == *partition).cloned();
        let Some(damaged) = damaged else { return Err(error.into()) };
        self.member.pause(&damaged);
        self.halted.insert(damaged);
        self.report_damage(&error);
        Ok(())
    }

    fn report_damage(&self, error: &LogError) {
        let app = self.parts.plan.topology.name();
        tracing::error!(app, %error, "an input is damaged: its task stands still there");
        self.parts.stats.damaged(error.to_string());
    }

    /// Commits, then gives up the tasks that read `partitions`.
    pub(super) fn revoke(&mut self, partitions: &[TopicPartition]) -> Result<(), WorkerError> {
        self.finish_commit(true)?;
        self.begin_commit()?;
        self.finish_commit(true)?;
        self.drop_tasks(partitions);
        Ok(())
    }

    pub(super) fn drop_tasks(&mut self, partitions: &[TopicPartition]) {
        self.assigned.retain(|partition| !partitions.contains(partition));
        let (plan, assigned) = (&self.parts.plan, &self.assigned);
        self.tasks.retain(|id, _| Task::inputs_of(plan, *id).iter().all(|i| assigned.contains(i)));
        self.parts.stats.tasks(self.tasks.len());
    }

    /// A task broke off: what it says decides.
    pub(super) fn recover_from(
        &mut self,
        task: TaskId,
        error: TaskError,
    ) -> Result<(), WorkerError> {
        match error {
            TaskError::Poison { partition, offset, reason } => {
                let broke = format!("record {offset} of {partition} broke off: {reason}");
                self.poison.insert((partition, offset, reason));
                // What is in flight is good; what the task has done since is not.
                self.finish_commit(true)?;
                self.failures = 0;
                self.start_over(&broke, false)
            }
            TaskError::Log(error) => self.start_over(&error.to_string(), true),
            TaskError::BadRecord { .. } | TaskError::OffsetLost { .. } | TaskError::State(_) => {
                Err(WorkerError::Task { task, error })
            }
        }
    }

    /// Drops all tasks with everything that they remember, and makes them again from the log.
    pub(super) fn start_over(&mut self, reason: &str, reconnect: bool) -> Result<(), WorkerError> {
        tracing::warn!(app = self.parts.plan.topology.name(), reason, "starting over");
        self.failures += 1;
        if self.failures > FAILURES_MAX {
            let reason =
                format!("{FAILURES_MAX} commits failed one after another, the last: {reason}");
            return Err(LogError::Unavailable(reason).into());
        }
        self.tasks.clear();
        self.in_flight = None;
        self.parts.stats.started_over();
        if reconnect {
            self.reconnect()?;
        }
        self.open_tasks()
    }

    /// Reaches the log again, so that a commit of unknown outcome is decided.
    fn reconnect(&mut self) -> Result<(), LogError> {
        let mut attempt = 1;
        loop {
            match self.parts.log.reconnect() {
                Ok(()) => return Ok(()),
                Err(error) if attempt == RECONNECTS_MAX => return Err(error),
                Err(error) => tracing::warn!(%error, attempt, "cannot reach the log"),
            }
            // Waiting for news is the one way to wait here; there is none while the log is away.
            let backoff = Duration::from_millis(100 << attempt);
            drop(self.member.poll(backoff));
            attempt += 1;
        }
    }
}
