//! The positions that an answer reflects: in its body, and as a token in its header.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stores::position::Token;
use stores::views::{Snapshot, View};
use utoipa::ToSchema;

/// The header with the token.
const HEADER: HeaderName = HeaderName::from_static("millpond-positions");

/// The longest header that clients and proxies can be trusted with. A longer token is in the body
/// alone.
const HEADER_BYTES_MAX: usize = 4 * 1024;

/// What an answer reflects.
#[derive(Serialize, ToSchema)]
#[schema(as = Positions)]
pub(crate) struct PositionsBody {
    /// The same source positions as a token, for `after`.
    pub(crate) token: String,
    /// How far the view's own partitions have been read.
    partitions: Vec<PartitionBody>,
    /// How far the topics that feed the view are reflected, in every partition that they reach.
    sources: Vec<SourceBody>,
}

/// The next offset to read in a partition of the view's topic.
#[derive(Serialize, ToSchema)]
#[schema(as = PartitionPosition)]
struct PartitionBody {
    partition: u32,
    offset: u64,
    epoch: u32,
}

/// How far a source partition is reflected. Null where not every view partition has heard of it.
#[derive(Serialize, ToSchema)]
#[schema(as = SourcePosition)]
struct SourceBody {
    topic: String,
    partition: u32,
    offset: Option<u64>,
    epoch: Option<u32>,
    /// The largest event time read from the source, in milliseconds since the epoch.
    clock_ms: Option<i64>,
    /// Whether the source stands still and is not waited for.
    idle: Option<bool>,
}

impl PositionsBody {
    pub(crate) fn of(view: &View, snapshot: &Snapshot) -> Self {
        let progress = snapshot.progress();
        let partitions = progress.partitions.iter().map(|(&partition, progress)| PartitionBody {
            partition,
            offset: progress.position.offset,
            epoch: progress.position.epoch,
        });
        let sources = progress.sources(view.schema()).into_iter();
        let sources = sources.map(|(source, progress)| SourceBody {
            topic: source.topic,
            partition: source.partition,
            offset: progress.map(|progress| progress.position.offset),
            epoch: progress.map(|progress| progress.position.epoch),
            clock_ms: progress.map(|progress| progress.clock_ms),
            idle: progress.map(|progress| progress.idle),
        });
        Self {
            token: progress.token(view.schema()).to_string(),
            partitions: partitions.collect(),
            sources: sources.collect(),
        }
    }
}

/// A body with the token that its header repeats.
pub(crate) struct Answer<T> {
    pub(crate) token: String,
    pub(crate) body: T,
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        if self.token.len() <= HEADER_BYTES_MAX
            && let Ok(value) = HeaderValue::try_from(self.token)
        {
            response.headers_mut().insert(HEADER, value);
        }
        response
    }
}

/// What all views reflect: of each source partition the least position, left out where a view that
/// it feeds does not know it.
pub(crate) fn common_token(views: &[(Arc<View>, Snapshot)]) -> Token {
    let tokens = views.iter().map(|(view, snapshot)| snapshot.progress().token(view.schema()));
    let mut positions: Vec<_> = tokens.flat_map(|token| token.positions).collect();
    // The least of each partition comes first.
    positions.sort();
    positions.dedup_by(|later, first| {
        (&later.topic, later.partition) == (&first.topic, first.partition)
    });
    positions.retain(|position| {
        let alone = Token { positions: vec![position.clone()] };
        views.iter().all(|(view, snapshot)| snapshot.progress().contains(view.schema(), &alone))
    });
    Token { positions }
}
