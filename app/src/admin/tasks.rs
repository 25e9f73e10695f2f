//! Tasks and lag: what runs here and how far it is, and how far each group is wherever it runs.

use axum::Json;
use axum::extract::State;
use pipeline::log::{LogError, TopicPartition};
use serde::{Deserialize, Serialize};

use super::{Refusal, blocking, log_problem};
use crate::roles::{Overview, Shared};

/// One input of a task that runs in this process, or in another one of its group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskReport {
    /// The topology.
    pub(crate) topology: String,
    /// The task: sub-topology and partition.
    pub(crate) task: String,
    /// The topic that it reads.
    pub(crate) topic: String,
    /// The partition there.
    pub(crate) partition: u32,
    /// What it reads next.
    pub(crate) position: u64,
    /// Records that it has yet to read.
    pub(crate) lag: u64,
    /// Records handled since the task was made; only its own process knows.
    pub(crate) records: Option<u64>,
    /// The process that it runs in, where several share the log.
    pub(crate) process: Option<String>,
    /// It does not run there: its state is kept warm, and what is read is a changelog.
    #[serde(default)]
    pub(crate) standby: bool,
}

/// How far a group is in one partition, whoever reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LagReport {
    /// The consumer group.
    pub(crate) group: String,
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: u32,
    /// The committed offset; none before the first commit.
    pub(crate) committed: Option<u64>,
    /// The partition's end.
    pub(crate) end: u64,
    /// Offsets between the two.
    pub(crate) lag: u64,
}

/// The tasks of this process, and of the others of its groups.
pub(super) async fn tasks(State(shared): State<Shared>) -> Result<Json<Vec<TaskReport>>, Refusal> {
    let ask = |shared: &Shared| {
        let mut all = running(&shared.overview);
        all.extend(elsewhere(&shared.overview).map_err(|error| log_problem(&error))?);
        Ok(Json(all))
    };
    blocking(shared, ask).await
}

fn running(overview: &Overview) -> Vec<TaskReport> {
    let process = overview.open_log.process();
    let mut all = Vec::new();
    for planned in &overview.topologies {
        let inputs = planned.stats.iter().flat_map(|stats| stats.inputs());
        all.extend(inputs.map(|input| TaskReport {
            topology: planned.plan.topology().name().to_owned(),
            task: input.task.to_string(),
            topic: input.partition.topic.to_string(),
            partition: input.partition.partition,
            position: input.position,
            lag: input.end.saturating_sub(input.position),
            records: Some(input.records),
            process: process.map(str::to_owned),
            standby: false,
        }));
        all.extend(planned.standby.places().into_iter().map(|one| TaskReport {
            topology: planned.plan.topology().name().to_owned(),
            task: one.task.to_string(),
            topic: one.changelog.topic.to_string(),
            partition: one.changelog.partition,
            position: one.position,
            lag: one.end.saturating_sub(one.position),
            records: Some(one.records),
            process: process.map(str::to_owned),
            standby: true,
        }));
    }
    all
}

/// The tasks of other processes: what they have committed is where they are.
fn elsewhere(overview: &Overview) -> Result<Vec<TaskReport>, LogError> {
    let mut all = Vec::new();
    for planned in &overview.topologies {
        let plan = &planned.plan;
        let group = plan.topology().group();
        for member in overview.open_log.elsewhere(&group)? {
            let has = |at: &TopicPartition| member.partitions.contains(at);
            for task in plan.tasks() {
                let inputs = plan.inputs_of(task);
                if !inputs.iter().all(has) {
                    continue;
                }
                let committed = overview.log.committed(&group, &inputs)?;
                for (at, committed) in inputs.iter().zip(committed) {
                    let range = overview.log.range(at)?;
                    let position = committed.map_or(range.start, |position| position.offset);
                    all.push(TaskReport {
                        topology: plan.topology().name().to_owned(),
                        task: task.to_string(),
                        topic: at.topic.to_string(),
                        partition: at.partition,
                        position,
                        lag: range.end.offset.saturating_sub(position),
                        records: None,
                        process: Some(member.process.clone()),
                        standby: false,
                    });
                }
            }
        }
    }
    Ok(all)
}

/// How far the groups of all topologies are.
pub(super) async fn lag(State(shared): State<Shared>) -> Result<Json<Vec<LagReport>>, Refusal> {
    let ask =
        |shared: &Shared| behind(&shared.overview).map(Json).map_err(|error| log_problem(&error));
    blocking(shared, ask).await
}

fn behind(overview: &Overview) -> Result<Vec<LagReport>, LogError> {
    let log = &overview.log;
    let topics = log.topics()?;
    let mut all = Vec::new();
    for planned in &overview.topologies {
        let group = planned.plan.topology().group();
        let inputs = planned.plan.input_topics();
        let partitions: Vec<TopicPartition> = inputs
            .iter()
            .flat_map(|topic| {
                let partitions = topics.get(topic).map_or(0, |spec| spec.partitions);
                (0..partitions).map(|partition| TopicPartition::new(topic.as_str(), partition))
            })
            .collect();
        let committed = log.committed(&group, &partitions)?;
        for (at, committed) in partitions.iter().zip(committed) {
            let range = log.range(at)?;
            let reached = committed.map_or(range.start, |position| position.offset);
            all.push(LagReport {
                group: group.clone(),
                topic: at.topic.to_string(),
                partition: at.partition,
                committed: committed.map(|position| position.offset),
                end: range.end.offset,
                lag: range.end.offset.saturating_sub(reached),
            });
        }
    }
    Ok(all)
}
