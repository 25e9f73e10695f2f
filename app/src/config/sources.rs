//! `[[sources.file]]` and `[[sources.syslog]]`: what brings events in besides HTTP.

use std::path::PathBuf;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::check::At;
use super::error::Fault;
use super::http::BEYOND_LOOPBACK;
use super::values::{SyslogListen, Year, Zone};

/// What brings events in besides HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sources {
    /// Files that are followed as they grow.
    pub file: Vec<FileSource>,
    /// Sockets on which syslog is received.
    pub syslog: Vec<SyslogSource>,
}

/// What a line of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Any text; its time is when it was read.
    Lines,
    /// A JSON object; key and time as `[topics.<name>]` says.
    Ndjson,
    /// A syslog line as found in `auth.log`, or journald's short output.
    Syslog,
}

/// Where to begin in a file that was never read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStart {
    /// At its first line.
    Beginning,
    /// Behind what is there: only what is written from now on.
    End,
}

/// A file that is followed as it grows, also through rotation by rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
    /// The topic that its lines go to.
    pub topic: String,
    /// What a line is.
    #[serde(default = "lines")]
    pub format: FileFormat,
    /// Where to begin in a file that was never read before.
    #[serde(default = "beginning")]
    pub start: FileStart,
    /// The year of syslog lines that name none.
    #[serde(default = "auto")]
    pub year: Year,
    /// The time zone of syslog lines that name none.
    #[serde(default = "utc")]
    pub zone: Zone,
}

/// A socket on which syslog is received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyslogSource {
    /// The protocol, address and port to listen on.
    pub listen: SyslogListen,
    /// Allows an address beyond loopback although no sender is authenticated.
    #[serde(default)]
    pub insecure: bool,
    /// The topic that messages go to.
    pub topic: String,
    /// The time zone of messages that name none.
    #[serde(default = "utc")]
    pub zone: Zone,
    /// The longest message; a longer one is cut, and counted.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
    /// TCP connections open at once; more are closed at once.
    #[serde(default = "connections_max")]
    pub connections_max: usize,
}

impl Sources {
    pub(super) fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        let files = at.table("file");
        for (index, source) in self.file.iter().enumerate() {
            source.check(&files.item(index))?;
        }
        let sockets = at.table("syslog");
        for (index, source) in self.syslog.iter().enumerate() {
            source.check(&sockets.item(index))?;
        }
        Ok(())
    }
}

impl FileSource {
    fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        if self.path.as_os_str().is_empty() {
            return Err(at.fault("path", "must name a file"));
        }
        at.topic_name("topic", &self.topic)
    }
}

impl SyslogSource {
    fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        if !self.listen.address().ip().is_loopback() && !self.insecure {
            return Err(at.fault("listen", BEYOND_LOOPBACK));
        }
        at.topic_name("topic", &self.topic)?;
        at.range("line_bytes_max", self.line_bytes_max as u64, 480..=1 << 20)?;
        at.range("connections_max", self.connections_max as u64, 1..=10_000)
    }
}

fn lines() -> FileFormat {
    FileFormat::Lines
}

fn beginning() -> FileStart {
    FileStart::Beginning
}

fn auto() -> Year {
    Year::Auto
}

fn utc() -> Zone {
    Zone(Tz::UTC)
}

fn line_bytes_max() -> usize {
    64 << 10
}

fn connections_max() -> usize {
    64
}
