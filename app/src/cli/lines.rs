//! A file in chunks of whole lines, each small enough for one request. Memory is bounded whatever
//! the file holds.

use std::io::{self, BufRead, Read as _};

/// A chunk is closed at the first of these.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_LINES: u64 = 10_000;
/// A longer line is left out: no log takes it.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// Whole lines, with their ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// The number of each line in the file, from 1: those left out are missing.
    pub(super) numbers: Vec<u64>,
    /// The lines that were left out because they are too long.
    pub(super) too_long: Vec<u64>,
    /// Bytes of the file that were read for it.
    pub(super) read: u64,
}

/// Reads chunks.
pub(super) struct Chunks<R> {
    reader: R,
    line: u64,
}

impl<R: BufRead> Chunks<R> {
    /// The chunks of `reader`.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: 0 }
    }

    /// The next chunk; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        while chunk.bytes.len() < CHUNK_BYTES && (chunk.numbers.len() as u64) < CHUNK_LINES {
            let start = chunk.bytes.len();
            let read = self.line(&mut chunk.bytes)?;
            if read == 0 {
                break;
            }
            self.line += 1;
            chunk.read += read;
            let length = chunk.bytes.len() - start;
            if read == length as u64 {
                chunk.numbers.push(self.line);
            } else {
                chunk.bytes.truncate(start);
                chunk.too_long.push(self.line);
            }
        }
        Ok(Some(chunk).filter(|chunk| chunk.read > 0))
    }

    /// Reads a line into `bytes`, or passes over one that is too long. Says how long it was.
    fn line(&mut self, bytes: &mut Vec<u8>) -> io::Result<u64> {
        let limit = LINE_BYTES_MAX as u64 + 1;
        let mut read = self.reader.by_ref().take(limit).read_until(b'\n', bytes)? as u64;
        if read == limit && bytes.last() != Some(&b'\n') {
            read += self.pass_over()?;
            // Whatever the rest was, the line is longer than what was kept.
            read = read.max(limit + 1);
        }
        Ok(read)
    }

    fn pass_over(&mut self) -> io::Result<u64> {
        let mut passed = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(buffer.len(), |end| end + 1);
            let is_last = end.is_some() || buffer.is_empty();
            self.reader.consume(length);
            passed += length as u64;
            if is_last {
                return Ok(passed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Chunk> {
        let mut chunks = Chunks::new(io::BufReader::with_capacity(1000, bytes));
        std::iter::from_fn(|| chunks.next().unwrap()).collect()
    }

    #[test]
    fn lines_stay_whole_and_keep_their_numbers() {
        let text: String = (0..25_000).map(|n| format!("line {n}\n")).collect::<String>() + "last";
        let chunks = all(text.as_bytes());
        let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
        assert_eq!(joined, text.as_bytes());
        let numbers: Vec<u64> = chunks.iter().flat_map(|chunk| chunk.numbers.clone()).collect();
        assert_eq!(numbers, (1..=25_001).collect::<Vec<u64>>());
        assert_eq!(chunks.len(), 3);
        assert!(chunks[..2].iter().all(|chunk| chunk.bytes.ends_with(b"\n")));
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_named() {
        let mut text = b"one\n".to_vec();
        text.extend(vec![b'x'; LINE_BYTES_MAX + 5000]);
        text.extend_from_slice(b"\nthree\n");
        let chunks = all(&text);
        assert_eq!(chunks[0].bytes, b"one\nthree\n");
        assert_eq!((&*chunks[0].numbers, &*chunks[0].too_long), (&[1, 3][..], &[2][..]));
        assert_eq!(chunks[0].read, text.len() as u64);
    }

    #[test]
    fn a_line_of_just_the_limit_is_taken() {
        let mut text = vec![b'x'; LINE_BYTES_MAX];
        text.push(b'\n');
        assert_eq!(all(&text)[0].numbers, [1]);
    }

    #[test]
    fn nothing_has_no_chunk() {
        assert!(all(b"").is_empty());
    }
}
