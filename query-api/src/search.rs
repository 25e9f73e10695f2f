//! Searching a view.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stores::views::{Hit, SearchRequest, SortField, rfc3339};
use utoipa::{IntoParams, ToSchema};

use crate::api::Api;
use crate::errors::{Problem, ProblemBody};
use crate::extract::{Parameters, Segments};
use crate::positions::{Answer, PositionsBody};
use crate::settings::QuerySettings;
use crate::wait::After;

/// The hits of a search that names no limit.
const LIMIT_DEFAULT: usize = 20;

/// What to find. `after` and its timeout are as on every route.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Search {
    /// The query, in tantivy's query language. Without one, or with `*`, all documents match.
    #[param(example = "host:web-1 AND line:\"failed password\"")]
    q: Option<String>,
    /// The fields to sort by, separated by commas, `-` before one for the largest first. Without
    /// it the best score comes first; ties go by key.
    #[param(example = "-count,_key")]
    sort: Option<String>,
    /// The most hits to answer with, 20 if not given. With 0 the hits are only counted.
    limit: Option<usize>,
    /// The hits to leave out before the first.
    offset: Option<usize>,
    /// A token of positions: waits until the answer can reflect it.
    after: Option<String>,
    /// The longest wait, in milliseconds.
    after_timeout_ms: Option<u64>,
}

/// A page of hits.
#[derive(Serialize, ToSchema)]
#[schema(as = SearchAnswer)]
pub(crate) struct FoundBody {
    view: String,
    /// How many documents match, on this page or not.
    total: u64,
    hits: Vec<HitBody>,
    positions: PositionsBody,
}

/// A document that matches.
#[derive(Serialize, ToSchema)]
#[schema(as = Hit)]
struct HitBody {
    key: String,
    /// How well the document matches; absent if the hits are sorted by other things.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    /// The event time of the record that the document came from.
    #[schema(format = DateTime)]
    time: String,
    /// The JSON object, with its timestamp fields as RFC 3339 text.
    #[schema(value_type = Object)]
    document: Box<RawValue>,
}

impl From<Hit> for HitBody {
    fn from(hit: Hit) -> Self {
        let Hit { key, score, time_ms, source } = hit;
        Self { key, score, time: rfc3339(time_ms), document: source }
    }
}

/// Searches a view.
#[utoipa::path(
    get, path = "/v1/views/{view}/search", tag = "views",
    params(("view" = String, Path, description = "The name of the view."), Search),
    responses(
        (status = 200, body = FoundBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn search(
    State(api): State<Arc<Api>>,
    Segments(name): Segments<String>,
    Parameters(search): Parameters<Search>,
) -> Result<Answer<FoundBody>, Problem> {
    let view = api.view(&name)?;
    let (request, after) = search.checked(&api.settings)?;
    let snapshot = api.snapshot(&view, &after).await?;
    let positions = PositionsBody::of(&view, &snapshot);
    let found = api.run(move |cancelled| snapshot.search_until(&request, cancelled)).await?;
    let token = positions.token.clone();
    let hits = found.hits.into_iter().map(HitBody::from).collect();
    Ok(Answer { token, body: FoundBody { view: name, total: found.total, hits, positions } })
}

impl Search {
    /// Holds the parameters against the limits.
    fn checked(self, settings: &QuerySettings) -> Result<(SearchRequest, After), Problem> {
        let query = self.q.unwrap_or_default();
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT.min(settings.query_hits_max));
        let offset = self.offset.unwrap_or(0);
        at_most("q", query.len(), settings.query_length_max_bytes)?;
        at_most("limit", limit, settings.query_hits_max)?;
        at_most("offset", offset, settings.query_offset_max)?;
        let sort = self.sort.as_deref().map_or(Ok(Vec::new()), parse_sort)?;
        let bytes_max = settings.query_answer_max_bytes;
        let after = After { after: self.after, after_timeout_ms: self.after_timeout_ms };
        Ok((SearchRequest { query, sort, limit, offset, bytes_max }, after))
    }
}

fn at_most(parameter: &'static str, given: usize, most: usize) -> Result<(), Problem> {
    if given <= most {
        return Ok(());
    }
    let number = |number| u64::try_from(number).unwrap_or(u64::MAX);
    Err(Problem::LimitExceeded { parameter, given: number(given), most: number(most) })
}

fn parse_sort(text: &str) -> Result<Vec<SortField>, Problem> {
    let fields = text.split(',').map(|part| {
        let (field, descending) =
            part.strip_prefix('-').map_or((part, false), |field| (field, true));
        if field.is_empty() {
            return Err(Problem::InvalidParameter(format!(
                "`sort` is `{text}`, expected fields separated by commas, such as `-count,_key`"
            )));
        }
        Ok(SortField { field: field.to_owned(), descending })
    });
    fields.collect()
}
