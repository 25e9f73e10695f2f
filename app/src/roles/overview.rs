//! What the parts of a process share, to be looked at: by the admin API and the demo's screen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alerts::{EndpointStats, Notifier};
use connectors::{Count, Counters};
use pipeline::Plan;
use pipeline::clock::Clock;
use pipeline::follow::{FollowStats, FollowerHandle};
use pipeline::log::{Log, LogError, TopicPartition};
use pipeline::standby::StandbyStats;
use pipeline::worker::WorkerStats;
use serde::{Deserialize, Serialize};
use stores::views::Views;

use super::health::Health;
use super::heat::Heat;
use super::log::OpenLog;

/// A topology on its log, and what its workers count.
pub(crate) struct Planned {
    /// What it is, in one line.
    pub(crate) about: String,
    /// It, and its tasks.
    pub(crate) plan: Arc<Plan>,
    /// One for each worker; none if its workers do not run here.
    pub(crate) stats: Vec<Arc<WorkerStats>>,
    /// The stores of other processes' tasks that are kept warm here.
    pub(crate) standby: Arc<StandbyStats>,
}

impl Planned {
    /// How many of its tasks run.
    pub(crate) fn running_tasks(&self) -> usize {
        self.stats.iter().map(|stats| stats.running_tasks()).sum()
    }

    fn sum(&self, count: fn(&WorkerStats) -> u64) -> u64 {
        self.stats.iter().map(|stats| count(stats)).sum()
    }

    /// The largest event time that it has read.
    fn clock_ms(&self) -> Option<i64> {
        self.stats.iter().filter_map(|stats| stats.clock_ms()).max()
    }

    /// What was dropped or set aside, by place and reason.
    pub(crate) fn dropped(&self) -> Vec<Dropped> {
        let mut all: Vec<Dropped> = Vec::new();
        for (place, reason, count) in self.stats.iter().flat_map(|stats| stats.counters.all()) {
            match all.iter_mut().find(|one| one.place == place && one.reason == reason) {
                Some(known) => known.count += count,
                None => all.push(Dropped { place, reason: reason.to_owned(), count }),
            }
        }
        all
    }
}

/// A process as it can be looked at.
pub(crate) struct Overview {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Duration,
    pub(crate) log: Arc<dyn Log>,
    /// The same, and which one it is.
    pub(crate) open_log: OpenLog,
    pub(crate) topologies: Vec<Planned>,
    pub(crate) views: Arc<Views>,
    /// What the sources count.
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<Health>,
    /// How fast the inputs are read.
    pub(crate) heat: Heat,
    /// Taken out when it is stopped.
    pub(crate) follower: Mutex<Option<FollowerHandle>>,
    /// Taken out when it is stopped.
    pub(crate) notifier: Mutex<Option<Notifier>>,
    /// Records in alert topics and dead letters when the process started.
    pub(crate) alerts_before: AtomicU64,
    pub(crate) dead_letters_before: AtomicU64,
}

/// What a process has done since it started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How long it has run.
    pub(crate) uptime_ms: u64,
    /// Memory that it occupies, where the system says.
    pub(crate) rss_bytes: Option<u64>,
    /// Records that sources have brought.
    pub(crate) records_in: u64,
    /// Records that were dead letters, of sources and topologies.
    pub(crate) dead_letters: u64,
    /// Alerts that topologies have sent.
    pub(crate) alerts: u64,
    /// By topology.
    pub(crate) topologies: Vec<TopologyFigures>,
    /// By view.
    pub(crate) views: Vec<ViewFigures>,
    /// By endpoint.
    pub(crate) endpoints: Vec<EndpointFigures>,
    /// By source, what is not 0.
    pub(crate) sources: Vec<SourceFigures>,
}

/// What a topology has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TopologyFigures {
    pub(crate) name: String,
    pub(crate) tasks: usize,
    pub(crate) running_tasks: usize,
    pub(crate) records: u64,
    pub(crate) commits: u64,
    pub(crate) restored_records: u64,
    pub(crate) restarts: u64,
    /// The largest event time read.
    pub(crate) clock_ms: Option<i64>,
    /// How far that is behind now.
    pub(crate) lag_ms: Option<i64>,
    pub(crate) dropped: Vec<Dropped>,
}

/// What was dropped or set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// The node or topic.
    pub(crate) place: String,
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// What a view has taken in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ViewFigures {
    pub(crate) name: String,
    pub(crate) documents: u64,
    /// Records that the log has and the index has not.
    pub(crate) lag: u64,
    pub(crate) upserts: u64,
    pub(crate) rejected: u64,
    pub(crate) commits: u64,
}

/// What an endpoint was sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct EndpointFigures {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) undelivered: u64,
    pub(crate) in_flight: u64,
    pub(crate) lag: u64,
    pub(crate) last_error: Option<String>,
}

/// One number of one source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SourceFigures {
    pub(crate) source: String,
    pub(crate) count: String,
    pub(crate) value: u64,
}

impl Overview {
    /// What the process has done until now.
    pub(crate) fn figures(&self) -> Figures {
        let uptime = self.clock.elapsed().saturating_sub(self.started);
        let counted = self.counters.snapshot();
        let records = counted.iter().filter(|one| one.count == Count::Records);
        let before = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            rss_bytes: rss_bytes(),
            records_in: records.map(|one| one.value).sum(),
            dead_letters: self
                .dead_letters_ever()
                .saturating_sub(before(&self.dead_letters_before)),
            alerts: self.alerts_ever().saturating_sub(before(&self.alerts_before)),
            topologies: self.topology_figures(),
            views: self.view_figures(),
            endpoints: self.endpoints().into_iter().map(endpoint).collect(),
            sources: counted
                .into_iter()
                .filter(|one| one.value > 0)
                .map(|one| SourceFigures {
                    source: one.source,
                    count: one.count.name().to_owned(),
                    value: one.value,
                })
                .collect(),
        }
    }

    /// What each topology has done, in order.
    pub(crate) fn topology_figures(&self) -> Vec<TopologyFigures> {
        let now_ms = self.clock.wall_ms();
        self.topologies.iter().map(|one| topology(one, now_ms)).collect()
    }

    /// Notes what there is now as what was there before the start.
    pub(crate) fn begin(&self) {
        self.alerts_before.store(self.alerts_ever(), Ordering::Relaxed);
        self.dead_letters_before.store(self.dead_letters_ever(), Ordering::Relaxed);
    }

    /// The topics of the topologies' alerts.
    pub(crate) fn alert_topics(&self) -> Vec<String> {
        self.topologies.iter().filter_map(|one| one.plan.topology().alert_topic()).collect()
    }

    /// What each endpoint has done.
    pub(crate) fn endpoints(&self) -> Vec<EndpointStats> {
        let notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner);
        notifier.as_ref().map(Notifier::stats).unwrap_or_default()
    }

    /// Whether every view shows all that its topic holds now.
    ///
    /// # Errors
    /// When the log is away.
    pub(crate) fn is_caught_up(&self) -> Result<bool, LogError> {
        for view in self.topologies.iter().flat_map(|one| &one.plan.views) {
            let Some(shown) = self.views.get(&view.schema.name) else { return Ok(false) };
            let snapshot = shown.snapshot();
            for partition in 0..view.schema.partitions {
                let at = TopicPartition::new(view.topic.as_str(), partition);
                let end = self.log.range(&at)?.end.offset;
                let reached = snapshot.progress().partitions.get(&partition);
                if reached.map_or(0, |reached| reached.position.offset) < end {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The partitions of views' topics that are damaged, in words.
    pub(crate) fn damaged_views(&self) -> Vec<String> {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = follower.as_ref().map(FollowerHandle::stats).unwrap_or_default();
        let said = |one: FollowStats| {
            let view = one.view;
            let say = move |at| format!("view `{view}` stands still: {at} is damaged");
            one.damaged.into_iter().map(say)
        };
        counted.into_iter().flat_map(said).collect()
    }

    pub(crate) fn view_figures(&self) -> Vec<ViewFigures> {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = follower.as_ref().map(FollowerHandle::stats).unwrap_or_default();
        drop(follower);
        let figures = self.views.list().into_iter().map(|view| {
            let name = view.schema().name.clone();
            let found = counted.iter().find(|one| one.view == name).cloned();
            let FollowStats { lag, upserts, rejected, commits, .. } = found.unwrap_or_default();
            let documents = view.snapshot().documents();
            ViewFigures { name, documents, lag, upserts, rejected, commits }
        });
        figures.collect()
    }

    fn alerts_ever(&self) -> u64 {
        self.alert_topics().iter().filter_map(|topic| self.ever(topic).ok()).sum()
    }

    fn dead_letters_ever(&self) -> u64 {
        let topics = self.log.topics().unwrap_or_default();
        let topics = topics.keys().filter(|topic| topic.ends_with("-dlq"));
        topics.filter_map(|topic| self.ever(topic).ok()).sum()
    }

    /// How many offsets a topic has given out.
    fn ever(&self, topic: &str) -> Result<u64, LogError> {
        let partitions = self.log.topics()?.get(topic).map_or(0, |spec| spec.partitions);
        let end =
            |partition| Ok(self.log.range(&TopicPartition::new(topic, partition))?.end.offset);
        (0..partitions).map(end).sum()
    }
}

fn topology(planned: &Planned, now_ms: i64) -> TopologyFigures {
    let clock_ms = planned.clock_ms();
    TopologyFigures {
        name: planned.plan.topology().name().to_owned(),
        tasks: planned.plan.tasks().len(),
        running_tasks: planned.running_tasks(),
        records: planned.sum(WorkerStats::records),
        commits: planned.sum(WorkerStats::commits),
        restored_records: planned.sum(WorkerStats::restored_records),
        restarts: planned.sum(WorkerStats::restarts),
        clock_ms,
        lag_ms: clock_ms.map(|clock_ms| now_ms - clock_ms),
        dropped: planned.dropped(),
    }
}

fn endpoint(stats: EndpointStats) -> EndpointFigures {
    EndpointFigures {
        state: format!("{:?}", stats.state).to_lowercase(),
        name: stats.name,
        delivered: stats.delivered,
        failed: stats.failed,
        undelivered: stats.undelivered,
        in_flight: stats.in_flight,
        lag: stats.lag,
        last_error: stats.last_error,
    }
}

/// The memory that this process occupies; `None` where the system has no `/proc`.
pub(super) fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
