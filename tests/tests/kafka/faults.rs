//! Brokers that go away and come back: the clients do, too, and nothing is lost or doubled.

use std::time::Duration;

use super::broker::CLUSTER;
use super::eos::Trial;
use super::node::{Node, NodeSettings};
use super::wait::eventually;

/// What each step writes.
const RECORDS: usize = 4_000;
const KEYS: usize = 500;
/// How long a halted broker stands still: longer than clients wait for an answer to a heartbeat.
const HALT: Duration = Duration::from_secs(8);

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
