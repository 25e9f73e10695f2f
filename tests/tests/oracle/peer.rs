//! The peer: a Java process that runs Kafka Streams' own topologies. See `tests/peers`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::json;

use crate::cases::{Input, Output, Params};

/// What is compiled: a change of it makes another jar.
const SOURCES: [&str; 6] = [
    include_str!("../../peers/pom.xml"),
    include_str!("../../peers/src/main/java/peers/Further.java"),
    include_str!("../../peers/src/main/java/peers/FurtherTables.java"),
    include_str!("../../peers/src/main/java/peers/Main.java"),
    include_str!("../../peers/src/main/java/peers/Run.java"),
    include_str!("../../peers/src/main/java/peers/Topologies.java"),
];

const HOW: &str = "it needs a JDK 17 or later and Maven: `./dev setup` installs them where there is \
                   apt-get; elsewhere install `java` and `mvn` so that they are on the PATH";

/// A running peer.
pub(super) struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    records: Vec<Row>,
    error: Option<String>,
}

type Row = (Option<String>, serde_json::Value, i64, Option<i64>, Option<i64>, usize);

impl Peer {
    /// Starts the peer, built if it is not there.
    pub(super) fn start() -> Self {
        let built = built();
        let path =
            format!("{}:{}", built.join("peers.jar").display(), built.join("lib/*").display());
        let mut child = Command::new(java())
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", &path])
            .arg("peers.Main")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `java`: {error}; {HOW}"));
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, requests, answers }
    }

    /// Asks without waiting for the answer. A few requests may be under way at once.
    pub(super) fn ask(
        &mut self,
        topology: &str,
        params: &Params,
        inputs: &[Input],
        stores: Stores,
    ) {
        let rows: Vec<_> =
            inputs.iter().map(|i| (&i.topic, &i.key, &i.value, i.timestamp)).collect();
        let stores = match stores {
            Stores::Memory => "memory",
            Stores::RocksDb => "rocksdb",
        };
        let request = json!({
            "topology": topology,
            "params": params,
            "stores": stores,
            "cache": !has_several_updates(topology),
            "records": rows,
        });
        let requests = self.requests.as_mut().expect("it is open until the peer is dropped");
        writeln!(requests, "{request}").expect("the peer reads requests until its input ends");
    }

    /// The answer to the oldest request.
    pub(super) fn answer(&mut self) -> Vec<Output> {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Answer = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the peer has answered `{line}`: {error}"));
        assert_eq!(answer.error, None, "the peer has failed");
        answer.records.into_iter().map(output).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}

/// The stores of the peer's topologies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stores {
    /// Thirty times faster, but they forget some things earlier: where time has jumped, or after a
    /// null value.
    Memory,
    /// Kafka Streams' default.
    RocksDb,
}

/// Whether a record can update one key more than once: a cache would swallow all but the last.
fn has_several_updates(topology: &str) -> bool {
    ["streams:joined-count", "grouped:count-and-reduce"].contains(&topology)
}

fn output((key, value, timestamp, window_start, window_end, line): Row) -> Output {
    Output { key, value, timestamp, window_start, window_end, line }
}

fn java() -> PathBuf {
    std::env::var_os("JAVA_HOME")
        .map_or_else(|| "java".into(), |home| Path::new(&home).join("bin/java"))
}

/// The folder with the jar, made by Maven if these sources have not been built yet.
fn built() -> PathBuf {
    /// Two tests of a process must not build it at once.
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let hash = SOURCES.iter().flat_map(|text| text.bytes()).fold(0xcbf2_9ce4_8422_2325, fnv);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("peers-{hash:016x}"));
    if folder.join("peers.jar").exists() {
        return folder;
    }
    // Under a name of its own first: two processes may do this at once.
    let draft = target.join(format!("peers-{hash:016x}-{}", std::process::id()));
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/pom.xml");
    let made = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(pom)
        .arg(format!("-Doutput={}", draft.display()))
        .arg("package")
        .output()
        .unwrap_or_else(|error| panic!("cannot start `mvn`: {error}; {HOW}"));
    assert!(
        made.status.success(),
        "Maven has not built tests/peers; {HOW}\n{}{}",
        String::from_utf8_lossy(&made.stdout),
        String::from_utf8_lossy(&made.stderr),
    );
    if std::fs::rename(&draft, &folder).is_err() {
        assert!(folder.join("peers.jar").exists(), "cannot move {} there", draft.display());
        let _ = std::fs::remove_dir_all(draft);
    }
    folder
}

/// One step of the hash FNV-1a.
fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}
