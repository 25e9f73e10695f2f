//! The embedded log's settings, with their units.

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once the operating system has it: survives the end of the process by any signal; a power
    /// failure loses what the system had not yet written, commonly the last 30 seconds, always
    /// whole commits and the newest ones.
    Os,
    /// Once the disk has it: survives a power failure.
    Sync,
}

impl Durability {
    pub(crate) fn is_sync(self) -> bool {
        self == Self::Sync
    }
}

/// Bounds and durations of an embedded log.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedSettings {
    /// When a commit counts as durable.
    pub durability: Durability,
    /// Memory for recent writes, in bytes.
    pub write_buffer_bytes: usize,
    /// Memory for blocks read, in bytes.
    pub cache_bytes: usize,
    /// What may wait for the appender, in bytes; then writers wait.
    pub queue_bytes_max: usize,
    /// What one commit may append to one partition, in bytes before compression.
    pub batch_bytes_max: usize,
    /// What one poll answers with, in bytes; the last batch may go beyond.
    pub fetch_bytes_max: usize,
    /// Milliseconds between two runs of the cleaner.
    pub clean_interval_ms: u64,
    /// A compacted partition is cleaned when this share of its bytes is new.
    pub dirty_ratio_min: f64,
    /// Memory for the keys of one cleaning, in bytes.
    pub clean_bytes_max: usize,
    /// Milliseconds that a tombstone stays, counted from its append.
    pub tombstone_retention_ms: u64,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            durability: Durability::Os,
            write_buffer_bytes: 16 << 20,
            cache_bytes: 8 << 20,
            queue_bytes_max: 64 << 20,
            batch_bytes_max: 64 << 20,
            fetch_bytes_max: 1 << 20,
            clean_interval_ms: 15_000,
            dirty_ratio_min: 0.5,
            clean_bytes_max: 32 << 20,
            tombstone_retention_ms: 24 * 3_600_000,
        }
    }
}
