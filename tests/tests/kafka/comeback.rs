//! A static member that is killed and started again: its place in the group and its state are there,
//! and only what came after is replayed.

use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};
use pipeline::log::{Log as _, TopicPartition};

use super::broker;
use super::client::PARTITIONS;
use super::eos::Trial;
use super::wait::eventually;

const KEYS: usize = 20_000;
/// How often state is brought to files.
const FLUSH_MS: u64 = 2_000;

/// Records of all changelogs, as far as their offsets tell.
pub(super) fn changelogs(trial: &Trial) -> u64 {
    let topics = trial.log().topics().unwrap();
    let group = trial.topic("g1");
    let own = topics.keys().filter(|name| name.starts_with(&group) && name.ends_with("-changelog"));
    let partitions = own.flat_map(|name| {
        (0..PARTITIONS).map(|partition| TopicPartition::new(name.as_str(), partition))
    });
    partitions.map(|at| trial.log().range(&at).unwrap().end.offset).sum()
}

/// A few records now and then, so that there are commits after which state is flushed.
fn trickle(trial: &mut Trial, rounds: u64) {
    for _ in 0..rounds {
        trial.write(10, KEYS);
        assert!(eventually(Duration::from_millis(FLUSH_MS), || None::<()>).is_none());
    }
}

#[test]
fn a_killed_member_comes_back_to_its_state_and_replays_the_tail_alone() {
    let trial = Trial::new("comeback", broker::shared().bootstrap());
    let mut trial = trial.flushing_each(FLUSH_MS);
    let (first, second) = (trial.client(0), trial.client(1));
    trial.write(3 * KEYS, KEYS);
    trial.settle();
    trickle(&mut trial, 3);
    trial.settle();
    let before = changelogs(&trial);

    trial.write(500, KEYS);
    trial.settle();
    first.kill();
    let clock = SystemClock::new();
    let first = trial.client(0);
    trial.write(500, KEYS);
    trial.settle();
    let took = clock.elapsed();
    let tail = changelogs(&trial) - before;
    trial.verify();
    let first = first.stop(&trial.folder_of(0));
    let second = second.stop(&trial.folder_of(1));
    println!(
        "killed and started again: {} of {before} changelog records replayed ({tail} were written \
         after the last flush); all worked off after {took:?}",
        first.restored
    );
    assert!(first.restored < before / 10, "the state was not used: {first:?} of {before}");
    assert_eq!(first.assignments, 1, "it got its partitions once: {first:?}");
    // The second one joined after the first: at most it was there when the group was made, and
    // once when the other came.
    assert!(second.assignments <= 2, "a restart made the group share out anew: {second:?}");
}
