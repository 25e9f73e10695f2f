//! Failed ssh logins, and who guesses passwords.
//!
//! Every line of a host's log goes through [`attempt::parse`], which says whether it stands for
//! failed attempts, tells more about attempts that another line counts, or concerns something
//! else. What is left is counted twice, in the same windows:
//!
//! ```text
//! syslog -> failures -.-> per host, source and window -> view `failed-logins`
//!                     |                               -> many: alert `brute-force`
//!                     '-> per host and window --------> view `failed-logins-by-host`
//! ```
//!
//! The order of the lines does not matter as long as they come within the grace: every count, set
//! and last line is the same for all of them.

pub mod attempt;
mod failure;
mod tally;
mod views;

use std::time::Duration;

use pipeline::{
    AlertRule, Key, Severity, Table, TimeWindows, Topology, TopologyBuilder, TopologyError,
};
use serde::{Deserialize, Serialize};

pub use failure::{Failure, SyslogLine};
pub use tally::{LastLine, Tally};

use crate::{Pair, period};

/// What the topology `logins` can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The topic of the lines, keyed by host.
    pub syslog_topic: String,
    /// The length of a window, in milliseconds.
    pub window_ms: u64,
    /// How long after its end a window still takes lines, in milliseconds of event time. Raise it
    /// to load files whose lines are out of order by more.
    pub grace_ms: u64,
    /// From how many attempts of one source on one host in one window on there is an alert.
    pub alert_attempts_min: u64,
    /// How many names of users a document holds. Beyond it holds that there were more.
    pub users_max: usize,
    /// How many sources the document of a host holds. Beyond it holds that there were more.
    pub sources_max: usize,
    /// How much of a user's name is kept, in bytes.
    pub user_bytes_max: usize,
    /// How much of a line is kept, in bytes.
    pub message_bytes_max: usize,
    /// How long after its window a document is kept, in milliseconds of event time; 0 keeps all.
    pub documents_kept_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            syslog_topic: "syslog".to_owned(),
            window_ms: 300_000,
            grace_ms: 10_000,
            alert_attempts_min: 10,
            users_max: 50,
            sources_max: 100,
            user_bytes_max: 128,
            message_bytes_max: 1_024,
            documents_kept_ms: 0,
        }
    }
}

/// How much is kept, whatever the lines hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Different names of users in a tally.
    pub users_max: usize,
    /// Different sources in a tally.
    pub sources_max: usize,
    /// Bytes of a user's name.
    pub user_bytes_max: usize,
    /// Bytes of a line.
    pub message_bytes_max: usize,
}

impl Settings {
    fn limits(&self) -> Limits {
        Limits {
            users_max: self.users_max,
            sources_max: self.sources_max,
            user_bytes_max: self.user_bytes_max,
            message_bytes_max: self.message_bytes_max,
        }
    }
}

/// Builds the topology `logins`.
///
/// # Errors
/// When the settings make no topology: a window without length, or one beyond all time.
pub fn build(settings: &Settings) -> Result<Topology, TopologyError> {
    let alert_attempts_min = settings.alert_attempts_min;
    let limits = settings.limits();
    let window = Duration::from_millis(settings.window_ms);
    let grace = Duration::from_millis(settings.grace_ms);
    let windows = TimeWindows::of_size_and_grace(window, grace);

    let builder = TopologyBuilder::new("logins");
    let failures = builder
        .stream::<String, SyslogLine>(&settings.syslog_topic)
        .map_values_with_info(move |_, line, info| Failure::read(&line, info.timestamp, limits))
        .flat_map_values(|_, failure| failure);

    // A source is counted on each host by itself, so that it stays in the host's partition.
    let by_source = failures
        .refine_key(|host, failure| Pair(host.clone(), failure.source.clone()))
        .group_by_key()
        .windowed_by(windows)
        .aggregate("by-source", Tally::default, move |_, failure, tally| tally.add(failure, limits))
        .filter(|_, tally| tally.attempts > 0);
    kept(&by_source, "failed-logins-kept", settings).view(
        "failed-logins",
        views::source_fields(),
        views::source_document,
    );
    by_source.filter(move |_, tally| tally.attempts >= alert_attempts_min).to_stream().alert(
        AlertRule::new("brute-force", Severity::Warning).remember(window + grace),
        |key, tally| (views::warning(key, tally), views::source_document(key, tally)),
    );

    let by_host = failures
        .group_by_key()
        .windowed_by(windows)
        .aggregate("by-host", Tally::default, move |_, failure, tally| tally.add(failure, limits))
        .filter(|_, tally| tally.attempts > 0);
    kept(&by_host, "failed-logins-by-host-kept", settings).view(
        "failed-logins-by-host",
        views::host_fields(),
        views::host_document,
    );
    builder.build()
}

/// The rows of `table` as long as their documents are to be kept.
fn kept<K: Key>(table: &Table<K, Tally>, store: &str, settings: &Settings) -> Table<K, Tally> {
    match period(settings.documents_kept_ms) {
        Some(kept) => table.expire_after(store, kept),
        None => table.clone(),
    }
}

#[cfg(test)]
mod tests;
