//! Brokers that go away and come back: the clients do, too, and nothing is lost or doubled.

use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};

use super::broker::CLUSTER;
use super::eos::Trial;
use super::node::{Node, NodeSettings};
use super::wait::eventually;

/// What each step writes.
const RECORDS: usize = 4_000;
const KEYS: usize = 500;
/// How long a halted broker stands still: longer than clients wait for an answer to a heartbeat.
const HALT: Duration = Duration::from_secs(8);

/// How long the broker is away in the test command; `MILLPOND_OUTAGE_SECONDS` asks for more.
const OUTAGE: Duration = Duration::from_secs(20);

/// The broker goes away under load for longer than sessions and transactions last; the clients
/// wait, and are exact.
///
/// It is halted, not killed: a Kafka broker that is killed and has no replica can forget, when it
/// is back, to end transactions whose commit it has confirmed (docs/kafka.md).
#[test]
fn clients_outlast_a_broker_that_stays_away() {
    let asked = std::env::var("MILLPOND_OUTAGE_SECONDS").ok();
    let outage = asked.map(|text| Duration::from_secs(text.parse().expect("a number of seconds")));
    let outage = outage.unwrap_or(OUTAGE);
    let node = Node::new(NodeSettings::alone(), CLUSTER).unwrap();
    let mut trial = Trial::new("outage", &node.address());
    let mut clients = [trial.client(0), trial.client(1)];
    trial.write(RECORDS, KEYS);
    trial.settle();
    trial.write(RECORDS, KEYS);
    node.pause();
    assert!(eventually(outage, || None::<()>).is_none());
    node.resume();
    let clock = SystemClock::new();
    trial.settle();
    let back = clock.elapsed();
    trial.write(RECORDS, KEYS);
    trial.settle();
    for client in &mut clients {
        assert!(!client.has_ended(), "a client gave up: {}", trial.said());
    }
    let checked = trial.verify();
    println!("away for {outage:?}: what was left was done {back:?} after; {checked} results exact");
}

/// A clean end, a crash, and a halt of the only broker while two clients work.
#[test]
fn clients_come_back_when_the_broker_does() {
    let mut node = Node::new(NodeSettings::alone(), CLUSTER).unwrap();
    let mut trial = Trial::new("bounce", &node.address());
    let mut clients = [trial.client(0), trial.client(1)];
    trial.write(RECORDS, KEYS);
    trial.settle();
    let ends: [fn(&mut Node); 2] = [Node::stop, Node::kill];
    for end in ends {
        trial.write(RECORDS, KEYS);
        end(&mut node);
        node.start().unwrap();
        trial.write(RECORDS, KEYS);
    }
    node.pause();
    assert!(eventually(HALT, || None::<()>).is_none());
    node.resume();
    trial.write(RECORDS, KEYS);
    trial.settle();
    for client in &mut clients {
        assert!(!client.has_ended(), "a client gave up: {}", trial.said());
    }
    trial.verify();
}
