//! One view's index and how far it has followed.

use std::sync::Arc;
use std::time::Duration;

use stores::views::{
    Opened, PartitionProgress, Progress, SourcePartition, SourceProgress, View, ViewWriter,
};

use super::{FollowError, FollowSettings, FollowStats};
use crate::format::CONTROL_HEADER;
use crate::format::control::Control;
use crate::log::{Fetched, Log, LogError, Position, RecordRef, TopicPartition, Validity};
use crate::topology::ViewPlan;

/// An index with its writer.
pub(super) struct Shard {
    plan: ViewPlan,
    writer: ViewWriter,
    view: Arc<View>,
    /// What the next commit will reflect.
    progress: Progress,
    news_since: Option<Duration>,
    committed_at: Duration,
    upserts: u64,
    rejected: u64,
    commits: u64,
    damaged: Vec<String>,
}

impl Shard {
    pub(super) fn open(
        log: &dyn Log,
        plan: &ViewPlan,
        settings: &FollowSettings,
    ) -> Result<Self, FollowError> {
        let mut opened = open_index(plan, settings)?;
        let id = log.id()?;
        if let Some(reason) = distrust(log, &id, plan, opened.writer.progress())? {
            tracing::warn!(view = plan.schema.name, reason, "rebuilding a view from its topic");
            drop(opened);
            let folder = settings.folder.join(&plan.schema.name);
            std::fs::remove_dir_all(&folder).map_err(|error| {
                let path = folder.display();
                LogError::Unavailable(format!("cannot remove {path}: {error}"))
            })?;
            opened = open_index(plan, settings)?;
        } else if let Some(reason) = &opened.rebuilt {
            tracing::info!(view = plan.schema.name, reason, "building a view from its topic");
        }
        let mut progress = opened.writer.progress().clone();
        progress.log = Some(id);
        Ok(Self {
            plan: plan.clone(),
            progress,
            writer: opened.writer,
            view: opened.view,
            news_since: None,
            committed_at: Duration::ZERO,
            upserts: 0,
            rejected: 0,
            commits: 0,
            damaged: Vec::new(),
        })
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// The partitions to read and where to begin.
    pub(super) fn positions(&self, log: &dyn Log) -> Result<Vec<(TopicPartition, u64)>, LogError> {
        let position = |partition: u32| {
            let at = TopicPartition::new(self.plan.topic.as_str(), partition);
            let start = log.range(&at)?.start;
            let known = self.progress.partitions.get(&partition);
            Ok((at, known.map_or(start, |known| known.position.offset)))
        };
        (0..self.plan.schema.partitions).map(position).collect()
    }

    pub(super) fn reads(&self, partition: &TopicPartition) -> bool {
        *partition.topic == *self.plan.topic
    }

    /// The partition of this view whose name is `name`, noted as damaged.
    pub(super) fn named(&mut self, name: &str) -> Option<TopicPartition> {
        let all = 0..self.plan.schema.partitions;
        let mut all = all.map(|number| TopicPartition::new(self.plan.topic.as_str(), number));
        let found = all.find(|at| at.to_string() == name)?;
        self.damaged.push(name.to_owned());
        Some(found)
    }

    /// Takes in a batch. A document that does not fit is counted and left out.
    pub(super) fn accept(&mut self, fetched: &Fetched, now: Duration) {
        let partition = fetched.partition.partition;
        for record in fetched.records() {
            if record.headers.get(CONTROL_HEADER).is_some() {
                self.hear(partition, &record);
            } else {
                self.apply(&record);
            }
        }
        let position = Position::new(fetched.batch.last_offset() + 1, fetched.batch.epoch());
        self.of(partition).position = position;
        self.news_since.get_or_insert(now);
    }

    fn apply(&mut self, record: &RecordRef<'_>) {
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
        let applied = match (key, record.value) {
            (None, _) => Err("its key is no text".to_owned()),
            (Some(key), None) => {
                self.writer.delete(key);
                Ok(())
            }
            (Some(key), Some(document)) => self
                .writer
                .upsert(key, record.timestamp, document)
                .map_err(|error| error.to_string()),
        };
        match applied {
            Ok(()) => self.upserts += 1,
            Err(reason) => {
                self.rejected += 1;
                // Tasks check their documents: this one was made for another schema. One such
                // record is seldom alone, and the log is for people.
                if self.rejected.is_power_of_two() {
                    let Self { rejected, .. } = *self;
                    let (view, offset) = (&self.plan.schema.name, record.offset);
                    tracing::warn!(view, offset, rejected, reason, "a document does not fit");
                }
            }
        }
    }

    fn hear(&mut self, partition: u32, record: &RecordRef<'_>) {
        let Some(control) = record.value.and_then(Control::decode) else { return };
        let of_partition = self.progress.partitions.entry(partition).or_default();
        for entry in control.entries {
            let number = usize::from(entry.source);
            let Some(topic) = self.plan.source_topics.get(number) else { continue };
            let source = SourcePartition { topic: topic.clone(), partition: entry.partition };
            let progress = SourceProgress {
                position: entry.position,
                clock_ms: entry.clock,
                idle: entry.idle,
            };
            of_partition.sources.insert(source, progress);
        }
    }

    fn of(&mut self, partition: u32) -> &mut PartitionProgress {
        self.progress.partitions.entry(partition).or_default()
    }

    pub(super) fn has_news(&self) -> bool {
        self.news_since.is_some()
    }

    pub(super) fn news_since(&self) -> Option<Duration> {
        self.news_since
    }

    pub(super) fn committed_at(&self) -> Duration {
        self.committed_at
    }

    pub(super) fn set_committed_at(&mut self, now: Duration) {
        self.committed_at = now;
    }

    pub(super) fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    pub(super) fn commit(&mut self) -> Result<(), FollowError> {
        let committed = self.writer.commit(&self.progress);
        committed.map_err(|error| failed(&self.plan, error))?;
        self.news_since = None;
        self.commits += 1;
        Ok(())
    }

    pub(super) fn stats(&self, log: &dyn Log) -> Result<FollowStats, FollowError> {
        let committed = self.writer.progress();
        let mut lag = 0;
        for partition in 0..self.plan.schema.partitions {
            let at = TopicPartition::new(self.plan.topic.as_str(), partition);
            let reached = committed.partitions.get(&partition).map_or(0, |p| p.position.offset);
            lag += log.range(&at)?.end.offset.saturating_sub(reached);
        }
        let view = self.plan.schema.name.clone();
        let damaged = self.damaged.clone();
        let Self { upserts, rejected, commits, .. } = *self;
        Ok(FollowStats { view, damaged, lag, upserts, rejected, commits })
    }
}

fn open_index(plan: &ViewPlan, settings: &FollowSettings) -> Result<Opened, FollowError> {
    ViewWriter::open(&settings.folder, plan.schema.clone(), settings.memory_bytes)
        .map_err(|error| failed(plan, error))
}

fn failed(plan: &ViewPlan, error: stores::views::ViewError) -> FollowError {
    FollowError::View { view: plan.schema.name.clone(), error }
}

/// Why an index cannot go on from where it stopped, if so.
fn distrust(
    log: &dyn Log,
    id: &str,
    plan: &ViewPlan,
    progress: &Progress,
) -> Result<Option<String>, LogError> {
    // An index from before there were ids is taken for this log's.
    if let Some(other) = progress.log.as_deref().filter(|other| *other != id) {
        return Ok(Some(format!("it followed the log {other}, this one is {id}")));
    }
    for (partition, known) in &progress.partitions {
        let at = TopicPartition::new(plan.topic.as_str(), *partition);
        let validity = log.validate(&at, known.position)?;
        if validity != Validity::Valid {
            return Ok(Some(format!("{at} at {}: {validity:?}", known.position)));
        }
    }
    Ok(None)
}
