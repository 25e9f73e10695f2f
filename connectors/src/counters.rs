//! What came in, and what did not and why: numbers for the metrics page of the application.
//!
//! A fixed set of atomics for each source. Not a metrics library: no labels beyond source and
//! reason, no histograms, no text format.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Records that the log has accepted.
    Records,
    /// Lines that went to the dead letters, whatever the reason.
    DeadLetters,
    /// Lines that are empty: no records.
    Blank,
    /// Remarks of `journalctl` about the journal: no records.
    Marker,
    /// Records in which invalid UTF-8 was replaced.
    InvalidUtf8,
    /// Lines longer than the limit; they are among the dead letters.
    LineTooLong,
    /// Requests refused because a line was bad.
    BadLines,
    /// Requests refused because too many were under way.
    Busy,
    /// Requests refused because the rate was passed.
    RateLimited,
    /// Requests whose body was too large, too slow or cut off.
    Body,
    /// Datagrams dropped because the queue was full.
    QueueFull,
    /// Connections closed at once because too many were open.
    ConnectionRefused,
    /// Connections closed because nothing came for too long.
    ConnectionIdle,
    /// Octet-counted messages that the end of the connection cut off.
    CutOff,
    /// Files that were moved away and replaced by a new one.
    Rotated,
    /// Files that became shorter than what had been read of them.
    Truncated,
    /// Files that were gone before they had been read to the end; for listeners, lines that the
    /// log did not take before the process stopped.
    Lost,
    /// Commits that the log aborted.
    Aborted,
    /// Commits whose outcome the log could not tell at first.
    Unknown,
}

impl Count {
    const ALL: [Self; 19] = [
        Self::Records,
        Self::DeadLetters,
        Self::Blank,
        Self::Marker,
        Self::InvalidUtf8,
        Self::LineTooLong,
        Self::BadLines,
        Self::Busy,
        Self::RateLimited,
        Self::Body,
        Self::QueueFull,
        Self::ConnectionRefused,
        Self::ConnectionIdle,
        Self::CutOff,
        Self::Rotated,
        Self::Truncated,
        Self::Lost,
        Self::Aborted,
        Self::Unknown,
    ];

    /// The name to show it under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::DeadLetters => "dead_letters",
            Self::Blank => "blank",
            Self::Marker => "marker",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::LineTooLong => "line_too_long",
            Self::BadLines => "bad_lines",
            Self::Busy => "busy",
            Self::RateLimited => "rate_limited",
            Self::Body => "body",
            Self::QueueFull => "queue_full",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionIdle => "connection_idle",
            Self::CutOff => "cut_off",
            Self::Rotated => "rotated",
            Self::Truncated => "truncated",
            Self::Lost => "lost",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
        }
    }
}

/// The numbers of one source.
#[derive(Debug, Default)]
pub struct SourceCounters {
    values: [AtomicU64; Count::ALL.len()],
}

impl SourceCounters {
    /// Counts `more`.
    pub fn add(&self, count: Count, more: u64) {
        self.values[count as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were since the start.
    pub fn get(&self, count: Count) -> u64 {
        self.values[count as usize].load(Ordering::Relaxed)
    }
}

/// One number of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The source, such as `http` or `file:/var/log/auth.log`.
    pub source: String,
    /// What was counted.
    pub count: Count,
    /// How often.
    pub value: u64,
}

/// The numbers of all sources. Sources come from the configuration, so they are few.
#[derive(Debug, Default)]
pub struct Counters {
    sources: Mutex<BTreeMap<String, Arc<SourceCounters>>>,
}

impl Counters {
    /// No sources yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers of `source`, from zero if it is new.
    pub fn source(&self, source: &str) -> Arc<SourceCounters> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(source.to_owned()).or_default())
    }

    /// All numbers, zeros included, by source.
    pub fn snapshot(&self) -> Vec<Counted> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let all = |(source, counters): (&String, &Arc<SourceCounters>)| {
            Count::ALL.map(|count| Counted {
                source: source.clone(),
                count,
                value: counters.get(count),
            })
        };
        sources.iter().flat_map(all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_has_a_place_of_its_own() {
        for (place, count) in Count::ALL.iter().enumerate() {
            assert_eq!(*count as usize, place, "{}", count.name());
        }
    }

    #[test]
    fn a_snapshot_shows_every_source_and_reason() {
        let counters = Counters::new();
        counters.source("http").add(Count::Busy, 2);
        counters.source("http").add(Count::Busy, 1);
        counters.source("file:x").add(Count::Rotated, 1);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.len(), 2 * Count::ALL.len());
        let value = |source: &str, count| {
            let found = snapshot.iter().find(|one| one.source == source && one.count == count);
            found.map(|one| one.value)
        };
        assert_eq!(value("http", Count::Busy), Some(3));
        assert_eq!(value("file:x", Count::Rotated), Some(1));
        assert_eq!(value("file:x", Count::Busy), Some(0));
    }
}
