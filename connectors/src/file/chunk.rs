//! A chunk of a file into records and dead letters. Pure: the bytes were read by somebody else.

use super::found::OpenFile;
use super::position::FilePosition;
use crate::counters::Count;
use crate::destination::{DeadLetter, Gathered};
use crate::parser::{Arrival, LineError, Parsed, Parser, without_return};

/// Where a chunk ends.
pub(super) enum Cut {
    /// After its last line end: the rest waits.
    AfterLastEnd,
    /// At its end, which is the end of the file: the next one follows.
    AtEnd(OpenFile),
}

/// One chunk on its way into a commit.
pub(super) struct Chunk<'a> {
    pub(super) parser: Parser,
    pub(super) gathered: Gathered,
    /// Moves along.
    pub(super) position: FilePosition,
    pub(super) source: &'a str,
    pub(super) reference_ms: i64,
    pub(super) now_ms: i64,
    /// What is to be counted once the commit is made.
    pub(super) tally: Vec<Count>,
}

impl Chunk<'_> {
    /// Reads the lines in `bytes`, which lie at the position. Returns how many bytes were used.
    pub(super) fn read(&mut self, bytes: &[u8], cut: &Cut) -> usize {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            self.line(line);
            self.advance(end + 1);
            self.position.line += 1;
            self.position.in_long_line = false;
            rest = after;
        }
        let is_last = matches!(cut, Cut::AtEnd(_));
        // The carriage return may be there already, and is not part of the line.
        let is_too_long = rest.len() > self.parser.line_bytes_max() + 1;
        if !rest.is_empty() && (is_last || is_too_long || self.position.in_long_line) {
            self.line(rest);
            self.advance(rest.len());
            self.position.in_long_line = !is_last;
            rest = &[];
        }
        bytes.len() - rest.len()
    }

    fn advance(&mut self, bytes: usize) {
        self.position.offset += bytes as u64;
    }

    /// One line, or as much of a long one as there is. The rest of a long one is passed over: its
    /// beginning went to the dead letters.
    fn line(&mut self, line: &[u8]) {
        if self.position.in_long_line {
            return;
        }
        let line = without_return(line);
        let arrival = Arrival { reference_ms: self.reference_ms, host: None };
        match self.parser.parse(line, &arrival) {
            Ok(Parsed::Record(record)) => {
                if record.lossy {
                    self.tally.push(Count::InvalidUtf8);
                }
                let timestamp_ms = record.timestamp_ms.unwrap_or(self.now_ms);
                self.gathered.push(&record, timestamp_ms, &[]);
            }
            Ok(Parsed::Skipped(skipped)) => self.tally.push(skipped.count()),
            Err(reason) => self.dead_letter(line, &reason),
        }
    }

    fn dead_letter(&mut self, line: &[u8], reason: &LineError) {
        let mut kept = line;
        if let LineError::TooLong { limit, .. } = reason {
            self.tally.push(Count::LineTooLong);
            kept = &line[..*limit];
            tracing::warn!(path = self.source, offset = self.position.offset, "{reason}");
        }
        self.gathered.push_dead_letter(&DeadLetter {
            line: kept,
            reason: &reason.to_string(),
            source: self.source,
            offset: Some(self.position.offset),
            timestamp_ms: self.now_ms,
        });
    }
}
