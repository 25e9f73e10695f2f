//! Appending: many commits become one atomic write.
//!
//! [`Shared::append`] is the whole protocol. Under the lock each request is checked (does its
//! writer still own its name, its member its partitions?) and gets its offsets; then all batches
//! are encoded and written at once; then readers may see them. The lock `appending` is held
//! throughout, and whoever fences somebody takes it too: so a commit is either decided before the
//! fence, and visible, or refused.

use std::collections::HashMap;

use stores::fail_point::{self, FailPoint};
use tokio::sync::oneshot;

use super::super::batch::{PAYLOAD_BYTES_MAX, Placement, Sealed};
use super::super::storage::{Op, Space};
use super::super::{Appended, LogError, Outcome, Position, TopicPartition};
use super::catalog::Catalog;
use super::{Shared, keys};

/// What a request and each of its offsets count in the queue, beside their batches.
const REQUEST_BYTES: usize = 256;
const OFFSET_BYTES: usize = 64;
/// After so many bytes the bounds of a partition are stored again, so that opening counts little.
const COUNTED_BYTES: u64 = 4 << 20;

/// What the lock `appending` guards.
#[derive(Debug, Default)]
pub(crate) struct Appending {
    /// What a write said that failed. It may have been made or not: until the storage is opened
    /// again nobody knows which offsets are taken, so nothing more is written.
    pub(crate) failure: Option<String>,
}

impl Appending {
    /// # Errors
    /// When a write has failed since the storage was opened.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let Some(failure) = &self.failure else { return Ok(()) };
        Err(LogError::Unavailable(format!("an earlier write failed ({failure}): connect again")))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    Writer { name: String, id: u64 },
    Member { group: String, id: u64 },
}

/// A commit, compressed, and whom to answer.
pub(crate) struct Request {
    pub(crate) identity: Identity,
    /// The epoch that it was made in.
    pub(crate) epoch: u32,
    pub(crate) appends: Vec<(TopicPartition, Sealed)>,
    pub(crate) offsets: Vec<(TopicPartition, Position)>,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

impl Request {
    /// The memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let appends: usize = self.appends.iter().map(|(_, sealed)| sealed.bytes()).sum();
        appends + REQUEST_BYTES + self.offsets.len() * OFFSET_BYTES
    }
}

/// A request that has got its offsets.
struct Placed {
    request: Request,
    /// The topic's number and the placement of each append.
    placements: Vec<(u32, Placement)>,
}

impl Shared {
    /// Appends all `requests` in one write and answers them.
    pub(crate) fn append(&self, requests: Vec<Request>) {
        let mut appending = self.appending();
        if let Err(error) = appending.check() {
            for request in requests {
                // The receiver may be gone: then nobody waits for an answer.
                let _ = request.reply.send(Outcome::Aborted(error.to_string()));
            }
            return;
        }
        let placed = self.place(requests);
        if placed.is_empty() {
            return;
        }
        let (ops, bounds_stored) = self.encode(&placed);
        fail_point::pass(FailPoint::AppendBeforeWrite);
        match self.write(&mut appending, &ops, self.settings.durability.is_sync()) {
            Ok(()) => {
                fail_point::pass(FailPoint::AppendAfterWrite);
                self.publish(placed, &bounds_stored);
            }
            Err(error) => {
                for Placed { request, .. } in placed {
                    let _ = request.reply.send(Outcome::Unknown(error.to_string()));
                }
            }
        }
    }

    fn place(&self, requests: Vec<Request>) -> Vec<Placed> {
        let catalog = self.catalog();
        let now = self.clock.wall_ms();
        let mut ends: HashMap<TopicPartition, u64> = HashMap::new();
        let mut placed = Vec::with_capacity(requests.len());
        for request in requests {
            if let Err(refusal) = self.check(&catalog, &request) {
                let _ = request.reply.send(refusal);
                continue;
            }
            let place = |(at, sealed): &(TopicPartition, Sealed)| {
                let (id, partition) = catalog.partition(at).expect("checked just now");
                let end = ends.entry(at.clone()).or_insert(partition.end);
                let base_offset = *end;
                *end += sealed.span();
                (id, Placement { base_offset, epoch: catalog.epoch, append_time_ms: now })
            };
            let placements = request.appends.iter().map(place).collect();
            placed.push(Placed { request, placements });
        }
        placed
    }

    fn check(&self, catalog: &Catalog, request: &Request) -> Result<(), Outcome> {
        if request.epoch != catalog.epoch {
            // Its owner may have asked, after connecting again, what was committed.
            return Err(Outcome::Aborted("the log was opened again while this waited".into()));
        }
        match &request.identity {
            Identity::Writer { name, id } => {
                if catalog.writers.get(name) != Some(id) {
                    return Err(Outcome::Fenced(format!("a newer writer is called `{name}`")));
                }
            }
            Identity::Member { group, id } => {
                let group = catalog.groups.get(group);
                if !group.is_some_and(|group| group.has(*id)) {
                    let reason = "the member has left, or a newer one has its name";
                    return Err(Outcome::Fenced(reason.into()));
                }
                let owns = |at| group.is_some_and(|group| group.owns(*id, at));
                if let Some((at, _)) = request.offsets.iter().find(|(at, _)| !owns(at)) {
                    return Err(Outcome::Fenced(format!("{at} belongs to another member")));
                }
            }
        }
        let appended = request.appends.iter().map(|(at, _)| at);
        for at in appended.clone() {
            let (_, partition) =
                catalog.partition(at).map_err(|e| Outcome::Aborted(e.to_string()))?;
            partition.check_end(at).map_err(|error| Outcome::Aborted(error.to_string()))?;
        }
        for at in appended.chain(request.offsets.iter().map(|(at, _)| at)) {
            catalog.partition(at).map_err(|error| Outcome::Aborted(error.to_string()))?;
        }
        let limit = self.settings.batch_bytes_max.min(PAYLOAD_BYTES_MAX);
        for (at, sealed) in &request.appends {
            let bytes = sealed.uncompressed();
            if bytes > limit {
                let reason = format!("{bytes} bytes for {at} are more than {limit} in one commit");
                return Err(Outcome::Aborted(reason));
            }
        }
        Ok(())
    }

    /// The changes to write, and the partitions whose bounds are among them.
    fn encode(&self, placed: &[Placed]) -> (Vec<Op>, Vec<TopicPartition>) {
        let mut ops = Vec::new();
        for Placed { request, placements } in placed {
            for ((at, sealed), (id, placement)) in request.appends.iter().zip(placements) {
                if sealed.count == 0 {
                    continue;
                }
                let key = keys::batch(*id, at.partition, placement.base_offset);
                ops.push(Op::Put(Space::Batches, key, sealed.encode(*placement)));
            }
            let (Identity::Member { group, .. } | Identity::Writer { name: group, .. }) =
                &request.identity;
            let put = |(at, position): &(_, Position)| keys::put_offset(group, at, *position);
            ops.extend(request.offsets.iter().map(put));
        }
        let stored = self.bounds_ops(placed, &mut ops);
        (ops, stored)
    }

    /// The starts of epochs that begin with these batches, and bounds that have grown old.
    fn bounds_ops(&self, placed: &[Placed], ops: &mut Vec<Op>) -> Vec<TopicPartition> {
        let catalog = self.catalog();
        let mut stored = Vec::new();
        for Placed { request, placements } in placed {
            for ((at, sealed), (id, placement)) in request.appends.iter().zip(placements) {
                let (_, partition) = catalog.partition(at).expect("checked before it was placed");
                // Once for each partition: with the first batch that lands in it.
                if sealed.count == 0 || placement.base_offset != partition.end {
                    continue;
                }
                if partition.epochs.last().map(|(epoch, _)| *epoch) != Some(catalog.epoch) {
                    let key = keys::epoch_start(*id, at.partition, catalog.epoch);
                    ops.push(keys::put(key, &placement.base_offset));
                }
                if partition.unstored_bytes >= COUNTED_BYTES {
                    let key = keys::partition(*id, at.partition);
                    ops.push(keys::put(key, &partition.bounds));
                    stored.push(at.clone());
                }
            }
        }
        stored
    }

    fn publish(&self, placed: Vec<Placed>, bounds_stored: &[TopicPartition]) {
        let mut catalog = self.catalog();
        for at in bounds_stored {
            let (_, partition) = catalog.partition_mut(at).expect("topics are never removed");
            partition.unstored_bytes = 0;
        }
        let mut answers = Vec::with_capacity(placed.len());
        for Placed { request, placements } in placed {
            let mut appended = Vec::with_capacity(placements.len());
            for ((at, sealed), (_, placement)) in request.appends.iter().zip(&placements) {
                appended.push(publish_batch(&mut catalog, at, sealed, *placement));
            }
            let (Identity::Member { group, .. } | Identity::Writer { name: group, .. }) =
                request.identity;
            if !request.offsets.is_empty() {
                catalog.offsets.entry(group).or_default().extend(request.offsets);
            }
            answers.push((request.reply, Outcome::Committed { appended }));
        }
        drop(catalog);
        self.appended.notify_all();
        for (reply, outcome) in answers {
            let _ = reply.send(outcome);
        }
    }
}

fn publish_batch(
    catalog: &mut Catalog,
    at: &TopicPartition,
    sealed: &Sealed,
    placement: Placement,
) -> Appended {
    let epoch = catalog.epoch;
    let (_, partition) = catalog.partition_mut(at).expect("topics are never removed");
    assert_eq!(partition.end, placement.base_offset, "one appender at a time");
    if sealed.count == 0 {
        let next = Position::new(partition.end, epoch);
        return Appended { base_offset: partition.end, next };
    }
    if partition.epochs.last().is_none_or(|(last, _)| *last < epoch) {
        partition.epochs.push((epoch, placement.base_offset));
    }
    partition.end = placement.base_offset + sealed.span();
    partition.bounds.bytes += sealed.bytes() as u64;
    partition.unstored_bytes += sealed.bytes() as u64;
    partition.bounds.counted_to = partition.end;
    Appended { base_offset: placement.base_offset, next: Position::new(partition.end, epoch) }
}
