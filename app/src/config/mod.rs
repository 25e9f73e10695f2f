//! The configuration: one TOML file, overridden by environment variables, checked as a whole.
//!
//! A setting has a default in code, may stand in the file and may be overridden by a variable
//! `MILLPOND_<SECTION>__<KEY>`. Whatever is wrong is said with the place where it was written and,
//! for a name, with the nearest one that exists. `docs/millpond.toml` shows every setting; a test
//! keeps it equal to the structs here.
//!
//! ```text
//! file text ──tree::parse──▶ Node tree ──env::overlay──▶ Node tree ──Reader (serde)──▶ Config ──check──▶ Config
//!                              every node knows its place: a range of the text, or a variable
//! ```
//!
//! This module decides nothing about the running system: it does not open the data directory,
//! bind a port or reach an endpoint.

mod check;
mod endpoints;
mod env;
mod error;
mod http;
mod kafka;
mod log;
mod memory;
mod nearest;
mod read;
mod sources;
mod topics;
mod topologies;
mod tree;
mod values;
mod worker;

#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use self::check::At;
use self::error::{Fault, Origin};
use self::read::Reader;
use self::topologies::Written;

pub(crate) use self::nearest::nearest;

pub use self::endpoints::{Endpoint, EndpointStart};
pub use self::error::{ConfigError, Diagnostic};
pub use self::http::Http;
pub use self::kafka::Kafka;
pub use self::log::{CommitDurability, Guarantee, Log, LogKind};
pub use self::memory::{MemoryError, MemoryShares};
pub use self::sources::{FileFormat, FileSource, FileStart, Sources, SyslogSource};
pub use self::topics::Topic;
pub use self::topologies::{Topology, TopologyDefaults};
pub use self::values::{Ahead, IdleTimeout, Retention, Secret, SyslogListen, Year, Zone};
pub use self::worker::{BadRecordPolicy, Index, Worker};

/// Every setting, with its default where nothing was said.
///
/// Printing it, by `Debug` or as TOML, never shows a secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where the log, the state and the views live. A relative path starts at the working
    /// directory.
    pub data_dir: PathBuf,
    /// Memory for caches, write buffers, overlays and index writers together, in MiB. See
    /// [`MemoryShares`].
    pub memory_mib: u64,
    /// Worker threads per topology.
    pub threads: usize,
    /// What is logged: a level (`info`) or directives (`info,pipeline=debug`).
    pub log_level: String,
    /// The log: which one, and how the embedded one behaves.
    pub log: Log,
    /// Settings of the Kafka clients.
    pub kafka: Kafka,
    /// The threads that run topologies.
    pub worker: Worker,
    /// The follower that writes the views.
    pub index: Index,
    /// The HTTP listener: ingest, queries, administration.
    pub http: Http,
    /// Settings of single topics, by topic name.
    pub topics: BTreeMap<String, Topic>,
    /// What brings events in besides HTTP.
    pub sources: Sources,
    /// Webhook endpoints that alerts are pushed to.
    pub endpoints: Vec<Endpoint>,
    /// Every topology that this binary knows, by name, with its settings in force.
    #[serde(deserialize_with = "topologies::leave_for_later")]
    pub topologies: BTreeMap<String, Topology>,
    /// What was written about topologies, kept for [`Config::settings`].
    #[serde(skip)]
    written: Written,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("millpond-data"),
            memory_mib: 256,
            threads: 1,
            log_level: "info".to_owned(),
            log: Log::default(),
            kafka: Kafka::default(),
            worker: Worker::default(),
            index: Index::default(),
            http: Http::default(),
            topics: BTreeMap::new(),
            sources: Sources::default(),
            endpoints: Vec::new(),
            topologies: BTreeMap::new(),
            written: Written::default(),
        }
    }
}

impl Config {
    /// The settings above the first section: the only ones whose variable has no double underscore.
    const TOP_LEVEL: [&str; 4] = ["data_dir", "memory_mib", "threads", "log_level"];

    /// Reads the file at `path`, if there is one to read, and the variables of `env`.
    ///
    /// `topologies` are those that the binary knows, with all their settings: another topology or
    /// another setting is an error.
    ///
    /// # Errors
    /// When the file or a secret's file cannot be read, or anything in it or in a variable is
    /// unknown, of the wrong type or out of range. The error names the place.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        topologies: &[TopologyDefaults],
    ) -> Result<Self, ConfigError> {
        let origin = Origin::open(path)?;
        Self::assemble(&origin, env, topologies).map_err(|fault| origin.explain(&fault))
    }

    /// Reads `text`, called `name` in errors, and the variables of `env`, as [`Config::load`] does
    /// with a file.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn from_text(
        name: &str,
        text: &str,
        env: impl Iterator<Item = (String, String)>,
        topologies: &[TopologyDefaults],
    ) -> Result<Self, ConfigError> {
        let origin = Origin::of_text(name, text);
        Self::assemble(&origin, env, topologies).map_err(|fault| origin.explain(&fault))
    }

    /// The settings of the topology `name` as its own type: what was written, over `T`'s defaults.
    ///
    /// # Errors
    /// When something written is unknown to `T`, or of another type.
    pub fn settings<T>(&self, name: &str) -> Result<T, ConfigError>
    where
        T: serde::de::DeserializeOwned + Serialize + Default,
    {
        self.written.settings(name)
    }

    /// All memory that [`Config::memory_mib`] grants, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_mib << 20
    }

    fn assemble(
        origin: &Origin,
        env: impl Iterator<Item = (String, String)>,
        topologies: &[TopologyDefaults],
    ) -> Result<Self, Fault> {
        let mut root = tree::parse(origin.text())?;
        env::overlay(&mut root, env, &Self::TOP_LEVEL, topologies)?;
        let mut config = Self::deserialize(Reader::new(&root)).map_err(|f| f.at(root.place()))?;
        config.check(&At::root(&root))?;
        config.kafka.read_files(&At::root(&root).table("kafka"))?;
        endpoints::read_secrets(&mut config.endpoints, &At::root(&root).table("endpoints"))?;
        let written = root.get("topologies");
        config.topologies = topologies::in_force(written, topologies)?;
        config.written = Written::new(origin.clone(), written.cloned());
        Ok(config)
    }

    /// Why nobody can know which tasks a process would inherit, if so.
    fn no_standbys(&self) -> Option<&'static str> {
        match self.log.kind {
            LogKind::Embedded => {
                Some("the embedded log is one process's; set `log.kind = \"kafka\"`, or 0 here")
            }
            LogKind::Kafka if !self.kafka.shares_by_range() => Some(
                "they need the group's own protocol with `range`; leave out `group.protocol` and \
                 `partition.assignment.strategy` under [kafka], or set 0 here",
            ),
            LogKind::Kafka => None,
        }
    }

    fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        at.range("memory_mib", self.memory_mib, 64..=1 << 20)?;
        at.range("threads", self.threads as u64, 1..=256)?;
        EnvFilter::try_new(&self.log_level).map_err(|e| {
            at.fault("log_level", format!("not a level or list of directives: {e}"))
        })?;
        self.log.check(&at.table("log"))?;
        if self.log.kind == LogKind::Kafka && !self.kafka.names_brokers() {
            let message = "`kind` is \"kafka\", and no broker is named: set \
                           `bootstrap.servers` under [kafka]";
            return Err(at.table("log").fault("kind", message));
        }
        self.worker.check(&at.table("worker"))?;
        if self.worker.num_standby_replicas > 0
            && let Some(why) = self.no_standbys()
        {
            let message = format!("there can be no standbys: {why}");
            return Err(at.table("worker").fault("num_standby_replicas", message));
        }
        self.index.check(&at.table("index"))?;
        self.http.check(&at.table("http"))?;
        topics::check(&self.topics, &at.table("topics"))?;
        self.sources.check(&at.table("sources"))?;
        endpoints::check(&self.endpoints, &at.table("endpoints"))
    }
}
