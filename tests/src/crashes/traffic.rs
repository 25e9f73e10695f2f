//! The sender: a thread that sends payments over HTTP and appends lines to a file, whatever
//! happens to the process on the other side.
//!
//! A batch that was not answered with success is sent again with the same `Idempotency-Key`, until
//! it is. Batches go one after the other, so what was sent is in the log in this order.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::http::{Request, ask};
use super::ledger::{Line, PAYMENTS, Payment};

/// Where event time begins.
const BEGIN_MS: i64 = 1_700_000_000_000;
/// Event time between two payments.
const STEP_MS: i64 = 10;
const BATCH_MAX: usize = 40;
const CARDS: u32 = 200;
const REGIONS: [&str; 6] = ["north", "east", "south", "west", "centre", "islands"];
/// The pause between two batches, and before a batch is sent again.
const PAUSE: Duration = Duration::from_millis(15);
const RETRY: Duration = Duration::from_millis(5);

/// Everything that was sent and acknowledged, in order.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) payments: Vec<Payment>,
    pub(super) lines: Vec<Line>,
    /// Batches that had to be sent again.
    pub(super) retries: u64,
}

/// Where the process listens; nowhere while it is dead.
#[derive(Clone, Debug, Default)]
pub(super) struct Door(Arc<Mutex<Option<SocketAddr>>>);

impl Door {
    pub(super) fn set(&self, address: Option<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    fn get(&self) -> Option<SocketAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running sender.
pub(super) struct Sender {
    stop: SyncSender<()>,
    abandoned: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Sent>>,
}

impl Sender {
    pub(super) fn start(seed: u64, door: Door, file: &Path) -> anyhow::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let file = File::options().create(true).append(true).open(file)?;
        let abandoned: Arc<AtomicBool> = Arc::default();
        let mut traffic = Traffic {
            abandoned: Arc::clone(&abandoned),
            chance: ChaCha8Rng::seed_from_u64(seed),
            door,
            file,
            half_line: None,
            stopped,
            batch: 0,
            sent: Sent::default(),
        };
        let thread = std::thread::Builder::new()
            .name("traffic".to_owned())
            .spawn(move || traffic.run().map(|()| traffic.sent))?;
        Ok(Self { stop, abandoned, thread })
    }

    /// Ends without knowing how the batch under way ended.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Ends after the batch that is under way is acknowledged. Somebody must be there to do so.
    pub(super) fn stop(self) -> anyhow::Result<Sent> {
        let Self { stop, thread, .. } = self;
        // It may have ended with an error, which the thread then tells.
        let _ = stop.send(());
        match thread.join() {
            Ok(sent) => sent,
            Err(_) => bail!("the traffic's thread has panicked"),
        }
    }
}

struct Traffic {
    abandoned: Arc<AtomicBool>,
    chance: ChaCha8Rng,
    door: Door,
    file: File,
    /// The end of a line whose beginning is in the file.
    half_line: Option<String>,
    stopped: Receiver<()>,
    batch: u64,
    sent: Sent,
}

impl Traffic {
    fn run(&mut self) -> anyhow::Result<()> {
        while !self.rest(PAUSE) {
            let batch = self.next_batch();
            self.send(&batch)?;
            self.sent.payments.extend(batch);
            self.append_lines()?;
        }
        self.end_line()
    }

    /// Waits; says whether to stop.
    fn rest(&self, wait: Duration) -> bool {
        !matches!(self.stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
    }

    fn next_batch(&mut self) -> Vec<Payment> {
        let first = self.sent.payments.len() as u64;
        let count = self.chance.random_range(1..=BATCH_MAX) as u64;
        (first..first + count).map(|id| self.payment(id)).collect()
    }

    fn payment(&mut self, id: u64) -> Payment {
        let now = BEGIN_MS + STEP_MS * i64::try_from(id).expect("a campaign is short");
        // Mostly in order within the grace, sometimes far behind it.
        let behind = match self.chance.random_range(0..100) {
            0 => 30_000,
            1..=20 => self.chance.random_range(0..4_000),
            _ => 0,
        };
        let mut noise = [0_u8; 48];
        self.chance.fill_bytes(&mut noise);
        Payment {
            id,
            card: format!("card-{}", self.chance.random_range(0..CARDS)),
            region: REGIONS[self.chance.random_range(0..REGIONS.len())].to_owned(),
            cents: self.chance.random_range(1..100_000),
            ts: now - behind,
            note: noise.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn send(&mut self, batch: &[Payment]) -> anyhow::Result<()> {
        let mut body = Vec::new();
        for payment in batch {
            serde_json::to_writer(&mut body, payment)?;
            body.push(b'\n');
        }
        self.batch += 1;
        let id = format!("batch-{}", self.batch);
        let headers = [("content-type", "application/x-ndjson"), ("idempotency-key", id.as_str())];
        let line = format!("POST /v1/topics/{PAYMENTS}");
        let request = Request { line: &line, headers: &headers, body: &body };
        let mut tries = 0_u64;
        loop {
            let answer = self.door.get().map(|address| ask(address, request));
            if let Some(Ok(answer)) = &answer {
                match answer.status {
                    200 => break,
                    // Stopping, or busy: again.
                    503 => {}
                    status => {
                        bail!("ingest answers {status}: {}", String::from_utf8_lossy(&answer.body))
                    }
                }
            }
            tries += u64::from(answer.is_some());
            ensure!(!self.abandoned.load(Ordering::Relaxed), "the traffic was abandoned");
            // Told to stop, it still has to know how this batch ended.
            std::thread::park_timeout(RETRY);
        }
        self.sent.retries += tries;
        Ok(())
    }

    /// Appends some lines, the last one perhaps by half: a reader must not take it for whole.
    fn append_lines(&mut self) -> anyhow::Result<()> {
        self.end_line()?;
        for _ in 0..self.chance.random_range(0..4) {
            let card = format!("card-{}", self.chance.random_range(0..CARDS));
            let line = Line { id: self.sent.lines.len() as u64, card };
            let mut text = serde_json::to_string(&line)?;
            text.push('\n');
            self.sent.lines.push(line);
            if self.chance.random_bool(0.1) {
                let rest = text.split_off(self.chance.random_range(1..text.len()));
                self.half_line = Some(rest);
            }
            self.file.write_all(text.as_bytes()).context("cannot append to the followed file")?;
            if self.half_line.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> anyhow::Result<()> {
        let Some(rest) = self.half_line.take() else { return Ok(()) };
        self.file.write_all(rest.as_bytes()).context("cannot append to the followed file")
    }
}
