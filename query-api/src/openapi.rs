//! The description of the API, made from the handlers.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi;

use crate::{search, views};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millpond query API",
        description = "Read-only search over views. Every answer says which positions it \
                       reflects, in its body and in the header `Millpond-Positions`; errors are \
                       RFC 9457 problems.",
        license(name = "Apache-2.0"),
    ),
    paths(views::list, views::show, views::document, search::search)
)]
struct Description;

/// The OpenAPI 3.1 document of the routes under `/v1/views`.
pub fn document() -> openapi::OpenApi {
    Description::openapi()
}

pub(crate) async fn serve() -> Json<openapi::OpenApi> {
    Json(document())
}
