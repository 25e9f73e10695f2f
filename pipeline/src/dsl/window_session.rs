//! Definition of session windows.

use std::time::Duration;

use super::window::whole_ms;

/// Sessions: records of a key that follow each other within `inactivity_gap`.
///
/// A session begins with its first record and ends with its last; both belong to it. A record
/// between two sessions may make one of them: the old ones are deleted from the table, and the new
/// one is put in. A session takes records until `inactivity_gap` and `grace` after its end.
///
/// ```
/// use std::time::Duration;
/// use pipeline::{SessionWindows, TopologyBuilder, TopologyDriver, Windowed};
///
/// let seconds = Duration::from_secs;
/// let builder = TopologyBuilder::new("visits");
/// builder
///     .stream::<String, i64>("clicks")
///     .group_by_key()
///     .windowed_by(SessionWindows::of_inactivity_gap_and_grace(seconds(30), seconds(60)))
///     .count("visits")
///     .to("clicks-per-visit");
/// let mut driver = TopologyDriver::new(builder.build()?);
/// for at in [10_000, 60_000, 35_000] {
///     driver.pipe("clicks", "ann", &1_i64, at);
/// }
/// let counts = driver.read::<Windowed<String>, i64>("clicks-per-visit");
/// let no_grace = SessionWindows::of_inactivity_gap_with_no_grace(seconds(30));
/// assert_eq!(no_grace, SessionWindows::of_inactivity_gap_and_grace(seconds(30), seconds(0)));
/// let seen: Vec<_> = counts.iter().map(|c| (c.key.window.start, c.value)).collect();
/// // The third click joins the first two visits: both are deleted, and one takes their place.
/// assert_eq!(
///     seen,
///     [(10_000, Some(1)), (60_000, Some(1)), (10_000, None), (60_000, None), (10_000, Some(3))],
/// );
/// # Ok::<(), pipeline::TopologyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWindows {
    pub(crate) gap_ms: i64,
    pub(crate) grace_ms: i64,
}

/// The shortest of the stretches of time by which closed sessions are forgotten.
const SEGMENT_MIN_MS: i64 = 60_000;

impl SessionWindows {
    /// Sessions with at most `inactivity_gap` between two records, which take late records until
    /// `grace` after the gap has passed.
    pub fn of_inactivity_gap_and_grace(inactivity_gap: Duration, grace: Duration) -> Self {
        Self { gap_ms: whole_ms(inactivity_gap), grace_ms: whole_ms(grace) }
    }

    /// Sessions with at most `inactivity_gap` between two records, which take no late records.
    pub fn of_inactivity_gap_with_no_grace(inactivity_gap: Duration) -> Self {
        Self::of_inactivity_gap_and_grace(inactivity_gap, Duration::ZERO)
    }

    /// Whether there can be such windows.
    pub(crate) fn is_possible(self) -> bool {
        let Self { gap_ms, grace_ms } = self;
        gap_ms > 0 && grace_ms >= 0 && gap_ms.checked_add(grace_ms).is_some()
    }

    /// How long after its last record a session takes records.
    pub(crate) fn open_for_ms(self) -> i64 {
        self.gap_ms.saturating_add(self.grace_ms)
    }

    /// Sessions that end before this take no records when time is `clock`.
    pub(crate) fn closed_before(self, clock: i64) -> i64 {
        clock.saturating_sub(self.open_for_ms())
    }

    /// Closed sessions are kept for a while, in stretches of time that are forgotten as a whole:
    /// the one that `time` lies in.
    pub(crate) fn segment_of(self, time: i64) -> i64 {
        let segment_ms = (self.open_for_ms() / 2).max(SEGMENT_MIN_MS);
        time.div_euclid(segment_ms).saturating_mul(segment_ms)
    }

    /// Sessions that end before this are forgotten when time is `clock`.
    pub(crate) fn kept_from(self, clock: i64) -> i64 {
        self.segment_of(self.closed_before(clock))
    }
}
