//! One broker of our own: Apache Kafka in KRaft mode, started from its jars.
//!
//! It can be stopped, killed, paused and started again on the same data. It never outlives the
//! tests: see `tests/kafka/node.sh`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::jars::Jars;
use super::wait::eventually;

/// Memory of a broker's heap.
const HEAP: &str = "512m";

/// A machine that is busy with other things is given time.
const START_MAX: Duration = Duration::from_secs(180);

/// How a broker is to be.
#[derive(Clone, Debug)]
pub(crate) struct NodeSettings {
    /// Its number in the cluster.
    pub(crate) id: u32,
    /// The port of its listener.
    pub(crate) port: u16,
    /// The number and port of the cluster's only controller; this node's own if the number is its.
    pub(crate) controller: (u32, u16),
    /// Lines of its properties that differ from what a test broker has.
    pub(crate) extra: String,
    /// What its storage is formatted with besides.
    pub(crate) format: Vec<String>,
    /// Where its data is, if that is to stay when the tests end.
    pub(crate) kept: Option<PathBuf>,
}

impl NodeSettings {
    /// A cluster of one.
    pub(crate) fn alone() -> Self {
        let [port, controller] = free_ports();
        let (extra, format) = (String::new(), Vec::new());
        Self { id: 1, port, controller: (1, controller), extra, format, kept: None }
    }
}

/// One broker.
pub(crate) struct Node {
    settings: NodeSettings,
    jars: Jars,
    folder: PathBuf,
    running: Option<Running>,
}

struct Running {
    guard: Child,
    commands: ChildStdin,
    pid: String,
}

impl Node {
    /// Makes and starts a broker.
    ///
    /// # Errors
    /// What is missing, or what the broker said when it did not start.
    pub(crate) fn new(settings: NodeSettings, cluster: &str) -> Result<Self, String> {
        let jars = Jars::find()?;
        let folder = match &settings.kept {
            Some(kept) => std::fs::create_dir_all(kept).map(|()| kept.clone()),
            None => tempfile::Builder::new()
                .prefix("millpond-kafka-")
                .tempdir()
                .map(tempfile::TempDir::keep),
        };
        let folder = folder.map_err(|error| error.to_string())?;
        let mut node = Self { settings, jars, folder, running: None };
        node.format(cluster)?;
        node.start()?;
        Ok(node)
    }

    /// Where clients connect first.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.settings.port)
    }

    /// Its jars, for Kafka's own tools.
    pub(crate) fn tool(&self, class: &str) -> Command {
        let mut command = self.jars.command();
        command.arg(class);
        command
    }

    fn pid(&self) -> &str {
        self.running.as_ref().map_or("", |running| &running.pid)
    }

    /// Starts the broker, which must not run, on the data that it has, and waits until it answers.
    ///
    /// # Errors
    /// What it said when it did not start.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        assert!(self.running.is_none(), "a broker is started when it does not run");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/node.sh");
        let mut guard = Command::new("sh");
        guard.arg(script).arg(&self.folder).arg(&self.jars.java).arg(&self.jars.classpath);
        guard
            .arg(HEAP)
            .args(self.settings.kept.is_some().then_some("keep"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut guard = guard.spawn().map_err(|error| error.to_string())?;
        let commands = guard.stdin.take().expect("it was asked for");
        let mut pid = String::new();
        let mut output = BufReader::new(guard.stdout.take().expect("it was asked for"));
        output.read_line(&mut pid).map_err(|error| error.to_string())?;
        let pid = pid.trim().to_owned();
        let address = self.address();
        let running = self.running.insert(Running { guard, commands, pid });
        let process = PathBuf::from("/proc").join(&running.pid).join("exe");
        let listens = eventually(START_MAX, || {
            let ended = Path::new("/proc").exists() && std::fs::read_link(&process).is_err();
            (ended || TcpStream::connect(&address).is_ok()).then_some(!ended)
        });
        match listens {
            Some(true) => Ok(()),
            _ => Err(format!("the broker does not start:\n{}", tail(&self.folder))),
        }
    }

    /// Ends the broker in order.
    pub(crate) fn stop(&mut self) {
        self.end("TERM");
    }

    /// Ends the broker as a crash does.
    pub(crate) fn kill(&mut self) {
        self.end("KILL");
    }

    /// Halts the broker: connections stay, answers do not come.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a halted broker go on.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, self.pid()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "cannot signal the broker");
    }

    fn end(&mut self, how: &str) {
        let Some(mut running) = self.running.take() else { return };
        // A guard that has gone has taken the broker with it.
        let _ = writeln!(running.commands, "{how}");
        let _ = running.guard.wait();
    }

    fn format(&self, cluster: &str) -> Result<(), String> {
        let properties = self.folder.join("server.properties");
        let written = std::fs::write(&properties, self.properties());
        written.map_err(|error| error.to_string())?;
        let mut format = self.tool("kafka.tools.StorageTool");
        // Data that was kept is formatted already.
        format.args(["format", "--ignore-formatted", "-t", cluster, "-c"]).arg(&properties);
        format.args(&self.settings.format);
        let output = format.output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn properties(&self) -> String {
        let NodeSettings { id, port, controller: (leader, control), extra, .. } = &self.settings;
        let leads = id == leader;
        let roles = if leads { "broker,controller" } else { "broker" };
        let control_listener = match leads {
            true => format!(",CONTROLLER://127.0.0.1:{control}"),
            false => String::new(),
        };
        let data = self.folder.join("log");
        format!(
            "process.roles={roles}\n\
             node.id={id}\n\
             controller.quorum.voters={leader}@127.0.0.1:{control}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port}{control_listener}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\n\
             log.dirs={}\n\
             {DEFAULTS}{extra}\n",
            data.display()
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if self.settings.kept.is_none() {
            // What stays lies in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A single node wants one replica of everything, few threads and no waiting.
const DEFAULTS: &str = "\
num.network.threads=2
num.io.threads=4
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100
log.retention.ms=-1
log.segment.bytes=67108864
";

/// Ports that nobody listens on.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("it is bound").port())
}

/// The end of what the broker said.
fn tail(folder: &Path) -> String {
    let said = std::fs::read_to_string(folder.join("server.out")).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
