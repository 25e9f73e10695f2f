//! The real binary: the demo from start to end, through kills and signals.
//!
//! What it computes is the topologies' tests' business; here it must start, answer, push, be alone
//! in its directory, and go on where it stopped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};
use serde_json::Value;

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary, built once; cargo has let go of its lock when tests run.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // target/<profile>/deps/main-<hash>
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        // The whole workspace: one package alone has other features of what it depends on, and
        // everything would be compiled again.
        build.args(["build", "--quiet", "--locked", "--workspace", "--bin", "millpond"]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        profile.join("millpond")
    })
}

pub(crate) fn millpond(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--data-dir").arg(directory);
    let ours = |(name, _): &(String, String)| name.starts_with("MILLPOND_");
    for (name, _) in std::env::vars().filter(ours) {
        command.env_remove(name);
    }
    command
}

/// A process that is killed when a test ends early.
pub(crate) struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it is to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn demo(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = millpond(directory, &["demo", "--port", "0"]);
        command.args(arguments);
        Self::start(directory, command)
    }

    /// Starts `command`, and waits until it says in the lock file where it listens.
    pub(crate) fn start(directory: &Path, mut command: Command) -> Self {
        let log = directory.join("stderr.txt");
        let stderr = std::fs::File::create(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let mut running = Self { child };
        eventually("a process that listens", || {
            let ended = running.child.try_wait().unwrap();
            let said = || std::fs::read_to_string(&log).unwrap();
            assert!(ended.is_none(), "it ended at once: {}", said());
            let holder = holder(directory)?;
            let is_its = holder["pid"].as_u64() == Some(running.child.id().into());
            (is_its && holder["address"].is_string()).then_some(())
        });
        running
    }

    pub(crate) fn signal(&mut self, name: &str) -> Option<i32> {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

/// What the lock file says, if there is one and it is whole.
fn holder(directory: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(directory.join("millpond.lock")).ok()?;
    serde_json::from_str(&text).ok()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Gets a path of the running demo through the plainest of clients.
fn get(directory: &Path, path: &str) -> Value {
    let holder = holder(directory).unwrap();
    let (address, key) = (text(&holder["address"]), text(&holder["admin_key"]));
    let body = runtime().block_on(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let (head, body) = body.split_once("\r\n\r\n").unwrap();
    let start = body.find(['{', '[']).unwrap_or_else(|| panic!("{head}\n{body}"));
    let mut values = serde_json::Deserializer::from_str(&body[start..]).into_iter::<Value>();
    values.next().unwrap().unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Asks until the answer is `Some`.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let clock = SystemClock::new();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(clock.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        runtime().block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }
}

fn search(directory: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["search", "--output", "json"];
    all.extend(arguments);
    let output = millpond(directory, &all).output().unwrap();
    assert!(output.status.success(), "{}", error_of(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_demo_answers_searches_and_pushes_signed_alerts() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Running::demo(directory.path(), &[]);
    let at = directory.path();
    eventually("a suspicious card", || {
        let found = search(at, &["suspicious-cards", "count:[8 TO *]", "--sort=-count"]);
        found["hits"][0]["document"]["card"].as_str().map(str::to_owned)
    });
    let received = eventually("an alert", || {
        let received = get(at, "/demo/webhooks/received");
        (received["accepted"].as_u64()? > 0).then_some(received)
    });
    assert_eq!(received["refused"], 0, "a signature did not verify: {received}");
    let figures = get(at, "/v1/admin/stats");
    assert!(figures["records_in"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!(get(at, "/readyz")["ready"], true);
    assert_eq!(demo.signal("-INT"), Some(0));
    // Nobody holds the directory now: the command opens it itself.
    let totals = search(at, &["order-totals", "--limit", "1"]);
    assert!(totals["total"].as_u64().unwrap() > 0, "{totals}");
    let once = millpond(at, &["demo", "--port", "0", "--for", "1s"]).output().unwrap();
    let said = String::from_utf8_lossy(&once.stdout);
    assert!(once.status.success() && said.contains(" records in 1 s"), "{said}");
}

#[test]
fn a_second_process_is_refused_and_sigterm_ends_the_first_quickly() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Running::demo(directory.path(), &[]);
    let second = millpond(directory.path(), &["demo", "--port", "0"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let pid = format!("process {} at http://127.0.0.1:", demo.child.id());
    assert!(error_of(&second).contains(&pid), "{}", error_of(&second));

    let other = tempfile::tempdir().unwrap();
    let holder = holder(directory.path()).unwrap();
    let port = text(&holder["address"]).rsplit(':').next().unwrap();
    let taken = millpond(other.path(), &["demo", "--port", port]).output().unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(error_of(&taken).contains(&format!("port {port} is in use")), "{}", error_of(&taken));

    let clock = SystemClock::new();
    assert_eq!(demo.signal("-TERM"), Some(0));
    assert!(clock.elapsed() < Duration::from_secs(10), "it took {:?}", clock.elapsed());
}

pub(crate) fn json_of(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = millpond(directory, arguments).output().unwrap();
    assert!(output.status.success(), "{}", error_of(&output));
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    values.collect::<Result<_, _>>().unwrap()
}

/// The keys of the orders of which the log has an event that can be read.
fn orders_in_the_log(directory: &Path) -> u64 {
    let records = json_of(directory, &["topics", "read", "orders", "--limit", "1000000"]);
    // A damaged record is text, and a dead letter.
    let whole = records.iter().filter(|record| record["value"].is_object());
    let keys: BTreeSet<&str> = whole.map(|record| text(&record["key"])).collect();
    keys.len() as u64
}

/// A token of everything that lies in `topic`.
fn end_of(directory: &Path, topic: &str) -> String {
    let described = json_of(directory, &["--output", "json", "topics", "describe", topic]);
    let partitions = described[0]["partitions"].as_array().unwrap().iter();
    let ends = partitions
        .map(|one| format!("{topic}:{}:{}:{}", one["partition"], one["end"], one["epoch"]));
    format!("v1.{}", ends.collect::<Vec<_>>().join(","))
}

#[test]
fn after_kills_every_order_is_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for life in 0..3 {
        let seed = life.to_string();
        let mut demo = Running::demo(at, &["--rate", "4000", "--seed", &seed]);
        eventually("records", || {
            let records = get(at, "/v1/admin/stats")["records_in"].as_u64()?;
            (records > 7_000).then_some(())
        });
        assert_eq!(demo.signal("-KILL"), None);
    }
    // Without new traffic what was cut off is caught up with.
    let mut command = millpond(at, &["run"]);
    command.env("MILLPOND_HTTP__LISTEN", "127.0.0.1:0");
    let mut last = Running::start(at, command);
    let token = end_of(at, "orders");
    let caught_up = search(at, &["order-totals", "--limit", "0", "--after", &token]);
    assert_eq!(caught_up["total"].as_u64().unwrap(), orders_in_the_log(at));
    assert_eq!(last.signal("-TERM"), Some(0));
    // The same is shown from the directory alone.
    let alone = search(at, &["order-totals", "--limit", "0"]);
    assert_eq!(alone["total"], caught_up["total"]);
}
