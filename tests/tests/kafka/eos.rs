//! Kafka Streams' system tests, redone: nothing is lost or doubled while clients come, go and are
//! killed.
//!
//! The test writes the input itself and knows it. In the end each partition of the outputs must be,
//! record by record and in order, what its partition of the input gives; tables and views must
//! hold the last values. Rounds of kills are in `rounds.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};
use pipeline::follow::{FollowSettings, IndexFollower};
use pipeline::format::CONTROL_HEADER;
use pipeline::log::kafka::{KafkaLog, KafkaSettings};
use pipeline::log::{
    BatchBuilder, Cleanup, Commit, Log, Outcome, TopicPartition, TopicSpec, Writer, partition_for,
};
use serde_json::Value;

use super::broker;
use super::client::{Client, Facts, Orders, PARTITIONS, plan, topics};
use super::wait::{eventually, while_it_moves};

/// Records in one commit of the input.
const BATCH: usize = 2_000;
/// Nothing here stands still for so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A topology on a broker, and what was written to it.
pub(super) struct Trial {
    app: String,
    log: Arc<KafkaLog>,
    writer: Box<dyn Writer>,
    folder: PathBuf,
    /// Removes the folder in the end, unless it is to stay.
    _temporary: Option<tempfile::TempDir>,
    written: usize,
    bootstrap: String,
    /// Settings of the clients' members.
    members: Vec<(String, String)>,
    flush_ms: Option<u64>,
    standbys: usize,
}

/// Members that are gone are missed soon.
const FAST: [(&str, &str); 2] = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];

impl Trial {
    pub(super) fn new(name: &str, bootstrap: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let app = format!("{name}-{}", std::process::id());
        let trial = Self::open(app, bootstrap, temporary.path().to_owned());
        Self { _temporary: Some(temporary), ..trial }
    }

    /// Begins, or goes on with what an earlier process has left on the broker and in `folder`.
    pub(super) fn open(app: String, bootstrap: &str, folder: PathBuf) -> Self {
        let settings = KafkaSettings::new(bootstrap, &format!("{app}-test"));
        let log = KafkaLog::open(settings, Arc::new(SystemClock::new())).unwrap();
        let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        for name in topics(&app) {
            log.create_topic(&TopicSpec { name, partitions: PARTITIONS, cleanup }).unwrap();
        }
        plan(&app, log.as_ref());
        let writer = log.writer("input").unwrap();
        let bootstrap = bootstrap.to_owned();
        let members = owned(&FAST);
        let mut trial = Self {
            app,
            log,
            writer,
            folder,
            _temporary: None,
            written: 0,
            bootstrap,
            members,
            flush_ms: None,
            standbys: 0,
        };
        trial.written = (0..PARTITIONS).map(|partition| trial.read("data", partition).len()).sum();
        trial
    }

    /// The same with other members.
    pub(super) fn with_members(self, settings: &[(&str, &str)]) -> Self {
        Self { members: owned(settings), ..self }
    }

    /// The same with clients that bring their state to files so often.
    pub(super) fn flushing_each(self, flush_ms: u64) -> Self {
        Self { flush_ms: Some(flush_ms), ..self }
    }

    /// The same with clients that keep the state of so many others warm.
    pub(super) fn with_standbys(self, standbys: usize) -> Self {
        Self { standbys, ..self }
    }

    /// The log, for whoever watches.
    pub(super) fn log(&self) -> &Arc<KafkaLog> {
        &self.log
    }

    /// A topic's name.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.app)
    }

    /// Where a client's files are.
    pub(super) fn folder_of(&self, client: usize) -> PathBuf {
        self.folder.join(client.to_string())
    }

    /// How many records the input has.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    fn orders(&self, client: usize) -> Orders {
        Orders {
            bootstrap: self.bootstrap.clone(),
            app: self.app.clone(),
            instance: format!("{}-{client}", self.app),
            folder: self.folder_of(client),
            client: self.members.clone(),
            flush_ms: self.flush_ms,
            standbys: self.standbys,
        }
    }

    pub(super) fn client(&self, client: usize) -> Client {
        Client::start(&self.orders(client))
    }

    /// Writes records of `keys` keys in turn, in batches.
    pub(super) fn write(&mut self, records: usize, keys: usize) {
        for from in (0..records).step_by(BATCH) {
            let mut batches: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
            for number in from..(from + BATCH).min(records) {
                let number = self.written + number;
                let key = format!("k{}", number % keys);
                let value = (number * 7919 % 1_000_003).to_string();
                let at = 1_700_000_000_000 + i64::try_from(number).unwrap();
                let batch = batches.entry(partition_for(key.as_bytes(), PARTITIONS)).or_default();
                batch.push(at, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            }
            let topic = format!("{}-data", self.app);
            let appends: Vec<_> = batches
                .into_iter()
                .map(|(p, batch)| (TopicPartition::new(topic.as_str(), p), batch))
                .collect();
            // What was aborted is not there: it may be written again.
            let written = eventually(PATIENCE, || {
                let commit = Commit { appends: appends.clone(), offsets: Vec::new() };
                match self.writer.commit(commit).wait() {
                    Outcome::Committed { .. } => Some(()),
                    Outcome::Aborted(_) => None,
                    other => panic!("cannot write the input: {other:?}"),
                }
            });
            assert!(written.is_some(), "the input cannot be written");
        }
        self.written += records;
    }

    /// Waits until the group has committed everything there is to read.
    pub(super) fn settle(&self) {
        let plan = plan(&self.app, self.log.as_ref());
        let partitions: Vec<TopicPartition> = plan
            .input_topics()
            .into_iter()
            .flat_map(|topic| (0..PARTITIONS).map(move |p| TopicPartition::new(topic.as_str(), p)))
            .collect();
        let group = plan.topology().group();
        let settled = while_it_moves(PATIENCE, || {
            let committed = self.log.committed(&group, &partitions).unwrap();
            let done = partitions.iter().zip(&committed).all(|(at, committed)| {
                let last = self.last(at);
                last.is_none_or(|last| committed.is_some_and(|position| position.offset > last))
            });
            done.then_some(()).ok_or_else(|| committed.iter().flatten().map(|at| at.offset).sum())
        });
        assert!(settled.is_some(), "the clients do not come to the end: {}", self.said());
    }

    /// The offset of the last record of a partition, as a reader finds it.
    fn last(&self, at: &TopicPartition) -> Option<u64> {
        let range = self.log.range(at).unwrap();
        let mut reader = self.log.reader().unwrap();
        let mut last = None;
        // The end of a transaction takes an offset: the last records are near the end.
        let from = range.end.offset.saturating_sub(64).max(range.start);
        reader.assign(at, from).unwrap();
        let clock = SystemClock::new();
        while reader.position(at).unwrap() < range.end.offset {
            assert!(clock.elapsed() < PATIENCE, "{at} cannot be read to {:?}", range.end);
            for fetched in reader.poll(Duration::from_millis(100)).unwrap() {
                last = fetched.records().last().map(|record| record.offset).or(last);
            }
        }
        last
    }

    /// Records of a partition in order, without control records.
    fn read(&self, topic: &str, partition: u32) -> Vec<(String, String)> {
        let at = TopicPartition::new(format!("{}-{topic}", self.app), partition);
        let range = self.log.range(&at).unwrap();
        let mut reader = self.log.reader().unwrap();
        reader.assign(&at, range.start).unwrap();
        let mut read = Vec::new();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        let clock = SystemClock::new();
        while reader.position(&at).unwrap() < range.end.offset {
            assert!(clock.elapsed() < PATIENCE, "{at} cannot be read to {:?}", range.end);
            for fetched in reader.poll(Duration::from_millis(100)).unwrap() {
                let records = fetched.records();
                let records = records.filter(|r| r.headers.get(CONTROL_HEADER).is_none());
                read.extend(records.map(|record| (text(record.key), text(record.value))));
            }
        }
        read
    }

    /// Checks every output against the input. Answers how many records were checked.
    pub(super) fn verify(&self) -> usize {
        let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
        let mut digits: BTreeMap<String, i64> = BTreeMap::new();
        let mut checked = 0;
        let mut input = 0;
        for partition in 0..PARTITIONS {
            let data = self.read("data", partition);
            input += data.len();
            assert_same(&data, &self.read("echo", partition), &format!("echo-{partition}"));
            let mut expected = Vec::with_capacity(data.len());
            for (key, value) in &data {
                let value: i64 = value.parse().unwrap();
                *digits.entry(format!("d{}", value % 10)).or_default() += 1;
                let one = facts.entry(key.clone()).or_insert(Facts::NONE);
                *one = one.with(value);
                expected.push((key.clone(), serde_json::to_string(one).unwrap()));
            }
            assert_same(&expected, &self.read("facts", partition), &format!("facts-{partition}"));
            checked += 2 * data.len();
        }
        assert_eq!(input, self.written, "the input itself");
        let mut counted: BTreeMap<String, i64> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for (key, value) in self.read("digits", partition) {
                let value: i64 = value.parse().unwrap();
                let before = counted.insert(key.clone(), value);
                assert!(before.is_none_or(|before| before < value), "{key} was counted twice");
            }
        }
        assert_eq!(counted, digits, "counts behind the repartition");
        self.verify_view(&facts);
        checked + digits.len() + facts.len()
    }

    /// Builds the view from its topic and compares every document.
    fn verify_view(&self, facts: &BTreeMap<String, Facts>) {
        let folder = tempfile::tempdir().unwrap();
        let settings = FollowSettings {
            folder: folder.path().to_owned(),
            memory_bytes: 32 << 20,
            commit_interval: Duration::from_millis(100),
            commit_share: 1.0,
        };
        let plan = plan(&self.app, self.log.as_ref());
        let clock = Arc::new(SystemClock::new());
        let mut follower =
            IndexFollower::open(self.log.as_ref(), &plan.views, clock, settings).unwrap();
        let view = Arc::clone(&follower.views()[0]);
        let caught_up = while_it_moves(PATIENCE, || {
            follower.run_once(Duration::from_millis(50)).unwrap();
            let lag = follower.stats(self.log.as_ref()).unwrap()[0].lag;
            if lag == 0 { Ok(()) } else { Err(lag) }
        });
        assert!(caught_up.is_some(), "the view does not come to the end");
        follower.commit_all().unwrap();
        let snapshot = view.snapshot();
        assert_eq!(snapshot.documents(), facts.len() as u64, "documents of the view");
        for (key, facts) in facts {
            let document =
                snapshot.document(key).unwrap().unwrap_or_else(|| panic!("no document {key}"));
            let document: Value = serde_json::from_str(document.source.get()).unwrap();
            let expected = serde_json::json!({ "count": facts.count, "sum": facts.sum });
            assert_eq!(document, expected, "document {key}");
        }
    }

    /// What the clients have said, for a failure.
    pub(super) fn said(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(&self.folder).unwrap().flatten() {
            all.push_str(&format!("{}:\n{}\n", entry.path().display(), tail(&entry.path())));
        }
        all
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn tail(folder: &Path) -> String {
    let said = std::fs::read_to_string(folder.join("said.txt")).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn assert_same(expected: &[(String, String)], found: &[(String, String)], what: &str) {
    let differs = expected.iter().zip(found).position(|(expected, found)| expected != found);
    if let Some(index) = differs {
        panic!("{what}: record {index} is {:?}, not {:?}", found[index], expected[index]);
    }
    assert_eq!(found.len(), expected.len(), "{what}: lost or doubled at the end");
}

/// 20 keys with 1,000 records each; three clients are started in turn, and each is stopped, one in
/// order, one by a kill, while records come.
#[test]
fn clients_that_come_and_go_lose_and_double_nothing() {
    let mut trial = Trial::new("smoke", broker::shared().bootstrap());
    let first = trial.client(0);
    trial.write(5_000, 20);
    let second = trial.client(1);
    trial.write(5_000, 20);
    let third = trial.client(2);
    trial.write(5_000, 20);
    first.kill();
    trial.write(5_000, 20);
    second.stop(&trial.folder_of(1));
    trial.settle();
    third.stop(&trial.folder_of(2));
    trial.verify();
}
