//! How two streams are joined: which records belong together, and how they are kept meanwhile.

use std::time::Duration;

use crate::codec::{Serde, Value, json};

/// The stretch of time in which records of two streams belong together: a record of the left
/// stream with those of the right one whose timestamps lie between `before` before its own and
/// `after` after it, both ends included.
///
/// ```
/// use std::time::Duration;
/// use pipeline::JoinWindows;
///
/// // A payment belongs to an order that came up to an hour before it.
/// let hour = Duration::from_secs(3600);
/// JoinWindows::of_time_difference_with_no_grace(Duration::ZERO).before(hour);
/// // Two readings within a second of each other, an hour late at most; or two seconds after.
/// let second = Duration::from_secs(1);
/// JoinWindows::of_time_difference_and_grace(second, hour).after(2 * second);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindows {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
}

impl JoinWindows {
    /// Records that are up to `difference` apart, in either direction; records may come up to
    /// `grace` late.
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        let difference_ms = ms(difference);
        Self { before_ms: difference_ms, after_ms: difference_ms, grace_ms: ms(grace) }
    }

    /// Records that are up to `difference` apart, in either direction; none may come late.
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        Self::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// How much earlier than the left record the right one may be.
    #[must_use]
    pub fn before(mut self, before: Duration) -> Self {
        self.before_ms = ms(before);
        self
    }

    /// How much later than the left record the right one may be.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.after_ms = ms(after);
        self
    }

    /// How long a record can wait for others, measured from its own timestamp: Kafka Streams'
    /// retention of the join's stores.
    pub(crate) fn retention_ms(self) -> i64 {
        self.before_ms.saturating_add(self.after_ms).saturating_add(self.grace_ms)
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where a join of two streams keeps their records, and as which bytes.
///
/// The name is that of the join's store. If a stream's key was changed before, its records go
/// through a repartition topic, `<name>-left` or `<name>-right`. A value that its codec writes as
/// null joins nothing, as in Kafka Streams.
pub struct StreamJoined<L, R> {
    pub(crate) name: String,
    pub(crate) left: Serde<L>,
    pub(crate) right: Serde<R>,
}

impl<L: Value, R: Value> StreamJoined<L, R> {
    /// Kept in the store `name`, as JSON.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{JoinWindows, StreamJoined, TopologyBuilder};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let hour = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(3600));
    /// orders.join_stream(&payments, hour, StreamJoined::named("paid"), |_, a, b| a - b).to("due");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn named(name: &str) -> Self {
        Self::with(name, json(), json())
    }
}

impl<L, R> StreamJoined<L, R> {
    /// Kept in the store `name`, each side by its codec.
    ///
    /// There is an example at [`Self::named`].
    pub fn with(name: &str, left: Serde<L>, right: Serde<R>) -> Self {
        Self { name: name.to_owned(), left, right }
    }
}
