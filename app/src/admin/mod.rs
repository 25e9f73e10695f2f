//! The admin API: topics, topologies, dead letters and figures, for whoever can read the data
//! directory.
//!
//! Everything here wants `Authorization: Bearer <key>`, the key that lies in the lock file. It
//! changes nothing but what is done about dead letters. The command line asks here too, so that a
//! command shows the same whether a process runs or not.

mod dlq;
mod records;
mod tasks;
mod topics;
mod topologies;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pipeline::log::LogError;
use problem_details::ProblemDetails;

pub(crate) use dlq::{DeadLetterCount, DeadLetterCounts, DeadLettersHandled};
pub(crate) use tasks::{LagReport, TaskReport};
pub(crate) use topics::{PartitionReport, TopicReport};
pub(crate) use topologies::TopologyReport;

use crate::roles::{Figures, Shared};

/// Serves `/v1/admin`.
pub(crate) fn router(shared: Shared) -> Router {
    let authorize = middleware::from_fn_with_state(shared.clone(), authorize);
    let routes = Router::new()
        .route("/topics", get(topics::list))
        .route("/topics/{topic}", get(topics::show))
        .route("/topics/{topic}/records", get(records::read))
        .route("/topologies", get(topologies::list))
        .route("/topologies/{name}", get(topologies::show))
        .route("/tasks", get(tasks::tasks))
        .route("/lag", get(tasks::lag))
        .route("/dlq", get(dlq::list))
        .route("/dlq/counts", get(dlq::counts))
        .route("/dlq/replay", post(dlq::replay))
        .route("/dlq/drop", post(dlq::drop))
        .route("/dlq/{id}", get(dlq::show))
        .route("/stats", get(stats))
        .fallback(unknown)
        .with_state(shared)
        .layer(authorize);
    Router::new().nest("/v1/admin", routes)
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    detail: String,
}

/// A refusal, which RFC 9457 gives its form.
pub(crate) fn problem(status: StatusCode, detail: impl Into<String>) -> Refusal {
    Refusal { status, detail: detail.into() }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        ProblemDetails::from_status_code(self.status).with_detail(self.detail).into_response()
    }
}

async fn stats(State(shared): State<Shared>) -> Result<Json<Figures>, Refusal> {
    blocking(shared, |shared| Ok(Json(shared.overview.figures()))).await
}

async fn unknown(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(128).collect();
    problem(StatusCode::NOT_FOUND, format!("the admin API has no `{path}`"))
}

async fn authorize(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    let key = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if key.is_some_and(|key| is_same(key, shared.admin_key.as_bytes())) {
        return next.run(request).await;
    }
    let detail = "the admin API wants `Authorization: Bearer KEY`; the key stands in \
                  millpond.lock in the data directory";
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (challenge, problem(StatusCode::UNAUTHORIZED, detail)).into_response()
}

/// Compares in a time that does not tell how much was right.
fn is_same(given: &[u8], key: &[u8]) -> bool {
    let differing = given.iter().zip(key).fold(0, |sum, (one, other)| sum | (one ^ other));
    given.len() == key.len() && differing == 0
}

/// Asks the log on a thread that may be kept waiting by the disk.
async fn blocking<T: Send + 'static>(
    shared: Shared,
    ask: impl FnOnce(&Shared) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let shared = Arc::new(shared);
    match tokio::task::spawn_blocking(move || ask(&shared)).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "an admin request failed");
            let detail = "a fault in this program; the log says more";
            Err(problem(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

/// What the log says of a request that it cannot answer.
fn log_problem(error: &LogError) -> Refusal {
    let status = match error {
        LogError::UnknownTopic(_) | LogError::UnknownPartition { .. } => StatusCode::NOT_FOUND,
        LogError::OutOfRange { .. } => StatusCode::BAD_REQUEST,
        LogError::TopicDiffers { .. }
        | LogError::InvalidTopic { .. }
        | LogError::Held(_)
        | LogError::Corrupt { .. }
        | LogError::Damaged { .. }
        | LogError::Fenced(_)
        | LogError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_is_the_key() {
        assert!(is_same(b"abc", b"abc"));
        for other in [&b""[..], b"ab", b"abd", b"abcd"] {
            assert!(!is_same(other, b"abc"));
        }
    }
}
