//! A part of a log that is one test's own: all names in it have a prefix that the test does not
//! see. So topologies whose topics are called `in` and `out` share a broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pipeline::log::{
    Commit, CommitHandle, Event, Fetched, GroupConfig, Log, LogError, Member, Position, Range,
    Reader, TopicPartition, TopicSpec, Validity, Writer,
};

/// Names as the test has them, and as the log has them.
#[derive(Clone)]
struct Names {
    prefix: String,
}

impl Names {
    fn inside(&self, at: &TopicPartition) -> TopicPartition {
        TopicPartition::new(format!("{}{}", self.prefix, at.topic), at.partition)
    }

    fn outside(&self, at: &TopicPartition) -> TopicPartition {
        let name = at.topic.strip_prefix(&*self.prefix).expect("only such topics are used");
        TopicPartition::new(name, at.partition)
    }

    fn commit(&self, commit: Commit) -> Commit {
        let Commit { appends, offsets } = commit;
        Commit {
            appends: appends.into_iter().map(|(at, batch)| (self.inside(&at), batch)).collect(),
            offsets: offsets.into_iter().map(|(at, to)| (self.inside(&at), to)).collect(),
        }
    }

    fn fetched(&self, fetched: Fetched) -> Fetched {
        Fetched { partition: self.outside(&fetched.partition), ..fetched }
    }

    fn event(&self, event: Event) -> Event {
        let all = |all: Vec<TopicPartition>| all.iter().map(|at| self.outside(at)).collect();
        match event {
            Event::Assigned(partitions) => Event::Assigned(all(partitions)),
            Event::Revoked(partitions) => Event::Revoked(all(partitions)),
            Event::Lost(partitions) => Event::Lost(all(partitions)),
            Event::Records(fetched) => Event::Records(self.fetched(fetched)),
        }
    }
}

/// See the module.
pub(super) struct Scoped {
    log: Arc<dyn Log>,
    names: Names,
}

impl Scoped {
    pub(super) fn new(log: Arc<dyn Log>, prefix: String) -> Self {
        Self { log, names: Names { prefix } }
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.names.prefix)
    }
}

impl Log for Scoped {
    fn id(&self) -> Result<String, LogError> {
        self.log.id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.log.create_topic(&TopicSpec { name: self.named(&spec.name), ..spec.clone() })
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        let own = |(name, spec): (String, TopicSpec)| {
            let name = name.strip_prefix(&self.names.prefix)?.to_owned();
            Some((name.clone(), TopicSpec { name, ..spec }))
        };
        Ok(self.log.topics()?.into_iter().filter_map(own).collect())
    }

    fn range(&self, at: &TopicPartition) -> Result<Range, LogError> {
        self.log.range(&self.names.inside(at))
    }

    fn validate(&self, at: &TopicPartition, position: Position) -> Result<Validity, LogError> {
        self.log.validate(&self.names.inside(at), position)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        let inside: Vec<_> = partitions.iter().map(|at| self.names.inside(at)).collect();
        self.log.committed(&self.named(group), &inside)
    }

    fn purge(&self, at: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.log.purge(&self.names.inside(at), offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(ScopedPart { part: self.log.reader()?, names: self.names.clone() }))
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        let part = self.log.writer(&self.named(name))?;
        Ok(Box::new(ScopedPart { part, names: self.names.clone() }))
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        let part = self.log.join(GroupConfig {
            group: self.named(&config.group),
            instance: self.named(&config.instance),
            topics: config.topics.iter().map(|topic| self.named(topic)).collect(),
        })?;
        Ok(Box::new(ScopedPart { part, names: self.names.clone() }))
    }

    fn reconnect(&self) -> Result<(), LogError> {
        self.log.reconnect()
    }
}

/// A reader, writer or member with the names of the test.
struct ScopedPart<T: ?Sized> {
    names: Names,
    part: Box<T>,
}

impl Reader for ScopedPart<dyn Reader> {
    fn assign(&mut self, at: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.part.assign(&self.names.inside(at), offset)
    }

    fn unassign(&mut self, at: &TopicPartition) {
        self.part.unassign(&self.names.inside(at));
    }

    fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, LogError> {
        let fetched = self.part.poll(wait)?.into_iter();
        Ok(fetched.map(|fetched| self.names.fetched(fetched)).collect())
    }

    fn position(&self, at: &TopicPartition) -> Option<u64> {
        self.part.position(&self.names.inside(at))
    }
}

impl Writer for ScopedPart<dyn Writer> {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        self.part.commit(self.names.commit(commit))
    }
}

impl Writer for ScopedPart<dyn Member> {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        self.part.commit(self.names.commit(commit))
    }
}

impl Member for ScopedPart<dyn Member> {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Event>, LogError> {
        let events = self.part.poll(wait)?.into_iter();
        Ok(events.map(|event| self.names.event(event)).collect())
    }

    fn start(&mut self, at: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.part.start(&self.names.inside(at), offset)
    }

    fn pause(&mut self, at: &TopicPartition) {
        self.part.pause(&self.names.inside(at));
    }

    fn resume(&mut self, at: &TopicPartition) {
        self.part.resume(&self.names.inside(at));
    }
}
