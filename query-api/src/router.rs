//! Which route is answered by which handler.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::routing::get;
use stores::views::Views;

use crate::api::Api;
use crate::errors::Problem;
use crate::settings::QuerySettings;
use crate::{openapi, search, views};

const PREFIX: &str = "/v1/views";

/// Serves `views` under `/v1/views`, and `/openapi.json`.
///
/// The router has a fallback for `/v1/views` only, so that it can be merged with others. It needs
/// a tokio runtime with time, and whose blocking threads are at least `query_concurrency_max`.
pub fn router(views: Arc<Views>, settings: QuerySettings) -> Router {
    routes(Arc::new(Api::new(views, settings)))
}

pub(crate) fn routes(api: Arc<Api>) -> Router {
    let views = Router::new()
        .route("/", get(views::list))
        .route("/{view}", get(views::show))
        .route("/{view}/docs/{key}", get(views::document))
        .route("/{view}/search", get(search::search))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_route)
        .with_state(api);
    Router::new().nest(PREFIX, views).route("/openapi.json", get(openapi::serve))
}

async fn unknown_route(uri: Uri) -> Problem {
    Problem::UnknownRoute(asked_for(&uri))
}

async fn method_not_allowed(uri: Uri) -> Problem {
    Problem::MethodNotAllowed(asked_for(&uri))
}

/// The path as the client wrote it: inside a nest the prefix is cut off.
fn asked_for(uri: &Uri) -> String {
    PREFIX.chars().chain(uri.path().chars()).take(128).collect()
}
