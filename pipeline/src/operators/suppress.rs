//! `suppress`: a table's updates held back, so that only the last of several is told.

use std::time::Duration;

use super::suppress_limit::hold_for;
use super::suppress_windows::release_when_closed;
use crate::codec::{Serde, Value, json};
use crate::dsl::Table;
use crate::key::Key;

/// For how long updates are held back: see [`Table::suppress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(Until);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    WindowCloses,
    TimeLimit { limit: Duration, buffer: BufferConfig },
}

/// How much is held back at most. What is over it is told early, the oldest first (Kafka Streams'
/// `emitEarlyWhenFull`).
///
/// ```
/// use pipeline::BufferConfig;
///
/// let both = BufferConfig::max_records(10_000).with_max_bytes(1 << 20);
/// let bytes = BufferConfig::max_bytes(1 << 20);
/// assert_ne!(both, bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferConfig {
    pub(super) records_max: u64,
    pub(super) bytes_max: u64,
}

impl BufferConfig {
    /// At most `records` keys.
    pub fn max_records(records: u64) -> Self {
        Self { records_max: records, bytes_max: u64::MAX }
    }

    /// At most `bytes` of keys and values.
    pub fn max_bytes(bytes: u64) -> Self {
        Self { records_max: u64::MAX, bytes_max: bytes }
    }

    /// And at most `bytes` of keys and values.
    #[must_use]
    pub fn with_max_bytes(self, bytes: u64) -> Self {
        Self { bytes_max: bytes, ..self }
    }
}

impl Suppressed {
    /// Until the window of the key is closed: then its last value is told, and nothing after it.
    /// What is held back is kept on disk, however much it is. Deletions of what was never told are
    /// left out.
    ///
    /// There is an example at [`Table::suppress`].
    pub fn until_window_closes() -> Self {
        Self(Until::WindowCloses)
    }

    /// Until event time has gone on by `limit` since the first update that is held back, or until
    /// more than `buffer` is held back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{BufferConfig, Suppressed, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let buffer = BufferConfig::max_records(1_000);
    /// let limit = Suppressed::until_time_limit(Duration::from_secs(1), buffer);
    /// builder.table::<String, i64>("stock", "stock").suppress("held", limit).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for (pieces, at) in [(9, 0), (8, 500), (7, 1_000)] {
    ///     driver.pipe("stock", "lamp", &pieces, at);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [7]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn until_time_limit(limit: Duration, buffer: BufferConfig) -> Self {
        Self(Until::TimeLimit { limit, buffer })
    }
}

impl<K: Key, V: Value> Table<K, V> {
    /// Holds updates back in the store `store`, values as JSON, as `suppressed` says.
    ///
    /// Time is that of the updates that arrive here, or behind a repartition the smallest clock of
    /// all sources. An update's timestamp is that of the value that is told.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{Suppressed, TimeWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let builder = TopologyBuilder::new("clicks");
    /// builder
    ///     .stream::<String, i64>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
    ///     .count("clicks")
    ///     .suppress("clicks-open", Suppressed::until_window_closes())
    ///     .to("per-minute");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for at in [1_000, 59_000, 61_000] {
    ///     driver.pipe("clicks", "home", &1_i64, at);
    /// }
    /// let counts = driver.read::<Windowed<String>, i64>("per-minute");
    /// assert_eq!(counts.iter().map(|count| count.value).collect::<Vec<_>>(), [Some(2)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn suppress(&self, store: &str, suppressed: Suppressed) -> Self {
        self.suppress_with(store, suppressed, json())
    }
}

impl<K: Key, V: Clone + 'static> Table<K, V> {
    /// As [`Self::suppress`], with values stored by `codec`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::codec::int64;
    /// use pipeline::{BufferConfig, Suppressed, TopologyBuilder};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let buffer = BufferConfig::max_bytes(1 << 20);
    /// let limit = Suppressed::until_time_limit(Duration::from_secs(1), buffer);
    /// let stock = builder.table::<String, i64>("stock", "stock");
    /// stock.suppress_with("held", limit, int64()).to("out");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn suppress_with(&self, store: &str, suppressed: Suppressed, codec: Serde<V>) -> Self {
        match suppressed.0 {
            Until::WindowCloses => release_when_closed(self, store, codec),
            Until::TimeLimit { limit, buffer } => hold_for(self, store, codec, (limit, buffer)),
        }
    }
}
