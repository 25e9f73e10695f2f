//! Rounds of kills: 20,000 keys, three clients; in each round one of them is killed and started again
//! while records come.
//!
//! The test command makes a few rounds. `./dev kills --rounds 100` makes more, and goes on where it
//! was stopped: topics, state and the number of rounds made lie in a folder (`MILLPOND_EOS_FOLDER`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

use super::broker::{self, CLUSTER};
use super::client::Client;
use super::eos::Trial;
use super::node::{Node, NodeSettings};

/// What a round writes.
const RECORDS: usize = 20_000;
const KEYS: usize = 20_000;
const CLIENTS: usize = 3;
/// After so many rounds everything is compared.
const CHECKED_EVERY: usize = 10;
/// Rounds of the test command.
const ROUNDS: usize = 5;

/// How far a run has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// What its topics begin with.
    app: String,
    rounds: usize,
    seconds: u64,
}

/// A run that can be stopped, and the broker that stays with it.
struct Kept {
    folder: PathBuf,
    _node: Option<Node>,
    progress: Progress,
}

impl Kept {
    /// Begins in `folder`, or goes on there. Answers where the broker is, too.
    fn open(folder: &Path) -> (Self, String) {
        std::fs::create_dir_all(folder).unwrap();
        let progress = match std::fs::read(folder.join("progress.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => Progress { app: "eos".to_owned(), ..Progress::default() },
        };
        let given = std::env::var("KAFKA_BOOTSTRAP").ok();
        let node = given.is_none().then(|| {
            let kept = Some(folder.join("broker"));
            Node::new(NodeSettings { kept, ..NodeSettings::alone() }, CLUSTER).unwrap()
        });
        let bootstrap = node.as_ref().map(Node::address).or(given).unwrap();
        (Self { folder: folder.to_owned(), _node: node, progress }, bootstrap)
    }

    fn save(&self) {
        let new = self.folder.join("progress.new");
        std::fs::write(&new, serde_json::to_vec(&self.progress).unwrap()).unwrap();
        std::fs::rename(new, self.folder.join("progress.json")).unwrap();
    }
}

#[test]
fn killed_clients_lose_and_double_nothing() {
    let rounds = std::env::var("MILLPOND_EOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: usize = rounds.unwrap_or(ROUNDS);
    let Some(folder) = std::env::var_os("MILLPOND_EOS_FOLDER") else {
        let trial = Trial::new("eos", broker::shared().bootstrap());
        return run(trial, rounds, &Progress::default(), |_| {});
    };
    let (mut kept, bootstrap) = Kept::open(Path::new(&folder));
    let from = kept.progress.clone();
    if from.rounds > 0 {
        println!("going on after round {}", from.rounds);
    }
    let trial = Trial::open(from.app.clone(), &bootstrap, kept.folder.join("clients"));
    run(trial, rounds, &from, |progress| {
        kept.progress = progress;
        kept.save();
    });
}

fn run(mut trial: Trial, rounds: usize, from: &Progress, mut made: impl FnMut(Progress)) {
    let clock = SystemClock::new();
    let taken = || Duration::from_secs(from.seconds) + clock.elapsed();
    let mut clients: Vec<Option<Client>> = (0..CLIENTS).map(|c| Some(trial.client(c))).collect();
    if from.rounds == 0 {
        trial.write(RECORDS, KEYS);
        trial.settle();
    }
    for round in from.rounds + 1..=rounds {
        let victim = round % CLIENTS;
        trial.write(RECORDS / 2, KEYS);
        clients[victim].take().unwrap().kill();
        trial.write(RECORDS / 2, KEYS);
        clients[victim] = Some(trial.client(victim));
        for (index, client) in clients.iter_mut().enumerate() {
            let ended = client.as_mut().unwrap().has_ended();
            assert!(!ended, "client {index} ended: {}", trial.said());
        }
        if round % CHECKED_EVERY == 0 && round < rounds {
            trial.settle();
            let checked = trial.verify();
            println!("round {round}: {checked} results checked, {} s", taken().as_secs());
        }
        made(Progress { app: from.app.clone(), rounds: round, seconds: taken().as_secs() });
    }
    trial.settle();
    let checked = trial.verify();
    println!(
        "{rounds} rounds, {} records, {checked} results checked: 0 lost, 0 doubled, {} s",
        trial.written(),
        taken().as_secs()
    );
}
