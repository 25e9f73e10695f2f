//! Deliveries in a simulated world: a seed decides what ends when, who dies, and what becomes of
//! commits. The session, its partitions, marks and positions are the real ones, and so is the log;
//! calls are made and ended by hand.

mod quiet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pipeline::clock::ManualClock;
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::log::{Cleanup, GroupConfig, Log, Outcome, Position, TopicSpec};
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
use crate::undelivered::{Failure, Source, Undelivered};
use quiet::Quiet;

const TOPIC: &str = "app-alerts";
const PARTITIONS: u32 = 2;
const CONCURRENCY: usize = 3;
const SEEDS: u64 = 400;
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
        endpoint.allow_private_addresses = true;
        let clock = Arc::new(ManualClock::at(0));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { runtime, caller: Arc::new(Caller::new(&endpoint, clock).unwrap()), endpoint }
    }
}

struct World {
    storage: Arc<MemoryStorage>,
    clock: Arc<ManualClock>,
    log: Arc<Quiet>,
    worker: Worker,
    _phase: watch::Sender<Phase>,
    written: usize,
    /// How often the receiver was called, by the alert's id.
    calls: BTreeMap<String, usize>,
    given_up: BTreeSet<String>,
    /// Places whose call was made and has not ended.
    called: BTreeSet<(TopicPartition, u64)>,
    /// Ends after which calls may be repeated.
    interruptions: usize,
    lost_power: bool,
}

fn open(storage: &Arc<MemoryStorage>, clock: &Arc<ManualClock>) -> Arc<EmbeddedLog> {
    let settings = EmbeddedSettings { dirty_ratio_min: 0.0, ..EmbeddedSettings::default() };
    EmbeddedLog::in_memory(Arc::clone(storage), settings, Arc::clone(clock) as _).unwrap()
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
        let log = Arc::new(Quiet::new(log));
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
                clock: Arc::clone(&clock) as _,
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
            calls: BTreeMap::new(),
            given_up: BTreeSet::new(),
            called: BTreeSet::new(),
            interruptions: 0,
            lost_power: false,
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

    /// One membership: it ends by itself, or is cut off after `steps`.
    fn live(&mut self, dice: &mut Dice, steps: usize) {
        let Ok(member) = self.worker.log.join(group("one")) else { return };
        let mut worker = self.worker.twin();
        let mut session = Session::new(&mut worker, member);
        let mut other: Option<Box<dyn Member>> = None;
        for _ in 0..steps {
            match dice.below(10) {
                0..=2 => self.append(1 + dice.below(4)),
                3..=4 => self.call(&session, dice),
                5..=7 => self.end_one(&session, dice),
                8 if other.is_some() => other = None,
                8 => other = self.log.inner().join(group("two")).ok(),
                _ => self.clock.advance(1_500),
            }
            if let Some(other) = &mut other {
                other.poll(Duration::ZERO).unwrap();
            }
            self.interruptions += usize::from(other.is_some());
            self.make_room(&session, dice);
            let turned = session.turn();
            self.assert_position_is_true();
            match turned {
                Ok(()) => {}
                Err(End::Unknown(_)) => {
                    self.interruptions += 1;
                    self.log.reconnect().unwrap();
                    break;
                }
                Err(End::Broken(_)) => {
                    self.interruptions += 1;
                    break;
                }
                Err(end) => panic!("{end:?}"),
            }
        }
        self.interruptions += 1;
        self.called.clear();
    }

    /// Makes a call: the receiver has the alert, whatever becomes of its answer.
    fn call(&mut self, session: &Session<'_>, dice: &mut Dice) {
        let waiting: Vec<_> =
            under_way(session).into_iter().filter(|place| !self.called.contains(place)).collect();
        if !waiting.is_empty() {
            let (at, offset) = dice.pick(&waiting).clone();
            *self.calls.entry(self.id_at(&at, offset)).or_default() += 1;
            self.called.insert((at, offset));
        }
    }

    /// Ends a call that was made; some end without success.
    fn end_one(&mut self, session: &Session<'_>, dice: &mut Dice) {
        let places: Vec<_> =
            under_way(session).into_iter().filter(|place| self.called.contains(place)).collect();
        if places.is_empty() {
            return;
        }
        let (at, offset) = dice.pick(&places).clone();
        let Some(partition) = session.partitions.get(&at) else { return };
        let source = Source { at: at.clone(), offset };
        let ending = if dice.chance(10) {
            let raw = serde_json::value::RawValue::from_string("{}".into()).unwrap();
            let id = self.id_at(&at, offset);
            let failure = Failure { reason: "no".into(), ..Failure::default() };
            let letter = Undelivered::alert("pager", &source, (id.as_str(), &raw), &failure, 1);
            self.given_up.insert(id);
            Ending::Undelivered(letter)
        } else {
            Ending::Delivered
        };
        self.called.remove(&(at, offset));
        let finished = Finished { source, assignment: partition.assignment, ending };
        // A full channel: its results are taken in the next turn.
        drop(session.sender.try_send(finished));
    }

    /// A turn waits for a result when no more can begin: so there is one.
    fn make_room(&mut self, session: &Session<'_>, dice: &mut Dice) {
        let open = under_way(session);
        if open.len() + 1 >= CONCURRENCY {
            self.call(session, dice);
            self.end_one(session, dice);
        }
    }

    fn id_at(&self, at: &TopicPartition, offset: u64) -> String {
        let mut reader = self.log.inner().reader().unwrap();
        reader.assign(at, offset).unwrap();
        let fetched = reader.poll(Duration::ZERO).unwrap();
        let record = fetched[0].records().next().unwrap();
        assert_eq!(record.offset, offset);
        String::from_utf8(record.key.unwrap().to_vec()).unwrap()
    }

    /// What lies before a committed position has been called.
    fn assert_position_is_true(&self) {
        let log = self.log.inner();
        for partition in 0..PARTITIONS {
            let at = TopicPartition::new(TOPIC, partition);
            let committed: Option<Position> =
                log.committed("notify-pager", std::slice::from_ref(&at)).unwrap()[0];
            for offset in 0..committed.map_or(0, |position| position.offset) {
                let id = self.id_at(&at, offset);
                assert!(self.calls.contains_key(&id), "{id} was forgotten and never called");
            }
        }
    }

    /// Everything that is left is delivered, and nothing goes wrong.
    fn come_to_rest(&mut self, dice: &mut Dice) {
        self.log.set_faults(0, 0);
        self.append(1);
        let member = self.worker.log.join(group("one")).unwrap();
        let mut worker = self.worker.twin();
        let mut session = Session::new(&mut worker, member);
        for _ in 0..TURNS_MAX {
            for _ in 0..CONCURRENCY {
                self.call(&session, dice);
                self.end_one(&session, dice);
            }
            self.clock.advance(1_500);
            session.turn().unwrap();
            self.assert_position_is_true();
            if self.is_done() {
                return;
            }
        }
        panic!("not everything was delivered");
    }

    fn is_done(&self) -> bool {
        let log = self.log.inner();
        (0..PARTITIONS).all(|partition| {
            let at = TopicPartition::new(TOPIC, partition);
            let end = log.range(&at).unwrap().end.offset;
            let committed = log.committed("notify-pager", &[at]).unwrap()[0];
            end == committed.map_or(0, |position| position.offset)
        })
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

    fn check(&self) {
        for calls in self.calls.values() {
            assert!(*calls >= 1);
        }
        let repeated: usize = self.calls.values().map(|calls| calls - 1).sum();
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

fn under_way(session: &Session<'_>) -> Vec<(TopicPartition, u64)> {
    let of = |(at, partition): (&TopicPartition, &Partition)| {
        partition.under_way().into_iter().map(|offset| (at.clone(), offset)).collect::<Vec<_>>()
    };
    session.partitions.iter().flat_map(of).collect()
}

fn run(seed: u64, shared: &Shared) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(shared);
    let (aborted, unknown) = *dice.pick(&[(0, 0), (10, 0), (0, 15), (10, 10)]);
    world.log.seed(dice.roll());
    for _ in 0..1 + dice.below(5) {
        world.log.set_faults(aborted, unknown);
        let steps = 5 + dice.below(50);
        world.live(&mut dice, steps);
        if dice.chance(60) {
            world.end_process(&mut dice);
        }
    }
    world.come_to_rest(&mut dice);
    world.check();
}

#[test]
fn every_alert_is_delivered_whoever_dies() {
    let shared = Shared::new();
    for seed in 0..SEEDS {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed, &shared)));
        assert!(ran.is_ok(), "seed {seed} fails, see above");
    }
}

#[test]
fn without_a_death_every_alert_is_called_once() {
    let shared = Shared::new();
    for seed in 0..50 {
        let mut world = World::new(&shared);
        world.append(12);
        world.come_to_rest(&mut Dice::new(seed));
        assert_eq!(world.calls.len(), 13, "seed {seed}");
        assert!(world.calls.values().all(|calls| *calls == 1), "seed {seed}: {:?}", world.calls);
        let log = world.log.inner();
        let letters = log.range(&TopicPartition::new(UNDELIVERED_TOPIC, 0)).unwrap().end.offset;
        assert_eq!(letters, world.given_up.len() as u64, "seed {seed}");
    }
}
