//! `[http]`: the one HTTP listener, and what a request may cost.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::check::{At, NUMBER_MAX};
use super::error::Fault;
use super::values::socket_address;

/// An hour: no request and no shutdown waits longer.
const WAIT_MAX_MS: u64 = 60 * 60 * 1000;

/// The HTTP listener and its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// The address and port to listen on.
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// Allows an address beyond loopback although nobody is authenticated.
    pub insecure: bool,
    /// Connections open at once; more are answered 503 and closed.
    pub connections_max: usize,
    /// The largest body of an ingest request.
    pub body_bytes_max: u64,
    /// Ingest requests handled at once; more are answered 503.
    pub ingest_concurrency_max: usize,
    /// Records a second accepted from all ingest requests together; 0 is unlimited.
    pub ingest_records_per_second_max: u64,
    /// The most hits that a search may ask for.
    pub query_hits_max: usize,
    /// The farthest that a search may page.
    pub query_offset_max: usize,
    /// The longest query.
    pub query_length_max_bytes: usize,
    /// Searches run at once; more are answered 503.
    pub query_concurrency_max: usize,
    /// How long a search may run.
    pub query_timeout_ms: u64,
    /// How long `?after=TOKEN` may wait for a view.
    pub after_wait_max_ms: u64,
    /// How long a shutdown waits for running requests and the last commit.
    pub drain_timeout_ms: u64,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            insecure: false,
            connections_max: 1024,
            body_bytes_max: 8 << 20,
            ingest_concurrency_max: 64,
            ingest_records_per_second_max: 0,
            query_hits_max: 1000,
            query_offset_max: 10_000,
            query_length_max_bytes: 8192,
            query_concurrency_max: 16,
            query_timeout_ms: 10_000,
            after_wait_max_ms: 30_000,
            drain_timeout_ms: 20_000,
        }
    }
}

impl Http {
    pub(super) fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        if !self.listen.ip().is_loopback() && !self.insecure {
            return Err(at.fault("listen", BEYOND_LOOPBACK));
        }
        at.range("connections_max", self.connections_max as u64, 1..=65_536)?;
        at.range("body_bytes_max", self.body_bytes_max, 1024..=1 << 30)?;
        at.range("ingest_concurrency_max", self.ingest_concurrency_max as u64, 1..=10_000)?;
        let rate = self.ingest_records_per_second_max;
        at.range("ingest_records_per_second_max", rate, 0..=NUMBER_MAX)?;
        at.range("query_hits_max", self.query_hits_max as u64, 1..=100_000)?;
        at.range("query_offset_max", self.query_offset_max as u64, 0..=1_000_000)?;
        at.range("query_length_max_bytes", self.query_length_max_bytes as u64, 16..=1 << 20)?;
        at.range("query_concurrency_max", self.query_concurrency_max as u64, 1..=1024)?;
        at.range("query_timeout_ms", self.query_timeout_ms, 1..=WAIT_MAX_MS)?;
        at.range("after_wait_max_ms", self.after_wait_max_ms, 0..=WAIT_MAX_MS)?;
        at.range("drain_timeout_ms", self.drain_timeout_ms, 1..=WAIT_MAX_MS)
    }
}

/// Why an address is refused, and what to do.
pub(super) const BEYOND_LOOPBACK: &str = "this address can be reached from other machines and \
     nobody is authenticated: listen on a loopback address, or set `insecure = true` if that is \
     what you want";
