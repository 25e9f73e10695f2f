//! `millpond ingest`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use pipeline::clock::{Clock, SystemClock};
use pipeline::position::Token;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::Place;
use super::lines::{Chunk, Chunks, LINE_BYTES_MAX};
use super::print::Printer;
use super::target::{Need, Target};
use crate::app::App;
use crate::client::{Answer, Client, Problem};
use crate::error::AppError;
use crate::roles::{self, Roles};

/// Standard input.
const STDIN: &str = "-";
/// How many bad lines are named; all are counted.
const NAMED_MAX: u64 = 20;
/// How often a chunk is sent again to a process that is busy.
const TRIES_MAX: u32 = 30;

const EXAMPLES: &str = "\
Examples:
  millpond ingest payments.ndjson --topic payments --format ndjson --key-field card
  millpond ingest /var/log/auth.log --topic syslog --format syslog --zone Europe/Paris
  zcat auth.log.gz | millpond ingest - --topic syslog --format syslog --year 2025

The lines go through the process that has the data directory, if one runs, else straight into its
log. A line that is not of the format is named and kept in the topic's dead letters, TOPIC-dlq; with
--strict it stops the ingest, and nothing of its chunk (up to 10000 lines) is taken.";

/// Send the lines of a file, or of standard input, to a topic.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct IngestFile {
    #[command(flatten)]
    place: Place,
    /// Send to the process at this URL, wherever its data lies.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The file; - is standard input.
    file: PathBuf,
    /// The topic: one that a topology reads, or that has a section [topics.NAME].
    #[arg(long)]
    topic: String,
    /// What a line is.
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,
    /// The year of syslog lines that name none: a year, or `auto`.
    #[arg(long)]
    year: Option<String>,
    /// The time zone of syslog lines that name none, such as Europe/Paris.
    #[arg(long)]
    zone: Option<String>,
    /// The field of an NDJSON record that holds its key, as a dotted path.
    #[arg(long, value_name = "FIELD")]
    key_field: Option<String>,
    /// The field of an NDJSON record that holds its time, as a dotted path.
    #[arg(long, value_name = "FIELD")]
    timestamp_field: Option<String>,
    /// Stop at the first bad line.
    #[arg(long)]
    strict: bool,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Any text.
    Lines,
    /// A JSON object.
    Ndjson,
    /// A syslog line, as in auth.log or journald's short output.
    Syslog,
}

/// What has come of the lines.
#[derive(Debug, Default, Serialize)]
struct Report {
    topic: String,
    records: u64,
    /// Lines that are not of the format.
    bad_lines: u64,
    /// Of them, those that lie in the dead letters.
    dead_letters: u64,
    /// Lines that are blank, or remarks of journalctl.
    skipped: u64,
    seconds: f64,
    records_per_second: u64,
    /// Where the records ended, for `--after`.
    token: String,
}

/// The answer to a chunk.
#[derive(Deserialize)]
struct Taken {
    records: u64,
    token: String,
    #[serde(default)]
    dead_letters: u64,
    #[serde(default)]
    skipped: u64,
    year: Option<String>,
}

impl IngestFile {
    pub(super) fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        self.check()?;
        let Input { reader, size, written_ms } = open(&self.file)?;
        let target = match &self.url {
            Some(url) => Target::at(url)?,
            None => Target::find(app, &self.place, Need::Room(Roles::Door))?,
        };
        let clock = SystemClock::new();
        let bar = bar(size);
        let mut sending = Sending {
            options: &self,
            client: &target.client,
            bar: bar.clone(),
            clock: &clock,
            run: random_name()?,
            chunks: 0,
            year: self.year.clone(),
            reference_ms: written_ms.unwrap_or_else(|| clock.wall_ms()),
            named: 0,
            token: Token::default(),
            report: Report { topic: self.topic.clone(), ..Report::default() },
        };
        let sent = sending.send_all(Chunks::new(reader));
        bar.finish_and_clear();
        let report = sending.finished();
        let is_own = target.is_own();
        let closed = target.close();
        // What was taken is said also when it stopped half-way.
        printer.answer(&report, |report| summary(report, is_own))?;
        sent.and(closed)
    }

    /// An option without effect is a mistake.
    fn check(&self) -> Result<(), AppError> {
        let unless =
            |is_right: bool, given: bool, option: &str, format: &str| match given && !is_right {
                true => Err(AppError::Usage(format!("--{option} goes with --format {format}"))),
                false => Ok(()),
            };
        let syslog = self.format == Format::Syslog;
        let ndjson = self.format == Format::Ndjson;
        unless(syslog, self.year.is_some(), "year", "syslog")?;
        unless(syslog, self.zone.is_some(), "zone", "syslog")?;
        unless(ndjson, self.key_field.is_some(), "key-field", "ndjson")?;
        unless(ndjson, self.timestamp_field.is_some(), "timestamp-field", "ndjson")
    }

    fn content_type(&self) -> &'static str {
        match self.format {
            Format::Ndjson => "application/x-ndjson",
            Format::Lines | Format::Syslog => "text/plain",
        }
    }
}

/// Chunks on their way.
struct Sending<'a> {
    options: &'a IngestFile,
    client: &'a Client,
    bar: ProgressBar,
    clock: &'a SystemClock,
    /// Makes the ids of this run's lines its own.
    run: String,
    chunks: u64,
    /// For syslog: the year that the lines have come to.
    year: Option<String>,
    reference_ms: i64,
    named: u64,
    token: Token,
    report: Report,
}

impl Sending<'_> {
    fn send_all(&mut self, mut chunks: Chunks<Box<dyn BufRead>>) -> Result<(), AppError> {
        let unreadable = |source| AppError::Read { path: self.options.file.clone(), source };
        while let Some(chunk) = chunks.next().map_err(unreadable)? {
            for line in &chunk.too_long {
                let reason = format!("it is longer than {LINE_BYTES_MAX} bytes and is left out");
                self.name(*line, &reason);
                self.report.bad_lines += 1;
            }
            if self.options.strict && !chunk.too_long.is_empty() {
                return Err(self.stopped("a line is too long"));
            }
            let read = chunk.read;
            if !chunk.numbers.is_empty() {
                self.send(&chunk)?;
            }
            self.bar.inc(read);
            self.bar.set_message(format!("{} records/s", HumanCount(self.per_second())));
        }
        Ok(())
    }

    /// Sends a chunk: first so that a bad line refuses it, to learn which lines are bad; if there
    /// are some, once more so that they become dead letters.
    fn send(&mut self, chunk: &Chunk) -> Result<(), AppError> {
        self.chunks += 1;
        let problem = match self.post(chunk, "refuse")? {
            Ok(taken) => return self.take(taken),
            Err(problem) => problem,
        };
        for bad in &problem.bad_lines {
            let index = usize::try_from(bad.line).unwrap_or(usize::MAX).wrapping_sub(1);
            self.name(chunk.numbers.get(index).copied().unwrap_or(bad.line), &bad.reason);
        }
        self.report.bad_lines += problem.bad_lines_total;
        if self.options.strict {
            return Err(self.stopped(&problem.detail));
        }
        match self.post(chunk, "dlq")? {
            Ok(taken) => self.take(taken),
            Err(problem) => Err(self.stopped(&problem.detail)),
        }
    }

    /// Posts a chunk until it is taken or refused because of its lines.
    fn post(&self, chunk: &Chunk, on_bad_line: &str) -> Result<Result<Taken, Problem>, AppError> {
        let reference = self.reference_ms.to_string();
        let mut query = vec![("on_bad_line", on_bad_line)];
        query.extend(self.options.key_field.as_deref().map(|field| ("key_field", field)));
        let timestamp_field = self.options.timestamp_field.as_deref();
        query.extend(timestamp_field.map(|field| ("timestamp_field", field)));
        match self.options.format {
            Format::Ndjson => {}
            Format::Lines => query.push(("format", "lines")),
            Format::Syslog => {
                query.extend([("format", "syslog"), ("reference", &reference)]);
                query.extend(self.year.as_deref().map(|year| ("year", year)));
                query.extend(self.options.zone.as_deref().map(|zone| ("zone", zone)));
            }
        }
        for _ in 0..TRIES_MAX {
            let path = ["v1", "topics", &self.options.topic];
            let request = self.client.request(Method::POST, &path, &query)?;
            let request = request
                .header("content-type", self.options.content_type())
                // The same for every try: a chunk that was taken unheard is known by its ids.
                .header("idempotency-key", format!("{}-{}", self.run, self.chunks))
                .body(chunk.bytes.clone());
            match self.client.send(request).map_err(|error| self.stopped(&error.to_string()))? {
                Answer::Body(body) => {
                    let taken = serde_json::from_str(&body);
                    return taken.map(Ok).map_err(|error| self.stopped(&error.to_string()));
                }
                Answer::Refused { problem, .. } if problem.bad_lines_total > 0 => {
                    return Ok(Err(problem));
                }
                Answer::Refused { status: StatusCode::NOT_FOUND, problem, .. } => {
                    let topic = &self.options.topic;
                    let hint = format!("name one that a topology reads, or add [topics.{topic}]");
                    return Err(self.stopped(&format!("{}: {hint}", problem.detail)));
                }
                Answer::Refused { status, retry_after, problem } => match retry_after {
                    Some(wait) if is_busy(status) => self.client.pause(wait),
                    Some(_) | None => return Err(self.stopped(&problem.detail)),
                },
            }
        }
        Err(self.stopped("the process is too busy"))
    }

    fn take(&mut self, taken: Taken) -> Result<(), AppError> {
        let Taken { records, token, dead_letters, skipped, year } = taken;
        self.report.records += records;
        self.report.dead_letters += dead_letters;
        self.report.skipped += skipped;
        self.year = year.or(self.year.take());
        let token: Token =
            token.parse().map_err(|error| self.stopped(&format!("its token is none: {error}")))?;
        for source in token.positions {
            let same = |one: &&mut pipeline::position::SourcePosition| {
                (&one.topic, one.partition) == (&source.topic, source.partition)
            };
            match self.token.positions.iter_mut().find(same) {
                Some(known) => *known = source,
                None => self.token.positions.push(source),
            }
        }
        Ok(())
    }

    fn name(&mut self, line: u64, reason: &str) {
        self.named += 1;
        let text = match self.named {
            ..=NAMED_MAX => format!("line {line}: {reason}"),
            named if named == NAMED_MAX + 1 => "more bad lines are counted, not named".to_owned(),
            _ => return,
        };
        // Nobody is left to tell if standard error is closed.
        self.bar.suspend(|| drop(writeln!(io::stderr(), "{text}")));
    }

    fn stopped(&self, reason: &str) -> AppError {
        let (file, taken) = (self.options.file.display(), self.report.records);
        AppError::Failed(format!("stopped after {taken} records of {file}: {reason}"))
    }

    fn per_second(&self) -> u64 {
        (self.report.records as f64 / self.clock.elapsed().as_secs_f64().max(0.001)) as u64
    }

    fn finished(self) -> Report {
        let seconds = self.clock.elapsed().as_secs_f64();
        let records_per_second = self.per_second();
        Report { seconds, records_per_second, token: self.token.to_string(), ..self.report }
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// What is read.
struct Input {
    reader: Box<dyn BufRead>,
    /// Its size in bytes, where it has one.
    size: Option<u64>,
    /// When it was last written, where that is known.
    written_ms: Option<i64>,
}

fn open(file: &Path) -> Result<Input, AppError> {
    if file == Path::new(STDIN) {
        let reader = Box::new(BufReader::new(io::stdin()));
        return Ok(Input { reader, size: None, written_ms: None });
    }
    let unreadable = |source| AppError::Read { path: file.to_owned(), source };
    let opened = File::open(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let size = metadata.is_file().then_some(metadata.len());
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.and_then(|since: Duration| i64::try_from(since.as_millis()).ok());
    let reader = Box::new(BufReader::with_capacity(1 << 16, opened));
    Ok(Input { reader, size, written_ms: modified_ms })
}

fn bar(size: Option<u64>) -> ProgressBar {
    // It shows itself on a terminal only.
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:32} {bytes}/{total_bytes} {msg} {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("a fixed template"))
}

fn random_name() -> Result<String, AppError> {
    let bytes = roles::random_bytes::<8>();
    let bytes = bytes.map_err(|source| AppError::Failed(format!("no random bytes: {source}")))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

fn summary(report: &Report, is_own: bool) -> String {
    let mut text = format!(
        "{} records into `{}` in {:.1} s ({}/s)\n",
        HumanCount(report.records),
        report.topic,
        report.seconds,
        HumanCount(report.records_per_second)
    );
    if report.bad_lines > 0 {
        text.push_str(&format!(
            "{} bad lines, {} of them in `{}-dlq`\n",
            report.bad_lines, report.dead_letters, report.topic
        ));
    }
    if report.skipped > 0 {
        text.push_str(&format!("{} blank lines and remarks passed over\n", report.skipped));
    }
    if is_own {
        text.push_str("no process runs: they are processed when one does\n");
    }
    text
}
