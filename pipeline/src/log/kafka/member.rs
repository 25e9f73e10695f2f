//! Members of a consumer group.
//!
//! ```text
//! librdkafka: ASSIGN ──▶ Event::Assigned ─(tasks are made, `start`)─▶ next poll: assign, fetch
//!             REVOKE ──▶ Event::Revoked  ─(last commit)────────────▶ next poll: unassign
//! ```
//! What the group decides is answered for at the next poll only, so that a worker's last commit
//! comes before another member can begin. Until then librdkafka keeps the membership alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::super::{
    Commit, CommitHandle, Event, GroupConfig, LogError, Member, Outcome, TopicPartition, Writer,
};
use super::committer::CommitterHandle;
use super::ffi::Feed;
use super::gather::{Gathered, News, Place, gather};
use super::reader::{is_lost, stuck};
use super::shared::{Consumer, Shared, number, offset, unavailable};

/// A member of a group.
pub(super) struct KafkaMember {
    shared: Arc<Shared>,
    config: GroupConfig,
    feed: Feed,
    committer: CommitterHandle,
    owned: BTreeMap<TopicPartition, Owned>,
    /// Told to go, and committed for until the next poll.
    leaving: BTreeSet<TopicPartition>,
    /// What the group waits for us to do.
    answer: Option<Answer>,
    /// Partitions that cannot be read on.
    stuck: BTreeMap<TopicPartition, String>,
    /// Why this member is none any more.
    fenced: Option<String>,
}

/// A partition of this member's.
#[derive(Clone, Copy, Debug, Default)]
struct Owned {
    place: Place,
    /// The worker has said where to begin.
    started: bool,
    paused: bool,
    /// librdkafka has been told to fetch it.
    assigned: bool,
}

/// What the group is to be answered.
enum Answer {
    Assign(Vec<TopicPartition>),
    Unassign(Vec<TopicPartition>),
}

impl KafkaMember {
    pub(super) fn join(shared: &Arc<Shared>, config: GroupConfig) -> Result<Self, LogError> {
        for topic in &config.topics {
            if shared.partitions_of(topic)?.is_none() {
                return Err(LogError::UnknownTopic(topic.clone()));
            }
        }
        let feed = connect(shared, &config)?;
        let name = format!("{}-{}", config.group, instance(shared, &config));
        let committer = CommitterHandle::start(shared, &name, Some(Arc::clone(feed.consumer())))?;
        Ok(Self {
            shared: Arc::clone(shared),
            config,
            feed,
            committer,
            owned: BTreeMap::new(),
            leaving: BTreeSet::new(),
            answer: None,
            stuck: BTreeMap::new(),
            fenced: None,
        })
    }

    /// Does what the group waits for.
    fn answer(&mut self) -> Result<(), LogError> {
        let Some(answer) = self.answer.take() else { return Ok(()) };
        let consumer = Arc::clone(self.feed.consumer());
        let done = match answer {
            Answer::Assign(partitions) => self.take_over(&consumer, &partitions),
            Answer::Unassign(partitions) => {
                self.leaving.clear();
                let list = list_of(&partitions);
                match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_unassign(&list),
                    RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
                }
            }
        };
        done.map_err(|error| unavailable("take part in a rebalance", &error))
    }

    fn take_over(
        &mut self,
        consumer: &Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let mut held = Vec::new();
        for at in partitions {
            let Some(owned) = self.owned.get_mut(at) else { continue };
            owned.assigned = true;
            // One that nobody has started yet waits at its end, and is paused.
            let from = if owned.started { offset(owned.place.next) } else { rdkafka::Offset::End };
            list.add_partition_offset(&at.topic, number(at), from)?;
            if owned.paused || !owned.started {
                held.push(at.clone());
            }
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&list)?,
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(&list)?,
        }
        if !held.is_empty() {
            consumer.pause(&list_of(&held))?;
        }
        Ok(())
    }

    /// From what was heard to events, in order: records first, then what the group says.
    fn events(&mut self, mut gathered: Gathered) -> Result<Vec<Event>, LogError> {
        let news = std::mem::take(&mut gathered.news);
        let owned = &mut self.owned;
        let fetched = gathered.into_fetched(&self.feed, |at| {
            let known = owned.get(at).filter(|owned| owned.started && !owned.paused);
            known.map(|owned| owned.place)
        });
        let mut events = Vec::with_capacity(fetched.len() + news.len());
        for fetched in fetched {
            let (epoch, next) = (fetched.batch.epoch(), fetched.batch.last_offset() + 1);
            if let Some(owned) = self.owned.get_mut(&fetched.partition) {
                owned.place = Place { next, epoch };
            }
            self.shared.note_epoch(&fetched.partition, epoch);
            events.push(Event::Records(fetched));
        }
        for news in news {
            events.extend(self.event(news)?);
        }
        Ok(events)
    }

    fn event(&mut self, news: News) -> Result<Option<Event>, LogError> {
        match news {
            News::Assign(partitions) => Ok(Some(self.assigned(partitions))),
            News::Revoke(partitions) => Ok(Some(self.revoked(partitions))),
            News::Stuck(at, code, reason) if is_lost(code) => {
                if self.owned.contains_key(&at) {
                    self.stuck.insert(at, reason);
                }
                Ok(None)
            }
            News::Stuck(_, _, reason) => {
                tracing::debug!(group = self.config.group, reason, "a partition is in trouble");
                Ok(None)
            }
            // Under KIP-848 a killed static member's name is held until its session ends.
            News::Fatal(RDKafkaErrorCode::UnreleasedInstanceId, reason) => {
                tracing::info!(group = self.config.group, reason, "waiting for the name");
                self.rejoin()?;
                Ok(None)
            }
            News::Fatal(_, reason) => {
                self.fenced = Some(reason);
                Ok(Some(self.lost()))
            }
            // The client recovers by itself, and says through its context how it is.
            News::Trouble(code, reason) => {
                let text = reason.as_str();
                tracing::debug!(group = self.config.group, ?code, text, "a member is in trouble");
                Ok(None)
            }
        }
    }

    fn assigned(&mut self, partitions: Vec<(String, u32)>) -> Event {
        let partitions = named(partitions);
        for at in &partitions {
            self.owned.insert(at.clone(), Owned::default());
        }
        self.answer = Some(Answer::Assign(partitions.clone()));
        Event::Assigned(partitions)
    }

    fn revoked(&mut self, partitions: Vec<(String, u32)>) -> Event {
        let partitions = named(partitions);
        let lost = self.feed.consumer().assignment_lost();
        for at in &partitions {
            self.owned.remove(at);
            self.stuck.remove(at);
        }
        self.answer = Some(Answer::Unassign(partitions.clone()));
        if lost {
            return Event::Lost(partitions);
        }
        self.leaving.extend(partitions.iter().cloned());
        Event::Revoked(partitions)
    }

    fn lost(&mut self) -> Event {
        self.answer = None;
        self.leaving.clear();
        Event::Lost(std::mem::take(&mut self.owned).into_keys().collect())
    }

    /// Joins again with a new consumer, as after a start.
    fn rejoin(&mut self) -> Result<(), LogError> {
        self.feed = connect(&self.shared, &self.config)?;
        let name = format!("{}-{}", self.config.group, instance(&self.shared, &self.config));
        let consumer = Arc::clone(self.feed.consumer());
        self.committer = CommitterHandle::start(&self.shared, &name, Some(consumer))?;
        Ok(())
    }
}

impl Writer for KafkaMember {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        let ours = |at: &TopicPartition| self.owned.contains_key(at) || self.leaving.contains(at);
        let strange = commit.offsets.iter().find(|(at, _)| !ours(at));
        let refused = match (&self.fenced, strange) {
            (Some(reason), _) => Some(reason.clone()),
            (None, Some((at, _))) => Some(format!("{at} belongs to another member")),
            (None, None) => None,
        };
        match refused {
            Some(reason) => {
                let (reply, handle) = CommitHandle::new();
                // The handle is right here.
                let _ = reply.send(Outcome::Fenced(reason));
                handle
            }
            None => self.committer.commit(commit),
        }
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Event>, LogError> {
        if let Some(reason) = &self.fenced {
            return Err(LogError::Fenced(reason.clone()));
        }
        self.answer()?;
        if let Some((at, reason)) = self.stuck.iter().next() {
            let place = self.owned.get(at).map(|owned| owned.place);
            return Err(stuck(&self.shared, at, place.as_ref(), reason));
        }
        let gathered = gather(&self.feed, wait);
        let events = self.events(gathered)?;
        if !events.is_empty() {
            self.shared.contact.answered();
        }
        Ok(events)
    }

    fn start(&mut self, partition: &TopicPartition, from: u64) -> Result<(), LogError> {
        let Some(owned) = self.owned.get_mut(partition) else {
            return self.shared.check(partition);
        };
        self.stuck.remove(partition);
        owned.started = true;
        owned.paused = false;
        owned.place = Place { next: from, epoch: 0 };
        if !owned.assigned {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, number(partition), offset(from))
            .map_err(|error| unavailable("start a partition", &error))?;
        self.shared.seek(&self.feed, &list)?;
        let resumed = self.feed.consumer().resume(&list);
        resumed.map_err(|error| unavailable("start a partition", &error))
    }

    fn pause(&mut self, partition: &TopicPartition) {
        self.set_paused(partition, true);
    }

    fn resume(&mut self, partition: &TopicPartition) {
        self.set_paused(partition, false);
    }
}

impl KafkaMember {
    fn set_paused(&mut self, partition: &TopicPartition, paused: bool) {
        let Some(owned) = self.owned.get_mut(partition) else { return };
        owned.paused = paused;
        if !owned.assigned || !owned.started {
            return;
        }
        let list = list_of(std::slice::from_ref(partition));
        let consumer = self.feed.consumer();
        let done = if paused { consumer.pause(&list) } else { consumer.resume(&list) };
        if let Err(error) = done {
            tracing::debug!(%partition, %error, paused, "cannot pause or resume");
        }
    }
}

/// A subscribed consumer.
fn connect(shared: &Shared, config: &GroupConfig) -> Result<Feed, LogError> {
    let instance = instance(shared, config);
    let settings = shared.settings.consumer(&config.group, Some(&instance));
    let consumer = Consumer::from_config_and_context(&settings, shared.context());
    let consumer = consumer.map_err(|error| unavailable("make a member", &error))?;
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| unavailable("join the group", &error))?;
    Ok(Feed::new(Arc::new(consumer)))
}

/// A worker's name within its process, made unique in the cluster.
fn instance(shared: &Shared, config: &GroupConfig) -> String {
    format!("{}-{}", shared.settings.instance, config.instance)
}

fn named(partitions: Vec<(String, u32)>) -> Vec<TopicPartition> {
    let named = partitions.into_iter().map(|(topic, number)| TopicPartition::new(topic, number));
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        list.add_partition(&at.topic, number(at));
    }
    list
}
