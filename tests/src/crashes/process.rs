//! A Millpond process: started, asked, killed.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use stores::clock::{Clock as _, SystemClock};
use stores::fail_point::{Armed, VARIABLE};

use super::http::{Request, ask};

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(3);

/// What starts a process.
#[derive(Clone, Debug)]
pub struct Start {
    /// The binary.
    pub binary: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// The data directory that the configuration names.
    pub data_dir: PathBuf,
    /// Where its messages go; they are appended.
    pub messages: PathBuf,
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    start: Start,
}

/// Whom to ask, and with which key.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its admin API asks for.
    pub admin_key: String,
}

/// What the lock file says.
#[derive(Deserialize)]
struct LockFile {
    pid: u32,
    address: Option<SocketAddr>,
    admin_key: String,
}

impl Start {
    /// Starts the process, armed to kill itself at `armed`.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn process(&self, armed: Option<Armed>) -> anyhow::Result<Process> {
        self.process_in(armed, Command::new(&self.binary))
    }

    /// As [`Self::process`], with a `command` that leads to the binary: a shell that sets limits,
    /// say. The arguments are added here.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn process_in(
        &self,
        armed: Option<Armed>,
        mut command: Command,
    ) -> anyhow::Result<Process> {
        let ours = |(name, _): &(String, String)| name.starts_with("MILLPOND_");
        for (name, _) in std::env::vars().filter(ours) {
            command.env_remove(name);
        }
        if let Some(Armed { point, count }) = armed {
            command.env(VARIABLE, format!("{point}:{count}"));
        }
        let messages = File::options().create(true).append(true).open(&self.messages)?;
        command.arg("run").arg("--config").arg(&self.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Process { child, start: self.clone() })
    }

    /// All messages so far.
    pub fn messages(&self) -> String {
        let bytes = std::fs::read(&self.messages).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Process {
    /// Waits until it listens; `None` if it ended before.
    ///
    /// # Errors
    /// When it does neither for a minute.
    pub fn listening(&mut self) -> anyhow::Result<Option<Holder>> {
        let clock = SystemClock::new();
        while clock.elapsed() < PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(None);
            }
            if let Some(holder) = self.holder() {
                return Ok(Some(holder));
            }
            std::thread::park_timeout(LOOK);
        }
        bail!("the process did not listen within {PATIENCE:?}: {}", self.start.messages())
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// When it ends instead, with what it said.
    pub fn holder_or_end(&mut self) -> anyhow::Result<Holder> {
        let said = || self.start.messages();
        let said_before = said().len();
        match self.listening()? {
            Some(holder) => Ok(holder),
            None => bail!("the process has ended: {}", &self.start.messages()[said_before..]),
        }
    }

    fn holder(&self) -> Option<Holder> {
        let text = std::fs::read_to_string(self.start.data_dir.join("millpond.lock")).ok()?;
        let LockFile { pid, address, admin_key } =
            serde_json::from_str(text.lines().next()?).ok()?;
        (pid == self.child.id()).then_some(Holder { address: address?, admin_key })
    }

    /// Waits for its end, at most `wait`.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended_within(&mut self, wait: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let clock = SystemClock::new();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if clock.elapsed() >= wait {
                return Ok(None);
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by the name that `kill` knows.
    ///
    /// # Errors
    /// When there is nobody to get it.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status()?;
        ensure!(sent.success(), "cannot send {name} to {pid}");
        Ok(())
    }

    /// Kills it as `kill -9` does, and waits for its end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// When it does not end with exit code 0 within a minute.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal("TERM")?;
        let status = self.ended_within(PATIENCE)?;
        let ended_well = status.is_some_and(|status| status.success());
        ensure!(ended_well, "SIGTERM: {status:?}: {}", self.start.messages());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or it is to end now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process was ended by SIGKILL.
pub fn is_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    status.signal() == Some(SIGKILL)
}

impl Holder {
    /// Gets a path, with the admin key.
    ///
    /// # Errors
    /// When nobody answers, or not with success and JSON.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let line = format!("GET {path}");
        let key = format!("Bearer {}", self.admin_key);
        let headers = [("authorization", key.as_str())];
        let request = Request { line: &line, headers: &headers, body: &[] };
        ask(self.address, request)?.json().with_context(|| line.clone())
    }

    /// A token of everything that lies in `topic` now.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn token(&self, topic: &str) -> anyhow::Result<String> {
        let described = self.get(&format!("/v1/admin/topics/{topic}"))?;
        let partitions = described["partitions"].as_array().context("no partitions")?;
        let ends = partitions
            .iter()
            .map(|one| format!("{topic}:{}:{}:{}", one["partition"], one["end"], one["epoch"]));
        Ok(format!("v1.{}", ends.collect::<Vec<_>>().join(",")))
    }

    /// All records of `topic`, partition by partition, as the admin API shows them.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn records(&self, topic: &str) -> anyhow::Result<Vec<Value>> {
        let described = self.get(&format!("/v1/admin/topics/{topic}"))?;
        let partitions = described["partitions"].as_array().map_or(0, Vec::len);
        let mut records = Vec::new();
        for partition in 0..partitions {
            let path = format!("/v1/admin/topics/{topic}/records?limit=1000&partition={partition}");
            let mut from = String::new();
            loop {
                let page = self.get(&format!("{path}{from}"))?;
                let found = page["records"].as_array().context("no records")?;
                records.extend(found.iter().cloned());
                if page["next"].as_u64() >= page["end"].as_u64() {
                    break;
                }
                from = format!("&from={}", page["next"]);
            }
        }
        Ok(records)
    }

    /// All documents of `view` once it reflects `token`.
    ///
    /// # Errors
    /// As [`Self::get`]; and when the view does not get there within half a minute.
    pub fn documents(&self, view: &str, token: &str) -> anyhow::Result<Vec<Value>> {
        let mut documents = Vec::new();
        loop {
            let offset = documents.len();
            let page = self.get(&format!(
                "/v1/views/{view}/search?limit=1000&sort=_key&offset={offset}&after={token}\
                 &after_timeout_ms=30000"
            ))?;
            let hits = page["hits"].as_array().context("no hits")?;
            documents.extend(hits.iter().map(|hit| hit["document"].clone()));
            if hits.is_empty() || Some(documents.len() as u64) >= page["total"].as_u64() {
                return Ok(documents);
            }
        }
    }
}

/// Asks until the answer is there, at most a minute.
///
/// # Errors
/// When it is not, or asking fails.
pub fn eventually<T>(
    what: &str,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let clock = SystemClock::new();
    while clock.elapsed() < PATIENCE {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    bail!("waited {PATIENCE:?} for {what}")
}

/// Damages a file: turns bits of some bytes from `at` on.
///
/// # Errors
/// When the file cannot be read or written.
pub fn flip(path: &Path, at: usize) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    ensure!(at < bytes.len(), "{} has {} bytes", path.display(), bytes.len());
    for byte in bytes.iter_mut().skip(at).take(8) {
        *byte ^= 0x5a;
    }
    Ok(std::fs::write(path, bytes)?)
}
