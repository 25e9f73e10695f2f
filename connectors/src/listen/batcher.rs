//! Lines of the queue into commits.
//!
//! Each commit carries the batch's number, in the topic of positions, so that the log can be asked
//! whether a commit was made when it could not tell: a batch is neither lost nor doubled while the
//! process lives.

use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::Clock;
use pipeline::log::{Commit, Log, LogError, Outcome};
use tokio::sync::mpsc;

use super::framing::Frame;
use super::{ListenError, ListenSettings, Received, Stopped};
use crate::counters::{Count, SourceCounters};
use crate::destination::{DeadLetter, Gathered, Place};
use crate::parser::{Arrival, Format, LineError, Parsed, Parser, ParserSettings};
use crate::positions::PositionEntry;
use crate::syslog::Year;
use crate::writer::SharedWriter;

const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often a batch is tried once the process stops.
const LAST_TRIES: u32 = 5;

/// Takes lines from the queue and appends them.
pub(super) struct Batcher {
    appender: Arc<Appender>,
    queue: mpsc::Receiver<Received>,
    counters: Arc<SourceCounters>,
    parser: Parser,
    name: String,
    batch_lines_max: usize,
    batch_wait: Duration,
    number: u64,
}

/// The blocking half: works on threads that may be kept waiting.
struct Appender {
    records: Place,
    dead_letters: Place,
    entry: PositionEntry,
    writer: SharedWriter,
}

/// What one commit has brought.
#[derive(Default)]
struct Tally {
    records: u64,
    dead_letters: u64,
    others: Vec<Count>,
}

impl Batcher {
    pub(super) fn open(
        log: Arc<dyn Log>,
        settings: &ListenSettings,
        counters: Arc<SourceCounters>,
        queue: mpsc::Receiver<Received>,
    ) -> Result<Self, LogError> {
        let name = format!("syslog-{}", settings.name);
        let appender = Appender {
            records: Place::find(&*log, &settings.topic)?,
            dead_letters: Place::dead_letters(&*log, &settings.topic)?,
            writer: SharedWriter::open(Arc::clone(&log), name.clone())?,
            entry: PositionEntry::open(log, name)?,
        };
        let number = appender.last_number()?;
        let format = Format::Syslog { year: Year::Auto, zone: settings.zone };
        let parser = Parser::new(ParserSettings {
            format,
            key_field: None,
            timestamp_field: None,
            line_bytes_max: settings.line_bytes_max,
        });
        Ok(Self {
            appender: Arc::new(appender),
            queue,
            counters,
            parser,
            name: settings.name.clone(),
            batch_lines_max: settings.batch_lines_max,
            batch_wait: Duration::from_millis(settings.batch_wait_ms),
            number,
        })
    }

    /// Appends until no sender is left.
    pub(super) async fn run(
        mut self,
        clock: Arc<dyn Clock>,
        stopped: Stopped,
    ) -> Result<(), ListenError> {
        let mut lines = Vec::with_capacity(self.batch_lines_max);
        loop {
            self.fill(&mut lines).await;
            if lines.is_empty() {
                return Ok(());
            }
            self.append(&lines, clock.wall_ms(), &stopped).await?;
            lines.clear();
        }
    }

    /// Waits for a first line, and a little longer for more. None means that the senders are gone.
    async fn fill(&mut self, lines: &mut Vec<Received>) {
        if self.queue.recv_many(lines, self.batch_lines_max).await == 0 {
            return;
        }
        let (queue, most) = (&mut self.queue, self.batch_lines_max);
        let more = async {
            while lines.len() < most && queue.recv_many(lines, most - lines.len()).await > 0 {}
        };
        // Either way the lines that came are there: `recv_many` loses none when it is dropped.
        let _ = tokio::time::timeout(self.batch_wait, more).await;
    }

    /// Appends a batch, trying again as long as the log is away. While it is, the queue fills, and
    /// the readers do what they do about it.
    async fn append(
        &mut self,
        lines: &[Received],
        now_ms: i64,
        stopped: &Stopped,
    ) -> Result<(), ListenError> {
        self.number += 1;
        let mut retry = RETRY_MIN;
        let mut tries_stopping = 0;
        loop {
            let (commit, tally) = self.gather(lines, now_ms);
            let reason = match self.try_commit(commit).await {
                Ok(()) => {
                    self.count(tally);
                    return Ok(());
                }
                Err(Failure::Fenced(reason)) => {
                    return Err(ListenError::Fenced { name: self.name.clone(), reason });
                }
                Err(Failure::Later(reason)) => reason,
            };
            tries_stopping += u32::from(stopped.is_now());
            if tries_stopping > LAST_TRIES {
                let lines = lines.len();
                tracing::error!(source = %self.name, reason, lines, "stopped, lines are lost");
                self.counters.add(Count::Lost, lines as u64);
                return Ok(());
            }
            tracing::warn!(source = %self.name, reason, "cannot append, will retry");
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    fn gather(&mut self, lines: &[Received], now_ms: i64) -> (Commit, Tally) {
        let Appender { records, dead_letters, entry, .. } = &*self.appender;
        // A partition each by turns; no more of the number is needed for that.
        let turn = (self.number % u64::from(u32::MAX)) as u32;
        let mut gathered = Gathered::new(records.clone(), Some(dead_letters.clone()), turn);
        let mut tally = Tally::default();
        for line in lines {
            tally.others.extend(gather_line(&mut self.parser, line, &mut gathered));
        }
        (tally.records, tally.dead_letters) = gathered.counts();
        let mut commit = gathered.into_commit();
        entry.set(&mut commit, self.number.to_string().as_bytes(), now_ms);
        (commit, tally)
    }

    async fn try_commit(&self, commit: Commit) -> Result<(), Failure> {
        let (appender, number) = (Arc::clone(&self.appender), self.number);
        let result = tokio::task::spawn_blocking(move || appender.commit(commit, number)).await;
        result.unwrap_or_else(|error| Err(Failure::Later(error.to_string())))
    }

    fn count(&self, tally: Tally) {
        self.counters.add(Count::Records, tally.records);
        self.counters.add(Count::DeadLetters, tally.dead_letters);
        for count in tally.others {
            self.counters.add(count, 1);
        }
    }
}

/// Why a batch is not in the log.
enum Failure {
    Later(String),
    Fenced(String),
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Later(error.to_string())
    }
}

impl Appender {
    /// Appends a batch once, even if the log cannot tell at first.
    fn commit(&self, commit: Commit, number: u64) -> Result<(), Failure> {
        // After an answer that did not tell, the batch may be there already.
        if self.writer.renew()? && self.last_number()? == number {
            return Ok(());
        }
        let underway = self.writer.commit(commit)?;
        match self.writer.wait(underway) {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Aborted(reason) | Outcome::Unknown(reason) => Err(Failure::Later(reason)),
            Outcome::Fenced(reason) => Err(Failure::Fenced(reason)),
        }
    }

    fn last_number(&self) -> Result<u64, LogError> {
        let last = self.entry.last()?.unwrap_or_default();
        Ok(std::str::from_utf8(&last).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

fn gather_line(parser: &mut Parser, line: &Received, gathered: &mut Gathered) -> Option<Count> {
    let host = line.peer.to_string();
    let limit = parser.line_bytes_max();
    let (bytes, parsed) = match &line.frame {
        Frame::Whole(bytes) => {
            let arrival = Arrival { reference_ms: line.arrival_ms, host: Some(&host) };
            (bytes, parser.parse(bytes, &arrival))
        }
        Frame::TooLong(bytes) => (bytes, Err(LineError::TooLong { bytes: bytes.len() + 1, limit })),
    };
    match parsed {
        Ok(Parsed::Record(record)) => {
            gathered.push(&record, record.timestamp_ms.unwrap_or(line.arrival_ms), &[]);
            record.lossy.then_some(Count::InvalidUtf8)
        }
        Ok(Parsed::Skipped(skipped)) => Some(skipped.count()),
        Err(reason) => {
            gathered.push_dead_letter(&DeadLetter {
                line: bytes,
                reason: &reason.to_string(),
                source: &format!("syslog+{}://{host}", line.protocol),
                offset: None,
                timestamp_ms: line.arrival_ms,
            });
            matches!(reason, LineError::TooLong { .. }).then_some(Count::LineTooLong)
        }
    }
}
