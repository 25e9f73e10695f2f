//! The data directory: one process has it, and says in its lock file who that is.
//!
//! ```text
//! <data_dir>/millpond.lock   locked while a process runs; pid, address and admin key as JSON
//!            log/            the embedded log
//!            state/          the state of all topologies
//!            views/          one index per view
//!            instance        on Kafka: what tells this process from others, made once
//! ```
//! It does not know what lies in the folders.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const LOCK: &str = "millpond.lock";
const INSTANCE: &str = "instance";
/// Below this a disk is taken for full: the log and the state could not even be opened.
const FREE_BYTES_MIN: u64 = 16 << 20;
const KEY_BYTES: usize = 32;

/// A data directory that is this process's.
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// Locked as long as it is open.
    lock: File,
    holder: Holder,
}

/// The process that has a data directory.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Its process id.
    pub(crate) pid: u32,
    /// Where it listens, once it does.
    pub(crate) address: Option<SocketAddr>,
    /// What the admin API asks for.
    pub(crate) admin_key: String,
    /// When it started, milliseconds since 1970-01-01 UTC.
    pub(crate) started_ms: i64,
    /// Its version.
    pub(crate) version: String,
}

/// What stands behind a path.
pub(crate) enum Found {
    /// No data.
    Nothing,
    /// Data that nobody has open.
    Free,
    /// Data that this process has open.
    Held(Holder),
}

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// Another process has it.
    #[error(
        "`{path}` is in use by process {holder}: stop it, or choose another directory with \
         --data-dir",
        path = path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// Its pid and address.
        holder: String,
    },
    /// The disk, or the permissions, are in the way.
    #[error("cannot {doing} `{path}`: {source}", path = path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nearly nothing can be written.
    #[error(
        "the disk of `{path}` is full: {free_bytes} bytes are free, {FREE_BYTES_MIN} are needed; \
         make room, or choose another directory with --data-dir",
        path = path.display()
    )]
    Full {
        /// The directory.
        path: PathBuf,
        /// What is left.
        free_bytes: u64,
    },
}

impl DataDirectory {
    /// Takes `path` for this process, making it if it is not there.
    ///
    /// # Errors
    /// When another process has it, it cannot be written, or its disk is full.
    pub(crate) fn lock(path: &Path, now_ms: i64) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(disk("make the data directory", path))?;
        let at = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&at)
            .map_err(disk("write", &at))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(disk("lock", &at)(source)),
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&at)
                    .map_or_else(|| "that is starting".to_owned(), |holder| describe(&holder));
                return Err(DirectoryError::Held { path: path.to_owned(), holder });
            }
        }
        check_space(path)?;
        let holder = Holder {
            pid: std::process::id(),
            address: None,
            admin_key: random_key().map_err(disk("read", Path::new(RANDOM)))?,
            started_ms: now_ms,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let directory = Self { path: path.to_owned(), lock, holder };
        directory.write_holder()?;
        Ok(directory)
    }

    /// Says where this process can be reached.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub(crate) fn announce(&mut self, address: SocketAddr) -> Result<(), DirectoryError> {
        self.holder.address = Some(address);
        self.write_holder()
    }

    /// This process, as others see it.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The name that this directory gives to its process, made at the first start: state and name
    /// belong together, so that a process that comes back finds both.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn instance(&self) -> Result<String, DirectoryError> {
        let at = self.path.join(INSTANCE);
        match fs::read_to_string(&at) {
            Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(disk("read", &at)(source));
            }
            Ok(_) | Err(_) => {}
        }
        let key = random_key().map_err(disk("read", Path::new(RANDOM)))?;
        let name: String = key.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        // Whole or not at all: a half-written name would be another one.
        let new = self.path.join("instance.new");
        fs::write(&new, &name).and_then(|()| fs::rename(&new, &at)).map_err(disk("write", &at))?;
        Ok(name)
    }

    /// The folder of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The folder of the state.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The folder of the views.
    pub(crate) fn views(&self) -> PathBuf {
        self.path.join("views")
    }

    /// Writes over what stands there in one call: a reader sees the old text or the new one.
    fn write_holder(&self) -> Result<(), DirectoryError> {
        let at = self.path.join(LOCK);
        let mut text = serde_json::to_vec(&self.holder).expect("texts and numbers are JSON");
        text.push(b'\n');
        let written = self
            .lock
            .write_all_at(&text, 0)
            .and_then(|()| self.lock.set_len(text.len() as u64))
            .and_then(|()| (&self.lock).flush());
        written.map_err(disk("write", &at))
    }
}

/// Looks who has `path`.
///
/// # Errors
/// When the lock file cannot be opened.
pub(crate) fn find(path: &Path) -> Result<Found, DirectoryError> {
    let at = path.join(LOCK);
    let lock = match File::open(&at) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(source) => return Err(disk("read", &at)(source)),
    };
    match lock.try_lock_shared() {
        Ok(()) if path.join("log").is_dir() => Ok(Found::Free),
        Ok(()) => Ok(Found::Nothing),
        Err(TryLockError::Error(source)) => Err(disk("lock", &at)(source)),
        Err(TryLockError::WouldBlock) => match read_holder(&at) {
            Some(holder) => Ok(Found::Held(holder)),
            None => {
                let holder = "that is starting".to_owned();
                Err(DirectoryError::Held { path: path.to_owned(), holder })
            }
        },
    }
}

fn read_holder(at: &Path) -> Option<Holder> {
    // What follows the first line is the rest of a longer text that is being replaced.
    let text = fs::read_to_string(at).ok()?;
    serde_json::from_str(text.lines().next()?).ok()
}

fn describe(holder: &Holder) -> String {
    match holder.address {
        Some(address) => format!("{} at http://{address}", holder.pid),
        None => format!("{}, which is starting", holder.pid),
    }
}

fn disk<'p>(doing: &'static str, path: &'p Path) -> impl Fn(io::Error) -> DirectoryError + 'p {
    move |source| DirectoryError::Disk { doing, path: path.to_owned(), source }
}

fn check_space(path: &Path) -> Result<(), DirectoryError> {
    let Ok(space) = rustix::fs::statvfs(path) else { return Ok(()) };
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    // Some file systems know no sizes and say 0 of everything.
    if space.f_blocks > 0 && free_bytes < FREE_BYTES_MIN {
        return Err(DirectoryError::Full { path: path.to_owned(), free_bytes });
    }
    Ok(())
}

const RANDOM: &str = "/dev/urandom";

/// Bytes that nobody can guess.
///
/// # Errors
/// When the system has none.
pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A key that nobody can guess, in hexadecimal.
fn random_key() -> io::Result<String> {
    Ok(random_bytes::<KEY_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_pid_and_address() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = DataDirectory::lock(dir.path(), 7).unwrap();
        first.announce("127.0.0.1:8080".parse().unwrap()).unwrap();
        let error = DataDirectory::lock(dir.path(), 8).err().unwrap().to_string();
        let holder = format!("process {} at http://127.0.0.1:8080", std::process::id());
        assert!(error.contains(&holder), "{error}");
    }

    #[test]
    fn what_is_held_is_found_with_its_key_and_what_is_left_is_free() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(find(dir.path()).unwrap(), Found::Nothing));
        let first = DataDirectory::lock(dir.path(), 7).unwrap();
        fs::create_dir(first.log()).unwrap();
        let Found::Held(holder) = find(dir.path()).unwrap() else { panic!("it is held") };
        assert_eq!(holder.admin_key, first.holder().admin_key);
        assert_eq!((holder.admin_key.len(), holder.started_ms), (2 * KEY_BYTES, 7));
        drop(first);
        assert!(matches!(find(dir.path()).unwrap(), Found::Free));
    }

    #[test]
    fn the_key_is_for_the_owner_alone_and_new_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let key = DataDirectory::lock(dir.path(), 0).unwrap().holder().admin_key.clone();
        let mode = fs::metadata(dir.path().join(LOCK)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(DataDirectory::lock(dir.path(), 0).unwrap().holder().admin_key, key);
    }

    #[test]
    fn a_directory_that_cannot_be_is_named_with_the_cause() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDirectory::lock(&file.join("data"), 0).err().unwrap().to_string();
        assert!(error.contains("cannot make the data directory"), "{error}");
        assert!(error.contains("file/data"), "{error}");
    }
}
