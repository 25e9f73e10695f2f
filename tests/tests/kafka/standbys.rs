//! A client is lost for good: whoever takes its tasks over has followed their changelogs already.
//!
//! The test command does this with standbys. `MILLPOND_STANDBYS=compare` does it with more state,
//! with and without them, for docs/results/kafka.md.

use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};

use super::broker;
use super::client::Status;
use super::comeback::changelogs;
use super::eos::Trial;
use super::pauses::Watcher;
use super::wait::eventually;

const CLIENTS: usize = 3;
/// Tasks that each client runs, of two sub-topologies with six partitions.
const RUNNING: usize = 4;
/// Tasks whose state each client would inherit if one of the others left: `range` moves the borders,
/// so the one in the middle gets something from both sides.
const INHERITED: [usize; CLIENTS] = [2, 8, 2];
const PATIENCE: Duration = Duration::from_secs(120);
/// How long records come after the loss; members are missed after 6 s.
const AFTER: Duration = Duration::from_secs(10);

/// What it cost to lose a client.
struct Loss {
    /// Records of all changelogs before.
    before: u64,
    /// Records written to them from the last look before the loss until all was done.
    written: u64,
    /// Changelog records that those who took over had to read first.
    replayed: u64,
    /// How long a partition stood still: the least, and the longest of six.
    still: (Duration, Duration),
    checked: usize,
}

fn statuses(trial: &Trial, clients: std::ops::Range<usize>) -> Vec<Option<Status>> {
    clients.map(|client| Status::read(&trial.folder_of(client))).collect()
}

/// Waits until all clients are as `wanted` says.
fn await_all(trial: &Trial, what: &str, wanted: impl Fn(usize, Status) -> bool) {
    let fits =
        |(client, status): (usize, Option<Status>)| status.is_some_and(|s| wanted(client, s));
    let all = eventually(PATIENCE, || {
        statuses(trial, 0..CLIENTS).into_iter().enumerate().all(fits).then_some(())
    });
    let last = statuses(trial, 0..CLIENTS);
    assert!(all.is_some(), "{what}: {last:?}\n{}", trial.said());
}

fn restored(trial: &Trial) -> u64 {
    statuses(trial, 0..CLIENTS - 1).into_iter().flatten().map(|one| one.restored).sum()
}

/// Three clients with state of `keys` keys; the last one is killed under load and stays away.
fn lose_one(keys: usize, standbys: usize) -> Loss {
    let trial = Trial::new(&format!("standby{standbys}"), broker::shared().bootstrap());
    let mut trial = trial.flushing_each(2_000).with_standbys(standbys);
    let watcher = Watcher::start(trial.log(), &trial.topic("echo"));
    let mut clients: Vec<_> = (0..CLIENTS).map(|client| trial.client(client)).collect();
    await_all(&trial, "tasks run", |_, status| status.running == RUNNING);
    trial.write(2 * keys, keys);
    trial.settle();
    if standbys > 0 {
        await_all(&trial, "all state is warm", |client, status| {
            status.warm == INHERITED[client] && status.behind == 0 && status.followed > 0
        });
    }
    let (before, read) = (changelogs(&trial), restored(&trial));
    trial.write(300, keys);
    clients.pop().unwrap().kill();
    watcher.take();
    let clock = SystemClock::new();
    while clock.elapsed() < AFTER {
        trial.write(60, keys);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    trial.settle();
    let still = watcher.take();
    watcher.stop();
    let checked = trial.verify();
    let loss = Loss {
        before,
        written: changelogs(&trial) - before,
        replayed: restored(&trial) - read,
        still: (still[0], still[still.len() - 1]),
        checked,
    };
    for (index, client) in clients.into_iter().enumerate() {
        client.stop(&trial.folder_of(index));
    }
    loss
}

fn tell(what: &str, loss: &Loss) {
    let Loss { before, written, replayed, still: (least, longest), checked } = loss;
    println!(
        "{what}: a client of three is lost: {replayed} of {before} changelog records replayed \
         ({written} were written after it), partitions stood still for {} to {} ms; {checked} \
         results checked, exact",
        least.as_millis(),
        longest.as_millis()
    );
}

#[test]
fn who_takes_over_replays_the_tail_alone() {
    let compare = std::env::var("MILLPOND_STANDBYS").is_ok_and(|what| what == "compare");
    let keys = if compare { 200_000 } else { 20_000 };
    let warm = lose_one(keys, 1);
    tell("with standbys", &warm);
    assert!(warm.replayed <= warm.written, "more than the tail was replayed");
    assert!(warm.replayed < warm.before / 20, "the state was not warm");
    if compare {
        let cold = lose_one(keys, 0);
        tell("without", &cold);
        // Three of six partitions change hands.
        assert!(cold.replayed > cold.before / 4, "there was nothing to restore");
    }
}
