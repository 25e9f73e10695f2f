//! HTTP over views: list, look up, search. Read-only.
//!
//! This room knows views and nothing of what feeds them: it asks [`stores::views`] for snapshots
//! and answers from them, each answer with the positions that it reflects. Whoever listens,
//! authenticates and shuts down does so around the [`router`].
//!
//! ```text
//! request -> handler -> wait for a token -> snapshot -> search on a blocking thread -> answer
//! ```

mod api;
mod errors;
mod extract;
mod openapi;
mod positions;
mod router;
mod search;
mod settings;
#[cfg(test)]
mod tests;
mod views;
mod wait;

pub use self::openapi::document as openapi_document;
pub use self::router::router;
pub use self::settings::QuerySettings;
