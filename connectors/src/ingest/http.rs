//! `POST /v1/topics/{topic}`: ingest over HTTP.
//!
//! Admission, the body, and the answer; what a body means is the core's affair. It does not
//! authenticate: the application puts that in front.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::limits::RateLimit;
use super::problem::Problem;
use super::request::Envelope;
use super::settings::Options;
use super::{Ingest, IngestError, Receipt, Started, cloudevents, request};
use crate::counters::Count;

/// The header of an answer that holds the token; see [`pipeline::position::Token`].
const TOKEN_HEADER: HeaderName = HeaderName::from_static("millpond-token");

/// The routes of ingest. The request is refused if:
///
/// - the topic is not configured (404), the content type is unknown (415), a header or a query
///   parameter cannot be used (400);
/// - too many requests are under way (503) or too many records came (429): come again later;
/// - the body is too large or has too many lines (413), or takes too long (408);
/// - a line is bad (400): nothing is appended, unless the request has bad lines go to the dead
///   letters;
/// - the log has not accepted the records (503).
pub fn router(ingest: Arc<Ingest>) -> Router {
    let settings = &ingest.settings;
    let now = ingest.clock.elapsed();
    let body_bytes_max = settings.body_bytes_max;
    let gateway = Gateway {
        requests: Semaphore::new(settings.requests_max),
        rate: Mutex::new(RateLimit::new(settings.records_per_second_max, now)),
        ingest,
    };
    let limit = DefaultBodyLimit::max(body_bytes_max);
    let route = post(append).fallback(method_not_allowed).layer(limit);
    Router::new().route("/v1/topics/{topic}", route).with_state(Arc::new(gateway))
}

/// Ingest with the limits of its door.
struct Gateway {
    ingest: Arc<Ingest>,
    requests: Semaphore,
    rate: Mutex<RateLimit>,
}

/// The answer to a request.
#[derive(Serialize)]
struct Answer {
    records: u64,
    token: String,
    #[serde(skip_serializing_if = "is_zero")]
    dead_letters: u64,
    #[serde(skip_serializing_if = "is_zero")]
    skipped: u64,
    /// For syslog: what to pass as `year` with the next part of the same lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    year: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

async fn method_not_allowed() -> Response {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "records are appended with POST");
    ([(header::ALLOW, "POST")], problem).into_response()
}

async fn append(
    State(gateway): State<Arc<Gateway>>,
    Path(topic): Path<String>,
    query: Result<Query<request::Query>, QueryRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let _permit = gateway.admit()?;
    if !gateway.ingest.settings.topics.contains_key(&topic) {
        return Err(IngestError::UnknownTopic(topic).into());
    }
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let options = request::options(&headers, &query)?;
    let body = gateway.read(request).await?;
    let ingest = Arc::clone(&gateway.ingest);
    let started = start(ingest, (topic, body), options).await?;
    gateway.pay(started.receipt.records + started.receipt.dead_letters);
    let outcome = match started.underway {
        Some(underway) => Some(gateway.ingest.writer.outcome(underway).await),
        None => None,
    };
    Ok(answer(gateway.ingest.finish(started.receipt, outcome)?))
}

/// Reads and enqueues on a thread that may be kept busy: a large body takes milliseconds to read,
/// and a log whose queue is full makes the caller wait.
async fn start(
    ingest: Arc<Ingest>,
    (topic, body): (String, Bytes),
    (options, envelope): (Options, Envelope),
) -> Result<Started, Problem> {
    let start = move || {
        let (options, data) = match envelope {
            Envelope::None => (options, Cow::Borrowed(&*body)),
            Envelope::CloudEvent => {
                let (event, data) = cloudevents::from_json(&body)?;
                (event.complete(options)?, data)
            }
        };
        Ok(ingest.start(ingest.prepare(&topic, &data, &options)?)?)
    };
    match tokio::task::spawn_blocking(start).await {
        Ok(started) => started,
        Err(error) => {
            tracing::error!(%error, "reading a request failed");
            let detail = "the request could not be read because of a fault in this program";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

fn answer(receipt: Receipt) -> Response {
    let Receipt { records, dead_letters, skipped, token, year } = receipt;
    let token = token.to_string();
    let header = HeaderValue::from_str(&token).expect("topic names are printable ASCII");
    let year = year.map(|year| year.to_string());
    let body = Answer { records, token, dead_letters, skipped, year };
    ([(TOKEN_HEADER, header)], axum::Json(body)).into_response()
}

impl Gateway {
    fn admit(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let counters = &self.ingest.counters;
        let permit = self.requests.try_acquire().map_err(|_| {
            counters.add(Count::Busy, 1);
            let most = self.ingest.settings.requests_max;
            let detail = format!("{most} requests are under way (`requests_max`); come again");
            Problem::later(StatusCode::SERVICE_UNAVAILABLE, detail, Duration::from_secs(1))
        })?;
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.admit(self.ingest.clock.elapsed()).map_err(|wait| {
            counters.add(Count::RateLimited, 1);
            let most = self.ingest.settings.records_per_second_max;
            let detail = format!("more than {most} records a second (`records_per_second_max`)");
            Problem::later(StatusCode::TOO_MANY_REQUESTS, detail, wait)
        })?;
        Ok(permit)
    }

    fn pay(&self, records: u64) {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).pay(records);
    }

    async fn read(&self, request: Request) -> Result<Bytes, Problem> {
        let settings = &self.ingest.settings;
        let wait = Duration::from_millis(settings.body_read_ms_max);
        let problem = match tokio::time::timeout(wait, Bytes::from_request(request, &())).await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(refused)) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let most = settings.body_bytes_max;
                let detail = format!("the body has more than {most} bytes (`body_bytes_max`)");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            Ok(Err(refused)) => {
                let detail = format!("the body cannot be read: {}", refused.body_text());
                Problem::new(StatusCode::BAD_REQUEST, detail)
            }
            Err(_) => {
                let detail = format!("the body took longer than {} ms", wait.as_millis());
                Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
            }
        };
        self.ingest.counters.add(Count::Body, 1);
        Err(problem)
    }
}

#[cfg(test)]
mod tests;
