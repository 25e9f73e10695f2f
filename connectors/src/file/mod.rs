//! Files: follows one file through rotation and truncation.
//!
//! ```text
//! FileTail::run_once: find the file -> read a chunk -> parse -> one commit {records, position}
//! ```
//! **Records and file position are committed together**, so a crash loses and doubles nothing: what
//! is in the log says how far the file was read. Synchronous, and without a clock: [`FileThread`]
//! runs it. It does not watch directories for new names and does not read compressed files.

mod chunk;
mod found;
mod position;
mod thread;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pipeline::fail_point::{self, FailPoint};
use pipeline::log::{Commit, Log, LogError, Outcome};

use chunk::{Chunk, Cut};
use found::OpenFile;
use position::FilePosition;
pub use thread::FileThread;

use crate::counters::{Count, Counters, SourceCounters};
use crate::destination::{Gathered, Place};
use crate::parser::{Parser, ParserSettings};
use crate::positions::PositionEntry;
use crate::writer::SharedWriter;

/// Where to begin in a file of which the log knows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its first line.
    Beginning,
    /// Behind what is there: only what is written from then on. A file that is not there yet is
    /// read from its first line when it comes.
    End,
}

/// What is followed, and where its lines go.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The source's name, which its position is kept under. Unique, and stays the same.
    pub name: String,
    /// The file. A symbolic link is followed.
    pub path: PathBuf,
    /// The topic that takes its records.
    pub topic: String,
    /// What its lines are.
    pub parser: ParserSettings,
    /// Where to begin.
    pub start: Start,
    /// How many bytes are read for one commit; more than the longest line.
    pub read_bytes_max: usize,
    /// How long to wait for the file to grow, in milliseconds.
    pub poll_interval_ms: u64,
    /// How long a file that was moved away must stand still before it is left, in milliseconds:
    /// its writer goes on with it until it is told to open the new one.
    pub rotate_wait_ms: u64,
}

impl FileSettings {
    /// A file with the usual limits: 1 MiB a commit, looked at four times a second, left 5 s
    /// after its last line once it was moved away.
    pub fn new(name: &str, path: impl Into<PathBuf>, topic: &str, parser: ParserSettings) -> Self {
        Self {
            name: name.to_owned(),
            path: path.into(),
            topic: topic.to_owned(),
            start: Start::Beginning,
            read_bytes_max: (1 << 20).max(2 * parser.line_bytes_max),
            parser,
            poll_interval_ms: 250,
            rotate_wait_ms: 5_000,
        }
    }
}

/// Why a step was not made. [`FileTail::run_once`] may be called again after each of them; it goes
/// on from what the log has.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The settings cannot be.
    #[error("file source `{name}`: {reason}")]
    Settings {
        /// The source.
        name: String,
        /// What to change.
        reason: String,
    },
    /// The file or its directory cannot be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The path is a directory, a pipe or a device.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// The position in the log is of another version.
    #[error("the stored position of file source `{name}` cannot be read: {reason}")]
    Position {
        /// The source.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log refused a commit; the lines will be read again.
    #[error("the log aborted the commit: {0}")]
    Aborted(String),
    /// Another process follows the same source: stop.
    #[error("another process follows file source `{name}`: {reason}")]
    Fenced {
        /// The source.
        name: String,
        /// What the log said.
        reason: String,
    },
    /// The log cannot tell; the position will be read again.
    #[error("the log cannot tell whether the commit was made: {0}")]
    Unknown(String),
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records appended.
    pub records: u64,
    /// Dead letters appended.
    pub dead_letters: u64,
    /// Bytes of the file that were dealt with.
    pub bytes: u64,
    /// Whether to go on at once.
    pub state: FileState,
}

/// Where a file source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// There may be more to read.
    More,
    /// Everything that is there was read, save a last line without its end.
    CaughtUp,
    /// There is no file at the path.
    Missing,
}

/// Follows one file.
pub struct FileTail {
    settings: FileSettings,
    records: Place,
    dead_letters: Place,
    entry: PositionEntry,
    writer: SharedWriter,
    counters: Arc<SourceCounters>,
    parser: Parser,
    /// What the log has, once it was read.
    restored: bool,
    /// The log has a position, or there is none to note before the first lines.
    begun: bool,
    position: Option<FilePosition>,
    /// The file of `position`.
    open: Option<OpenFile>,
    /// Since when the file stands still although another one has taken its place.
    left_since_ms: Option<i64>,
    buffer: Vec<u8>,
    turn: u32,
}

impl FileTail {
    /// Takes up the source where the log says it stands. An older tail of the same name is fenced.
    ///
    /// # Errors
    /// When the settings cannot be, the topic is not there, or the log is away. The file need not
    /// be there.
    pub fn open(
        log: &Arc<dyn Log>,
        settings: FileSettings,
        counters: &Counters,
    ) -> Result<Self, FileError> {
        let line_bytes_max = settings.parser.line_bytes_max;
        // One more for the carriage return, one for the line feed, one to see that it is too long.
        if line_bytes_max == 0 || settings.read_bytes_max < line_bytes_max + 3 {
            let reason = "`read_bytes_max` must be above `line_bytes_max`, and that above 0";
            return Err(FileError::Settings { name: settings.name, reason: reason.into() });
        }
        let mut tail = Self {
            records: Place::find(&**log, &settings.topic)?,
            dead_letters: Place::dead_letters(&**log, &settings.topic)?,
            entry: PositionEntry::open(Arc::clone(log), settings.name.clone())?,
            writer: SharedWriter::open(Arc::clone(log), format!("file-{}", settings.name))?,
            counters: counters.source(&format!("file:{}", settings.name)),
            parser: Parser::new(settings.parser.clone()),
            restored: false,
            begun: false,
            position: None,
            open: None,
            left_since_ms: None,
            buffer: Vec::new(),
            turn: 0,
            settings,
        };
        tail.restore()?;
        Ok(tail)
    }

    /// Reads what is there, at most `read_bytes_max`, and commits it.
    ///
    /// # Errors
    /// See [`FileError`]. Nothing of the step is in the log, or ([`FileError::Unknown`]) all of it
    /// may be; the next call finds out.
    pub fn run_once(&mut self, now_ms: i64) -> Result<Progress, FileError> {
        if !self.restored {
            self.restore()?;
        }
        if !self.begun {
            self.begin_at_end(now_ms)?;
        }
        let Some((file, position)) = self.current()? else {
            return Ok(idle(FileState::Missing));
        };
        let size = file.size()?;
        if size < position.offset || (size > position.offset && !position.is_start_of(&file)?) {
            self.truncated(&position);
            return Ok(idle(FileState::More));
        }
        file.read_at(position.offset, self.settings.read_bytes_max, &mut self.buffer)?;
        let progress = self.step(&file, &position, Cut::AfterLastEnd, now_ms)?;
        if let Some(progress) = progress {
            self.left_since_ms = None;
            return Ok(progress);
        }
        self.at_end(&file, &position, now_ms)
    }

    /// Takes the position from the log: at the start, and when the log could not tell.
    fn restore(&mut self) -> Result<(), FileError> {
        self.writer.renew()?;
        let stored = self.entry.last()?;
        self.begun = stored.is_some() || self.settings.start == Start::Beginning;
        self.position = stored
            .map(|bytes| FilePosition::decode(&bytes))
            .transpose()
            .map_err(|reason| FileError::Position { name: self.settings.name.clone(), reason })?;
        self.parser = Parser::new(self.settings.parser.clone());
        if let Some(year) = self.position.as_ref().and_then(|position| position.year) {
            self.parser.resume(year);
        }
        self.open = None;
        self.restored = true;
        Ok(())
    }

    /// Notes in the log that what is there is passed over, so that a crash before the first lines
    /// does not pass over those as well.
    fn begin_at_end(&mut self, now_ms: i64) -> Result<(), FileError> {
        let position = match OpenFile::open(&self.settings.path)? {
            Some(file) => FilePosition::end_of(&file, self.parser.year())?,
            None => FilePosition::nowhere(self.parser.year()),
        };
        let mut commit = Commit::default();
        self.entry.set(&mut commit, &position.encode(&self.settings.path), now_ms);
        self.commit(commit)?;
        self.position = Some(position);
        self.begun = true;
        Ok(())
    }

    /// The file that is read now and the place in it; `None` if there is no file at all.
    fn current(&mut self) -> Result<Option<(OpenFile, FilePosition)>, FileError> {
        if let (Some(file), Some(position)) = (&self.open, &self.position) {
            return Ok(Some((file.clone(), position.clone())));
        }
        let path = &self.settings.path;
        let old = match &self.position {
            Some(position) => found::locate(path, position)?.map(|file| (file, position.clone())),
            None => None,
        };
        let found = match old {
            Some(found) => found,
            None => {
                let Some(file) = OpenFile::open(path)? else { return Ok(None) };
                if let Some(old) = self.position.as_ref().filter(|old| !old.is_nowhere()) {
                    self.report_gone(old, &file);
                }
                let fresh = FilePosition::start_of(&file, self.parser.year());
                (file, fresh)
            }
        };
        self.open = Some(found.0.clone());
        self.position = Some(found.1.clone());
        Ok(Some(found))
    }

    fn report_gone(&self, old: &FilePosition, new: &OpenFile) {
        let (count, what) = if old.is_inode_of(new) {
            (Count::Truncated, "the file was truncated: reading it from its start")
        } else {
            (Count::Lost, "the file that was read is gone: lines at its end may be lost")
        };
        self.counters.add(count, 1);
        tracing::warn!(source = %self.settings.name, path = %self.settings.path.display(),
            offset = old.offset, "{what}");
    }

    /// The file has become shorter, or another one under the same handle. If its lines were copied
    /// away before (logrotate's `copytruncate`), the copy is read to its end; otherwise what was
    /// not read of it is gone.
    fn truncated(&mut self, position: &FilePosition) {
        self.counters.add(Count::Truncated, 1);
        tracing::warn!(source = %self.settings.name, path = %self.settings.path.display(),
            offset = position.offset, "the file was truncated");
        // Neither the copy nor the beginning is a place that the log has: it stays as it is there
        // until lines are committed. `locate` looks at the copies.
        self.open = None;
        match found::locate(&self.settings.path, position) {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => self.position = None,
        }
    }

    /// Nothing to read. If another file has taken the path, this one is left once it has stood
    /// still for long enough; what is there of a last line becomes a line.
    fn at_end(
        &mut self,
        file: &OpenFile,
        position: &FilePosition,
        now_ms: i64,
    ) -> Result<Progress, FileError> {
        let Some(at_path) = OpenFile::open(&self.settings.path)? else {
            return Ok(idle(FileState::CaughtUp));
        };
        if at_path.is_same(file) {
            return Ok(idle(FileState::CaughtUp));
        }
        let since_ms = *self.left_since_ms.get_or_insert(now_ms);
        let waited_ms = now_ms.saturating_sub(since_ms).max(0).unsigned_abs();
        if waited_ms < self.settings.rotate_wait_ms {
            return Ok(idle(FileState::CaughtUp));
        }
        if file.size()? > position.offset + self.buffer.len() as u64 {
            return Ok(idle(FileState::More));
        }
        let next = found::successor(&self.settings.path, file)?.unwrap_or(at_path);
        let progress = self.step(file, position, Cut::AtEnd(next.clone()), now_ms)?;
        self.counters.add(Count::Rotated, 1);
        self.left_since_ms = None;
        self.open = Some(next);
        Ok(progress.unwrap_or(idle(FileState::More)))
    }

    /// Parses what is in the buffer and commits it with the position after it. `None` if there is
    /// nothing to commit.
    fn step(
        &mut self,
        file: &OpenFile,
        position: &FilePosition,
        cut: Cut,
        now_ms: i64,
    ) -> Result<Option<Progress>, FileError> {
        self.turn = self.turn.wrapping_add(1);
        let dead_letters = Some(self.dead_letters.clone());
        let mut chunk = Chunk {
            parser: self.parser.clone(),
            gathered: Gathered::new(self.records.clone(), dead_letters, self.turn),
            position: position.clone(),
            source: &self.settings.path.to_string_lossy(),
            reference_ms: file.modified_ms()?.min(now_ms),
            now_ms,
            tally: Vec::new(),
        };
        let bytes = chunk.read(&self.buffer, &cut) as u64;
        let next = match cut {
            Cut::AfterLastEnd if bytes == 0 => return Ok(None),
            Cut::AfterLastEnd => chunk.position.after(file, chunk.parser.year())?,
            Cut::AtEnd(next) => FilePosition::start_of(&next, chunk.parser.year()),
        };
        let Chunk { parser, gathered, tally, .. } = chunk;
        let (records, dead_letters) = gathered.counts();
        let mut commit = gathered.into_commit();
        self.entry.set(&mut commit, &next.encode(&self.settings.path), now_ms);
        fail_point::pass(FailPoint::FileBeforeCommit);
        self.commit(commit)?;
        fail_point::pass(FailPoint::FileAfterCommit);
        self.parser = parser;
        self.position = Some(next);
        self.counters.add(Count::Records, records);
        self.counters.add(Count::DeadLetters, dead_letters);
        for count in tally {
            self.counters.add(count, 1);
        }
        Ok(Some(Progress { records, dead_letters, bytes, state: FileState::More }))
    }

    fn commit(&mut self, commit: Commit) -> Result<(), FileError> {
        let underway = self.writer.commit(commit)?;
        match self.writer.wait(underway) {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Aborted(reason) => {
                self.counters.add(Count::Aborted, 1);
                Err(FileError::Aborted(reason))
            }
            Outcome::Fenced(reason) => {
                Err(FileError::Fenced { name: self.settings.name.clone(), reason })
            }
            Outcome::Unknown(reason) => {
                self.counters.add(Count::Unknown, 1);
                self.restored = false;
                Err(FileError::Unknown(reason))
            }
        }
    }
}

fn idle(state: FileState) -> Progress {
    Progress { records: 0, dead_letters: 0, bytes: 0, state }
}

#[cfg(test)]
mod tests;
