//! Topologies: their tasks, what they count, and how they are made.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Refusal, blocking, problem};
use crate::roles::{Overview, Shared, TopologyFigures};

/// A topology, and what it has done since the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TopologyReport {
    /// What it is, in one line.
    pub(crate) about: String,
    /// The topics that it reads.
    pub(crate) sources: Vec<String>,
    /// The names of its views.
    pub(crate) views: Vec<String>,
    /// The topic of its alerts.
    pub(crate) alerts: Option<String>,
    /// What it has done.
    #[serde(flatten)]
    pub(crate) figures: TopologyFigures,
    /// The graph, as Kafka Streams prints it; for one topology alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// All topologies.
pub(super) async fn list(
    State(shared): State<Shared>,
) -> Result<Json<Vec<TopologyReport>>, Refusal> {
    blocking(shared, |shared| Ok(Json(reports(&shared.overview)))).await
}

/// One topology, with its graph.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<TopologyReport>, Refusal> {
    let one = move |shared: &Shared| {
        let planned = &shared.overview.topologies;
        let described = |one: &&crate::roles::Planned| one.plan.topology().name() == name;
        let found = planned.iter().find(described).ok_or_else(|| {
            let names: Vec<&str> = planned.iter().map(|one| one.plan.topology().name()).collect();
            let asked: String = name.chars().take(128).collect();
            let detail = format!("there is no topology `{asked}`; there are: {}", names.join(", "));
            problem(StatusCode::NOT_FOUND, detail)
        })?;
        let reports = reports(&shared.overview).into_iter();
        let mut report = reports.filter(|report| report.figures.name == name);
        let report = report.next().expect("it was found a moment ago");
        Ok(Json(TopologyReport { description: Some(found.plan.topology().describe()), ..report }))
    };
    blocking(shared, one).await
}

fn reports(overview: &Overview) -> Vec<TopologyReport> {
    let figures = overview.topology_figures().into_iter();
    let reports = overview.topologies.iter().zip(figures).map(|(planned, figures)| {
        let topology = planned.plan.topology();
        let mut sources = topology.source_topics();
        sources.extend(topology.global_topics());
        TopologyReport {
            about: planned.about.clone(),
            sources,
            views: topology.view_names(),
            alerts: topology.alert_topic(),
            figures,
            description: None,
        }
    });
    reports.collect()
}
