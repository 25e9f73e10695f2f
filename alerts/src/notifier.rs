//! The notifier: one thread for each endpoint, and the handle to all of them.
//!
//! Endpoints share nothing but the log and the runtime: a dead one delays no other.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use pipeline::clock::Clock;
use pipeline::log::{Cleanup, GroupConfig, Log, LogError, TopicSpec};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::caller::Caller;
use crate::delivery::Courier;
use crate::endpoint::{Endpoint, EndpointError};
use crate::stats::{Counters, EndpointState, EndpointStats};
use crate::worker::{Phase, Worker};
use crate::{DELIVERIES_TOPIC, UNDELIVERED_TOPIC};

/// Delivers alerts until it is stopped.
///
/// Dropping it without [`Notifier::stop`] is what a crash would be: calls under way are cut off,
/// nothing is committed, and the threads leave shortly after.
pub struct Notifier {
    phase: watch::Sender<Phase>,
    clock: Arc<dyn Clock>,
    threads: Vec<EndpointThread>,
}

/// What a [`Notifier`] is made of.
#[derive(Clone)]
pub struct NotifierConfig {
    /// The log that alerts are in.
    pub log: Arc<dyn Log>,
    /// Where they go. Names are unique.
    pub endpoints: Vec<Endpoint>,
    /// The topics that hold them. They exist.
    pub alert_topics: Vec<String>,
    /// Names this process among those that share an endpoint's group; stays the same across
    /// restarts. A newer process of the same name fences the older one.
    pub instance: String,
    /// For timestamps and durations.
    pub clock: Arc<dyn Clock>,
    /// Seeds the jitter.
    pub seed: u64,
    /// Where the calls run.
    pub runtime: Handle,
}

struct EndpointThread {
    counters: Arc<Counters>,
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

/// Why a [`Notifier`] did not start.
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    /// An endpoint's settings cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Two endpoints have one name.
    #[error("two endpoints are named `{0}`; the name is where the position is kept: rename one")]
    Name(String),
    /// There is nothing to read.
    #[error("alert topic `{0}` does not exist; the topology that writes it creates it")]
    Topic(String),
    /// The log is away, or has a topic of ours that is another kind.
    #[error("cannot prepare the notifier's topics: {0}")]
    Log(#[from] LogError),
    /// The system refuses a thread.
    #[error("cannot start the thread of endpoint `{name}`: {reason}")]
    Thread {
        /// The endpoint.
        name: String,
        /// What the system said.
        reason: String,
    },
}

/// What did not end well when a [`Notifier`] was stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Threads panicked: what they had not committed is repeated at the next start.
    #[error("the threads of these endpoints panicked: {0}")]
    Panicked(String),
}

impl Notifier {
    /// Checks everything, makes the topics that are missing, and starts delivering.
    ///
    /// # Errors
    /// See [`NotifierError`]; nothing has been started then.
    pub fn start(config: NotifierConfig) -> Result<Self, NotifierError> {
        check_names(&config.endpoints)?;
        let known = config.log.topics()?;
        if let Some(topic) = config.alert_topics.iter().find(|topic| !known.contains_key(*topic)) {
            return Err(NotifierError::Topic(topic.clone()));
        }
        let undelivered = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let undelivered_partitions = ensure_topic(&config, UNDELIVERED_TOPIC, undelivered)?;
        let deliveries_partitions = ensure_topic(&config, DELIVERIES_TOPIC, Cleanup::Compact)?;
        let (phase, receiver) = watch::channel(Phase::Running);
        let mut workers = Vec::with_capacity(config.endpoints.len());
        for (index, endpoint) in (0..).zip(&config.endpoints) {
            let (wake, woken) = sync_channel(1);
            let caller = Arc::new(Caller::new(endpoint, Arc::clone(&config.clock))?);
            let courier = Courier {
                endpoint: endpoint.name.as_str().into(),
                caller,
                counters: Arc::new(Counters::new(&endpoint.name)),
                clock: Arc::clone(&config.clock),
                phase: receiver.clone(),
            };
            let worker = Worker {
                log: Arc::clone(&config.log),
                endpoint: endpoint.clone(),
                group: group(&config, endpoint),
                undelivered_partitions,
                deliveries_partitions,
                courier,
                runtime: config.runtime.clone(),
                rng: rng(config.seed, index),
                wake: woken,
            };
            workers.push((worker, wake));
        }
        let mut notifier = Self { phase, clock: config.clock, threads: Vec::new() };
        for (worker, wake) in workers {
            notifier.threads.push(spawn(worker, wake)?);
        }
        Ok(notifier)
    }

    /// What each endpoint has done, in the order of the configuration.
    pub fn stats(&self) -> Vec<EndpointStats> {
        self.threads.iter().map(|thread| thread.counters.snapshot()).collect()
    }

    /// Stops: begins nothing more, waits at most `timeout` for calls under way, and commits what
    /// is done. An alert that waits for its retry is left for the next start. Blocks; from async
    /// code, call it on a blocking thread.
    ///
    /// # Errors
    /// When a thread has panicked.
    pub fn stop(mut self, timeout: Duration) -> Result<(), StopError> {
        let deadline = self.clock.elapsed() + timeout;
        self.tell(Phase::Draining { deadline });
        let mut panicked = Vec::new();
        for EndpointThread { counters, thread, .. } in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                panicked.push(counters.snapshot().name);
            }
        }
        if panicked.is_empty() { Ok(()) } else { Err(StopError::Panicked(panicked.join(", "))) }
    }

    fn tell(&self, phase: Phase) {
        self.phase.send_replace(phase);
        for thread in &self.threads {
            // Full means that it is woken already, closed that it has ended.
            let _ = thread.wake.try_send(());
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.tell(Phase::Killed);
    }
}

fn check_names(endpoints: &[Endpoint]) -> Result<(), NotifierError> {
    let mut names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(NotifierError::Name(pair[0].to_owned())),
        None => Ok(()),
    }
}

/// Makes a topic of ours, or takes it as somebody has made it, with more partitions perhaps.
fn ensure_topic(config: &NotifierConfig, name: &str, cleanup: Cleanup) -> Result<u32, LogError> {
    if let Some(spec) = config.log.topics()?.get(name) {
        return Ok(spec.partitions);
    }
    config.log.create_topic(&TopicSpec { name: name.to_owned(), partitions: 1, cleanup })?;
    Ok(1)
}

fn group(config: &NotifierConfig, endpoint: &Endpoint) -> GroupConfig {
    GroupConfig {
        group: format!("notify-{}", endpoint.name),
        instance: config.instance.clone(),
        topics: config.alert_topics.clone(),
    }
}

fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn spawn(worker: Worker, wake: SyncSender<()>) -> Result<EndpointThread, NotifierError> {
    let counters = Arc::clone(&worker.courier.counters);
    let name = worker.endpoint.name.clone();
    let watched = Arc::clone(&counters);
    let run = move || {
        let _guard = PanicGuard(watched);
        worker.run();
    };
    let thread = std::thread::Builder::new()
        .name(format!("notify-{name}"))
        .spawn(run)
        .map_err(|error| NotifierError::Thread { name, reason: error.to_string() })?;
    Ok(EndpointThread { counters, wake, thread })
}

/// Says in the stats that the thread has panicked: an endpoint must not seem well when it is dead.
struct PanicGuard(Arc<Counters>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_error("the endpoint's thread has panicked: restart the process");
            self.0.set_state(EndpointState::Failed);
        }
    }
}
