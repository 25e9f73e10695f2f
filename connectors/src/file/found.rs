//! Files on disk: opening them, and finding again the one that a position lies in.
//!
//! Reads directories and bytes; decides nothing about records.

use std::ffi::OsStr;
use std::fs::{File, Metadata, read_dir};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FileError;
use super::position::FilePosition;

/// An open regular file. It stays the same file when its path is given to another.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    file: Arc<File>,
    path: PathBuf,
    identity: (u64, u64),
}

impl OpenFile {
    /// Opens `path`; `None` if nothing is there.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, FileError> {
        let failed = |error| FileError::Io { path: path.to_owned(), error };
        // A pipe would make `open` wait for a writer, so its kind is looked at first.
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(FileError::NotAFile(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Some(Self { file: Arc::new(file), path: path.to_owned(), identity }))
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Whether both are one file on disk.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// How many bytes it has now.
    pub(super) fn size(&self) -> Result<u64, FileError> {
        Ok(self.metadata()?.len())
    }

    /// When it was last written, in milliseconds since 1970.
    pub(super) fn modified_ms(&self) -> Result<i64, FileError> {
        let metadata = self.metadata()?;
        Ok(metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000))
    }

    /// Fills `buffer` with the bytes from `offset` on: `length` of them, or as many as there are.
    pub(super) fn read_at(
        &self,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        buffer.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::Io { path: self.path.clone(), error }),
            }
        }
        buffer.truncate(filled);
        Ok(())
    }

    fn metadata(&self) -> Result<Metadata, FileError> {
        self.file.metadata().map_err(|error| FileError::Io { path: self.path.clone(), error })
    }
}

/// Finds the file that `position` lies in: at `path`, under another name in the same directory
/// (rotation), or as a copy under a rotated name (`copytruncate`).
pub(super) fn locate(path: &Path, position: &FilePosition) -> Result<Option<OpenFile>, FileError> {
    if let Some(file) = OpenFile::open(path)?
        && position.is_place_in(&file)?
    {
        return Ok(Some(file));
    }
    let mut copy = None;
    for (candidate, is_rotated) in siblings(path)? {
        let Some(file) = open_readable(&candidate) else { continue };
        if position.is_place_in(&file)? {
            return Ok(Some(file));
        }
        let may_be_copy = is_rotated && position.has_fingerprint() && copy.is_none();
        if may_be_copy && position.may_be_place_in_copy(&file)? {
            copy = Some(file);
        }
    }
    Ok(copy)
}

/// The oldest rotated file that is younger than `file`: what is to be read next, if several
/// rotations have happened. `None` if that is the one at `path`.
pub(super) fn successor(path: &Path, file: &OpenFile) -> Result<Option<OpenFile>, FileError> {
    let at = modified(&file.metadata()?);
    let mut next: Option<((i64, i64), OpenFile)> = None;
    for (candidate, is_rotated) in siblings(path)? {
        let Some(candidate) = is_rotated.then(|| open_readable(&candidate)).flatten() else {
            continue;
        };
        let younger = modified(&candidate.metadata()?);
        let is_next = next.as_ref().is_none_or(|(best, _)| younger < *best);
        if younger > at && is_next && !candidate.is_same(file) {
            next = Some((younger, candidate));
        }
    }
    Ok(next.map(|(_, file)| file))
}

fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// A file next to ours that cannot be opened is not ours to complain about.
fn open_readable(path: &Path) -> Option<OpenFile> {
    OpenFile::open(path).ok().flatten()
}

/// The other files of the directory, and whether their names are those of rotated files.
fn siblings(path: &Path) -> Result<impl Iterator<Item = (PathBuf, bool)>, FileError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let entries = match read_dir(directory) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(FileError::Io { path: directory.to_owned(), error }),
    };
    let name = path.file_name().unwrap_or_default().to_owned();
    Ok(entries.into_iter().flatten().filter_map(Result::ok).filter_map(move |entry| {
        let other = entry.file_name();
        (other != name).then(|| (entry.path(), is_rotated_name(&name, &other)))
    }))
}

/// `auth.log.1`, `auth.log-20261121`, `auth.log.2026-11-21T13`: the name, a mark, and digits. Not
/// `auth.log.1.gz`, whose lines cannot be read, nor `auth.log.swp`.
fn is_rotated_name(name: &OsStr, other: &OsStr) -> bool {
    let suffix = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
    let Some([b'.' | b'-', digits @ ..]) = suffix else { return false };
    digits.first().is_some_and(u8::is_ascii_digit)
        && digits.iter().all(|byte| byte.is_ascii_digit() || b".-_T".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_have_digits_behind_the_name() {
        let is = |other: &str| is_rotated_name(OsStr::new("a.log"), OsStr::new(other));
        for other in ["a.log.1", "a.log.10", "a.log-20261121", "a.log.2026-11-21T13"] {
            assert!(is(other), "{other}");
        }
        for other in ["a.log", "a.log.1.gz", "a.log.swp", "a.log2", "b.log.1", "a.log.", "a.log-"] {
            assert!(!is(other), "{other}");
        }
    }
}
