//! Writers and group members of the embedded log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::coordinator::Change;
use super::super::{
    Commit, CommitHandle, Event, LogError, Member, Outcome, Reader, TopicPartition, Writer,
};
use super::Shared;
use super::append::{Identity, Request};
use super::fetch::LogReader;

/// Appends under a name.
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    identity: Identity,
}

impl LogWriter {
    pub(crate) fn new(shared: Arc<Shared>, identity: Identity) -> Self {
        Self { shared, identity }
    }
}

impl Writer for LogWriter {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        let (reply, handle) = CommitHandle::new();
        let epoch = self.shared.catalog().epoch;
        let request = Request {
            identity: self.identity.clone(),
            epoch,
            appends: commit.appends.into_iter().map(|(at, batch)| (at, batch.seal())).collect(),
            offsets: commit.offsets,
            reply,
        };
        self.shared.submit(request);
        handle
    }
}

/// A member of a group.
pub(crate) struct LogMember {
    shared: Arc<Shared>,
    group: String,
    id: u64,
    writer: LogWriter,
    reader: LogReader,
    /// What it was told that it has.
    owned: BTreeSet<TopicPartition>,
    fenced: bool,
}

impl LogMember {
    pub(crate) fn new(shared: Arc<Shared>, group: String, id: u64) -> Self {
        let identity = Identity::Member { group: group.clone(), id };
        Self {
            writer: LogWriter::new(Arc::clone(&shared), identity),
            reader: LogReader::new(Arc::clone(&shared)),
            owned: BTreeSet::new(),
            fenced: false,
            shared,
            group,
            id,
        }
    }

    fn news(&mut self) -> Vec<Event> {
        let changes = self.shared.group_poll(&self.group, self.id);
        let Some(changes) = changes else {
            self.fenced = true;
            self.reader.unassign_all();
            return vec![Event::Lost(std::mem::take(&mut self.owned).into_iter().collect())];
        };
        changes.into_iter().map(|change| self.event(change)).collect()
    }

    fn event(&mut self, change: Change) -> Event {
        match change {
            Change::Assigned(partitions) => {
                self.owned.extend(partitions.iter().cloned());
                Event::Assigned(partitions)
            }
            Change::Revoked(partitions) => {
                for partition in &partitions {
                    self.reader.unassign(partition);
                    self.owned.remove(partition);
                }
                Event::Revoked(partitions)
            }
        }
    }
}

impl Writer for LogMember {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        if self.fenced {
            let (reply, handle) = CommitHandle::new();
            let _ = reply.send(Outcome::Fenced("a newer member has this one's name".into()));
            return handle;
        }
        self.writer.commit(commit)
    }
}

impl Member for LogMember {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Event>, LogError> {
        if self.fenced {
            return Err(LogError::Fenced(format!("in group `{}`", self.group)));
        }
        let news = self.news();
        if !news.is_empty() {
            return Ok(news);
        }
        let mut fetched = self.reader.fetch()?;
        if fetched.is_empty() && !wait.is_zero() {
            self.shared.wait(wait, |catalog| {
                let news = catalog.groups.get(&self.group).is_none_or(|g| g.has_news(self.id));
                news || self.reader.is_behind(catalog)
            });
            let news = self.news();
            if !news.is_empty() {
                return Ok(news);
            }
            fetched = self.reader.fetch()?;
        }
        Ok(fetched.into_iter().map(Event::Records).collect())
    }

    fn start(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        if !self.owned.contains(partition) {
            // It was given and taken away by the same poll: whoever has it now may purge it.
            return Ok(());
        }
        self.reader.assign(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition) {
        self.reader.set_paused(partition, true);
    }

    fn resume(&mut self, partition: &TopicPartition) {
        self.reader.set_paused(partition, false);
    }
}

impl Drop for LogMember {
    fn drop(&mut self) {
        self.shared.group_leave(&self.group, self.id);
    }
}
