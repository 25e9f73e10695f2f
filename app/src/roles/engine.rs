//! The threads that do the work: one set of workers for each topology, one indexer for all views.

use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::Clock;
use pipeline::follow::{FollowSettings, FollowerHandle, IndexFollower};
use pipeline::log::Log;
use pipeline::standby::{self, StandbyHandle, StandbyParts, StandbySettings};
use pipeline::worker::{WorkerHandle, WorkerParts, WorkerSettings, WorkerStats};
use pipeline::{
    AheadBound, BadRecordPolicy, Plan, SourceRules, TaskError, TaskSettings, Topology, ViewPlan,
    follow, worker,
};
use stores::state::{StateDb, StateSettings};
use stores::views::Views;

use super::directory::DataDirectory;
use super::health::Health;
use super::log::OpenLog;
use super::overview::Planned;
use super::topics;
use crate::config::{self, Ahead, Config, IdleTimeout, LogKind, MemoryShares};
use crate::error::AppError;

/// Attempts to open an embedded log again that has failed.
const RECONNECTS_MAX: u32 = 5;

/// What every thread needs.
pub(super) struct Engine<'a> {
    pub(super) config: &'a Config,
    pub(super) directory: &'a DataDirectory,
    pub(super) shares: MemoryShares,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
}

/// How the memory is shared out among what `topologies` need.
pub(super) fn shares(config: &Config, topologies: &[Topology]) -> Result<MemoryShares, AppError> {
    let views = topologies.iter().map(|one| one.view_names().len()).sum();
    let threads = topologies.len() * config.threads;
    Ok(MemoryShares::of(config.memory_bytes(), views, threads)?)
}

impl Engine<'_> {
    /// Opens the log.
    pub(super) fn open_log(&self) -> Result<OpenLog, AppError> {
        OpenLog::open(self.config, &self.shares, (self.directory, Arc::clone(&self.clock)))
    }

    /// Opens the state of all topologies.
    pub(super) fn open_state(&self, log: &dyn Log) -> Result<Arc<StateDb>, AppError> {
        let settings = StateSettings {
            cache_bytes: half(self.shares.block_cache_bytes),
            write_buffer_bytes: half(self.shares.write_buffer_bytes),
        };
        let state = StateDb::open(&self.directory.state(), settings)?;
        let id = log.id()?;
        if let Some(other) = state.follow(&id)? {
            tracing::warn!(
                log = id,
                other,
                "the state is another log's: rebuilding it from this one"
            );
        }
        Ok(Arc::new(state))
    }

    /// Plans a topology, and makes its topics.
    pub(super) fn plan(
        &self,
        log: &dyn Log,
        mut topology: Topology,
    ) -> Result<Arc<Plan>, AppError> {
        set_rules(self.config, &mut topology);
        let cleanup = topics::default_cleanup(self.config);
        let partitions = self.config.log.partitions;
        Ok(Arc::new(Plan::make(Arc::new(topology), log, (partitions, cleanup))?))
    }

    /// Starts the workers of one topology; each has its own of `stats`.
    pub(super) fn start_workers(
        &self,
        plan: &Arc<Plan>,
        log: &Arc<dyn Log>,
        state: &Arc<StateDb>,
        stats: &[Arc<WorkerStats>],
    ) -> Result<Vec<WorkerHandle>, AppError> {
        let name = plan.topology().name();
        let start = |(number, stats): (usize, &Arc<WorkerStats>)| {
            let parts = WorkerParts {
                plan: Arc::clone(plan),
                log: Arc::clone(log),
                state: Arc::clone(state),
                clock: Arc::clone(&self.clock),
                stats: Arc::clone(stats),
            };
            let health = Arc::clone(&self.health);
            let failed = move |error: &worker::WorkerError| health.fail(error.to_string());
            let settings =
                worker_settings(self.config, &self.shares, name, &format!("{name}-{number}"));
            Ok(worker::spawn(parts, settings, failed)?)
        };
        stats.iter().enumerate().map(start).collect()
    }

    /// Keeps the state of a topology's tasks warm that other processes run, if that is wanted.
    pub(super) fn start_standby(
        &self,
        planned: &Planned,
        open_log: &OpenLog,
        state: &Arc<StateDb>,
    ) -> Result<Option<StandbyHandle>, AppError> {
        let settings = &self.config.worker;
        let Some(process) = open_log.process() else { return Ok(None) };
        if settings.num_standby_replicas == 0 {
            return Ok(None);
        }
        let parts = StandbyParts {
            plan: Arc::clone(&planned.plan),
            log: open_log.log(),
            state: Arc::clone(state),
            clock: Arc::clone(&self.clock),
            stats: Arc::clone(&planned.standby),
        };
        let health = Arc::clone(&self.health);
        let failed = move |error: &TaskError| health.fail(error.to_string());
        let settings = StandbySettings {
            flush_interval: Duration::from_millis(settings.state_flush_interval_ms),
            ..StandbySettings::new(process, settings.num_standby_replicas)
        };
        Ok(Some(standby::spawn(parts, settings, failed)?))
    }

    /// Opens the indexes of all views, and starts to follow their topics.
    pub(super) fn start_follower(
        &self,
        log: &Arc<dyn Log>,
        plans: &[Arc<Plan>],
        views: &Views,
    ) -> Result<FollowerHandle, AppError> {
        let settings = FollowSettings {
            folder: self.directory.views(),
            memory_bytes: bytes(self.shares.index_writer_bytes),
            commit_interval: Duration::from_millis(self.config.index.commit_interval_ms),
            commit_share: self.config.index.commit_share,
        };
        let followed: Vec<ViewPlan> = plans.iter().flat_map(|plan| plan.views.clone()).collect();
        let follower = IndexFollower::open(&**log, &followed, Arc::clone(&self.clock), settings)?;
        for view in follower.views() {
            views.add(view);
        }
        let health = Arc::clone(&self.health);
        let failed = move |error: &follow::FollowError| health.fail(crate::error::chain(error));
        Ok(follow::spawn(follower, Arc::clone(log), failed)?)
    }
}

/// Gives the topology's sources the rules that the configuration has for their topics.
pub(super) fn set_rules(config: &Config, topology: &mut Topology) {
    for (name, topic) in &config.topics {
        let rules = SourceRules {
            bad_records: topic.bad_record_policy.map(policy),
            timestamp_ahead_max: topic.timestamp_ahead_ms_max.map(ahead),
        };
        topology.set_source_rules(name, rules);
    }
}

fn policy(policy: config::BadRecordPolicy) -> BadRecordPolicy {
    match policy {
        config::BadRecordPolicy::Dlq => BadRecordPolicy::Dlq,
        config::BadRecordPolicy::Skip => BadRecordPolicy::Skip,
        config::BadRecordPolicy::Fail => BadRecordPolicy::Fail,
    }
}

fn ahead(bound: Ahead) -> AheadBound {
    match bound {
        Ahead::Unbounded => AheadBound::Unbounded,
        Ahead::UpToMs(ms) => AheadBound::AtMost(Duration::from_millis(ms)),
    }
}

fn worker_settings(
    config: &Config,
    shares: &MemoryShares,
    topology: &str,
    instance: &str,
) -> WorkerSettings {
    let config::Worker {
        commit_interval_ms,
        poll_records_max,
        idle_timeout_ms,
        progress_interval_ms,
        state_flush_interval_ms,
        num_standby_replicas: _,
        bad_record_policy,
        timestamp_ahead_ms_max,
    } = config.worker.clone();
    let own = config.topologies.get(topology).and_then(|topology| topology.bad_record_policy);
    let task = TaskSettings {
        bad_records: policy(own.unwrap_or(bad_record_policy)),
        timestamp_ahead_max: ahead(timestamp_ahead_ms_max),
        idle_timeout: match idle_timeout_ms {
            IdleTimeout::Never => None,
            IdleTimeout::AfterMs(ms) => Some(Duration::from_millis(ms)),
        },
        progress_interval: Duration::from_millis(progress_interval_ms),
        record_bytes_max: bytes(config.log.record_bytes_max),
        ..TaskSettings::default()
    };
    WorkerSettings {
        task,
        commit_interval: Duration::from_millis(commit_interval_ms),
        poll_records_max,
        flush_interval: Duration::from_millis(state_flush_interval_ms),
        // The share is for two overlays: the open one and the one that is being committed.
        overlay_bytes_max: half(shares.overlay_bytes),
        // Brokers come back; a disk that has failed does not.
        reconnects_max: (config.log.kind == LogKind::Embedded).then_some(RECONNECTS_MAX),
        ..WorkerSettings::new(instance)
    }
}

pub(super) fn half(share: u64) -> usize {
    bytes(share / 2)
}

pub(super) fn bytes(share: u64) -> usize {
    usize::try_from(share).unwrap_or(usize::MAX)
}
