//! Broken engines, to try the invariants on.
//!
//! A mutant breaks the commit protocol in one way. It is not a switch in the engine: the engine
//! has none. It sits at the seams that the engine has anyway (the log's calls, the state between
//! two turns, the index between two openings) and does there what a broken engine would have
//! done. So no binary that runs on real data contains a way to break it.

mod tamper;

pub(super) use tamper::Tamper;

/// One way to break the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutant {
    /// State is written before the log has accepted the commit.
    StoreBeforeLog,
    /// State is written without its position in the changelog.
    PositionForgotten,
    /// Consumed offsets are committed before the outputs, by themselves.
    OffsetsFirst,
    /// Outputs are committed before the consumed offsets, by themselves.
    OffsetsLater,
    /// Operators begin with no stream time after a start.
    StreamTimeForgotten,
    /// Tasks begin with no source clocks after a start.
    ClocksForgotten,
    /// The changes of a commit that was aborted stay.
    OverlayKept,
    /// No control records are written.
    ControlSkipped,
    /// Control records are written before the data that they speak of, by themselves.
    ControlFirst,
    /// Control records claim one record more than was read.
    ControlAhead,
    /// An index has documents beyond the progress in its payload, and goes on from there as if
    /// they were not there... for ever: its progress never moves.
    PayloadForgotten,
    /// An index has a progress beyond its documents.
    PayloadFirst,
    /// A position of an epoch that the log has lost is taken for valid.
    EpochIgnored,
    /// After a commit of unknown outcome the changelog's tail is not replayed.
    TailNotReplayed,
    /// After a commit of unknown outcome the committed offsets are not read again.
    OffsetsNotReread,
    /// A commit of unknown outcome is taken for committed.
    UnknownTakenForCommitted,
    /// Windows are closed by the largest clock heard, not the smallest.
    ClosedByLargest,
    /// A record behind a repartition is late by what has arrived before it.
    LateByArrival,
    /// A restoration stops one record early.
    RestoreStopsEarly,
    /// A restoration leaves out tombstones.
    TombstonesSkipped,
    /// A worker that was fenced goes on.
    FencedGoesOn,
    /// Of a commit's alerts only the last one is written.
    AlertsCoalesced,
    /// Of the records of one key on their way to a repartition topic only the last one is written.
    RepartitionCoalesced,
    /// Dead letters are written by themselves, before the commit.
    DeadLettersApart,
    /// What is fetched while its partition is given up or paused is lost.
    FetchDropped,
    /// A changelog misses the changes of every third commit.
    ChangelogMissed,
    /// Time waits for sources that stand still, though it should leave them behind.
    IdleCounts,
    /// A global table stays as it was when its worker began.
    GlobalStands,
    /// Of a commit that is under way when the power fails a part reaches the disk.
    TornCommit,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::StoreBeforeLog,
        Self::PositionForgotten,
        Self::OffsetsFirst,
        Self::OffsetsLater,
        Self::StreamTimeForgotten,
        Self::ClocksForgotten,
        Self::OverlayKept,
        Self::ControlSkipped,
        Self::ControlFirst,
        Self::ControlAhead,
        Self::PayloadForgotten,
        Self::PayloadFirst,
        Self::EpochIgnored,
        Self::TailNotReplayed,
        Self::OffsetsNotReread,
        Self::UnknownTakenForCommitted,
        Self::ClosedByLargest,
        Self::LateByArrival,
        Self::RestoreStopsEarly,
        Self::TombstonesSkipped,
        Self::FencedGoesOn,
        Self::AlertsCoalesced,
        Self::RepartitionCoalesced,
        Self::DeadLettersApart,
        Self::FetchDropped,
        Self::ChangelogMissed,
        Self::IdleCounts,
        Self::GlobalStands,
        Self::TornCommit,
    ];

    /// Whether it makes two commits of one, the second with what counts.
    pub(super) fn is_in_two_parts(self) -> bool {
        matches!(self, Self::OffsetsFirst | Self::ControlFirst | Self::DeadLettersApart)
    }

    /// Whether it breaks indexes, so that a run without them cannot notice.
    pub fn is_of_index(self) -> bool {
        matches!(self, Self::PayloadForgotten | Self::PayloadFirst)
    }
}
