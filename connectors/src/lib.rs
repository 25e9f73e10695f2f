//! What brings events in: HTTP ingest, files, syslog.
//!
//! Everything here ends in a [`pipeline::log::Commit`]; nothing here keeps data of its own. This
//! room knows the log and nothing above it: no topology, no view, no configuration file. tokio
//! lives in the listeners and the router; parsing, and following a file, are plain functions.

mod counters;
mod destination;
mod fields;
pub mod file;
pub mod ingest;
pub mod listen;
mod parser;
mod positions;
pub mod syslog;
mod timestamp;
mod writer;

#[cfg(test)]
mod shared_tests;

pub use counters::{Count, Counted, Counters, SourceCounters};
pub use destination::{DEAD_LETTER_RETENTION_MS, dead_letter_topic};
pub use fields::{FieldError, FieldPath};
pub use parser::{
    Arrival, Format, LineError, Parsed, ParsedRecord, Parser, ParserSettings, Skipped, lines,
};
pub use positions::POSITIONS_TOPIC;
pub use timestamp::TimestampError;

/// The header that carries an event's id, for `dedup`: the value of `Idempotency-Key`, with
/// `:<line>` behind it where a request has many lines.
pub use pipeline::format::EVENT_ID_HEADER;
