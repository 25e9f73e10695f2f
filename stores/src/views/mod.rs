//! Views: keyed, typed full-text indexes that follow compacted topics.
//!
//! A view holds one document per key. Its one writer ([`ViewWriter`]) upserts and deletes by key
//! and commits documents together with the [`Progress`] they reflect; any number of readers look
//! at [`Snapshot`]s, in which both change at once. An index is a follower: it can be deleted and
//! built again from its topic, and it is, whenever what lies on the disk is not whole or belongs
//! to another schema.
//!
//! This module reads no log and speaks no HTTP: positions are numbers that it keeps, documents are
//! JSON objects.
//!
//! ```text
//! follower --upsert, delete, commit(progress)--> ViewWriter --publishes--> View --snapshot--> query
//! ```

mod directory;
mod document;
mod fields;
mod fit;
mod opening;
mod progress;
mod query;
mod registry;
mod schema;
mod search;
#[cfg(test)]
mod tests;
mod timestamp;
mod top;
mod view;
mod writer;

pub use self::document::{Document, DocumentError};
pub use self::fit::DocumentCheck;
pub use self::progress::{Missing, PartitionProgress, Progress, SourcePartition, SourceProgress};
pub use self::query::QueryError;
pub use self::registry::Views;
pub use self::schema::{Field, FieldKind, Reach, SchemaError, ViewSchema, ViewSource};
pub use self::search::{Hit, SORT_FIELDS_MAX, SearchRequest, SearchResponse, SortField};
pub use self::timestamp::rfc3339;
pub use self::view::{Snapshot, View};
pub use self::writer::{Opened, ViewError, ViewWriter};
