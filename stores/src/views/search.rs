//! One search: a request, a page of hits.
//!
//! What a query may say stands in `query`, how the best hits are found in `top`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::document::Document;
use super::fields::{Fields, KEY};
use super::query::{self, QueryError};
use super::schema::FieldKind;
use super::top::{By, Order, TopHits};
use super::view::Snapshot;

/// The most fields that hits can be sorted by.
pub const SORT_FIELDS_MAX: usize = 4;

/// The name that stands for the score among the sort fields.
const SCORE: &str = "_score";

/// What to find, and how much of it to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchRequest {
    /// Text in tantivy's query language. Empty and `*` find all documents.
    pub query: String,
    /// The order of the hits. Without one the best score comes first. Ties are broken by key, so
    /// the order is always the same; hits without a value of the field come last.
    pub sort: Vec<SortField>,
    /// The most hits to give back.
    pub limit: usize,
    /// How many hits to leave out before.
    pub offset: usize,
    /// The most bytes that the hits' documents may have together.
    pub bytes_max: usize,
}

/// A field that hits are sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortField {
    /// A keyword, number, bool or timestamp field, `_key`, `_time` or `_score`.
    pub field: String,
    /// The largest value first.
    pub descending: bool,
}

/// A page of hits.
#[derive(Clone, Debug, Serialize)]
pub struct SearchResponse {
    /// How many documents match, on this page or not.
    pub total: u64,
    /// The page.
    pub hits: Vec<Hit>,
}

/// A document that matches.
#[derive(Clone, Debug, Serialize)]
pub struct Hit {
    /// The document's key.
    pub key: String,
    /// How well it matches, if the hits are sorted by that.
    pub score: Option<f32>,
    /// The event time of the record that it came from, in milliseconds since the epoch.
    pub time_ms: i64,
    /// The document.
    pub source: Box<RawValue>,
}

/// Runs a search over a snapshot.
pub(super) fn run(
    snapshot: &Snapshot,
    request: &SearchRequest,
    cancelled: &Arc<AtomicBool>,
) -> Result<SearchResponse, QueryError> {
    let searcher = snapshot.searcher();
    let orders = orders(snapshot.fields(), &request.sort)?;
    let query = query::parse(snapshot.fields(), searcher, &request.query)?;
    let top = TopHits {
        orders,
        limit: request.limit,
        offset: request.offset,
        cancelled: Arc::clone(cancelled),
    };
    let page = searcher.search(&query, &top)?;
    let mut hits = Vec::with_capacity(page.hits.len());
    let mut bytes = 0;
    for ranked in page.hits {
        if cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        let Document { key, time_ms, source } = snapshot.read(ranked.address)?;
        bytes += source.get().len();
        if bytes > request.bytes_max {
            return Err(QueryError::TooLarge { bytes_max: request.bytes_max });
        }
        hits.push(Hit { key, score: ranked.score, time_ms, source });
    }
    if cancelled.load(Ordering::Relaxed) {
        return Err(QueryError::Cancelled);
    }
    Ok(SearchResponse { total: page.total, hits })
}

/// Checks the sort fields and adds what breaks ties.
fn orders(fields: &Fields, sort: &[SortField]) -> Result<Vec<Order>, QueryError> {
    if sort.len() > SORT_FIELDS_MAX {
        return Err(QueryError::SortFields);
    }
    let mut orders = sort
        .iter()
        .map(|SortField { field, descending }| {
            Ok(Order { by: by(fields, field)?, descending: *descending })
        })
        .collect::<Result<Vec<_>, QueryError>>()?;
    if orders.is_empty() {
        orders.push(Order { by: By::Score, descending: true });
    }
    orders.push(Order { by: By::Text(KEY.to_owned()), descending: false });
    Ok(orders)
}

fn by(fields: &Fields, name: &str) -> Result<By, QueryError> {
    if name == SCORE {
        return Ok(By::Score);
    }
    match fields.get(name) {
        Some((_, FieldKind::Keyword)) => Ok(By::Text(name.to_owned())),
        Some((_, kind)) if kind.is_sortable() => Ok(By::Number(name.to_owned())),
        _ => {
            let sortable = fields.names().filter(|(_, kind)| kind.is_sortable());
            let names = sortable.map(|(name, _)| name.to_owned()).chain([SCORE.to_owned()]);
            Err(QueryError::NotSortable { field: name.to_owned(), sortable: names.collect() })
        }
    }
}
