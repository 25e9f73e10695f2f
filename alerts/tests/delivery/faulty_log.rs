//! A log whose commits end as a script says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::log::{
    Commit, CommitHandle, Event, GroupConfig, Log, LogError, Member, Outcome, Position, Range,
    Reader, TopicPartition, TopicSpec, Validity, Writer,
};

/// How the next commit of a member ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// As the real log decides.
    Real,
    /// Unknown, and it is in the log.
    UnknownDone,
    /// Unknown, and it is not.
    UnknownLost,
    Aborted,
    Fenced,
}

type Script = Arc<Mutex<VecDeque<Ending>>>;

/// The real log behind a script. When the script is over, all is real.
pub(crate) struct FaultyLog {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) script: Script,
    pub(crate) reconnects: Mutex<usize>,
}

impl FaultyLog {
    pub(crate) fn new(log: Arc<dyn Log>, script: &[Ending]) -> Arc<Self> {
        let script = Arc::new(Mutex::new(script.iter().copied().collect()));
        Arc::new(Self { log, script, reconnects: Mutex::new(0) })
    }
}

impl Log for FaultyLog {
    fn id(&self) -> Result<String, LogError> {
        self.log.id()
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.log.create_topic(spec)
    }

    fn topics(&self) -> Result<BTreeMap<String, TopicSpec>, LogError> {
        self.log.topics()
    }

    fn range(&self, partition: &TopicPartition) -> Result<Range, LogError> {
        self.log.range(partition)
    }

    fn validate(&self, at: &TopicPartition, position: Position) -> Result<Validity, LogError> {
        self.log.validate(at, position)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Position>>, LogError> {
        self.log.committed(group, partitions)
    }

    fn purge(&self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.log.purge(partition, offset)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, LogError> {
        self.log.reader()
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, LogError> {
        self.log.writer(name)
    }

    fn join(&self, config: GroupConfig) -> Result<Box<dyn Member>, LogError> {
        let member = self.log.join(config)?;
        Ok(Box::new(FaultyMember { member, script: Arc::clone(&self.script) }))
    }

    fn reconnect(&self) -> Result<(), LogError> {
        *self.reconnects.lock().unwrap() += 1;
        self.log.reconnect()
    }
}

struct FaultyMember {
    member: Box<dyn Member>,
    script: Script,
}

impl Writer for FaultyMember {
    fn commit(&mut self, commit: Commit) -> CommitHandle {
        let ending = self.script.lock().unwrap().pop_front().unwrap_or(Ending::Real);
        let outcome = match ending {
            Ending::Real => return self.member.commit(commit),
            Ending::UnknownDone => {
                self.member.commit(commit).wait();
                Outcome::Unknown("the answer was lost".into())
            }
            Ending::UnknownLost => Outcome::Unknown("the commit was lost".into()),
            Ending::Aborted => Outcome::Aborted("try again".into()),
            Ending::Fenced => Outcome::Fenced("replaced".into()),
        };
        let (sender, handle) = CommitHandle::new();
        sender.send(outcome).unwrap();
        handle
    }
}

impl Member for FaultyMember {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Event>, LogError> {
        self.member.poll(wait)
    }

    fn start(&mut self, partition: &TopicPartition, offset: u64) -> Result<(), LogError> {
        self.member.start(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition) {
        self.member.pause(partition);
    }

    fn resume(&mut self, partition: &TopicPartition) {
        self.member.resume(partition);
    }
}
