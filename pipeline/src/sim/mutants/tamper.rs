//! What a mutant does at the seams.

use std::collections::{BTreeMap, BTreeSet};

use super::Mutant;
use crate::format::control::{Control, Progress};
use crate::format::origin::Origin;
use crate::format::{CONTROL_HEADER, ORIGIN_HEADER};
use crate::log::batch::RecordParts;
use crate::log::record::put_header;
use crate::log::{
    Appended, BatchBuilder, Commit, Fetched, Log, Member, Outcome, Position, Range, RecordRef,
    TopicPartition, Validity,
};
use crate::operators::kind;

/// A mutant at work; without one, everything passes as it is.
#[derive(Debug, Default)]
pub(in crate::sim) struct Tamper {
    mutant: Option<Mutant>,
    /// The topics that count as dead letters, alerts.
    dead_letters: String,
    alerts: String,
    after_reconnect: bool,
    /// What was last answered of committed offsets.
    known_offsets: BTreeMap<TopicPartition, Option<Position>>,
    /// The largest clock heard or arrived, by place.
    clocks: BTreeMap<String, i64>,
    commits: u64,
    /// The changelog batches of the commit before, for an overlay that stays.
    pub(in crate::sim) kept: Vec<(TopicPartition, BatchBuilder)>,
}

impl Tamper {
    pub(in crate::sim) fn new(
        mutant: Option<Mutant>,
        (dead_letters, alerts): (String, String),
    ) -> Self {
        Self { mutant, dead_letters, alerts, ..Self::default() }
    }

    pub(in crate::sim) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Gives a commit to the log.
    pub(in crate::sim) fn commit(
        &mut self,
        log: &dyn Log,
        member: &mut dyn Member,
        mut commit: Commit,
    ) -> Outcome {
        self.commits += 1;
        let Some(mutant) = self.mutant else { return member.commit(commit).wait() };
        let first = self.first(mutant, &mut commit);
        if let Some(first) = first
            && let other @ (Outcome::Fenced(_) | Outcome::Unknown(_) | Outcome::Aborted(_)) =
                member.commit(first).wait()
        {
            return other;
        }
        if mutant.is_in_two_parts() && self.dies_between() {
            return Outcome::Unknown("the mutant died between two commits".into());
        }
        self.rewrite(mutant, &mut commit);
        let later = (mutant == Mutant::OffsetsLater).then(|| std::mem::take(&mut commit.offsets));
        let again = (mutant == Mutant::FencedGoesOn).then(|| copy(&commit));
        let empty = commit.is_empty();
        let outcome = if empty { none() } else { member.commit(commit).wait() };
        match (outcome, again) {
            (Outcome::Fenced(_), Some(commit)) => match log.writer("mutant") {
                Ok(mut writer) => writer.commit(Commit { offsets: Vec::new(), ..commit }).wait(),
                Err(error) => Outcome::Unknown(error.to_string()),
            },
            (outcome @ Outcome::Committed { .. }, _) => {
                let offsets = later.unwrap_or_default();
                if offsets.is_empty() {
                    return outcome;
                }
                if self.dies_between() {
                    return Outcome::Unknown("the mutant died between two commits".into());
                }
                // The group may have moved on.
                drop(member.commit(Commit { appends: Vec::new(), offsets }).wait());
                outcome
            }
            (outcome, _) => outcome,
        }
    }

    /// Now and then whoever makes two commits of one dies in between.
    fn dies_between(&self) -> bool {
        self.commits.is_multiple_of(5)
    }

    /// What a mutant commits before the rest, by itself.
    fn first(&self, mutant: Mutant, commit: &mut Commit) -> Option<Commit> {
        let apart = match mutant {
            Mutant::OffsetsFirst => {
                let offsets = std::mem::take(&mut commit.offsets);
                return (!offsets.is_empty()).then_some(Commit { appends: Vec::new(), offsets });
            }
            Mutant::DeadLettersApart => {
                let is_letter = |at: &TopicPartition| *at.topic == *self.dead_letters;
                let mut apart = Vec::new();
                for (at, batch) in &mut commit.appends {
                    if is_letter(at) {
                        apart.push((at.clone(), std::mem::take(batch)));
                    }
                }
                apart
            }
            Mutant::ControlFirst => {
                let mut apart = Vec::new();
                for (at, batch) in &mut commit.appends {
                    let control = keep(batch, &mut |record| is_control(record));
                    if !control.is_empty() {
                        *batch = keep(batch, &mut |record| !is_control(record));
                        apart.push((at.clone(), control));
                    }
                }
                apart
            }
            _ => return None,
        };
        (!apart.is_empty()).then_some(Commit { appends: apart, offsets: Vec::new() })
    }

    /// What a mutant makes of what is committed.
    fn rewrite(&self, mutant: Mutant, commit: &mut Commit) {
        for (at, batch) in &mut commit.appends {
            match mutant {
                Mutant::ControlSkipped => *batch = keep(batch, &mut |r| !is_control(r)),
                Mutant::ControlAhead => *batch = map_controls(batch, &claim_more),
                Mutant::AlertsCoalesced if *at.topic == *self.alerts => {
                    let last = batch.len().saturating_sub(1);
                    let mut place = 0;
                    *batch = keep(batch, &mut |_| {
                        place += 1;
                        place > last
                    });
                }
                Mutant::RepartitionCoalesced if at.topic.ends_with("-repartition") => {
                    *batch = last_of_each(batch);
                }
                Mutant::ChangelogMissed
                    if at.topic.ends_with("-changelog") && self.commits.is_multiple_of(3) =>
                {
                    *batch = BatchBuilder::new();
                }
                _ => {}
            }
        }
    }

    /// A commit was refused: a mutant keeps its changes.
    pub(in crate::sim) fn refused(&mut self, commit: Commit) {
        if self.is(Mutant::OverlayKept) {
            let changelogs =
                commit.appends.into_iter().filter(|(at, _)| at.topic.ends_with("-changelog"));
            self.kept.extend(changelogs);
        }
    }

    /// The outcome of a commit before there is one.
    pub(in crate::sim) fn predict(&self, log: &dyn Log, commit: &Commit) -> Option<Outcome> {
        self.mutant?;
        let appended = commit.appends.iter().map(|(at, batch)| {
            let end = log.range(at).ok()?.end;
            let next = Position::new(end.offset + u64::from(batch.len()), end.epoch);
            Some(Appended { base_offset: end.offset, next })
        });
        Some(Outcome::Committed { appended: appended.collect::<Option<_>>()? })
    }

    /// What the worker is told of an outcome.
    pub(in crate::sim) fn outcome(&self, outcome: Outcome, predicted: Option<Outcome>) -> Outcome {
        match (outcome, predicted) {
            (Outcome::Unknown(_), Some(predicted)) if self.is(Mutant::UnknownTakenForCommitted) => {
                predicted
            }
            (outcome, _) => outcome,
        }
    }

    pub(in crate::sim) fn reconnected(&mut self) {
        self.after_reconnect = true;
    }

    /// A turn has ended.
    pub(in crate::sim) fn turned(&mut self) {
        self.after_reconnect = false;
    }

    pub(in crate::sim) fn range(&mut self, at: &TopicPartition, mut range: Range) -> Range {
        if at.topic.ends_with("-changelog") {
            if self.is(Mutant::TailNotReplayed) && self.after_reconnect {
                range.end.offset = range.start;
            }
            if self.is(Mutant::RestoreStopsEarly) && range.end.offset > range.start {
                range.end.offset -= 1;
            }
        }
        range
    }

    pub(in crate::sim) fn validity(&self, validity: Validity) -> Validity {
        match validity {
            Validity::Truncated { .. } if self.is(Mutant::EpochIgnored) => Validity::Valid,
            validity => validity,
        }
    }

    pub(in crate::sim) fn committed(
        &mut self,
        partitions: &[TopicPartition],
        committed: Vec<Option<Position>>,
    ) -> Vec<Option<Position>> {
        if !self.is(Mutant::OffsetsNotReread) {
            return committed;
        }
        let stale = self.after_reconnect;
        let answer = |(at, found): (&TopicPartition, Option<Position>)| {
            let known = self.known_offsets.entry(at.clone()).or_insert(found);
            if !stale {
                *known = found;
            }
            *known
        };
        partitions.iter().zip(committed).map(answer).collect()
    }

    pub(in crate::sim) fn hides_loss(&self) -> bool {
        self.is(Mutant::FencedGoesOn)
    }

    /// What a worker fetches.
    pub(in crate::sim) fn fetched(&mut self, mut fetched: Fetched) -> Option<Fetched> {
        let at = fetched.partition.to_string();
        match self.mutant {
            Some(Mutant::FetchDropped) => {
                self.commits += 1;
                return (!self.commits.is_multiple_of(11)).then_some(fetched);
            }
            Some(Mutant::ClosedByLargest) if fetched.partition.topic.ends_with("-repartition") => {
                let mut largest = self.clocks.get(&at).copied().unwrap_or(i64::MIN);
                for record in fetched.records().filter(is_control) {
                    let told = record.value.and_then(Control::decode).unwrap_or_default().entries;
                    largest = told.iter().map(|entry| entry.clock).fold(largest, i64::max);
                }
                self.clocks.insert(at, largest);
                rewrite_fetched(&mut fetched, &|control| {
                    for entry in &mut control.entries {
                        entry.clock = largest;
                    }
                });
            }
            Some(Mutant::IdleCounts) if fetched.partition.topic.ends_with("-repartition") => {
                rewrite_fetched(&mut fetched, &|control| {
                    control.entries.iter_mut().for_each(|entry| entry.idle = false);
                });
            }
            Some(Mutant::LateByArrival) if fetched.partition.topic.ends_with("-repartition") => {
                let arrived = self.clocks.entry(at).or_insert(i64::MIN);
                fetched.batch = late_by_arrival(&fetched, arrived);
            }
            _ => {}
        }
        Some(fetched)
    }

    /// Whether a reader that begins at the end of a partition reads nothing of it: so a global
    /// table is followed, and nothing else that tasks read.
    pub(in crate::sim) fn stands_still(&self, range: &Range, offset: u64) -> bool {
        self.is(Mutant::GlobalStands) && offset >= range.end.offset
    }

    /// What a restoration or a follower reads.
    pub(in crate::sim) fn read(&self, mut fetched: Fetched) -> Option<Fetched> {
        if !fetched.partition.topic.ends_with("-changelog") {
            return Some(fetched);
        }
        let forgets = self.forgets();
        let skips = self.is(Mutant::TombstonesSkipped);
        if skips || self.is(Mutant::StreamTimeForgotten) || self.is(Mutant::ClocksForgotten) {
            // A record that is left out leaves its place: positions stay what they are.
            let stand_in: &[u8] = &[0xfe];
            fetched.batch = rebuilt(&fetched, &mut |record| {
                let gone = record.key.is_some_and(&forgets) || (skips && record.value.is_none());
                let key = if gone { Some(stand_in) } else { record.key };
                RecordParts {
                    timestamp: record.timestamp,
                    key: if gone { None } else { key },
                    value: record.value,
                    headers: record.headers.as_bytes(),
                }
            });
        }
        Some(fetched)
    }

    /// Says of which keys of a store a start knows nothing.
    pub(in crate::sim) fn forgets(&self) -> impl Fn(&[u8]) -> bool + use<> {
        let (time, clocks) =
            (self.is(Mutant::StreamTimeForgotten), self.is(Mutant::ClocksForgotten));
        move |key| (time && key == [kind::META, b't']) || (clocks && key == [kind::META, b'c'])
    }
}

fn none() -> Outcome {
    Outcome::Committed { appended: Vec::new() }
}

fn copy(commit: &Commit) -> Commit {
    Commit { appends: commit.appends.clone(), offsets: commit.offsets.clone() }
}

fn is_control(record: &RecordRef<'_>) -> bool {
    record.headers.get(CONTROL_HEADER).is_some()
}

/// The records of `batch` for which `wanted` says true.
fn keep(batch: &BatchBuilder, wanted: &mut dyn FnMut(&RecordRef<'_>) -> bool) -> BatchBuilder {
    let mut kept = BatchBuilder::new();
    if batch.is_empty() {
        return kept;
    }
    for record in batch.clone().into_batch(0, 0).records() {
        if wanted(&record) {
            kept.push(record.timestamp, record.key, record.value, record.headers.as_bytes());
        }
    }
    kept
}

fn last_of_each(batch: &BatchBuilder) -> BatchBuilder {
    let mut seen = BTreeSet::new();
    let mut last = BTreeSet::new();
    if batch.is_empty() {
        return BatchBuilder::new();
    }
    let all = batch.clone().into_batch(0, 0);
    let records: Vec<_> = all.records().collect();
    for record in records.iter().rev() {
        if is_control(record) || seen.insert(record.key) {
            last.insert(record.offset);
        }
    }
    keep(batch, &mut |record| last.contains(&record.offset))
}

fn claim_more(control: &mut Control) {
    for Progress { position, .. } in &mut control.entries {
        position.offset += 1;
    }
}

fn map_controls(batch: &BatchBuilder, change: &dyn Fn(&mut Control)) -> BatchBuilder {
    let mut mapped = BatchBuilder::new();
    if batch.is_empty() {
        return mapped;
    }
    for record in batch.clone().into_batch(0, 0).records() {
        let value = changed(&record, change);
        let value = value.as_deref().or(record.value);
        mapped.push(record.timestamp, record.key, value, record.headers.as_bytes());
    }
    mapped
}

fn changed(record: &RecordRef<'_>, change: &dyn Fn(&mut Control)) -> Option<Vec<u8>> {
    let mut control = is_control(record).then(|| record.value.and_then(Control::decode))??;
    change(&mut control);
    Some(control.encode())
}

fn rewrite_fetched(fetched: &mut Fetched, change: &dyn Fn(&mut Control)) {
    let mut built = BatchBuilder::new();
    let base = fetched.batch.base_offset();
    for record in fetched.batch.records() {
        let value = changed(&record, change);
        let delta = u32::try_from(record.offset - base).unwrap_or(u32::MAX);
        let value = value.as_deref().or(record.value);
        let headers = record.headers.as_bytes();
        let parts = RecordParts { timestamp: record.timestamp, key: record.key, value, headers };
        built.push_at(delta, parts);
    }
    fetched.batch = built.into_batch(base, fetched.batch.epoch());
}

fn rebuilt<'a>(
    fetched: &'a Fetched,
    parts: &mut dyn FnMut(&RecordRef<'a>) -> RecordParts<'a>,
) -> crate::log::Batch {
    let mut built = BatchBuilder::new();
    let base = fetched.batch.base_offset();
    for record in fetched.batch.records() {
        let delta = u32::try_from(record.offset - base).unwrap_or(u32::MAX);
        built.push_at(delta, parts(&record));
    }
    built.into_batch(base, fetched.batch.epoch())
}

/// Each record's source clock is what has arrived before it.
fn late_by_arrival(fetched: &Fetched, arrived: &mut i64) -> crate::log::Batch {
    let mut built = BatchBuilder::new();
    let base = fetched.batch.base_offset();
    for record in fetched.batch.records() {
        let delta = u32::try_from(record.offset - base).unwrap_or(u32::MAX);
        let mut headers = Vec::new();
        let origin = record.headers.get(ORIGIN_HEADER);
        if let Some(mut origin) = origin.and_then(|bytes| Origin::decode(bytes, record.timestamp)) {
            *arrived = (*arrived).max(origin.clock);
            origin.clock = *arrived;
            let mut encoded = Vec::new();
            origin.encode(record.timestamp, &mut encoded);
            put_header(&mut headers, ORIGIN_HEADER, &encoded);
        } else {
            headers.extend_from_slice(record.headers.as_bytes());
        }
        let parts = RecordParts {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        built.push_at(delta, parts);
    }
    built.into_batch(base, fetched.batch.epoch())
}
