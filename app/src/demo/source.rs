//! What a binary gives the demo: traffic made from a seed, and searches that it answers well.

/// One record for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoRecord {
    /// The topic, one that a topology reads.
    pub topic: &'static str,
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The event time, milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
}

/// A search to propose to whoever watches the demo.
#[derive(Clone, Copy, Debug)]
pub struct DemoSearch {
    /// What it answers.
    pub about: &'static str,
    /// The view.
    pub view: &'static str,
    /// The query.
    pub query: &'static str,
    /// The order of the hits; empty for the best first.
    pub sort: &'static str,
}

/// The traffic of one seed.
pub struct DemoTraffic {
    /// Records that are sent once, before all others, if their topic is empty: a table's first
    /// rows.
    pub first: Vec<DemoRecord>,
    /// The next record, of an instant in milliseconds since 1970-01-01 UTC.
    pub next: Box<dyn FnMut(i64) -> DemoRecord + Send>,
}

/// Where the demo's records come from.
#[derive(Clone, Copy)]
pub struct DemoSource {
    /// Makes the traffic of a seed, given the time.
    pub traffic: fn(u64, i64) -> DemoTraffic,
    /// What to type next.
    pub searches: &'static [DemoSearch],
}
