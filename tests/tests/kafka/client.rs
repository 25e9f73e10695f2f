//! A process with one worker, for tests that kill: this test binary, started again.
//!
//! [`is_a_client_if_told`] is the process's main: in an ordinary run it has nothing to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pipeline::clock::{Clock, SystemClock};
use pipeline::log::kafka::{KafkaLog, KafkaSettings};
use pipeline::log::{Cleanup, Log};
use pipeline::standby::{self, StandbyHandle, StandbyParts, StandbySettings, StandbyStats};
use pipeline::worker::{self, WorkerParts, WorkerSettings, WorkerStats};
use pipeline::{Plan, TimeWindows, Topology, TopologyBuilder, ViewFields};
use serde::{Deserialize, Serialize};
use stores::state::{StateDb, StateSettings};

use super::wait::eventually;

/// Names the variable that makes a client of this binary.
const TOLD: &str = "MILLPOND_TEST_CLIENT";
/// Partitions of all topics.
pub(super) const PARTITIONS: u32 = 6;

/// What a client is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The brokers.
    pub(super) bootstrap: String,
    /// The topology's name, and what its topics begin with.
    pub(super) app: String,
    /// The client's name.
    pub(super) instance: String,
    /// Its state.
    pub(super) folder: PathBuf,
    /// Further settings of the Kafka clients.
    pub(super) client: Vec<(String, String)>,
    /// How often the state is brought to files, if not as usual.
    pub(super) flush_ms: Option<u64>,
    /// How many others may be lost and find their state warm; see `standbys.rs`.
    pub(super) standbys: usize,
}

/// What a client has done, as it says when it ends in order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) records: u64,
    pub(super) commits: u64,
    /// Changelog records read to restore stores.
    pub(super) restored: u64,
    pub(super) restarts: u64,
    /// How often the group gave it partitions.
    pub(super) assignments: u64,
}

/// What a client is doing, as it writes it to its folder all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) running: usize,
    /// Changelog records read to restore stores.
    pub(super) restored: u64,
    /// Tasks whose stores it keeps warm, the records that it has written to them, and those that
    /// it has yet to.
    pub(super) warm: usize,
    pub(super) followed: u64,
    pub(super) behind: u64,
}

impl Status {
    const FILE: &str = "status.json";

    /// What the client with this folder last said.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(Self::FILE)).ok()?).ok()
    }

    fn of(worker: &WorkerStats, standby: &StandbyStats) -> Self {
        let places = standby.places();
        Self {
            running: worker.running_tasks(),
            restored: worker.restored_records(),
            warm: places.iter().map(|one| one.task).collect::<BTreeSet<_>>().len(),
            followed: standby.records(),
            behind: places.iter().map(|one| one.end - one.position).sum(),
        }
    }

    /// Writes it now and then, for as long as the process lives.
    fn tell(folder: PathBuf, worker: Arc<WorkerStats>, standby: Arc<StandbyStats>) {
        std::thread::spawn(move || {
            loop {
                let new = folder.join("status.new");
                let status = serde_json::to_vec(&Self::of(&worker, &standby)).unwrap();
                std::fs::write(&new, status).unwrap();
                std::fs::rename(&new, folder.join(Self::FILE)).unwrap();
                std::thread::park_timeout(Duration::from_millis(50));
            }
        });
    }
}

/// What the line with a report begins with.
const REPORT: &str = "report: ";

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) sum: i64,
    pub(super) count: i64,
}

impl Facts {
    pub(super) const NONE: Self = Self { min: i64::MAX, max: i64::MIN, sum: 0, count: 0 };

    pub(super) fn with(self, value: i64) -> Self {
        Self {
            min: self.min.min(value),
            max: self.max.max(value),
            sum: self.sum + value,
            count: self.count + 1,
        }
    }
}

/// Kafka Streams' smoke test as a topology: an echo, facts of each key (every update), a count
/// behind a repartition, a windowed count, and a view.
pub(super) fn topology(app: &str) -> Topology {
    let builder = TopologyBuilder::new(app);
    let data = builder.stream::<String, i64>(&format!("{app}-data"));
    data.to(&format!("{app}-echo"));
    let facts = data.group_by_key().aggregate(
        "facts",
        || Facts::NONE,
        |_, value, facts| facts.with(*value),
    );
    facts.to_stream().to(&format!("{app}-facts"));
    facts.view(
        "facts",
        ViewFields::new().i64("count").i64("sum"),
        |_: &String, facts: &Facts| serde_json::json!({ "count": facts.count, "sum": facts.sum }),
    );
    data.group_by("by-digit", |_, value| format!("d{}", value % 10))
        .count("digits")
        .to(&format!("{app}-digits"));
    data.group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(3600), Duration::ZERO))
        .count("windows");
    builder.build().unwrap()
}

/// The topics that the topology reads and writes.
pub(super) fn topics(app: &str) -> Vec<String> {
    ["data", "echo", "facts", "digits"].map(|name| format!("{app}-{name}")).to_vec()
}

pub(super) fn plan(app: &str, log: &dyn Log) -> Arc<Plan> {
    let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
    Arc::new(Plan::make(Arc::new(topology(app)), log, (PARTITIONS, keep)).unwrap())
}

/// A client as its test sees it: it ends with its test.
pub(super) struct Client {
    child: Child,
    commands: Option<ChildStdin>,
}

impl Client {
    pub(super) fn start(orders: &Orders) -> Self {
        std::fs::create_dir_all(&orders.folder).unwrap();
        let said = std::fs::File::options();
        let said = said.clone().create(true).append(true).open(orders.folder.join("said.txt"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kafka::client::is_a_client_if_told", "--nocapture"]);
        command.env(TOLD, serde_json::to_string(orders).unwrap());
        let said = said.unwrap();
        command.stdin(Stdio::piped()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take();
        Self { child, commands }
    }

    /// Ends it as a crash does.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order; it says what it has done.
    pub(super) fn stop(mut self, folder: &Path) -> Report {
        drop(self.commands.take());
        let ended = eventually(Duration::from_secs(60), || self.child.try_wait().unwrap());
        let said = || std::fs::read_to_string(folder.join("said.txt")).unwrap_or_default();
        assert!(ended.is_some_and(|status| status.success()), "it did not end well: {}", said());
        let said = said();
        let report = said.lines().rev().find_map(|line| line.strip_prefix(REPORT));
        serde_json::from_str(report.expect("it reports when it ends")).unwrap()
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It has ended already, or it is to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps the state of others warm, if it is told to; says how it goes.
fn stand_by(orders: &Orders, parts: &WorkerParts) -> StandbyHandle {
    let settings = StandbySettings {
        look_interval: Duration::from_millis(500),
        flush_interval: Duration::from_secs(2),
        ..StandbySettings::new(&orders.instance, orders.standbys)
    };
    let stats = Arc::new(StandbyStats::default());
    Status::tell(orders.folder.clone(), Arc::clone(&parts.stats), Arc::clone(&stats));
    let WorkerParts { plan, log, state, clock, .. } = parts.clone();
    let parts = StandbyParts { plan, log, state, clock, stats };
    standby::spawn(parts, settings, |error| panic!("the standbys failed: {error}")).unwrap()
}

#[test]
fn is_a_client_if_told() {
    let Ok(orders) = std::env::var(TOLD) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let mut settings = KafkaSettings::new(&orders.bootstrap, &orders.instance);
    settings.client.extend(orders.client.iter().cloned());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log = KafkaLog::open(settings, Arc::clone(&clock)).unwrap();
    let state = StateSettings { cache_bytes: 8 << 20, write_buffer_bytes: 16 << 20 };
    let parts = WorkerParts {
        plan: plan(&orders.app, log.as_ref()),
        log,
        state: Arc::new(StateDb::open(&orders.folder.join("state"), state).unwrap()),
        clock,
        stats: Arc::new(WorkerStats::default()),
    };
    let mut settings = WorkerSettings::new("w0");
    settings.reconnects_max = None;
    settings.flush_interval =
        orders.flush_ms.map_or(settings.flush_interval, Duration::from_millis);
    let standby = stand_by(&orders, &parts);
    let failed = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failed);
    let stats = Arc::clone(&parts.stats);
    let worker = worker::spawn(parts, settings, move |error| {
        eprintln!("the worker failed: {error}");
        fails.store(true, Ordering::Relaxed);
        std::process::exit(3);
    });
    let worker = worker.unwrap();
    // The test holds the other end.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    standby.stop();
    worker.stop();
    worker.join().unwrap();
    standby.join().unwrap();
    let report = Report {
        records: stats.records(),
        commits: stats.commits(),
        restored: stats.restored_records(),
        restarts: stats.restarts(),
        assignments: stats.assignments(),
    };
    eprintln!("{REPORT}{}", serde_json::to_string(&report).unwrap());
}
