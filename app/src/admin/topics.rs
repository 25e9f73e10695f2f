//! Topics: their partitions, offsets and bytes.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pipeline::log::{Cleanup, LogError, TopicPartition, TopicSpec};
use serde::{Deserialize, Serialize};

use super::{Refusal, blocking, log_problem, problem};
use crate::roles::{Overview, Shared};

/// A topic as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TopicReport {
    pub(crate) name: String,
    /// `delete` or `compact`.
    pub(crate) cleanup: String,
    pub(crate) retention_ms: Option<u64>,
    pub(crate) retention_bytes: Option<u64>,
    /// Offsets between the first and the end, those of compacted records included.
    pub(crate) offsets: u64,
    pub(crate) bytes: u64,
    pub(crate) partitions: Vec<PartitionReport>,
}

/// A partition as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PartitionReport {
    pub(crate) partition: u32,
    /// The first offset that is still there.
    pub(crate) start: u64,
    /// The offset of the next record.
    pub(crate) end: u64,
    pub(crate) epoch: u32,
    pub(crate) bytes: u64,
}

/// All topics, by name.
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<TopicReport>>, Refusal> {
    let all = |shared: &Shared| {
        let topics = shared.overview.log.topics().map_err(|error| log_problem(&error))?;
        let reports = topics.values().map(|spec| report(&shared.overview, spec));
        let reports: Result<Vec<_>, LogError> = reports.collect();
        Ok(Json(reports.map_err(|error| log_problem(&error))?))
    };
    blocking(shared, all).await
}

/// One topic.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(topic): Path<String>,
) -> Result<Json<TopicReport>, Refusal> {
    let one = move |shared: &Shared| {
        let spec = find(&shared.overview, &topic)?;
        let report = report(&shared.overview, &spec).map_err(|error| log_problem(&error))?;
        Ok(Json(report))
    };
    blocking(shared, one).await
}

/// The topic of that name.
pub(super) fn find(overview: &Overview, topic: &str) -> Result<TopicSpec, Refusal> {
    let topics = overview.log.topics().map_err(|error| log_problem(&error))?;
    topics.get(topic).cloned().ok_or_else(|| {
        let asked: String = topic.chars().take(128).collect();
        let near = crate::config::nearest(topic, topics.keys().map(String::as_str));
        let hint = near.map_or_else(
            || "; `millpond topics list` shows all".to_owned(),
            |near| format!("; did you mean `{near}`?"),
        );
        problem(StatusCode::NOT_FOUND, format!("there is no topic `{asked}`{hint}"))
    })
}

fn report(overview: &Overview, spec: &TopicSpec) -> Result<TopicReport, LogError> {
    let partition = |partition| {
        let at = TopicPartition::new(spec.name.as_str(), partition);
        let range = overview.log.range(&at)?;
        Ok(PartitionReport {
            partition,
            start: range.start,
            end: range.end.offset,
            epoch: range.end.epoch,
            bytes: overview.open_log.partition_bytes(&at)?,
        })
    };
    let partitions = (0..spec.partitions).map(partition).collect::<Result<Vec<_>, LogError>>()?;
    let (cleanup, retention_ms, retention_bytes) = match spec.cleanup {
        Cleanup::Compact => ("compact", None, None),
        Cleanup::Delete { retention_ms, retention_bytes } => {
            ("delete", retention_ms, retention_bytes)
        }
    };
    Ok(TopicReport {
        name: spec.name.clone(),
        cleanup: cleanup.to_owned(),
        retention_ms,
        retention_bytes,
        offsets: partitions.iter().map(|one| one.end - one.start).sum(),
        bytes: partitions.iter().map(|one| one.bytes).sum(),
        partitions,
    })
}
