//! How long partitions stand still while workers come and go, and that nothing is lost or doubled.
//!
//! Records come all the time, to all partitions; a reader notes when results of each appear. The
//! longest silence of a partition is how long it stood still. The test command does this with the
//! protocol that is the default; `MILLPOND_PAUSES=all` compares all that there are
//! (docs/decisions/0019-the-group-assigns-inputs.md).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};
use pipeline::log::{Log, TopicPartition};

use super::broker::CLUSTER;
use super::client::PARTITIONS;
use super::eos::Trial;
use super::node::{Node, NodeSettings};

const KEYS: usize = 600;
/// Records that come at once.
const BURST: usize = 60;
/// Between two of those.
const REST: Duration = Duration::from_millis(50);
/// How long records come after each change.
const PHASE: Duration = Duration::from_secs(8);
/// What the broker gives members of a KIP-848 group, who cannot choose: a second is missed soon.
const GROUPS: &str = "group.consumer.session.timeout.ms=6000\n\
                      group.consumer.heartbeat.interval.ms=500\n";

/// A way to share partitions out.
struct Way {
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

const CLASSIC: Way = Way {
    name: "classic, range",
    settings: &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")],
};

const OTHERS: [Way; 3] = [
    Way {
        name: "classic, cooperative-sticky",
        settings: &[
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "500"),
            ("partition.assignment.strategy", "cooperative-sticky"),
        ],
    },
    Way { name: "consumer (KIP-848), range", settings: &[("group.protocol", "consumer")] },
    Way {
        name: "consumer (KIP-848), uniform",
        settings: &[("group.protocol", "consumer"), ("group.remote.assignor", "uniform")],
    },
];

/// Watches results appear, on a thread of its own.
pub(super) struct Watcher {
    silences: Arc<Mutex<Silences>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// For each partition: when a result was last seen, and the longest time without one.
struct Silences {
    clock: SystemClock,
    partitions: Vec<(Duration, Duration)>,
}

impl Silences {
    fn heard(&mut self, partition: u32) {
        let now = self.clock.elapsed();
        let (last, longest) = &mut self.partitions[partition as usize];
        *longest = (*longest).max(now - *last);
        *last = now;
    }

    /// The longest silence of each partition since this was asked last, the shortest of them first.
    fn take(&mut self) -> Vec<Duration> {
        let now = self.clock.elapsed();
        let take = |(last, longest): &mut (Duration, Duration)| {
            let silence = (*longest).max(now - *last);
            (*last, *longest) = (now, Duration::ZERO);
            silence
        };
        let mut all: Vec<Duration> = self.partitions.iter_mut().map(take).collect();
        all.sort();
        all
    }
}

impl Watcher {
    pub(super) fn start(log: &Arc<impl Log + 'static>, topic: &str) -> Self {
        let partitions = vec![(Duration::ZERO, Duration::ZERO); PARTITIONS as usize];
        let silences = Silences { clock: SystemClock::new(), partitions };
        let silences = Arc::new(Mutex::new(silences));
        let ends = Arc::new(AtomicBool::new(false));
        let mut reader = log.reader().unwrap();
        for partition in 0..PARTITIONS {
            reader.assign(&TopicPartition::new(topic, partition), 0).unwrap();
        }
        let (heard, end) = (Arc::clone(&silences), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                for fetched in reader.poll(Duration::from_millis(20)).unwrap() {
                    if fetched.records().next().is_some() {
                        heard.lock().unwrap().heard(fetched.partition.partition);
                    }
                }
            }
        });
        Self { silences, ends, thread }
    }

    /// The longest silence of each partition since this was asked last, the shortest of them first.
    pub(super) fn take(&self) -> Vec<Duration> {
        self.silences.lock().unwrap().take()
    }

    pub(super) fn stop(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Writes for a while after a change, and says how long partitions stood still.
fn flow(trial: &mut Trial, watcher: &Watcher, (way, change): (&str, &str)) {
    let clock = SystemClock::new();
    while clock.elapsed() < PHASE {
        trial.write(BURST, KEYS);
        std::thread::park_timeout(REST);
    }
    let silences = watcher.take();
    let shown = |place: usize| silences[place].as_millis();
    println!(
        "{way}: {change}: least {} ms, middle {} ms, longest {} ms",
        shown(0),
        shown(silences.len() / 2),
        shown(silences.len() - 1)
    );
}

/// One worker, three, one again; one killed and started again on its state, one killed for good.
fn come_and_go(way: &Way, bootstrap: &str) {
    let name = way.name;
    let mut trial = Trial::new("pauses", bootstrap).with_members(way.settings);
    let watcher = Watcher::start(trial.log(), &trial.topic("echo"));
    let first = trial.client(0);
    trial.write(KEYS, KEYS);
    trial.settle();
    watcher.take();
    flow(&mut trial, &watcher, (name, "nothing changes"));
    let second = trial.client(1);
    flow(&mut trial, &watcher, (name, "a second worker comes"));
    let third = trial.client(2);
    flow(&mut trial, &watcher, (name, "a third one comes"));
    second.kill();
    let second = trial.client(1);
    flow(&mut trial, &watcher, (name, "one is killed and started again"));
    second.stop(&trial.folder_of(1));
    flow(&mut trial, &watcher, (name, "one is stopped in order"));
    third.kill();
    flow(&mut trial, &watcher, (name, "one is killed for good"));
    trial.settle();
    watcher.stop();
    let checked = trial.verify();
    println!("{name}: {} records, {checked} results checked, exact", trial.written());
    first.stop(&trial.folder_of(0));
}

#[test]
fn workers_come_and_go_and_partitions_stand_still_for_a_moment() {
    let node = NodeSettings { extra: GROUPS.to_owned(), ..NodeSettings::alone() };
    let node = Node::new(node, CLUSTER).unwrap();
    come_and_go(&CLASSIC, &node.address());
    if std::env::var("MILLPOND_PAUSES").is_ok_and(|which| which == "all") {
        for way in &OTHERS {
            come_and_go(way, &node.address());
        }
    }
}
