//! A process: which roles it does, how it starts, and how it ends.
//!
//! ```text
//! start: lock the directory -> bind -> log, state -> topics, plans -> workers, indexer
//!        -> notifier -> HTTP -> sources
//! stop:  not ready -> sources -> workers (last commit) -> indexer (last commit) -> notifier
//!        -> HTTP -> state flushed -> log closed
//! ```
//! It wires; what the parts do is theirs. Ending is bounded: see [`Process::stop`].

mod connections;
mod directory;
mod engine;
mod guard;
mod health;
mod heat;
mod log;
mod metrics;
mod notify;
mod overview;
mod preflight;
mod server;
mod signals;
mod sources;
mod topics;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use connectors::Counters;
use pipeline::clock::Clock;
use pipeline::fail_point::{self, FailPoint};
use pipeline::standby::StandbyHandle;
use pipeline::worker::{WorkerHandle, WorkerStats};
use pipeline::{Plan, Topology};
use stores::state::StateDb;
use stores::views::Views;
use tokio::runtime::{Builder, Runtime};

pub(crate) use directory::{DataDirectory, DirectoryError, Found, Holder, find, random_bytes};
pub(crate) use health::Event;
pub(crate) use overview::{Dropped, Figures, Overview, Planned, TopologyFigures};
pub(crate) use server::{Bound, bind};

use self::log::OpenLog;
use engine::Engine;
use health::Health;
use heat::Heat;
use server::Server;
use sources::Sources;

use crate::app::App;
use crate::config::Config;
use crate::error::AppError;

/// Events that may wait: the process ends at the first one.
const EVENTS_MAX: usize = 4;
/// Threads of the runtime beside those that may block.
const RUNTIME_THREADS: usize = 2;
/// How long requests under way may take when everything else has ended.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roles {
    /// Everything.
    All,
    /// It runs topologies.
    Worker,
    /// It brings the views up to date with the log, and serves them.
    Indexer,
    /// It delivers alerts.
    Notify,
    /// It serves the admin API and takes records.
    Gateway,
    /// An indexer for one command: it serves the views as long as the command needs them.
    Views,
    /// A gateway for one command, without sources.
    Door,
}

impl Roles {
    fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }

    fn indexes(self) -> bool {
        matches!(self, Self::All | Self::Indexer | Self::Views)
    }

    fn notifies(self) -> bool {
        matches!(self, Self::All | Self::Notify)
    }

    fn has_sources(self) -> bool {
        matches!(self, Self::All | Self::Gateway)
    }

    /// Whether it runs until it is told to end.
    fn stays(self) -> bool {
        !matches!(self, Self::Views | Self::Door)
    }
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) overview: Arc<Overview>,
    pub(crate) admin_key: Arc<str>,
}

/// What a process is made of.
pub(crate) struct Setup<'a> {
    pub(crate) app: &'a App,
    pub(crate) config: &'a Config,
    pub(crate) roles: Roles,
    pub(crate) clock: Arc<dyn Clock>,
    /// The directory, and where to listen.
    pub(crate) place: (DataDirectory, Bound),
    /// Routes of the caller's own.
    pub(crate) more: Router,
}

/// How a process came to its end.
#[derive(Debug)]
pub(crate) enum Ending {
    /// By a signal, or because its time was over.
    Asked,
    /// A part has failed.
    Failed(String),
}

/// A running process.
pub(crate) struct Process {
    pub(crate) overview: Arc<Overview>,
    config: Config,
    clock: Arc<dyn Clock>,
    directory: DataDirectory,
    state: Option<Arc<StateDb>>,
    workers: Vec<WorkerHandle>,
    standbys: Vec<StandbyHandle>,
    sources: Option<Sources>,
    server: Server,
    runtime: Runtime,
    events: Receiver<Event>,
}

impl Process {
    /// Starts everything that its roles need.
    ///
    /// # Errors
    /// When a part cannot be started; what was started before is dropped.
    pub(crate) fn start(setup: Setup<'_>) -> Result<Self, AppError> {
        let Setup { app, config, roles, clock, place: (mut directory, bound), more } = setup;
        let started = clock.elapsed();
        let topologies = build(app, config)?;
        let endpoints = notify::endpoints(config)?;
        let shares = engine::shares(config, &topologies)?;
        let runtime = runtime(config)?;
        let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
        let health = Arc::new(Health::new(sender.clone()));
        let parts = Parts { app, config, roles, sender };
        let engine =
            Engine { config, directory: &directory, shares, clock: Arc::clone(&clock), health };
        let Opened { overview, state, workers, standbys, ingested } =
            parts.open(&engine, topologies, started)?;
        if roles.notifies() {
            *locked(&overview.notifier) = notify::start(&overview, endpoints, runtime.handle())?;
        }
        if roles.stays() {
            signals::listen(parts.sender, runtime.handle())?;
        }
        runtime.spawn(Heat::watch(Arc::clone(&overview)));
        directory.announce(bound.address)?;
        let ingest = sources::ingest(config, &overview, ingested)?;
        let key = &directory.holder().admin_key;
        let router = server::router(config, Arc::clone(&overview), key, ingest, more);
        let server = Server::start(bound, router, &config.http, runtime.handle())?;
        let sources = match roles.has_sources() {
            true => Some(Sources::start(config, &overview, runtime.handle())?),
            false => None,
        };
        let config = config.clone();
        Ok(Self {
            overview,
            config,
            clock,
            directory,
            state,
            workers,
            standbys,
            sources,
            server,
            runtime,
            events,
        })
    }

    /// This process, as others see it.
    pub(crate) fn holder(&self) -> &Holder {
        self.directory.holder()
    }

    /// Waits until the process is to end, at most until `until` on the clock's `elapsed`; calls
    /// `tick` every `interval`.
    pub(crate) fn wait(
        &self,
        until: Option<Duration>,
        interval: Duration,
        mut tick: impl FnMut(&Overview),
    ) -> Ending {
        loop {
            let now = self.clock.elapsed();
            let left = until.map_or(interval, |until| until.saturating_sub(now));
            match self.events.recv_timeout(interval.min(left)) {
                Ok(Event::Signal) | Err(RecvTimeoutError::Disconnected) => return Ending::Asked,
                Ok(Event::Failed) => {
                    let failures = self.overview.health.failures();
                    return Ending::Failed(failures.join("; "));
                }
                Err(RecvTimeoutError::Timeout) => tick(&self.overview),
            }
            if until.is_some_and(|until| self.clock.elapsed() >= until) {
                return Ending::Asked;
            }
        }
    }

    /// Ends the process: what was read is committed, what was committed is shown, and all is
    /// closed. It takes at most `drain_timeout_ms`.
    ///
    /// # Errors
    /// When a part did not end well, or not in time. Nothing that was answered for is lost then:
    /// the next start goes on from the last commit.
    pub(crate) fn stop(self) -> Result<(), AppError> {
        self.overview.health.stop();
        let most_ms = self.config.http.drain_timeout_ms;
        let (done, ended) = mpsc::sync_channel(1);
        let drain = move || {
            // Nobody listens once the time is over.
            let _ = done.send(self.drain());
        };
        let thread = std::thread::Builder::new().name("shutdown".to_owned()).spawn(drain);
        let failed = |error| AppError::Failed(format!("cannot start a thread: {error}"));
        let _running = thread.map_err(failed)?;
        ended.recv_timeout(Duration::from_millis(most_ms)).unwrap_or_else(|_| {
            Err(AppError::Failed(format!(
                "the shutdown took longer than {most_ms} ms (http.drain_timeout_ms); the next \
                 start goes on from the last commit"
            )))
        })
    }

    fn drain(self) -> Result<(), AppError> {
        let Self { overview, config, directory, state, workers, standbys, .. } = self;
        let (sources, server, runtime) = (self.sources, self.server, self.runtime);
        let handle = runtime.handle().clone();
        if let Some(sources) = sources {
            sources.stop(&handle);
        }
        let mut first = Ok(());
        let mut note = |ended: Result<(), AppError>| {
            if first.is_ok() {
                first = ended;
            }
        };
        standbys.iter().for_each(StandbyHandle::stop);
        workers.iter().for_each(WorkerHandle::stop);
        for worker in workers {
            note(worker.join().map_err(AppError::from));
        }
        for standby in standbys {
            note(standby.join().map_err(|error| AppError::Failed(error.to_string())));
        }
        if let Some(follower) = locked(&overview.follower).take() {
            follower.stop();
            note(follower.join().map_err(AppError::from));
        }
        if let Some(notifier) = locked(&overview.notifier).take() {
            let patience = Duration::from_millis(config.http.drain_timeout_ms / 4);
            note(notifier.stop(patience).map_err(AppError::from));
        }
        server.stop(LAST_REQUESTS, &handle);
        runtime.shutdown_timeout(LAST_REQUESTS);
        fail_point::pass(FailPoint::StopBeforeFlush);
        if let Some(state) = state {
            note(state.flush().map_err(AppError::from));
        }
        fail_point::pass(FailPoint::StopAfterFlush);
        // The log closes with its last handle: the lock on the directory is let go after it.
        drop(overview);
        drop(directory);
        first
    }
}

/// What [`Parts::open`] has opened.
struct Opened {
    overview: Arc<Overview>,
    state: Option<Arc<StateDb>>,
    workers: Vec<WorkerHandle>,
    standbys: Vec<StandbyHandle>,
    /// The topics that take records from outside.
    ingested: std::collections::BTreeSet<String>,
}

/// What a process is started from.
struct Parts<'a> {
    app: &'a App,
    config: &'a Config,
    roles: Roles,
    sender: SyncSender<Event>,
}

impl Parts<'_> {
    /// Opens log and state, makes topics and plans, starts workers and indexer.
    fn open(
        &self,
        engine: &Engine<'_>,
        topologies: Vec<Topology>,
        started: Duration,
    ) -> Result<Opened, AppError> {
        let open_log = engine.open_log()?;
        let log = open_log.log();
        match &open_log {
            OpenLog::Embedded(_) => topics::make(&*log, self.config, &topologies)?,
            OpenLog::Kafka(kafka) => {
                preflight::check(kafka, self.config, &topologies)?;
                topics::make_described(&*log, self.config, &topologies)?;
            }
        }
        let ingested = topics::ingested(self.config, &topologies);
        let plans = topologies.into_iter().map(|topology| engine.plan(&*log, topology));
        let plans = plans.collect::<Result<Vec<_>, _>>()?;
        let planned: Vec<Planned> = plans.iter().map(|plan| self.planned(plan)).collect();
        let views = Arc::new(Views::new());
        let follower = match self.roles.indexes() {
            true => Some(engine.start_follower(&log, &plans, &views)?),
            false => None,
        };
        let (mut state, mut workers, mut standbys) = (None, Vec::new(), Vec::new());
        if self.roles.works() {
            let opened = engine.open_state(&*log)?;
            for (plan, planned) in plans.iter().zip(&planned) {
                workers.extend(engine.start_workers(plan, &log, &opened, &planned.stats)?);
                standbys.extend(engine.start_standby(planned, &open_log, &opened)?);
            }
            state = Some(opened);
        }
        let overview = Overview {
            clock: Arc::clone(&engine.clock),
            started,
            log,
            open_log,
            topologies: planned,
            views,
            counters: Arc::new(Counters::new()),
            health: Arc::clone(&engine.health),
            heat: Heat::default(),
            follower: Mutex::new(follower),
            notifier: Mutex::default(),
            alerts_before: Default::default(),
            dead_letters_before: Default::default(),
        };
        overview.begin();
        Ok(Opened { overview: Arc::new(overview), state, workers, standbys, ingested })
    }

    fn planned(&self, plan: &Arc<Plan>) -> Planned {
        let name = plan.topology().name();
        let def = self.app.topologies.iter().find(|def| def.name() == name);
        let threads = if self.roles.works() { self.config.threads } else { 0 };
        Planned {
            about: def.map(|def| def.about().to_owned()).unwrap_or_default(),
            plan: Arc::clone(plan),
            stats: (0..threads).map(|_| Arc::new(WorkerStats::default())).collect(),
            standby: Arc::default(),
        }
    }
}

/// Checks what only the topologies and the endpoints know of their settings. Opens nothing.
///
/// # Errors
/// When a topology cannot be built, an endpoint cannot be used, or the memory does not suffice.
pub(crate) fn check(app: &App, config: &Config) -> Result<(), AppError> {
    let topologies = build(app, config)?;
    notify::endpoints(config)?;
    engine::shares(config, &topologies).map(drop)
}

/// The topologies that are enabled.
fn build(app: &App, config: &Config) -> Result<Vec<Topology>, AppError> {
    let enabled = |name: &str| config.topologies.get(name).is_none_or(|topology| topology.enabled);
    app.topologies.iter().filter(|def| enabled(def.name())).map(|def| def.build(config)).collect()
}

fn runtime(config: &Config) -> Result<Runtime, AppError> {
    // Searches, ingest and what tokio itself does beside them.
    let blocking = config.http.query_concurrency_max + config.http.ingest_concurrency_max + 8;
    Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .max_blocking_threads(blocking)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|error| AppError::Failed(format!("cannot start the runtime: {error}")))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
