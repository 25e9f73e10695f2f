//! A campaign: one data directory, one sender, one receiver, and many lives of a process.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stores::clock::{Clock as _, SystemClock};
use stores::fail_point::{Armed, FailPoint};

use super::check::check;
use super::ledger::{LINES, PAYMENTS, REGIONS};
use super::process::{Holder, Process, Start, eventually, is_killed};
use super::receiver::{Receiver, SECRET};
use super::report::Report;
use super::traffic::{Door, Sender};

/// Deliveries under way at once: what a kill may repeat.
pub const CONCURRENCY: u64 = 4;
const PARTITIONS: u32 = 2;
/// A life that has not come to its fail-point by then is killed anyway.
const LIFE_MAX: Duration = Duration::from_secs(8);
/// Lives that may miss one point: on a busy machine everything happens less often.
const MISSES_MAX: u32 = 6;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The binary: `crashes` of this package.
    pub binary: PathBuf,
    /// An empty directory.
    pub directory: PathBuf,
    /// Decides the traffic and the order of the kills.
    pub seed: u64,
    /// How many processes are to be killed; one at each fail-point first, if there are so many.
    pub kills: u64,
    /// Worker threads of the process.
    pub threads: u32,
}

/// How a life is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    At(FailPoint),
    Random,
}

impl Campaign {
    /// Kills, and compares at the end.
    ///
    /// # Errors
    /// When something does not start, or a process ends by itself. What is lost or doubled is in
    /// the report.
    pub fn run(&self) -> anyhow::Result<Report> {
        self.disturbed(|stage| {
            stage.kill()?;
            let mut lives = Lives {
                chance: ChaCha8Rng::seed_from_u64(self.seed),
                start: stage.start.clone(),
                door: stage.door.clone(),
                report: Report::default(),
            };
            lives.run(self.kills).with_context(|| tail(&lives.start.messages()))?;
            stage.report.add(lives.report);
            stage.revive().map(drop)
        })
    }

    /// Lets `disturb` do to a process under traffic what it likes, and compares at the end. It
    /// must leave a process that listens.
    ///
    /// # Errors
    /// As [`Self::run`], and those of `disturb`.
    pub fn disturbed(
        &self,
        disturb: impl FnOnce(&mut Stage) -> anyhow::Result<()>,
    ) -> anyhow::Result<Report> {
        let clock = SystemClock::new();
        let receiver = Receiver::start()?;
        let start = self.prepare(&receiver)?;
        let door = Door::default();
        let process = start.process(None)?;
        let mut stage = Stage { start, process, door, report: Report::default() };
        stage.open()?;
        let sender = Sender::start(self.seed, stage.door.clone(), &self.file())?;
        let outcome = disturb(&mut stage).with_context(|| tail(&stage.start.messages()));
        if outcome.is_err() {
            // The sender waits for an answer that does not come.
            sender.abandon();
        }
        outcome?;
        let holder = stage.open()?;
        let sent = sender.stop()?;
        check(&holder, &receiver, (&sent, PARTITIONS), &mut stage.report)?;
        let Stage { process, mut report, .. } = stage;
        report.repeats_max = report.kills * CONCURRENCY;
        process.stop()?;
        report.elapsed_ms = u64::try_from(clock.elapsed().as_millis())?;
        Ok(report)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("lines.ndjson")
    }

    fn prepare(&self, receiver: &Receiver) -> anyhow::Result<Start> {
        let config = self.directory.join("millpond.toml");
        let data_dir = self.directory.join("data");
        std::fs::write(&config, self.config(&data_dir, &receiver.url()))?;
        let messages = self.directory.join("messages.txt");
        Ok(Start { binary: self.binary.clone(), config, data_dir, messages })
    }

    /// Everything happens often: commits, flushes, cleanings. No partition is ever idle, so that
    /// what is late depends on nothing but what was sent.
    fn config(&self, data_dir: &Path, url: &str) -> String {
        let (data_dir, file) = (data_dir.display(), self.file());
        let (file, threads) = (file.display(), self.threads);
        format!(
            r#"
data_dir = "{data_dir}"
memory_mib = 80
threads = {threads}
[log]
partitions = {PARTITIONS}
compaction_interval_ms = 100
compaction_dirty_ratio = 0.2
[worker]
commit_interval_ms = 20
progress_interval_ms = 20
idle_timeout_ms = "never"
state_flush_interval_ms = 250
[index]
commit_interval_ms = 20
commit_share = 0.5
[http]
listen = "127.0.0.1:0"
query_offset_max = 1000000
[topics.{PAYMENTS}]
key_field = "card"
timestamp_field = "ts"
retention_bytes = 262144
[topics.{LINES}]
key_field = "card"
[[sources.file]]
path = "{file}"
topic = "{LINES}"
format = "ndjson"
[[endpoints]]
name = "desk"
url = "{url}"
secret = "{SECRET}"
concurrency_max = {CONCURRENCY}
attempts_max = 1000
backoff_first_ms = 10
backoff_max_ms = 100
allow_private_addresses = true
"#
        )
    }
}

/// A process under traffic.
#[derive(Debug)]
pub struct Stage {
    /// What starts it.
    pub start: Start,
    /// It.
    pub process: Process,
    door: Door,
    report: Report,
}

impl Stage {
    /// Waits until the process listens, and leads the traffic there.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn open(&mut self) -> anyhow::Result<Holder> {
        let holder = self.process.holder_or_end()?;
        self.door.set(Some(holder.address));
        Ok(holder)
    }

    /// Kills the process.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.door.set(None);
        self.process.kill()?;
        self.report.kills += 1;
        self.report.random += 1;
        Ok(())
    }

    /// Starts another process in the place of one that has ended.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub fn revive(&mut self) -> anyhow::Result<Holder> {
        self.process = self.start.process(None)?;
        self.open()
    }

    /// Lets traffic flow until the process has processed `count` more records.
    ///
    /// # Errors
    /// When it ends before, or does not get there.
    pub fn flow(&mut self, count: u64) -> anyhow::Result<()> {
        let holder = self.open()?;
        let processed = || {
            let figures = holder.get("/v1/admin/topologies")?;
            figures[0]["records"].as_u64().with_context(|| figures.to_string())
        };
        let first = processed()?;
        eventually("records", || Ok((processed()? >= first + count).then_some(())))
    }
}

/// The end of a text, for an error.
fn tail(messages: &str) -> String {
    let lines: Vec<&str> = messages.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

struct Lives {
    chance: ChaCha8Rng,
    start: Start,
    door: Door,
    report: Report,
}

impl Lives {
    fn run(&mut self, kills: u64) -> anyhow::Result<()> {
        let mut points = FailPoint::ALL.to_vec();
        points.shuffle(&mut self.chance);
        let mut deaths: VecDeque<(Death, u32)> =
            points.iter().map(|point| (Death::At(*point), 0)).collect();
        while self.report.kills < kills {
            let (death, misses) = deaths.pop_front().unwrap_or_else(|| (self.any_death(), 0));
            let died_there = self.live(death, misses)?;
            if !died_there {
                ensure!(misses < MISSES_MAX, "{death:?} was not reached by {MISSES_MAX} lives");
                deaths.push_back((death, misses + 1));
            }
        }
        Ok(())
    }

    fn any_death(&mut self) -> Death {
        if self.chance.random_bool(0.5) {
            return Death::Random;
        }
        Death::At(FailPoint::ALL[self.chance.random_range(0..FailPoint::ALL.len())])
    }

    /// One life; says whether it ended as it was to.
    fn live(&mut self, death: Death, misses: u32) -> anyhow::Result<bool> {
        let armed = match death {
            Death::At(point) => Some(self.arm(point, misses)),
            Death::Random => None,
        };
        let mut process = self.start.process(armed)?;
        let died_there = self.until_death(&mut process, death);
        self.door.set(None);
        let died_there = died_there?;
        self.report.kills += 1;
        match death {
            Death::At(point) if died_there => {
                *self.report.at.entry(point.name().to_owned()).or_default() += 1;
            }
            Death::At(_) | Death::Random => self.report.random += 1,
        }
        Ok(died_there)
    }

    fn until_death(&mut self, process: &mut Process, death: Death) -> anyhow::Result<bool> {
        let Some(holder) = process.listening()? else {
            return self.has_died_of(process, death);
        };
        self.door.set(Some(holder.address));
        let patience = match death {
            Death::Random => Duration::from_millis(self.chance.random_range(0..700)),
            Death::At(point) if is_in_stop(point) => {
                let early = process.ended_within(Duration::from_millis(150))?;
                ensure!(early.is_none(), "the process has ended by itself");
                process.signal("TERM")?;
                LIFE_MAX
            }
            Death::At(_) => LIFE_MAX,
        };
        if process.ended_within(patience)?.is_some() {
            return self.has_died_of(process, death);
        }
        process.kill()?;
        Ok(death == Death::Random)
    }

    /// A process that has ended was killed, and by its own fail-point.
    fn has_died_of(&self, process: &mut Process, death: Death) -> anyhow::Result<bool> {
        let status = process.ended_within(Duration::ZERO)?.context("it has ended")?;
        let Death::At(point) = death else { bail!("the process has ended by itself: {status}") };
        let messages = self.start.messages();
        let said = format!("fail-point {point}: killing this process");
        let is_there = messages.lines().next_back() == Some(&said);
        ensure!(is_killed(status) && is_there, "the process has ended by itself: {status}");
        Ok(true)
    }

    /// Chooses the passing, an earlier one after each miss, and makes sure that there is one.
    fn arm(&mut self, point: FailPoint, misses: u32) -> Armed {
        use FailPoint as P;
        if matches!(point, P::IndexRebuildEmptied | P::IndexRebuildUnstamped) {
            let shard = self.start.data_dir.join("views").join(REGIONS).join("shard-0");
            // It is not there if a rebuild was broken off before.
            let _ = std::fs::remove_file(shard.join("meta.json"));
        }
        let most: u32 = match point {
            P::CommitBeforeQueue | P::CommitBeforeStore | P::CommitAfterStore => 30,
            P::AppendBeforeWrite | P::AppendAfterWrite => 40,
            P::IngestBeforeAppend | P::IngestAfterAppend => 15,
            P::IndexBeforeCommit | P::IndexAfterCommit => 6,
            P::DeliveryBeforeCall | P::DeliveryAfterAnswer | P::DeliveryBeforeCommit => 8,
            P::CleanBeforeWrite | P::CleanAfterWrite => 3,
            P::CompactBeforeReplace | P::CompactAfterReplace | P::CompactBeforeFinish => 6,
            P::FileBeforeCommit | P::FileAfterCommit | P::FlushBegun => 2,
            P::RestoreBeforeOffsets => 3,
            P::OpenAfterEpoch
            | P::RestoreBeforeWrite
            | P::RestoreAfterWrite
            | P::IndexRebuildEmptied
            | P::IndexRebuildUnstamped
            | P::StopBeforeFlush
            | P::StopAfterFlush => 1,
        };
        let most = (most >> misses).max(1);
        Armed { point, count: self.chance.random_range(1..=most) }
    }
}

fn is_in_stop(point: FailPoint) -> bool {
    matches!(point, FailPoint::StopBeforeFlush | FailPoint::StopAfterFlush)
}
