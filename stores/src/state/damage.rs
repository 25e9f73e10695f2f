//! State that is damaged: found out, and thrown away.
//!
//! State follows the log, so there is nothing to repair: it is made again. What an opening meets is
//! mended at once. What a read or a write meets later cannot be, because others use the database:
//! a mark is left beside it, and the next opening begins with an empty directory.
//!
//! It decides nothing about a disk that is full or away: there a rebuild would not help.

use std::fs;
use std::path::Path;

use rocksdb::{Error, ErrorKind};

use super::{StateDb, StateError};

/// Says that the directory is to be thrown away, and why.
const MARK: &str = "DAMAGED";

/// Opens with `open`; if what is in `path` is damaged, throws it away and opens again.
pub(super) fn open(
    path: &Path,
    open: impl Fn() -> Result<StateDb, StateError>,
) -> Result<StateDb, StateError> {
    let reason = match found(path) {
        Some(reason) => reason,
        None => match open() {
            Err(StateError::Damaged { reason, .. }) => reason,
            opened => return opened,
        },
    };
    let path_text = path.display().to_string();
    tracing::warn!(path = path_text, reason, "the state is damaged: rebuilding it from the log");
    fs::remove_dir_all(path)
        .map_err(|error| StateError::Open { path: path_text, reason: error.to_string() })?;
    let mut opened = open()?;
    opened.rebuilt = Some(reason);
    Ok(opened)
}

/// What can be seen without opening: a mark, or files without the one that leads to them. Without
/// that one RocksDB would begin afresh in silence.
fn found(path: &Path) -> Option<String> {
    if let Ok(reason) = fs::read_to_string(path.join(MARK)) {
        return Some(reason);
    }
    let is_data = |name: &str| name.starts_with("MANIFEST-") || name.ends_with(".sst");
    let has_data = || {
        let mut names = fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name());
        names.find(|name| name.to_str().is_some_and(is_data))
    };
    let is_headless = !path.join("CURRENT").exists() && has_data().is_some();
    is_headless.then(|| "the file CURRENT is missing".to_owned())
}

/// Has the next opening of `path` throw it away.
pub(super) fn mark(path: &Path, reason: &str) {
    if path.is_dir()
        && let Err(error) = fs::write(path.join(MARK), reason)
    {
        let path = path.display();
        tracing::error!(%path, %error, "cannot mark the state as damaged: remove the directory");
    }
}

/// Whether `error` is about the bytes, not about the disk.
pub(super) fn is_damage(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::NotFound => true,
        // A file that another one names.
        ErrorKind::IOError => error.to_string().contains("No such file or directory"),
        _ => false,
    }
}
