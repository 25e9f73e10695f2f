//! Deliveries in a simulated world: a seed decides which calls arrive and when, who dies, and what
//! becomes of commits. The session, its partitions, marks and positions, the schedule of attempts
//! and the log are the real ones; the receiver and the wires to it and to the log are played.
//! Everything runs on one thread, and nothing waits for a real clock.

mod quiet;
mod receiver;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pipeline::clock::{Clock as _, ManualClock};
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{Cleanup, GroupConfig, Log, Outcome, TopicSpec};
use pipeline::sim::Dice;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::*;
use crate::caller::Caller;
use crate::delivery::Courier;
use crate::endpoint::Endpoint;
use crate::secret::Secret;
use crate::stats::Counters;
use quiet::{Death, Quiet};
use receiver::{Delivery, Receiver as Called};

const TOPIC: &str = "app-alerts";
const PARTITIONS: u32 = 2;
const CONCURRENCY: usize = 3;
const SEEDS: u64 = 300;
/// Turns within which everything must be delivered once nothing goes wrong any more.
const TURNS_MAX: usize = 2_000;

/// What all runs share: a client is dear to make, and never called.
struct Shared {
    runtime: Runtime,
    caller: Arc<Caller>,
    endpoint: Endpoint,
}

impl Shared {
    fn new() -> Self {
        let secret = Secret::from_bytes(&[7; 32]).unwrap();
        let mut endpoint = Endpoint::new("pager", "http://127.0.0.1:1/", vec![secret]);
        endpoint.concurrency_max = CONCURRENCY;
        endpoint.attempts_max = 3;
        endpoint.allow_private_addresses = true;
        let clock = Arc::new(ManualClock::at(0));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { runtime, caller: Arc::new(Caller::new(&endpoint, clock).unwrap()), endpoint }
    }
}

/// Where an alert lies, and which assignment of its partition delivers it.
type Place = (TopicPartition, u64, u64);

struct World {
    storage: Arc<MemoryStorage>,
    clock: Arc<ManualClock>,
    log: Arc<Quiet>,
    worker: Worker,
    _phase: watch::Sender<Phase>,
    written: usize,
    receiver: Called,
    /// Those that were tried; `None` once they have ended, until the session knows.
    deliveries: BTreeMap<Place, Option<Delivery>>,
    /// The alerts that somebody gave up at some time.
    given_up: BTreeSet<String>,
    /// Ends after which calls may be repeated.
    interruptions: usize,
    lost_power: bool,
    /// Another one has taken the place of the session.
    fenced: bool,
}

fn open(storage: &Arc<MemoryStorage>, clock: &Arc<ManualClock>) -> Arc<EmbeddedLog> {
    let settings = EmbeddedSettings { dirty_ratio_min: 0.0, ..EmbeddedSettings::default() };
    EmbeddedLog::in_memory(Arc::clone(storage), settings, Arc::clone(clock) as _).unwrap()
}

fn places() -> impl Iterator<Item = TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition))
}

impl World {
    fn new(shared: &Shared) -> Self {
        let (storage, clock) = (Arc::new(MemoryStorage::new()), Arc::new(ManualClock::at(1)));
        let log = open(&storage, &clock);
        let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        for (name, partitions, cleanup) in [
            (TOPIC, PARTITIONS, keep),
            (UNDELIVERED_TOPIC, 1, keep),
            (crate::DELIVERIES_TOPIC, 1, Cleanup::Compact),
        ] {
            log.create_topic(&TopicSpec { name: name.into(), partitions, cleanup }).unwrap();
        }
        let log = Arc::new(Quiet::new(log, Arc::clone(&clock)));
        let (phase, receiver) = watch::channel(Phase::Running);
        let (_wake, wake) = sync_channel(1);
        let worker = Worker {
            log: Arc::clone(&log) as _,
            endpoint: shared.endpoint.clone(),
            group: group("one"),
            undelivered_partitions: 1,
            deliveries_partitions: 1,
            courier: Courier {
                endpoint: "pager".into(),
                caller: Arc::clone(&shared.caller),
                counters: Arc::new(Counters::new("pager")),
                clock: log.wire() as _,
                phase: receiver,
            },
            runtime: shared.runtime.handle().clone(),
            rng: ChaCha8Rng::seed_from_u64(1),
            wake,
        };
        Self {
            storage,
            clock,
            log,
            worker,
            _phase: phase,
            written: 0,
            receiver: Called::default(),
            deliveries: BTreeMap::new(),
            given_up: BTreeSet::new(),
            interruptions: 0,
            lost_power: false,
            fenced: false,
        }
    }

    fn append(&mut self, count: usize) {
        let log = self.log.inner();
        for _ in 0..count {
            self.written += 1;
            let id = format!("rule:k{}", self.written);
            let alert = json!({
                "id": id, "rule": "rule", "key": format!("k{}", self.written), "kind": "firing",
                "severity": "info", "text": "t", "timestamp": "2023-11-14T22:13:20Z", "data": {},
            });
            let mut batch = BatchBuilder::new();
            batch.push(1, Some(id.as_bytes()), Some(alert.to_string().as_bytes()), &[]);
            let at = TopicPartition::new(TOPIC, partition_for(id.as_bytes(), PARTITIONS));
            let commit = Commit { appends: vec![(at, batch)], offsets: Vec::new() };
            let outcome = log.writer("rules").unwrap().commit(commit).wait();
            assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        }
    }

    /// One membership: it ends by itself, is cut off after `steps`, or dies in the middle of one.
    fn live(&mut self, dice: &mut Dice, steps: usize) {
        let Ok(member) = self.worker.log.join(group("one")) else { return };
        let mut worker = self.worker.twin();
        let mut session = Session::new(&mut worker, member);
        let mut other: Option<Box<dyn Member>> = None;
        if dice.chance(50) {
            self.log.die_in(Some(1 + u32::try_from(dice.below(4 * steps)).unwrap()));
        }
        for _ in 0..steps {
            match dice.below(11) {
                0..=2 => self.append(1 + dice.below(4)),
                3..=7 => drop(self.attempt(&session, dice)),
                8 => self.let_another_come_or_go(&mut other, dice),
                _ => self.clock.advance(1_500),
            }
            if let Some(other) = &mut other {
                other.poll(Duration::ZERO).unwrap();
            }
            self.make_room(&session, dice);
            let turned = catch_unwind(AssertUnwindSafe(|| session.turn(Duration::ZERO)));
            self.assert_position_is_true();
            match turned {
                Ok(Ok(())) => {}
                Ok(Err(End::Unknown(_))) => {
                    self.log.inner().reconnect().unwrap();
                    break;
                }
                Ok(Err(End::Broken(_))) => break,
                Ok(Err(End::Fenced(_))) if self.fenced => break,
                Ok(Err(end)) => panic!("{end:?}"),
                Err(panic) if panic.is::<Death>() => break,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        self.log.die_in(None);
        self.log.forget();
        self.fenced = false;
        self.interruptions += 1;
        self.deliveries.clear();
    }

    /// Another member takes partitions away, or is taken for this one and takes its place; or it
    /// leaves.
    fn let_another_come_or_go(&mut self, other: &mut Option<Box<dyn Member>>, dice: &mut Dice) {
        self.interruptions += 1;
        if other.take().is_none() {
            let is_newer = dice.chance(25);
            self.fenced |= is_newer;
            *other = self.log.inner().join(group(if is_newer { "one" } else { "two" })).ok();
        }
    }

    /// Tries one of the deliveries under way, at the time when it is due. Answers whether it has
    /// ended.
    fn attempt(&mut self, session: &Session<'_>, dice: &mut Dice) -> bool {
        let open = self.open(session);
        if open.is_empty() {
            return false;
        }
        let place = dice.pick(&open).clone();
        let log = self.log.inner();
        let endpoint = &self.worker.endpoint;
        let delivery = self.deliveries.entry(place.clone()).or_insert_with(|| {
            Some(Delivery::of(log.as_ref(), endpoint, (&place.0, place.1, place.2)))
        });
        let Some(delivery) = delivery else { return false };
        let early = delivery.due_ms.saturating_sub(self.clock.wall_ms());
        self.clock.advance(u32::try_from(early.max(0)).unwrap());
        let Some(ending) = delivery.attempt(&mut self.receiver, self.clock.wall_ms(), dice) else {
            return false;
        };
        if matches!(ending, Ending::Undelivered(_)) {
            self.given_up.insert(delivery.job.id.clone());
        }
        let source = delivery.job.source.clone();
        session.sender.try_send(Finished { source, assignment: place.2, ending }).unwrap();
        self.deliveries.insert(place, None);
        true
    }

    /// The deliveries under way that have not ended.
    fn open(&self, session: &Session<'_>) -> Vec<Place> {
        let has_ended = |place: &Place| matches!(self.deliveries.get(place), Some(None));
        under_way(session).into_iter().filter(|place| !has_ended(place)).collect()
    }

    /// A session that can begin nothing more waits for a result: so there is one.
    fn make_room(&mut self, session: &Session<'_>, dice: &mut Dice) {
        let (all, open) = (under_way(session).len(), self.open(session).len());
        if all == open && all + 1 >= CONCURRENCY {
            while !self.attempt(session, dice) {}
        }
    }

    /// The ids of the alerts before `end`.
    fn ids(&self, at: &TopicPartition, end: u64) -> Vec<String> {
        let mut reader = self.log.inner().reader().unwrap();
        reader.assign(at, 0).unwrap();
        let mut ids = Vec::new();
        while (ids.len() as u64) < end {
            for fetched in reader.poll(Duration::ZERO).unwrap() {
                let key = |record: pipeline::log::RecordRef<'_>| record.key.unwrap().to_vec();
                ids.extend(fetched.records().map(|r| String::from_utf8(key(r)).unwrap()));
            }
        }
        ids.truncate(usize::try_from(end).unwrap());
        ids
    }

    fn committed(&self, at: &TopicPartition) -> u64 {
        let committed = self.log.inner().committed("notify-pager", std::slice::from_ref(at));
        committed.unwrap()[0].map_or(0, |position| position.offset)
    }

    /// What lies before a committed position was accepted, or given up.
    fn assert_position_is_true(&self) {
        for at in places() {
            for id in self.ids(&at, self.committed(&at)) {
                let accepted = self.receiver.heard.get(&id).is_some_and(|h| h.accepted > 0);
                assert!(accepted || self.given_up.contains(&id), "{id} was forgotten");
            }
        }
    }

    /// Everything that is left is delivered; commits do not fail any more.
    fn come_to_rest(&mut self, dice: &mut Dice) {
        self.log.set_faults((0, 0, 0));
        self.append(1);
        let member = self.worker.log.join(group("one")).unwrap();
        let mut worker = self.worker.twin();
        let mut session = Session::new(&mut worker, member);
        for _ in 0..TURNS_MAX {
            for _ in 0..CONCURRENCY {
                self.attempt(&session, dice);
            }
            self.make_room(&session, dice);
            self.clock.advance(1_500);
            session.turn(Duration::ZERO).unwrap();
            self.assert_position_is_true();
            if places().all(|at| self.end(&at) == self.committed(&at)) {
                return;
            }
        }
        panic!("not everything was delivered");
    }

    fn end(&self, at: &TopicPartition) -> u64 {
        self.log.inner().range(at).unwrap().end.offset
    }

    fn end_process(&mut self, dice: &mut Dice) {
        if dice.chance(30) {
            self.lost_power = true;
            self.storage.lose_power(dice.below(self.storage.unsynced() + 1));
        }
        self.log.replace(open(&self.storage, &self.clock));
        if dice.chance(50) {
            self.log.inner().clean().unwrap();
        }
    }

    /// Each alert was accepted or stands among the undelivered, and what was accepted twice is
    /// what a session had in hand when it ended.
    fn check(&self) {
        let at = TopicPartition::new(UNDELIVERED_TOPIC, 0);
        let letters: Vec<String> = self.ids(&at, self.end(&at));
        for at in places() {
            for id in self.ids(&at, self.end(&at)) {
                let accepted = self.receiver.heard.get(&id).is_some_and(|h| h.accepted > 0);
                let kept = letters.contains(&format!("pager/{id}"));
                assert!(accepted || kept, "{id} is neither delivered nor kept: {letters:?}");
            }
        }
        let repeated: usize =
            self.receiver.heard.values().map(|heard| heard.accepted.saturating_sub(1)).sum();
        let allowed = self.interruptions * CONCURRENCY;
        // After a power failure the log forgets more than what was under way.
        assert!(self.lost_power || repeated <= allowed, "{repeated} repeats, {allowed} allowed");
    }
}

impl Worker {
    /// Another worker of the same place.
    fn twin(&self) -> Self {
        let (_wake, wake) = sync_channel(1);
        Self {
            log: Arc::clone(&self.log),
            endpoint: self.endpoint.clone(),
            group: self.group.clone(),
            undelivered_partitions: self.undelivered_partitions,
            deliveries_partitions: self.deliveries_partitions,
            courier: self.courier.clone(),
            runtime: self.runtime.clone(),
            rng: self.rng.clone(),
            wake,
        }
    }
}

fn group(instance: &str) -> GroupConfig {
    GroupConfig {
        group: "notify-pager".into(),
        instance: instance.into(),
        topics: vec![TOPIC.into()],
    }
}

fn under_way(session: &Session<'_>) -> Vec<Place> {
    let of = |(at, partition): (&TopicPartition, &Partition)| {
        let place = |offset| (at.clone(), offset, partition.assignment);
        partition.under_way().into_iter().map(place).collect::<Vec<_>>()
    };
    session.partitions.iter().flat_map(of).collect()
}

/// Everything that comes of a seed: what the receiver has heard, and what the log has in the end.
fn run(seed: u64, shared: &Shared) -> String {
    let mut dice = Dice::new(seed);
    let mut world = World::new(shared);
    let faults = *dice.pick(&[(0, 0, 0), (10, 0, 20), (0, 15, 0), (10, 10, 40), (0, 0, 80)]);
    world.log.seed(dice.roll());
    for _ in 0..1 + dice.below(5) {
        world.log.set_faults(faults);
        let steps = 5 + dice.below(50);
        world.live(&mut dice, steps);
        if dice.chance(60) {
            world.end_process(&mut dice);
        }
    }
    world.come_to_rest(&mut dice);
    world.check();
    let ends: Vec<u64> = places().map(|at| world.end(&at)).collect();
    format!("{:?} {ends:?} at {} ms", world.receiver.heard, world.clock.wall_ms())
}

#[test]
fn every_alert_is_delivered_whoever_dies() {
    let shared = Shared::new();
    for seed in 0..SEEDS {
        let ran = catch_unwind(AssertUnwindSafe(|| run(seed, &shared)));
        assert!(ran.is_ok(), "seed {seed} fails, see above");
    }
}

#[test]
fn a_seed_delivers_the_same_again() {
    let shared = Shared::new();
    for seed in 0..20 {
        assert_eq!(run(seed, &shared), run(seed, &shared), "seed {seed}");
    }
}

#[test]
fn without_a_death_every_alert_is_accepted_once() {
    let shared = Shared::new();
    for seed in 0..50 {
        let mut world = World::new(&shared);
        world.append(12);
        world.come_to_rest(&mut Dice::new(seed));
        world.check();
        let heard = world.receiver.heard.values();
        let accepted: Vec<usize> = heard.map(|heard| heard.accepted).collect();
        let given_up = world.given_up.len();
        assert!(accepted.iter().all(|accepted| *accepted <= 1), "seed {seed}: {accepted:?}");
        assert_eq!(accepted.iter().sum::<usize>() + given_up, 13, "seed {seed}");
        let letters = world.end(&TopicPartition::new(UNDELIVERED_TOPIC, 0));
        assert_eq!(letters, given_up as u64, "seed {seed}");
    }
}
