//! Where a file was read to, and how to know the file again. **Format**, version 1: JSON.
//!
//! Pure but for reading a file's first bytes. An inode alone is no identity: it is given to the
//! next file as soon as the first is gone.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::FileError;
use super::found::OpenFile;
use crate::syslog::Year;

/// A file is known by its first bytes, at most so many.
const FINGERPRINT_BYTES_MAX: u64 = 256;
const VERSION: u8 = 1;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePosition {
    device: u64,
    inode: u64,
    fingerprint: u64,
    /// How many bytes the fingerprint was made of: no more than have been read, so that the file
    /// has them still when it has grown.
    fingerprint_bytes: u64,
    /// Everything before it has been dealt with.
    pub(super) offset: u64,
    /// How many lines that was.
    pub(super) line: u64,
    /// Whether `offset` lies inside a line that is too long, whose rest is passed over.
    pub(super) in_long_line: bool,
    /// The year that the lines have come to.
    pub(super) year: Option<Year>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u8,
    path: String,
    device: u64,
    inode: u64,
    /// Hexadecimal: JSON readers round large numbers.
    fingerprint: String,
    fingerprint_bytes: u64,
    offset: u64,
    line: u64,
    in_long_line: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    year: Option<String>,
}

impl FilePosition {
    /// The beginning of `file`.
    pub(super) fn start_of(file: &OpenFile, year: Option<Year>) -> Self {
        let (device, inode) = file.identity();
        Self {
            device,
            inode,
            fingerprint: fnv1a(&[]),
            fingerprint_bytes: 0,
            offset: 0,
            line: 0,
            in_long_line: false,
            year,
        }
    }

    /// The end of `file`. A line whose end has not been written yet is passed over as well.
    pub(super) fn end_of(file: &OpenFile, year: Option<Year>) -> Result<Self, FileError> {
        let offset = file.size()?;
        let mut last = Vec::new();
        if let Some(before) = offset.checked_sub(1) {
            file.read_at(before, 1, &mut last)?;
        }
        let in_long_line = last.last().is_some_and(|byte| *byte != b'\n');
        Self { offset, in_long_line, ..Self::start_of(file, year) }.after(file, year)
    }

    /// Before the beginning of a file that is not there yet.
    pub(super) fn nowhere(year: Option<Year>) -> Self {
        Self {
            device: 0,
            inode: 0,
            fingerprint: fnv1a(&[]),
            fingerprint_bytes: 0,
            offset: 0,
            line: 0,
            in_long_line: false,
            year,
        }
    }

    /// Whether this is before the beginning of a file that was not there.
    pub(super) fn is_nowhere(&self) -> bool {
        (self.device, self.inode, self.offset) == (0, 0, 0)
    }

    /// This place, to be stored: with the fingerprint of as much as has been read.
    pub(super) fn after(self, file: &OpenFile, year: Option<Year>) -> Result<Self, FileError> {
        let (device, inode) = file.identity();
        let position = Self { device, inode, year, ..self };
        let bytes = position.offset.min(FINGERPRINT_BYTES_MAX);
        if bytes == position.fingerprint_bytes {
            return Ok(position);
        }
        let fingerprint = fingerprint(file, bytes)?;
        Ok(Self { fingerprint, fingerprint_bytes: bytes, ..position })
    }

    /// Whether `file` begins as the file of this place did.
    pub(super) fn is_start_of(&self, file: &OpenFile) -> Result<bool, FileError> {
        Ok(fingerprint(file, self.fingerprint_bytes)? == self.fingerprint)
    }

    /// Whether `file` lies where the file of this place did.
    pub(super) fn is_inode_of(&self, file: &OpenFile) -> bool {
        file.identity() == (self.device, self.inode)
    }

    /// Whether `file` is the file of this place, and has not become shorter. The device's number is
    /// not asked when the bytes tell: it changes when a machine starts anew.
    pub(super) fn is_place_in(&self, file: &OpenFile) -> Result<bool, FileError> {
        let same = match self.fingerprint_bytes {
            0 => self.is_inode_of(file),
            _ => file.identity().1 == self.inode,
        };
        Ok(same && self.may_be_place_in_copy(file)?)
    }

    /// Whether `file` begins as the file of this place did, and is long enough.
    pub(super) fn may_be_place_in_copy(&self, file: &OpenFile) -> Result<bool, FileError> {
        Ok(file.size()? >= self.offset && self.is_start_of(file)?)
    }

    /// Whether anything is known of the file's bytes.
    pub(super) fn has_fingerprint(&self) -> bool {
        self.fingerprint_bytes > 0
    }

    /// The bytes to store; `path` is for whoever reads them.
    pub(super) fn encode(&self, path: &Path) -> Vec<u8> {
        let stored = Stored {
            version: VERSION,
            path: path.to_string_lossy().into_owned(),
            device: self.device,
            inode: self.inode,
            fingerprint: format!("{:016x}", self.fingerprint),
            fingerprint_bytes: self.fingerprint_bytes,
            offset: self.offset,
            line: self.line,
            in_long_line: self.in_long_line,
            year: self.year.map(|year| year.to_string()),
        };
        serde_json::to_vec(&stored).expect("texts and numbers always have a JSON form")
    }

    /// Reads stored bytes; a text says why they cannot be read.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if stored.version != VERSION {
            return Err(format!("version {} is not known", stored.version));
        }
        let fingerprint = u64::from_str_radix(&stored.fingerprint, 16);
        let year = stored.year.map(|year| year.parse()).transpose();
        Ok(Self {
            device: stored.device,
            inode: stored.inode,
            fingerprint: fingerprint.map_err(|error| format!("fingerprint: {error}"))?,
            fingerprint_bytes: stored.fingerprint_bytes.min(FINGERPRINT_BYTES_MAX),
            offset: stored.offset,
            line: stored.line,
            in_long_line: stored.in_long_line,
            year: year.map_err(|error: crate::syslog::YearError| error.to_string())?,
        })
    }
}

fn fingerprint(file: &OpenFile, bytes: u64) -> Result<u64, FileError> {
    let length = usize::try_from(bytes).expect("a fingerprint is made of 256 bytes at most");
    let mut first = Vec::new();
    file.read_at(0, length, &mut first)?;
    Ok(fnv1a(&first))
}

/// FNV-1a: enough to tell apart files that nobody has made to look alike.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
