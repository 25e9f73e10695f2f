//! The limits of the query API. Every one is a setting; none is off.

use serde::{Deserialize, Serialize};

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    /// The most hits of one search.
    pub query_hits_max: usize,
    /// The most hits that a search may leave out before the first. Every one costs memory.
    pub query_offset_max: usize,
    /// The longest query text, in bytes.
    pub query_length_max_bytes: usize,
    /// The most bytes that the documents of one answer may have together.
    pub query_answer_max_bytes: usize,
    /// The most searches and look-ups that run at once. One more is answered with 503.
    pub query_concurrency_max: usize,
    /// How long a search may run, in milliseconds. It is then given up, with 504.
    pub query_timeout_ms: u64,
    /// The longest wait for a position, in milliseconds, and the one of a request that names none.
    pub after_wait_max_ms: u64,
    /// The most requests that wait for a position at once. One more is answered with 503.
    pub after_waiting_max: usize,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            query_hits_max: 1_000,
            query_offset_max: 10_000,
            query_length_max_bytes: 4_096,
            query_answer_max_bytes: 16 << 20,
            query_concurrency_max: 16,
            query_timeout_ms: 10_000,
            after_wait_max_ms: 30_000,
            after_waiting_max: 1_000,
        }
    }
}
