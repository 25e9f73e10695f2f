//! Appending: many commits become one atomic write.
//!
//! [`Shared::append`] is the whole protocol. Under the lock each request is checked (does its
//! writer still own its name, its member its partitions?) and gets its offsets; then all batches
//! are encoded and written at once; then readers may see them. The lock `appending` is held
//! throughout, and whoever fences somebody takes it too: so a commit is either decided before the
//! fence, and visible, or refused.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::super::batch::{Placement, Sealed};
use super::super::storage::{Op, Space};
use super::super::{Appended, Outcome, Position, TopicPartition};
use super::catalog::Catalog;
use super::{Shared, keys};

/// After so many bytes the bounds of a partition are stored again, so that opening counts little.
const COUNTED_BYTES: u64 = 4 << 20;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    Writer { name: String, id: u64 },
    Member { group: String, id: u64 },
}

/// A commit, compressed, and whom to answer.
pub(crate) struct Request {
    pub(crate) identity: Identity,
    pub(crate) appends: Vec<(TopicPartition, Sealed)>,
    pub(crate) offsets: Vec<(TopicPartition, Position)>,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

impl Request {
    /// The size of what it appends, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.appends.iter().map(|(_, sealed)| sealed.bytes()).sum()
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
        let _appending = self.appending();
        let placed = self.place(requests);
        if placed.is_empty() {
            return;
        }
        let ops = self.encode(&placed);
        match self.storage.write(&ops, self.settings.durability.is_sync()) {
            Ok(()) => self.publish(placed),
            Err(error) => {
                for Placed { request, .. } in placed {
                    // The receiver may be gone: then nobody waits for an answer.
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
                *end += u64::from(sealed.last_delta) + 1;
                (id, Placement { base_offset, epoch: catalog.epoch, append_time_ms: now })
            };
            let placements = request.appends.iter().map(place).collect();
            placed.push(Placed { request, placements });
        }
        placed
    }

    fn check(&self, catalog: &Catalog, request: &Request) -> Result<(), Outcome> {
        match &request.identity {
            Identity::Writer { name, id } => {
                if catalog.writers.get(name) != Some(id) {
                    return Err(Outcome::Fenced(format!("a newer writer is called `{name}`")));
                }
            }
            Identity::Member { group, id } => {
                let group = catalog.groups.get(group);
                if !group.is_some_and(|group| group.has(*id)) {
                    return Err(Outcome::Fenced("a newer member has this one's name".into()));
                }
                let owns = |at| group.is_some_and(|group| group.owns(*id, at));
                if let Some((at, _)) = request.offsets.iter().find(|(at, _)| !owns(at)) {
                    return Err(Outcome::Fenced(format!("{at} belongs to another member")));
                }
            }
        }
        for (at, sealed) in &request.appends {
            catalog.partition(at).map_err(|error| Outcome::Aborted(error.to_string()))?;
            assert!(sealed.count > 0, "an append has records");
            let (bytes, limit) = (sealed.uncompressed(), self.settings.batch_bytes_max);
            if bytes > limit {
                let reason = format!("{bytes} bytes for {at} are more than {limit} in one commit");
                return Err(Outcome::Aborted(reason));
            }
        }
        Ok(())
    }

    fn encode(&self, placed: &[Placed]) -> Vec<Op> {
        let mut ops = Vec::new();
        for Placed { request, placements } in placed {
            for ((at, sealed), (id, placement)) in request.appends.iter().zip(placements) {
                let key = keys::batch(*id, at.partition, placement.base_offset);
                ops.push(Op::Put(Space::Batches, key, sealed.encode(*placement)));
            }
            let (Identity::Member { group, .. } | Identity::Writer { name: group, .. }) =
                &request.identity;
            let put = |(at, position): &(_, Position)| keys::put_offset(group, at, *position);
            ops.extend(request.offsets.iter().map(put));
        }
        ops.extend(self.bounds_ops(placed));
        ops
    }

    /// The starts of epochs that begin with these batches, and bounds that have grown old.
    fn bounds_ops(&self, placed: &[Placed]) -> Vec<Op> {
        let catalog = self.catalog();
        let mut ops = Vec::new();
        for Placed { request, placements } in placed {
            for ((at, sealed), (id, placement)) in request.appends.iter().zip(placements) {
                let (_, partition) = catalog.partition(at).expect("checked before it was placed");
                let started = partition.epochs.last().map(|(epoch, _)| *epoch);
                if started != Some(catalog.epoch) && placement.base_offset == partition.end {
                    let key = keys::epoch_start(*id, at.partition, catalog.epoch);
                    ops.push(keys::put(key, &placement.base_offset));
                }
                let before = partition.bounds.bytes;
                let after = before + sealed.bytes() as u64;
                if before / COUNTED_BYTES < after / COUNTED_BYTES
                    && placement.base_offset == partition.end
                {
                    let key = keys::partition(*id, at.partition);
                    ops.push(keys::put(key, &partition.bounds));
                }
            }
        }
        ops
    }

    fn publish(&self, placed: Vec<Placed>) {
        let mut catalog = self.catalog();
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
    if partition.epochs.last().is_none_or(|(last, _)| *last < epoch) {
        partition.epochs.push((epoch, placement.base_offset));
    }
    partition.end = placement.base_offset + u64::from(sealed.last_delta) + 1;
    partition.bounds.bytes += sealed.bytes() as u64;
    partition.bounds.counted_to = partition.end;
    Appended { base_offset: placement.base_offset, next: Position::new(partition.end, epoch) }
}
