//! Opening tasks, giving them up, and starting over after a failure.

use stores::fail_point::{self, FailPoint};

use super::{Worker, WorkerError};
use crate::log::{LogError, Position, TopicPartition, Validity};
use crate::task::restore::{Lagging, Watch, restore};
use crate::task::{Task, TaskError, state_name};
use crate::topology::TaskId;

/// Commits that may fail one after another; what fails so often will fail again.
const FAILURES_MAX: u32 = 10;

/// What has to be done before tasks run again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reopening {
    /// The log has to be reached again, so that a commit of unknown outcome is decided.
    reconnect: bool,
    /// Attempts that failed.
    attempts: u32,
}

impl Worker {
    /// Makes the tasks whose inputs are all assigned and that are not there yet.
    pub(super) fn open_tasks(&mut self) -> Result<(), WorkerError> {
        let mut missing = Vec::new();
        for id in self.parts.plan.tasks() {
            let inputs = Task::inputs_of(&self.parts.plan, id);
            let ready = inputs.iter().all(|input| self.assigned.contains(input));
            if ready && !self.tasks.contains_key(&id) {
                missing.push((id, inputs));
            }
        }
        self.parts.stats.restoring(missing.len());
        let opened = self.open_missing(&missing);
        self.parts.stats.restoring(0);
        self.parts.stats.tasks(self.tasks.len());
        opened
    }

    fn open_missing(
        &mut self,
        missing: &[(TaskId, Vec<TopicPartition>)],
    ) -> Result<(), WorkerError> {
        for (id, _) in missing {
            self.claim(*id)?;
        }
        let together = match self.restore_tasks(missing) {
            Ok(()) => true,
            // One of the changelogs: each task by itself tells which.
            Err(TaskError::Log(LogError::Corrupt { .. })) => false,
            Err(error) => return Err(error.into()),
        };
        for one in missing {
            let restored =
                if together { Ok(()) } else { self.restore_tasks(std::slice::from_ref(one)) };
            let (id, inputs) = one;
            match restored.and_then(|()| self.open_task(*id, inputs)) {
                Ok(task) => drop(self.tasks.insert(*id, task)),
                // Its changelog or an input: the other tasks need not suffer for it.
                Err(TaskError::Log(error @ LogError::Corrupt { .. })) => {
                    self.report_damage(&error);
                }
                Err(error) => return Err(WorkerError::Task { task: *id, error }),
            }
        }
        Ok(())
    }

    /// Takes the stores of a task, so that a standby leaves them alone.
    fn claim(&mut self, id: TaskId) -> Result<(), TaskError> {
        if self.claims.contains_key(&id) {
            return Ok(());
        }
        let (plan, state) = (&self.parts.plan, &self.parts.state);
        let mut claims = Vec::new();
        for name in plan.store_names(id.sub) {
            claims.push(state.claim(state.store(&state_name(plan, &name), id.partition)?));
        }
        self.claims.insert(id, claims);
        Ok(())
    }

    /// Brings the stores of these tasks up to their changelogs.
    fn restore_tasks(&self, tasks: &[(TaskId, Vec<TopicPartition>)]) -> Result<(), TaskError> {
        let plan = &self.parts.plan;
        let as_it_is = |key: &[u8], _: Option<&[u8]>| Some(key.to_vec());
        let mut lagging = Vec::new();
        for (id, _) in tasks {
            for name in plan.store_names(id.sub) {
                let changelog =
                    TopicPartition::new(plan.topology.names.changelog(&name), id.partition);
                let store = self.parts.state.store(&state_name(plan, &name), id.partition);
                let store = store?;
                lagging.push(Lagging { changelog, store, key: &as_it_is });
            }
        }
        let stats = &self.parts.stats;
        let heard = |records, bytes, left| stats.restored(records, bytes, left);
        let watch = Watch { clock: Some(self.parts.clock.as_ref()), heard: Some(&heard) };
        let began = self.parts.clock.elapsed();
        let restored = restore(self.parts.log.as_ref(), &self.parts.state, &lagging, watch)?;
        let took_ms = self.parts.clock.elapsed().saturating_sub(began).as_millis();
        let (app, records) = (plan.topology.name(), restored.records);
        tracing::debug!(app, tasks = tasks.len(), records, took_ms, "restored stores");
        Ok(())
    }

    /// Finds where a task's inputs go on, and starts fetching; its stores have been restored.
    fn open_task(&mut self, id: TaskId, inputs: &[TopicPartition]) -> Result<Task, TaskError> {
        let plan = &self.parts.plan;
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
        tracing::debug!(app = plan.topology.name(), task = %id, "opened a task");
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

    /// Forgets what has been read of repartition topics: nobody else reads them. What cannot be
    /// forgotten now is forgotten the next time.
    pub(super) fn purge(&self, committed: &[(TopicPartition, Position)]) {
        let repartition = |at: &TopicPartition| self.parts.plan.is_repartition(&at.topic);
        for (at, position) in committed.iter().filter(|(at, _)| repartition(at)) {
            if let Err(error) = self.parts.log.purge(at, position.offset) {
                tracing::debug!(partition = %at, %error, "cannot purge a repartition topic");
            }
        }
    }

    pub(super) fn drop_tasks(&mut self, partitions: &[TopicPartition]) {
        self.assigned.retain(|partition| !partitions.contains(partition));
        let (plan, assigned) = (&self.parts.plan, &self.assigned);
        let stays = |id: &TaskId| Task::inputs_of(plan, *id).iter().all(|i| assigned.contains(i));
        self.tasks.retain(|id, _| stays(id));
        self.claims.retain(|id, _| stays(id));
        self.parts.stats.tasks(self.tasks.len());
    }

    /// A task broke off: what it says decides.
    pub(super) fn recover_from(
        &mut self,
        task: TaskId,
        error: TaskError,
    ) -> Result<(), WorkerError> {
        match error {
            TaskError::Poison { partition, offset, broken } => {
                tracing::warn!(%partition, offset, node = broken.node, reason = broken.message,
                    "a record broke off half-way: making its task again");
                self.poison.insert((partition, offset), *broken);
                self.make_again(task)
            }
            TaskError::Log(error) => self.start_over(&error.to_string(), true),
            TaskError::BadRecord { .. }
            | TaskError::Time { .. }
            | TaskError::OffsetLost { .. }
            | TaskError::State(_) => Err(WorkerError::Task { task, error }),
        }
    }

    /// Drops one task with everything that it did since the last commit, and makes it again. The
    /// others keep what they did.
    fn make_again(&mut self, task: TaskId) -> Result<(), WorkerError> {
        // What is in flight is good.
        self.finish_commit(true)?;
        // A commit that failed has made all tasks again by now.
        if self.tasks.remove(&task).is_some() {
            self.parts.stats.started_over();
        }
        self.open_tasks()
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
        let before = self.reopening.take().unwrap_or_default();
        self.reopening = Some(Reopening { reconnect: reconnect || before.reconnect, ..before });
        self.reopen()
    }

    /// Reaches the log if that is needed, and makes the tasks. While the log is away this is
    /// tried once in each turn, so that the worker keeps its place in the group, and can be
    /// stopped.
    pub(super) fn reopen(&mut self) -> Result<(), WorkerError> {
        let Some(reopening) = self.reopening.take() else { return Ok(()) };
        let connected = if reopening.reconnect { self.parts.log.reconnect() } else { Ok(()) };
        let opened = connected.map_err(WorkerError::from).and_then(|()| self.open_tasks());
        let Err(error) = opened else { return Ok(()) };
        let attempts = reopening.attempts + 1;
        let gives_up = self.settings.reconnects_max.is_some_and(|most| attempts >= most);
        if gives_up || !is_away(&error) {
            return Err(error);
        }
        tracing::warn!(%error, attempts, "cannot reach the log");
        // Half-made tasks are made anew with the others.
        self.tasks.clear();
        self.reopening = Some(Reopening { attempts, reconnect: true });
        Ok(())
    }
}

/// Whether it is the log alone that failed, and may come back.
fn is_away(error: &WorkerError) -> bool {
    let (WorkerError::Task { error, .. } | WorkerError::Failed(error)) = error else {
        return false;
    };
    matches!(error, TaskError::Log(LogError::Unavailable(_)))
}
