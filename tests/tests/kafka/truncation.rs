//! A real unclean leader election: positions whose records the log has lost are told.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::SystemClock;
use pipeline::log::kafka::{KafkaLog, KafkaSettings};
use pipeline::log::{
    BatchBuilder, Cleanup, Commit, Log, Outcome, Position, TopicPartition, TopicSpec, Validity,
};

use super::broker::CLUSTER;
use super::node::{Node, NodeSettings, free_ports};
use super::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "cut";

/// Runs one of Kafka's own tools.
fn tool(node: &Node, class: &str, arguments: &[&str]) -> String {
    let mut command = node.tool(class);
    command.args(["--bootstrap-server", &node.address()]).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{class}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// Appends one record and answers where it ended.
fn append(log: &dyn Log, at: &TopicPartition, name: &str) -> Position {
    let mut writer = log.writer(name).unwrap();
    let appended = eventually(PATIENCE, || {
        let mut batch = BatchBuilder::new();
        batch.push(1_700_000_000_000, Some(b"k"), Some(name.as_bytes()), &[]);
        let commit = Commit { appends: vec![(at.clone(), batch)], offsets: Vec::new() };
        match writer.commit(commit).wait() {
            Outcome::Committed { appended } => Some(appended[0].next),
            Outcome::Aborted(_) | Outcome::Unknown(_) => None,
            Outcome::Fenced(reason) => panic!("{reason}"),
        }
    });
    appended.expect("the record is written in time")
}

/// Which broker leads the partition.
fn leads(node: &Node, id: u32) -> bool {
    let described =
        tool(node, "org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", TOPIC]);
    described.contains(&format!("Leader: {id}\t")) || described.contains(&format!("Leader: {id} "))
}

/// Broker 1 is the controller and holds the brokers' own topics; 2 and 3 hold the partition. While
/// 3 is away, 2 takes records; then 2 is lost, and 3, which never had them, is made the leader.
#[test]
fn a_position_that_an_unclean_election_has_cut_off_is_told() {
    let [one, two, three, controller] = free_ports();
    let settings = |id, port| NodeSettings {
        id,
        port,
        controller: (1, controller),
        extra: "unclean.leader.election.enable=true\n".to_owned(),
        ..NodeSettings::alone()
    };
    let first = Node::new(settings(1, one), CLUSTER).unwrap();
    let log = || {
        let settings = KafkaSettings::new(&first.address(), "cut");
        KafkaLog::open(settings, Arc::new(SystemClock::new())).unwrap()
    };
    // A first transaction makes the brokers' own topic of transactions, here where nothing ends.
    let cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };
    let early = log();
    early.create_topic(&TopicSpec { name: "early".to_owned(), partitions: 1, cleanup }).unwrap();
    append(early.as_ref(), &TopicPartition::new("early", 0), "early");
    let mut second = Node::new(settings(2, two), CLUSTER).unwrap();
    let mut third = Node::new(settings(3, three), CLUSTER).unwrap();
    let create = ["--create", "--topic", TOPIC, "--replica-assignment", "2:3"];
    tool(&first, "org.apache.kafka.tools.TopicCommand", &create);

    let before = log();
    let at = TopicPartition::new(TOPIC, 0);
    let kept = append(before.as_ref(), &at, "kept");
    third.stop();
    let lost = append(before.as_ref(), &at, "lost");
    let lost = append(before.as_ref(), &at, "lost-too").max(lost);
    assert_eq!(before.validate(&at, lost).unwrap(), Validity::Valid);
    second.kill();
    third.start().unwrap();
    let led = eventually(PATIENCE, || leads(&first, 3).then_some(()));
    assert!(led.is_some(), "the other replica never led");

    // Enough new records that the offset alone would look right.
    let after = log();
    for number in 0..6 {
        append(after.as_ref(), &at, &format!("new-{number}"));
    }
    let end = after.range(&at).unwrap().end;
    assert!(end.offset > lost.offset, "the offset alone says nothing: {end}, {lost}");
    assert!(end.epoch > lost.epoch, "a new leader, a new epoch: {end}, {lost}");
    let validity = after.validate(&at, lost).unwrap();
    assert!(matches!(validity, Validity::Truncated { .. }), "{validity:?} for {lost}");
    assert_eq!(after.validate(&at, kept).unwrap(), Validity::Valid);
    assert_eq!(after.validate(&at, end).unwrap(), Validity::Valid);
}
