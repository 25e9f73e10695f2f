//! A receiver of webhooks, for demos and tests.
//!
//! Verifies what it gets as a careful receiver does, remembers the last alerts, counts repeats by
//! `webhook-id`, and shows them. It acts on nothing, keeps nothing across a restart, and has no
//! authentication on its pages: it is for loopback.

mod page;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pipeline::clock::Clock;
use serde::Serialize;
use serde_json::Value;

use crate::secret::Secret;
use crate::signature::{Message, SignatureError, check_age, verify};

/// What a [`Receiver`] accepts and keeps.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// A call is accepted if one of them signed it.
    pub secrets: Vec<Secret>,
    /// How far a call's timestamp may be from this machine's clock, in seconds.
    pub tolerance_s: u64,
    /// How many alerts are remembered; the oldest goes first.
    pub alerts_max: usize,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
}

impl ReceiverConfig {
    /// Five minutes of tolerance, the last 200 alerts, bodies up to 1 MiB.
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self { secrets, tolerance_s: 300, alerts_max: 200, body_bytes_max: 1 << 20 }
    }
}

/// An alert that was received.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// The `webhook-id`.
    pub webhook_id: String,
    /// How often it came; more than once after a crash of the sender, or a lost answer.
    pub count: u64,
    /// When it came first, milliseconds since 1970-01-01 UTC.
    pub first_ms: i64,
    /// When it came last.
    pub last_ms: i64,
    /// The body.
    pub body: Value,
}

/// Everything that a receiver shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Calls that were accepted, repeats included.
    pub accepted: u64,
    /// Accepted calls whose `webhook-id` was known already.
    pub repeats: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Why the last of them was.
    pub last_refusal: Option<String>,
    /// The last alerts, newest first.
    pub alerts: Vec<Received>,
}

/// A receiver; its clones are the same one.
#[derive(Clone)]
pub struct Receiver {
    config: Arc<ReceiverConfig>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<Inbox>>,
}

#[derive(Debug, Default)]
struct Inbox {
    counts: Summary,
    /// Oldest first.
    alerts: VecDeque<Received>,
}

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the header `{0}` is missing or no text")]
    Header(&'static str),
    #[error("the header `webhook-timestamp` is not a number of seconds")]
    Timestamp,
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the body is not JSON: {0}")]
    Body(#[from] serde_json::Error),
}

impl Receiver {
    /// A receiver that has got nothing yet.
    pub fn new(config: ReceiverConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config: Arc::new(config), clock, state: Arc::default() }
    }

    /// `POST /hook`, `GET /` for people, `GET /received` for programs.
    pub fn router(&self) -> Router {
        let body_limit = DefaultBodyLimit::max(self.config.body_bytes_max);
        Router::new()
            .route("/", get(show))
            .route("/received", get(list))
            .route("/hook", post(hook).layer(body_limit))
            .with_state(self.clone())
    }

    /// What it has got.
    pub fn summary(&self) -> Summary {
        let state = self.state();
        Summary { alerts: state.alerts.iter().rev().cloned().collect(), ..state.counts.clone() }
    }

    fn accept(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let now_ms = self.clock.wall_ms();
        let checked = self.check(headers, body, now_ms.div_euclid(1000));
        let mut state = self.state();
        match checked {
            Ok((webhook_id, body)) => {
                state.add(webhook_id, body, now_ms, self.config.alerts_max);
                Ok(())
            }
            Err(refusal) => {
                state.counts.refused += 1;
                state.counts.last_refusal = Some(refusal.to_string());
                Err(refusal)
            }
        }
    }

    /// The signature comes first: nothing of an unsigned body is looked at.
    fn check(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_s: i64,
    ) -> Result<(String, Value), Refusal> {
        let id = text(headers, "webhook-id")?;
        let timestamp = text(headers, "webhook-timestamp")?;
        let signatures = text(headers, "webhook-signature")?;
        let timestamp_s = timestamp.parse().map_err(|_| Refusal::Timestamp)?;
        verify(&self.config.secrets, Message { id, timestamp_s, body }, signatures)?;
        check_age(timestamp_s, now_s, self.config.tolerance_s)?;
        Ok((id.to_owned(), serde_json::from_slice(body)?))
    }

    fn state(&self) -> MutexGuard<'_, Inbox> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn add(&mut self, webhook_id: String, body: Value, now_ms: i64, alerts_max: usize) {
        self.counts.accepted += 1;
        let known = self.alerts.iter().position(|alert| alert.webhook_id == webhook_id);
        let mut alert = match known.and_then(|index| self.alerts.remove(index)) {
            Some(alert) => {
                self.counts.repeats += 1;
                alert
            }
            None => Received { webhook_id, count: 0, first_ms: now_ms, last_ms: now_ms, body },
        };
        alert.count += 1;
        alert.last_ms = now_ms;
        self.alerts.push_back(alert);
        while self.alerts.len() > alerts_max {
            self.alerts.pop_front();
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Refusal> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Refusal::Header(name))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::Header(_) | Self::Timestamp | Self::Body(_) => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}

async fn hook(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    receiver.accept(&headers, &body).map(|()| StatusCode::NO_CONTENT)
}

async fn show(State(receiver): State<Receiver>) -> impl IntoResponse {
    // Even if something slipped through the escaping, it could neither run nor load anything.
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
    let guard: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (guard, Html(page::render(&receiver.summary())))
}

async fn list(State(receiver): State<Receiver>) -> Json<Summary> {
    Json(receiver.summary())
}

#[cfg(test)]
mod tests;
