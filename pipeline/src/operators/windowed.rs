//! Streams grouped by key and windows: what the DSL says of an aggregate over any kind of windows.
//! How each kind is computed is in modules of its own.

use std::marker::PhantomData;

use super::group::Grouped;
use super::window_late::LateTopic;
use super::{session_aggregate, sliding_aggregate, window_aggregate};
use crate::aggregates::{Aggregator, Count, Fold, Reduce};
use crate::codec::{Serde, Value, json};
use crate::dsl::{
    CalendarWindows, FixedWindows, SessionWindows, SlidingWindows, Table, TimeWindows,
};
use crate::key::Key;
use crate::record::Windowed;

/// A definition of windows: what [`Grouped::windowed_by`] takes.
pub trait Windows {
    /// The definition, of whatever kind it is.
    fn definition(self) -> WindowsDefinition;
}

/// Windows whose aggregates need not merge: all but sessions.
pub trait NeverMerged: Windows {}

/// A definition of windows of any kind.
#[derive(Clone, Copy, Debug)]
pub struct WindowsDefinition(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Fixed(FixedWindows),
    Sliding(SlidingWindows),
    Session(SessionWindows),
}

impl Windows for TimeWindows {
    fn definition(self) -> WindowsDefinition {
        WindowsDefinition(Kind::Fixed(FixedWindows::Time(self)))
    }
}

impl Windows for CalendarWindows {
    fn definition(self) -> WindowsDefinition {
        WindowsDefinition(Kind::Fixed(FixedWindows::Calendar(self)))
    }
}

impl Windows for SlidingWindows {
    fn definition(self) -> WindowsDefinition {
        WindowsDefinition(Kind::Sliding(self))
    }
}

impl Windows for SessionWindows {
    fn definition(self) -> WindowsDefinition {
        WindowsDefinition(Kind::Session(self))
    }
}

impl NeverMerged for TimeWindows {}
impl NeverMerged for CalendarWindows {}
impl NeverMerged for SlidingWindows {}

/// A stream grouped by key and windows: see [`Grouped::windowed_by`].
pub struct WindowedGroup<K, V, W> {
    grouped: Grouped<K, V>,
    windows: WindowsDefinition,
    told: Told<V>,
    of: PhantomData<W>,
}

/// What an aggregate over windows was told, whatever they are.
pub(super) struct Told<V> {
    /// Where late records go.
    pub(super) late: Option<LateTopic<V>>,
    /// Results are told once, when their windows close.
    pub(super) emit_final: bool,
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Groups by time as well: by [`TimeWindows`], [`CalendarWindows`], [`SlidingWindows`] or
    /// [`SessionWindows`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TimeWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let minute = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("clicks");
    /// builder
    ///     .stream::<String, i64>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(minute)
    ///     .reduce("most", |most, clicks| most.max(*clicks))
    ///     .to("most-per-minute");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("clicks", "home", &3_i64, 1_000);
    /// driver.pipe("clicks", "home", &2_i64, 2_000);
    /// driver.pipe("clicks", "home", &1_i64, 61_000);
    /// let most = driver.read::<Windowed<String>, i64>("most-per-minute");
    /// assert_eq!(most.iter().map(|most| most.value).collect::<Vec<_>>(), [Some(3), Some(3), Some(1)]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn windowed_by<W: Windows>(self, windows: W) -> WindowedGroup<K, V, W> {
        self.cannot_expire();
        let told = Told { late: None, emit_final: false };
        WindowedGroup { grouped: self, windows: windows.definition(), told, of: PhantomData }
    }
}

impl<K: Key, V: Value, W> WindowedGroup<K, V, W> {
    /// Tells of each window once, when it closes, instead of at each change (Kafka Streams'
    /// `EmitStrategy.onWindowClose`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{SessionWindows, TimeWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let minute = Duration::from_secs(60);
    /// let builder = TopologyBuilder::new("clicks");
    /// let clicks = builder.stream::<String, i64>("clicks");
    /// let windows = TimeWindows::of_size_with_no_grace(minute);
    /// clicks.group_by_key().windowed_by(windows).emit_final().count("clicks").to("per-minute");
    /// let sessions = SessionWindows::of_inactivity_gap_with_no_grace(minute);
    /// clicks.group_by_key().windowed_by(sessions).emit_final().count("visits").to("per-visit");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for at in [1_000, 59_000, 61_000, 200_000] {
    ///     driver.pipe("clicks", "home", &1_i64, at);
    /// }
    /// let mut counts = |topic| {
    ///     let counts = driver.read::<Windowed<String>, i64>(topic);
    ///     counts.into_iter().map(|count| count.value.unwrap()).collect::<Vec<_>>()
    /// };
    /// assert_eq!(counts("per-minute"), [2, 1]);
    /// assert_eq!(counts("per-visit"), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    ///
    /// Hopping and sliding windows of an aggregate that merges are put together from parts then: a
    /// record costs the same however many windows hold it. Such a table holds nothing that a join
    /// could look up; put `.to_stream().to_table("name")` between.
    #[must_use]
    pub fn emit_final(mut self) -> Self {
        self.told.emit_final = true;
        self
    }

    /// Sends records that come too late for one of their windows or for all to `topic`, with their
    /// key, their value as JSON and their timestamp. Header `mp.late` says why (`late`, or `idle`
    /// if their source had stood still), `mp.late.windows` of how many windows they were left out:
    /// `1/3` is one of three.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TimeWindows, TopologyBuilder, TopologyDriver};
    ///
    /// let minute = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("clicks");
    /// builder
    ///     .stream::<String, i64>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(minute)
    ///     .late_to("late-clicks")
    ///     .count("clicks")
    ///     .to("per-minute");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("clicks", "home", &1_i64, 61_000);
    /// driver.pipe("clicks", "home", &7_i64, 59_000);
    /// let late = driver.read::<String, i64>("late-clicks");
    /// assert_eq!((late[0].value, late[0].timestamp), (Some(7), 59_000));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    ///
    /// Behind [`Grouped::combined`] those that are `idle` are only counted: what they were is in a
    /// partial aggregate by then.
    #[must_use]
    pub fn late_to(self, topic: &str) -> Self {
        self.late_to_with(topic, json())
    }

    /// As [`Self::late_to`], with values as `codec` writes them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::codec::int64;
    /// use pipeline::{SlidingWindows, TopologyBuilder, TopologyDriver};
    ///
    /// let second = SlidingWindows::of_time_difference_with_no_grace(Duration::from_secs(1));
    /// let builder = TopologyBuilder::new("clicks");
    /// builder
    ///     .stream::<String, i64>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(second)
    ///     .late_to_with("late-clicks", int64())
    ///     .count("clicks")
    ///     .to("within-a-second");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("clicks", "home", &1_i64, 61_000);
    /// driver.pipe("clicks", "home", &7_i64, 59_000);
    /// assert_eq!(driver.read_raw("late-clicks")[0].value.as_deref(), Some(&7_i64.to_be_bytes()[..]));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn late_to_with(mut self, topic: &str, codec: Serde<V>) -> Self {
        self.told.late = Some(LateTopic::with(topic, codec));
        self
    }

    /// Counts the records of each key and window, in the store `store`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TimeWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let minute = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("clicks");
    /// let clicks = builder.stream::<String, i64>("clicks").group_by_key();
    /// clicks.windowed_by(minute).count("clicks").to("per-minute");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("clicks", "home", &1_i64, 61_000);
    /// let counts = driver.read::<Windowed<String>, i64>("per-minute");
    /// assert_eq!((counts[0].key.window.start, counts[0].value), (60_000, Some(1)));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn count(self, store: &str) -> Table<Windowed<K>, i64> {
        self.aggregate_by(store, Count)
    }

    /// Puts the records of each key and window together, in the store `store`; sessions that become
    /// one are put together in the same way. There is an example at [`Grouped::windowed_by`].
    pub fn reduce(
        self,
        store: &str,
        add: impl Fn(V, &V) -> V + Send + Sync + 'static,
    ) -> Table<Windowed<K>, V> {
        self.aggregate_by(store, Reduce::new(add))
    }

    /// Aggregates the records of each key and window as `aggregator` does, in the store `store`.
    /// For sessions it must be one that merges.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::aggregates::Average;
    /// use pipeline::{SessionWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let gap = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("rides");
    /// let speeds = builder.stream::<String, i64>("speeds").group_by_key();
    /// speeds.windowed_by(gap).aggregate_by("rides", Average::of(|speed: &i64| *speed)).to("rides");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("speeds", "tram", &30_i64, 1_000);
    /// driver.pipe("speeds", "tram", &40_i64, 2_000);
    /// let rides = driver.read::<Windowed<String>, Option<f64>>("rides");
    /// assert_eq!(rides.last().unwrap().value, Some(Some(35.0)));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    ///
    /// With [`Self::emit_final`], sessions, and sliding windows of an aggregate that does not
    /// merge, have a second store, `<store>-open`, for what is not told yet.
    pub fn aggregate_by<G: Aggregator<K, V>>(
        self,
        store: &str,
        aggregator: G,
    ) -> Table<Windowed<K>, G::Output> {
        let Self { grouped, windows, told, .. } = self;
        match windows.0 {
            Kind::Fixed(windows) => {
                window_aggregate::place(grouped, windows, (store, told), aggregator)
            }
            Kind::Sliding(windows) => {
                sliding_aggregate::place(grouped, windows, (store, told), aggregator)
            }
            Kind::Session(windows) => {
                session_aggregate::place(grouped, windows, (store, told), aggregator)
            }
        }
    }
}

impl<K: Key, V: Value, W: NeverMerged> WindowedGroup<K, V, W> {
    /// Aggregates the records of each key and window, in the store `store`, as JSON.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{TimeWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let minute = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("clicks");
    /// let clicks = builder.stream::<String, i64>("clicks").group_by_key();
    /// clicks.windowed_by(minute).aggregate("sums", || 0, |_, n, sum| sum + n).to("sums");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("clicks", "home", &3_i64, 1_000);
    /// driver.pipe("clicks", "home", &4_i64, 2_000);
    /// let sums = driver.read::<Windowed<String>, i64>("sums");
    /// assert_eq!(sums.last().unwrap().value, Some(7));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate<A: Value>(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A> {
        self.aggregate_with(store, json(), initial, add)
    }

    /// As [`Self::aggregate`], stored by `codec`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::codec::int64;
    /// use pipeline::{TimeWindows, TopologyBuilder};
    ///
    /// let minute = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("clicks");
    /// let clicks = builder.stream::<String, i64>("clicks").group_by_key().windowed_by(minute);
    /// clicks.aggregate_with("sums", int64(), || 0, |_, n, sum| sum + n).to_with("sums", int64());
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate_with<A: Clone + 'static>(
        self,
        store: &str,
        codec: Serde<A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A> {
        self.aggregate_by(store, Fold::new(codec, initial, add))
    }
}

impl<K: Key, V: Value> WindowedGroup<K, V, SessionWindows> {
    /// Aggregates the records of each session, in the store `store`, as JSON; `merge` makes one
    /// aggregate of those of two sessions.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline::{SessionWindows, TopologyBuilder, TopologyDriver, Windowed};
    ///
    /// let gap = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(60));
    /// let builder = TopologyBuilder::new("clicks");
    /// let clicks = builder.stream::<String, i64>("clicks").group_by_key().windowed_by(gap);
    /// clicks.aggregate("sums", || 0, |_, n, sum| sum + n, |_, one, two| one + two).to("sums");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("clicks", "ann", &3_i64, 1_000);
    /// driver.pipe("clicks", "ann", &4_i64, 2_000);
    /// let sums = driver.read::<Windowed<String>, i64>("sums");
    /// assert_eq!(sums.last().unwrap().value, Some(7));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn aggregate<A: Value>(
        self,
        store: &str,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> A + Send + Sync + 'static,
        merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A> {
        self.aggregate_by(store, Fold::new(json(), initial, add).with_merge(merge))
    }
}
