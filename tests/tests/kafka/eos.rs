//! Kafka Streams' system tests, redone: nothing is lost or doubled while clients come, go and are
//! killed.
//!
//! The test writes the input itself and knows it. In the end each partition of the outputs must be,
//! record by record and in order, what its partition of the input gives; tables and views must
//! hold the last values. `MILLPOND_EOS_ROUNDS` asks for more rounds of kills than the test command
//! makes.

use std::collections::BTreeMap;
use std::path::Path;
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
use super::wait::eventually;

/// What a round of kills writes.
const RECORDS_PER_ROUND: usize = 20_000;
const KEYS: usize = 20_000;
/// Records in one commit of the input.
const BATCH: usize = 2_000;
/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A topology on a broker, and what was written to it.
pub(super) struct Trial {
    app: String,
    log: Arc<KafkaLog>,
    writer: Box<dyn Writer>,
    folder: tempfile::TempDir,
    written: usize,
    bootstrap: String,
}

impl Trial {
    pub(super) fn new(name: &str, bootstrap: &str) -> Self {
        let app = format!("{name}-{}", std::process::id());
        let settings = KafkaSettings::new(bootstrap, &format!("{app}-test"));
        let log = KafkaLog::open(settings, Arc::new(SystemClock::new())).unwrap();
        let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        for name in topics(&app) {
            log.create_topic(&TopicSpec { name, partitions: PARTITIONS, cleanup }).unwrap();
        }
        plan(&app, log.as_ref());
        let writer = log.writer("input").unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { app, log, writer, folder, written: 0, bootstrap: bootstrap.to_owned() }
    }

    fn orders(&self, client: usize) -> Orders {
        let fast = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];
        Orders {
            bootstrap: self.bootstrap.clone(),
            app: self.app.clone(),
            instance: format!("{}-{client}", self.app),
            folder: self.folder.path().join(client.to_string()),
            client: fast.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
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
        let settled = eventually(PATIENCE, || {
            let committed = self.log.committed(&group, &partitions).unwrap();
            let done = partitions.iter().zip(&committed).all(|(at, committed)| {
                let last = self.last(at);
                last.is_none_or(|last| committed.is_some_and(|position| position.offset > last))
            });
            done.then_some(())
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
        while reader.position(at).unwrap() < range.end.offset {
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
        while reader.position(&at).unwrap() < range.end.offset {
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
        let caught_up = eventually(PATIENCE, || {
            follower.run_once(Duration::from_millis(50)).unwrap();
            let stats = follower.stats(self.log.as_ref()).unwrap();
            (stats[0].lag == 0).then_some(())
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
        for entry in std::fs::read_dir(self.folder.path()).unwrap().flatten() {
            all.push_str(&format!("{}:\n{}\n", entry.path().display(), tail(&entry.path())));
        }
        all
    }
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
    second.stop(&trial.folder.path().join("1"));
    trial.settle();
    third.stop(&trial.folder.path().join("2"));
    trial.verify();
}

/// 20,000 keys, three clients; in each round one of them is killed and started again while records
/// come.
#[test]
fn killed_clients_lose_and_double_nothing() {
    let rounds = std::env::var("MILLPOND_EOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: usize = rounds.unwrap_or(5);
    let clock = SystemClock::new();
    let mut trial = Trial::new("eos", broker::shared().bootstrap());
    let mut clients: Vec<Option<Client>> = (0..3).map(|c| Some(trial.client(c))).collect();
    trial.write(RECORDS_PER_ROUND, KEYS);
    trial.settle();
    for round in 0..rounds {
        let victim = round % clients.len();
        trial.write(RECORDS_PER_ROUND / 2, KEYS);
        clients[victim].take().unwrap().kill();
        trial.write(RECORDS_PER_ROUND / 2, KEYS);
        clients[victim] = Some(trial.client(victim));
        for (index, client) in clients.iter_mut().enumerate() {
            let ended = client.as_mut().unwrap().has_ended();
            assert!(!ended, "client {index} ended: {}", trial.said());
        }
        if round % 10 == 9 {
            trial.settle();
            let checked = trial.verify();
            println!("round {}: {checked} results checked, {:?}", round + 1, clock.elapsed());
        }
    }
    trial.settle();
    let checked = trial.verify();
    println!(
        "{rounds} rounds, {} records, {checked} results checked: 0 lost, 0 doubled, {:?}",
        trial.written,
        clock.elapsed()
    );
}
