//! The shipped binary on Kafka: roles as processes of their own, one of them killed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::crashes::{Receiver, SECRET};

use super::broker;
use super::wait::eventually;
use crate::demo::binary;

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(90);
const CARDS: usize = 10;
/// Payments of each card, from two countries: enough to be suspicious.
const PAYMENTS: usize = 12;
/// Calls that are under way at once, and so may be repeated after a kill.
const CONCURRENCY: u64 = 2;

/// A process that ends with its test.
struct Process {
    child: Child,
    folder: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or it is to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts `role` in a folder of its own, and waits until it is ready.
    fn start(root: &Path, role: &str) -> Self {
        Self::start_in(root, role, role)
    }

    fn start_in(root: &Path, role: &str, folder: &str) -> Self {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let said = std::fs::File::options();
        let said = said.clone().create(true).append(true).open(folder.join("said.txt")).unwrap();
        let mut command = millpond(root, &folder, &[role]);
        let child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
        let mut process = Self { child, folder };
        let ready = eventually(PATIENCE, || {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "{role} ended: {}", process.said());
            process.get("/readyz").filter(|answer| answer.contains("\"ready\":true"))
        });
        assert!(ready.is_some(), "{role} is not ready: {}", process.said());
        process
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("said.txt")).unwrap_or_default()
    }

    /// What it answers to a plain request, once it listens.
    fn get(&self, path: &str) -> Option<String> {
        let lock = std::fs::read_to_string(self.folder.join("millpond.lock")).ok()?;
        let holder: Value = serde_json::from_str(&lock).ok()?;
        if holder["pid"].as_u64() != Some(self.child.id().into()) {
            return None;
        }
        let mut stream = TcpStream::connect(holder["address"].as_str()?).ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order.
    fn stop(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let ended = eventually(PATIENCE, || self.child.try_wait().unwrap());
        assert!(ended.is_some_and(|status| status.success()), "{}", self.said());
    }
}

/// A command of the binary on the test's configuration.
fn millpond(root: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--data-dir").arg(folder);
    command.arg("--config").arg(root.join("millpond.toml"));
    command
}

fn run(root: &Path, folder: &str, arguments: &[&str]) -> Output {
    let output = millpond(root, &root.join(folder), arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Names are this test's own: the broker is everybody's.
fn configure(root: &Path, described: bool, receiver: &Receiver) {
    let own = |name: &str| format!("{name}-{}", std::process::id());
    let bootstrap = broker::shared().bootstrap();
    let mut text = format!(
        "[log]\nkind = \"kafka\"\npartitions = 2\n\
         [kafka]\nbootstrap.servers = \"{bootstrap}\"\nsession.timeout.ms = 6000\n\
         sasl.password = \"hunter2\"\n\
         [worker]\nnum_standby_replicas = 1\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [topologies.fraud]\npayments_topic = \"{}\"\n\
         [topologies.orders]\nenabled = false\n[topologies.logins]\nenabled = false\n",
        own("payments")
    );
    text += &format!(
        "[[endpoints]]\nname = \"desk\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\n\
         concurrency_max = {CONCURRENCY}\nbackoff_first_ms = 10\nbackoff_max_ms = 100\n\
         allow_private_addresses = true\n",
        receiver.url()
    );
    if described {
        text += &format!("[topics.{}]\nkey_field = \"card\"\n", own("payments"));
    }
    std::fs::write(root.join("millpond.toml"), text).unwrap();
}

/// Payments of these cards within one minute.
fn payments(cards: Range<usize>, from: usize) -> String {
    let payment = |(card, number): (usize, usize)| {
        let country = if number % 2 == 0 { "FR" } else { "NL" };
        format!(
            "{{\"card\":\"card-{card}\",\"event_id\":\"{card}-{number}\",\"amount_cents\":1000,\
             \"country\":\"{country}\",\"ts\":{}}}\n",
            1_700_000_000_000_u64 + number as u64
        )
    };
    let all = cards.flat_map(|card| (from..from + PAYMENTS).map(move |n| (card, n)));
    all.map(payment).collect()
}

fn ingest(root: &Path, cards: Range<usize>, from: usize) {
    let file = root.join("payments.ndjson");
    std::fs::write(&file, payments(cards, from)).unwrap();
    let topic = format!("payments-{}", std::process::id());
    run(
        root,
        "gateway",
        &["ingest", file.to_str().unwrap(), "--topic", &topic, "--format", "ndjson"],
    );
}

/// Waits until the view has each card's window with `count` payments.
fn await_counts(root: &Path, indexer: &Process, count: usize) {
    let query = ["search", "suspicious-cards", "*", "--output", "json", "--limit", "50"];
    let shown = eventually(PATIENCE, || {
        let output = run(root, "indexer", &query);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts: Vec<_> = found["hits"].as_array()?.iter().map(|hit| hit.to_string()).collect();
        let wanted = format!("\"count\":{count},");
        (counts.len() == CARDS && counts.iter().all(|hit| hit.contains(&wanted))).then_some(())
    });
    assert!(shown.is_some(), "the view never showed {count}: {}", indexer.said());
}

/// Waits until the worker names its tasks: after a rebalance it may have none for a moment.
fn await_tasks(root: &Path) {
    let mut last = String::new();
    let named = eventually(PATIENCE, || {
        let tasks = run(root, "worker", &["tasks"]);
        last = String::from_utf8_lossy(&[tasks.stdout, tasks.stderr].concat()).into_owned();
        last.contains("fraud").then_some(())
    });
    assert!(named.is_some(), "`millpond tasks` never named the topology: {last}");
    let elsewhere = run(root, "indexer", &["tasks"]);
    let elsewhere = String::from_utf8_lossy(&elsewhere.stdout).into_owned();
    assert!(elsewhere.contains("fraud"), "no tasks of another process: {elsewhere}");
}

/// Waits until a worker that shares the tasks with another one keeps the other's state warm, and
/// says so.
fn await_standbys(root: &Path, worker: &Process) {
    let mut last = String::new();
    let warm = eventually(PATIENCE, || {
        let metrics = worker.get("/metrics").unwrap_or_default();
        let lags = metrics.lines().filter(|line| line.starts_with("millpond_standby_lag_records{"));
        let lags: Vec<&str> = lags.collect();
        let tasks = run(root, "second", &["tasks"]);
        last = format!("{lags:?}\n{}", String::from_utf8_lossy(&tasks.stdout));
        let warm = !lags.is_empty() && lags.iter().all(|line| line.ends_with(" 0"));
        (warm && last.contains("active") && last.contains("standby")).then_some(())
    });
    assert!(warm.is_some(), "no standbys: {last}\n{}", worker.said());
    println!("two workers, as the second one tells:\n{last}");
}

/// Each suspicious card is told of, under one id, also when who tells is killed while it does.
fn assert_alerts_come(root: &Path, notify: Process, receiver: &Receiver) -> Process {
    let come = |least: usize| {
        let there = eventually(PATIENCE, || (receiver.alerts() >= least).then_some(()));
        assert!(there.is_some(), "{} of {least} alerts have come", receiver.alerts());
    };
    come(CARDS);
    ingest(root, CARDS..2 * CARDS, 0);
    come(CARDS + 1);
    notify.kill();
    let notify = Process::start(root, "notify");
    come(2 * CARDS);
    let inbox = receiver.inbox();
    for card in 0..2 * CARDS {
        let of_card = format!("card-testing:card-{card}:");
        let ids = inbox.accepted.keys().filter(|id| id.starts_with(&of_card));
        assert_eq!(ids.count(), 1, "alerts of card-{card}: {inbox:?}");
    }
    let calls: u64 = inbox.accepted.values().sum();
    let repeated = calls - inbox.accepted.len() as u64;
    assert!(repeated <= CONCURRENCY, "a kill repeats the calls under way alone: {inbox:?}");
    assert_eq!((inbox.accepted.len(), inbox.refused), (2 * CARDS, 0), "{inbox:?}");
    println!("{} alerts, {repeated} of them told twice", inbox.accepted.len());
    notify
}

#[test]
fn roles_are_processes_and_a_killed_worker_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let receiver = Receiver::start().unwrap();
    configure(root, false, &receiver);
    let refused = millpond(root, &root.join("run"), &["run"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("does not exist: create it"), "{said}");

    configure(root, true, &receiver);
    let shown = run(root, "run", &["config", "show"]);
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("hunter2"), "a secret was shown");

    let worker = Process::start(root, "worker");
    let indexer = Process::start(root, "indexer");
    let notify = Process::start(root, "notify");
    let gateway = Process::start(root, "gateway");
    ingest(root, 0..CARDS, 0);
    await_counts(root, &indexer, PAYMENTS);
    worker.kill();
    ingest(root, 0..CARDS, PAYMENTS);
    let worker = Process::start(root, "worker");
    await_counts(root, &indexer, 2 * PAYMENTS);

    let metrics = worker.get("/metrics").unwrap();
    assert!(metrics.contains("millpond_running_tasks{topology=\"fraud\"} 2"), "{metrics}");
    assert!(metrics.contains("millpond_log_reachable{} 1"), "{metrics}");
    let lag = run(root, "worker", &["lag", "--output", "json"]);
    let lag: Value = serde_json::from_slice(&lag.stdout).unwrap();
    assert_eq!(lag.as_array().unwrap().len(), 2, "{lag}");
    await_tasks(root);
    let notify = assert_alerts_come(root, notify, &receiver);
    let second = Process::start_in(root, "worker", "second");
    await_standbys(root, &second);
    for process in [gateway, notify, worker, second, indexer] {
        assert!(!process.said().contains("hunter2"), "a secret was logged");
        process.stop();
    }
}
