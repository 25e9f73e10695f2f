//! What went wrong, as HTTP says it: RFC 9457, `application/problem+json`.
//!
//! The one place that maps errors to statuses. Each body says what is wrong, with what, and what to
//! do; `retryable` says whether the same request may succeed later.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use problem_details::ProblemDetails;
use serde::Serialize;

use super::IngestError;
use super::cloudevents::EventError;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    retry_after: Option<Duration>,
    extension: Extension,
}

/// What a problem says beyond the standard members.
#[derive(Debug, Default, Serialize)]
struct Extension {
    retryable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bad_lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bad_lines_total: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Line {
    line: u64,
    reason: String,
}

impl Problem {
    /// A refusal that will be repeated as often as the request is.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let extension = Extension::default();
        Self { status, detail: detail.into(), retry_after: None, extension }
    }

    /// A refusal for now.
    pub(super) fn later(status: StatusCode, detail: impl Into<String>, wait: Duration) -> Self {
        let extension = Extension { retryable: true, ..Extension::default() };
        Self { status, detail: detail.into(), retry_after: Some(wait), extension }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        const SOON: Duration = Duration::from_secs(1);
        let detail = error.to_string();
        match error {
            IngestError::UnknownTopic(_) => Self::new(StatusCode::NOT_FOUND, detail),
            IngestError::TooManyLines(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            IngestError::BadLines { total, first } => {
                let show =
                    |bad: super::BadLine| Line { line: bad.line, reason: bad.reason.to_string() };
                let extension = Extension {
                    retryable: false,
                    bad_lines: first.into_iter().map(show).collect(),
                    bad_lines_total: Some(total),
                };
                Self { extension, ..Self::new(StatusCode::BAD_REQUEST, detail) }
            }
            IngestError::Log(_)
            | IngestError::Aborted(_)
            | IngestError::Fenced(_)
            | IngestError::Unknown(_) => Self::later(StatusCode::SERVICE_UNAVAILABLE, detail, SOON),
        }
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        let status = match error {
            EventError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            EventError::Missing(_)
            | EventError::Version(_)
            | EventError::Attribute { .. }
            | EventError::Json(_)
            | EventError::Data(_)
            | EventError::NoFields => StatusCode::BAD_REQUEST,
        };
        Self::new(status, format!("this is no CloudEvent that can be read: {error}"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let problem = ProblemDetails::from_status_code(self.status)
            .with_detail(self.detail)
            .with_extensions(self.extension);
        let mut response = problem.into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: a client that comes too early is refused again.
            let seconds = wait.as_millis().div_ceil(1000).max(1).to_string();
            let seconds = HeaderValue::from_str(&seconds).expect("digits are a header value");
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}
