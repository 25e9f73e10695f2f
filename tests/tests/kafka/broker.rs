//! Where the tests' broker comes from.
//!
//! In this order: the address in `KAFKA_BOOTSTRAP`; a container, where a Docker engine answers;
//! Apache Kafka from its jars on Java. There is always one, or the tests fail and say what to do.

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, GenericImage, ImageExt as _};

use super::node::{Node, NodeSettings, free_ports};

/// Any identity does: a cluster lives for one run.
pub(crate) const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

/// The broker that all tests of a run share.
pub(crate) struct Broker {
    bootstrap: String,
    _source: Source,
}

/// What keeps the broker there.
enum Source {
    /// Somebody else.
    Given,
    /// Docker; the process removes the container when the tests end.
    Container(#[expect(dead_code, reason = "it is held, not used")] Box<Container<GenericImage>>),
    /// A process of ours.
    Jars(#[expect(dead_code, reason = "it is held, not used")] Box<Node>),
}

impl Broker {
    /// Where clients connect first.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

/// The broker of this run; the first who asks starts it.
pub(crate) fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(|| {
        find().unwrap_or_else(|reason| {
            panic!(
                "there is no Kafka broker for the tests: {reason}\n\
                 set KAFKA_BOOTSTRAP to the address of one, start Docker, or run `./dev setup`, \
                 which installs Java and Maven"
            )
        })
    })
}

fn find() -> Result<Broker, String> {
    if let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") {
        eprintln!("the broker of the tests: KAFKA_BOOTSTRAP, at {bootstrap}");
        return Ok(Broker { bootstrap, _source: Source::Given });
    }
    if docker_answers() {
        match container() {
            Ok(broker) => return Ok(broker),
            Err(reason) => eprintln!("no container: {reason}; taking the jars"),
        }
    }
    let node = Node::new(NodeSettings::alone(), CLUSTER)?;
    eprintln!("the broker of the tests: Apache Kafka from its jars, at {}", node.address());
    Ok(Broker { bootstrap: node.address(), _source: Source::Jars(Box::new(node)) })
}

fn docker_answers() -> bool {
    std::env::var_os("DOCKER_HOST").is_some() || UnixStream::connect("/var/run/docker.sock").is_ok()
}

fn container() -> Result<Broker, String> {
    let [port] = free_ports();
    let bootstrap = format!("127.0.0.1:{port}");
    let advertised = format!("PLAINTEXT://{bootstrap},INTERNAL://localhost:19092");
    let image = GenericImage::new("apache/kafka", "4.3.1")
        .with_wait_for(WaitFor::message_on_stdout("Kafka Server started"))
        .with_mapped_port(port, 9092.tcp());
    let settings = [
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_LISTENERS", "PLAINTEXT://:9092,INTERNAL://:19092,CONTROLLER://:9093"),
        ("KAFKA_ADVERTISED_LISTENERS", advertised.as_str()),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "INTERNAL"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000"),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("KAFKA_HEAP_OPTS", "-Xmx512m"),
    ];
    let request =
        settings.into_iter().fold(image, |image, (name, value)| image.with_env_var(name, value));
    let container = request.start().map_err(|error| error.to_string())?;
    remove_at_end(container.id());
    eprintln!("the broker of the tests: a container, at {bootstrap}");
    Ok(Broker { bootstrap, _source: Source::Container(Box::new(container)) })
}

/// A static is never dropped: a shell waits for the end of this process and removes the container.
fn remove_at_end(id: &str) {
    let mut guard = Command::new("sh");
    guard.args(["-c", "cat >/dev/null; docker rm -f \"$0\"", id]);
    guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(guard) = guard.spawn() {
        // Its standard input stays open for as long as this process lives.
        std::mem::forget(guard);
    }
}
