//! The list of views, a view, a document.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::value::RawValue;
use stores::views::{FieldKind, Reach, rfc3339};
use utoipa::ToSchema;

use crate::api::Api;
use crate::errors::{Problem, ProblemBody};
use crate::extract::{Parameters, Segments};
use crate::positions::{Answer, PositionsBody, common_token};
use crate::wait::After;

/// All views.
#[derive(Serialize, ToSchema)]
#[schema(as = ViewList)]
pub(crate) struct ViewsBody {
    /// By name.
    views: Vec<ListedView>,
}

/// A view in the list.
#[derive(Serialize, ToSchema)]
struct ListedView {
    name: String,
    /// The number of documents.
    documents: u64,
    positions: PositionsBody,
}

/// A view.
#[derive(Serialize, ToSchema)]
#[schema(as = View)]
pub(crate) struct ViewBody {
    name: String,
    /// The fields that can be searched, beside `_key` and `_time`.
    fields: Vec<FieldBody>,
    /// The topics that feed the view.
    sources: Vec<FedBy>,
    /// The number of partitions of the view's own topic.
    partitions: u32,
    /// The number of documents.
    documents: u64,
    positions: PositionsBody,
}

/// A field that can be searched.
#[derive(Serialize, ToSchema)]
#[schema(as = Field)]
struct FieldBody {
    name: String,
    /// `text`, `keyword`, `i64`, `u64`, `f64`, `bool`, `timestamp` or `json`.
    #[schema(value_type = String)]
    kind: FieldKind,
    /// Whether hits can be sorted by it.
    sortable: bool,
}

/// A topic that feeds the view.
#[derive(Serialize, ToSchema)]
#[schema(as = Source)]
struct FedBy {
    topic: String,
    /// `same`: a partition reaches the view partition of its number; `all`: it may reach each.
    #[schema(value_type = String)]
    reach: Reach,
}

/// A document.
#[derive(Serialize, ToSchema)]
#[schema(as = DocumentAnswer)]
pub(crate) struct DocumentBody {
    view: String,
    key: String,
    /// The event time of the record that the document came from.
    #[schema(format = DateTime)]
    time: String,
    /// The JSON object, with its timestamp fields as RFC 3339 text.
    #[schema(value_type = Object)]
    document: Box<RawValue>,
    positions: PositionsBody,
}

/// Lists the views.
#[utoipa::path(
    get, path = "/v1/views", tag = "views", params(After),
    responses(
        (status = 200, body = ViewsBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Parameters(after): Parameters<After>,
) -> Result<Answer<ViewsBody>, Problem> {
    let listed = api.snapshots(&after).await?;
    let token = common_token(&listed);
    let views = listed.iter().map(|(view, snapshot)| ListedView {
        name: view.schema().name.clone(),
        documents: snapshot.documents(),
        positions: PositionsBody::of(view, snapshot),
    });
    Ok(Answer { token: token.to_string(), body: ViewsBody { views: views.collect() } })
}

/// Shows a view: its fields, its sources, its positions.
#[utoipa::path(
    get, path = "/v1/views/{view}", tag = "views",
    params(("view" = String, Path, description = "The name of the view."), After),
    responses(
        (status = 200, body = ViewBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    Segments(name): Segments<String>,
    Parameters(after): Parameters<After>,
) -> Result<Answer<ViewBody>, Problem> {
    let view = api.view(&name)?;
    let snapshot = api.snapshot(&view, &after).await?;
    let schema = view.schema();
    let fields = schema.fields.iter().map(|field| FieldBody {
        name: field.name.clone(),
        kind: field.kind,
        sortable: field.kind.is_sortable(),
    });
    let sources = schema.sources.iter();
    let sources = sources.map(|source| FedBy { topic: source.topic.clone(), reach: source.reach });
    let positions = PositionsBody::of(&view, &snapshot);
    let token = positions.token.clone();
    let body = ViewBody {
        name: schema.name.clone(),
        fields: fields.collect(),
        sources: sources.collect(),
        partitions: schema.partitions,
        documents: snapshot.documents(),
        positions,
    };
    Ok(Answer { token, body })
}

/// Gets the document of a key.
#[utoipa::path(
    get, path = "/v1/views/{view}/docs/{key}", tag = "views",
    params(
        ("view" = String, Path, description = "The name of the view."),
        ("key" = String, Path, description = "The document's key, percent-encoded."),
        After,
    ),
    responses(
        (status = 200, body = DocumentBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn document(
    State(api): State<Arc<Api>>,
    Segments((name, key)): Segments<(String, String)>,
    Parameters(after): Parameters<After>,
) -> Result<Answer<DocumentBody>, Problem> {
    let view = api.view(&name)?;
    let snapshot = api.snapshot(&view, &after).await?;
    let positions = PositionsBody::of(&view, &snapshot);
    let wanted = key.clone();
    let Some(found) = api.run(move |_| snapshot.document(&wanted)).await? else {
        let key = key.chars().take(128).collect();
        return Err(Problem::UnknownDocument { view: name, key });
    };
    let token = positions.token.clone();
    let time = rfc3339(found.time_ms);
    let body = DocumentBody { view: name, key, time, document: found.source, positions };
    Ok(Answer { token, body })
}
