//! The one HTTP listener: queries, ingest, the admin API, and whether the process is well.

use std::future::IntoFuture as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use connectors::ingest::Ingest;
use query_api::QuerySettings;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::connections::Limited;
use super::overview::Overview;
use super::{Shared, guard, health, metrics};
use crate::admin;
use crate::config::{Config, Http};
use crate::error::AppError;

/// A listener that is bound, and where.
pub(crate) struct Bound {
    listener: TcpListener,
    /// With the port that the system gave, where none was asked for.
    pub(crate) address: SocketAddr,
}

/// Binds the address of the configuration.
///
/// # Errors
/// When it is taken, or not ours.
pub(crate) fn bind(http: &Http) -> Result<Bound, AppError> {
    let wanted = http.listen;
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => AppError::PortInUse { address: wanted },
        _ => AppError::Bind { address: wanted, source },
    };
    let listener = TcpListener::bind(wanted).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

/// The running server.
pub(super) struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves `router` on `bound`.
    pub(super) fn start(
        bound: Bound,
        router: Router,
        http: &Http,
        runtime: &Handle,
    ) -> Result<Self, AppError> {
        let Bound { listener, address } = bound;
        let _entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|source| AppError::Bind { address, source })?;
        let listener = Limited::new(listener, http.connections_max);
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // A sender that is gone means to stop, too.
            let _ = stopped.await;
        };
        let serving = axum::serve(listener, router).with_graceful_shutdown(stopped);
        Ok(Self { stop, task: runtime.spawn(serving.into_future()) })
    }

    /// Takes no more connections, and waits at most `patience` for requests under way.
    pub(super) fn stop(self, patience: Duration, runtime: &Handle) {
        let Self { stop, mut task } = self;
        // It has ended already if nobody listens.
        let _ = stop.send(());
        let ended = runtime.block_on(async { tokio::time::timeout(patience, &mut task).await });
        if ended.is_err() {
            // A request that waits for a position may wait longer than we can.
            task.abort();
        }
    }
}

/// All routes of a process. `more` is the caller's own, without any check in front.
pub(super) fn router(
    config: &Config,
    overview: Arc<Overview>,
    admin_key: &str,
    ingest: Arc<Ingest>,
    more: Router,
) -> Router {
    let views = Arc::clone(&overview.views);
    let shared = Shared { overview, admin_key: admin_key.into() };
    let stopping = middleware::from_fn_with_state(shared.clone(), refuse_when_stopping);
    let checks = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(shared.clone());
    let router = Router::new()
        .merge(query_api::router(views, query_settings(&config.http)))
        .merge(connectors::ingest::router(ingest).layer(stopping))
        .merge(admin::router(shared))
        .merge(checks);
    let router = match config.http.listen.ip().is_loopback() {
        true => router.layer(middleware::from_fn(guard::local_pages_only)),
        false => router,
    };
    router.merge(more)
}

/// The limits of the query API.
fn query_settings(http: &Http) -> QuerySettings {
    QuerySettings {
        query_hits_max: http.query_hits_max,
        query_offset_max: http.query_offset_max,
        query_length_max_bytes: http.query_length_max_bytes,
        query_concurrency_max: http.query_concurrency_max,
        query_timeout_ms: http.query_timeout_ms,
        after_wait_max_ms: http.after_wait_max_ms,
        ..QuerySettings::default()
    }
}

/// A process that ends takes no more records: what it answered for would not be processed by it.
async fn refuse_when_stopping(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    if shared.overview.health.is_stopping() {
        let detail = "the process is stopping: send the records again when it is back";
        return admin::problem(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    }
    next.run(request).await
}
