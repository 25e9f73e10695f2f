//! The receiver of webhooks: a real HTTP server that outlives the processes that call it.
//!
//! It verifies signatures, counts calls by `webhook-id`, and now and then turns one away with 503,
//! so that retries are part of the traffic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alerts::{Message, Secret, verify};
use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::runtime::{Builder, Runtime};

/// The key that calls are signed with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Every so many-th call is turned away.
const TURNED_AWAY_EVERY: u64 = 23;

/// What has been received.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    /// By `webhook-id`, how often a call of it was accepted.
    pub accepted: BTreeMap<String, u64>,
    /// Calls that were turned away with 503.
    pub turned_away: u64,
    /// Calls whose signature or form was wrong.
    pub refused: u64,
}

/// The running server; dropping it ends it.
pub struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    port: u16,
    _runtime: Runtime,
}

#[derive(Clone)]
struct Hook {
    inbox: Arc<Mutex<Inbox>>,
    secrets: Arc<Vec<Secret>>,
}

impl Receiver {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// When the system gives no port or no threads.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("runtime")?;
        let inbox: Arc<Mutex<Inbox>> = Arc::default();
        let secret = SECRET.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        let hook = Hook { inbox: Arc::clone(&inbox), secrets: Arc::new(vec![secret]) };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let router = Router::new().route("/hook", post(receive)).with_state(hook);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { inbox, port, _runtime: runtime })
    }

    /// Where it is called.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// What has come so far.
    pub fn inbox(&self) -> Inbox {
        self.lock().clone()
    }

    /// How many alerts have come.
    pub fn alerts(&self) -> usize {
        self.lock().accepted.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = signed_id(&hook.secrets, &headers, &body).map(str::to_owned);
    let mut inbox = hook.inbox.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(id) = id else {
        inbox.refused += 1;
        return StatusCode::UNAUTHORIZED;
    };
    let calls = inbox.accepted.values().sum::<u64>() + inbox.turned_away;
    if calls % TURNED_AWAY_EVERY == TURNED_AWAY_EVERY - 1 {
        inbox.turned_away += 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    *inbox.accepted.entry(id).or_default() += 1;
    StatusCode::NO_CONTENT
}

fn signed_id<'h>(secrets: &[Secret], headers: &'h HeaderMap, body: &[u8]) -> Option<&'h str> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let id = text("webhook-id")?;
    let message = Message { id, timestamp_s: text("webhook-timestamp")?.parse().ok()?, body };
    verify(secrets, message, text("webhook-signature")?).ok()?;
    Some(id)
}
