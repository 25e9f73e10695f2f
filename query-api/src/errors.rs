//! What goes wrong, as RFC 9457 problems.
//!
//! The `type` of each problem is stable: clients match on it. The detail is for people.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use problem_details::ProblemDetails;
use serde::Serialize;
use stores::position::TokenError;
use stores::views::{Missing, QueryError};
use utoipa::ToSchema;

/// After how many seconds a request that was turned away may come again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A request that is not answered as it wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("there is no view `{0}`; `/v1/views` lists those that are")]
    UnknownView(String),
    #[error("view `{view}` has no document with the key `{key}`")]
    UnknownDocument { view: String, key: String },
    #[error("nothing is served at `{0}`; `/openapi.json` tells what is")]
    UnknownRoute(String),
    #[error("`{0}` only answers GET")]
    MethodNotAllowed(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("`{parameter}` is {given}, at most {most} is allowed")]
    LimitExceeded { parameter: &'static str, given: u64, most: u64 },
    #[error("`after` is not a token of positions: {0}")]
    InvalidToken(#[from] TokenError),
    #[error("{0}")]
    InvalidQuery(QueryError),
    #[error("after {waited_ms} ms the view does not reflect `after` yet")]
    NotReached { waited_ms: u64, missing: Vec<Missing> },
    #[error("{most} requests of this kind are under way, which is the most; come again later")]
    TooMany { most: usize },
    #[error("the search took longer than {0} ms and was given up")]
    Timeout(u64),
    #[error("the request failed; the log of the server tells why")]
    Internal,
}

impl Problem {
    /// An error of the index, which is no matter of the client's: it goes to the log.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(error.source(), |error| error.source());
        let chain: Vec<String> = causes.map(ToString::to_string).collect();
        tracing::error!(%error, causes = chain.join(": "), "a query failed");
        Self::Internal
    }

    /// The status, the last part of the type, and the title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::UnknownView(_) => (StatusCode::NOT_FOUND, "unknown-view", "Unknown view"),
            Self::UnknownDocument { .. } => {
                (StatusCode::NOT_FOUND, "unknown-document", "Unknown document")
            }
            Self::UnknownRoute(_) => (StatusCode::NOT_FOUND, "unknown-route", "Unknown route"),
            Self::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::InvalidParameter(_) => {
                (StatusCode::BAD_REQUEST, "invalid-parameter", "Invalid parameter")
            }
            Self::LimitExceeded { .. } => {
                (StatusCode::BAD_REQUEST, "limit-exceeded", "Limit exceeded")
            }
            Self::InvalidToken(_) => (StatusCode::BAD_REQUEST, "invalid-token", "Invalid token"),
            Self::InvalidQuery(_) => (StatusCode::BAD_REQUEST, "invalid-query", "Invalid query"),
            Self::NotReached { .. } => {
                (StatusCode::GATEWAY_TIMEOUT, "not-reached", "Positions not reached")
            }
            Self::TooMany { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "too-many-requests", "Too many requests")
            }
            Self::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, "query-timeout", "Query timeout"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        if error.is_request() { Self::InvalidQuery(error) } else { Self::internal(&error) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, slug, title) = self.kind();
        let uri = Uri::try_from(format!("/problems/{slug}")).expect("a slug needs no escaping");
        let problem = ProblemDetails::from_status_code(status)
            .with_type(uri)
            .with_title(title)
            .with_detail(self.to_string());
        match self {
            Self::NotReached { missing, .. } => {
                let missing = missing.iter().map(MissingBody::from).collect();
                problem.with_extensions(NotReached { missing }).into_response()
            }
            Self::TooMany { .. } => ([(RETRY_AFTER, RETRY_AFTER_SECONDS)], problem).into_response(),
            _ => problem.into_response(),
        }
    }
}

/// The members that all problems have, for the description of the API.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it describes what `problem_details` writes")]
pub(crate) struct ProblemBody {
    /// What kind of problem it is: stable, relative to the server.
    #[schema(example = "/problems/unknown-view")]
    r#type: String,
    /// The HTTP status.
    status: u16,
    /// The kind in words.
    title: String,
    /// What is wrong with this request.
    detail: String,
    /// With `/problems/not-reached`: what the view does not reflect yet.
    missing: Option<Vec<MissingBody>>,
}

#[derive(Serialize)]
struct NotReached {
    missing: Vec<MissingBody>,
}

/// A position that is asked for and not reflected.
#[derive(Serialize, ToSchema)]
#[schema(as = Missing)]
pub(crate) struct MissingBody {
    /// The view partition that is behind.
    view_partition: u32,
    /// The source topic.
    topic: String,
    /// The partition of the source topic.
    partition: u32,
    /// The offset that is asked for.
    offset: u64,
    /// The offset that is reflected, or null if nothing is known.
    reached: Option<u64>,
}

impl From<&Missing> for MissingBody {
    fn from(missing: &Missing) -> Self {
        Self {
            view_partition: missing.view_partition,
            topic: missing.wanted.topic.clone(),
            partition: missing.wanted.partition,
            offset: missing.wanted.position.offset,
            reached: missing.reached.map(|reached| reached.offset),
        }
    }
}
