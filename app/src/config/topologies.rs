//! `[topologies.<name>]`: which topologies run, and the settings that each declares.
//!
//! This module does not know any topology: the binary passes in their names and defaults, and a
//! topology reads its own settings with [`Config::settings`](super::Config::settings).

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny};

use super::error::{ConfigError, Fault, Origin, Place};
use super::read::Reader;
use super::tree::{Entry, Node, Table, Value};
use super::worker::BadRecordPolicy;

/// The settings that every topology has.
const ENABLED: &str = "enabled";
const BAD_RECORD_POLICY: &str = "bad_record_policy";

/// A topology that the binary has, with every setting that it knows.
#[derive(Clone, Debug, PartialEq)]
pub struct TopologyDefaults {
    /// Its name.
    pub name: String,
    /// Its settings and their defaults; what is not among them is refused.
    pub defaults: toml::Table,
}

/// A topology as it is to run.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct Topology {
    /// Whether it runs at all.
    pub enabled: bool,
    /// What is done with its bad records, if not what `[worker]` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_record_policy: Option<BadRecordPolicy>,
    /// Its settings in force: what was written, over the defaults.
    #[serde(flatten)]
    pub settings: toml::Table,
}

/// Skips `[topologies]` where serde reads the rest: its settings need the topologies' defaults.
pub(super) fn leave_for_later<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Topology>, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| BTreeMap::new())
}

/// Every known topology with its settings in force.
pub(super) fn in_force(
    written: Option<&Node>,
    known: &[TopologyDefaults],
) -> Result<BTreeMap<String, Topology>, Fault> {
    if let Some(node) = written {
        refuse_unknown(node, known).map_err(|fault| fault.within("topologies"))?;
    }
    known
        .iter()
        .map(|topology| {
            let section = written.and_then(|node| node.get(&topology.name));
            let topology_in_force = one_in_force(section, &topology.defaults)
                .map_err(|fault| fault.within(&topology.name).within("topologies"))?;
            Ok((topology.name.clone(), topology_in_force))
        })
        .collect()
}

fn refuse_unknown(node: &Node, known: &[TopologyDefaults]) -> Result<(), Fault> {
    for (name, entry) in table_of(node)? {
        if !known.iter().any(|topology| topology.name == *name) {
            let names = known.iter().map(|topology| topology.name.as_str());
            return Err(Fault::unknown("topology", name, entry.key.clone(), names));
        }
    }
    Ok(())
}

fn one_in_force(section: Option<&Node>, defaults: &toml::Table) -> Result<Topology, Fault> {
    let Some(section) = section else {
        let settings = defaults.clone();
        return Ok(Topology { enabled: true, bad_record_policy: None, settings });
    };
    let mut known = defaults.clone();
    known.insert(ENABLED.to_owned(), toml::Value::Boolean(true));
    known.insert(BAD_RECORD_POLICY.to_owned(), toml::Value::String(String::new()));
    let mut settings = laid_over(table_of(section)?, &known)?;
    let enabled = settings.remove(ENABLED).and_then(|it| it.as_bool()).unwrap_or(true);
    settings.remove(BAD_RECORD_POLICY);
    let policy = section.get(BAD_RECORD_POLICY).map(|node| {
        BadRecordPolicy::deserialize(Reader::new(node))
            .map_err(|fault| fault.at(node.place()).within(BAD_RECORD_POLICY))
    });
    Ok(Topology { enabled, bad_record_policy: policy.transpose()?, settings })
}

/// `defaults` with `table` laid over it, if it has the same keys and types.
fn laid_over(table: &Table, defaults: &toml::Table) -> Result<toml::Table, Fault> {
    let mut settings = defaults.clone();
    for (key, Entry { key: place, node }) in table {
        let Some(default) = defaults.get(key) else {
            let known = defaults.keys().map(String::as_str);
            return Err(Fault::unknown("key", key, place.clone(), known));
        };
        let value =
            like(default, node).map_err(|fault| fault.at(node.place()).within(key.as_str()))?;
        settings.insert(key.clone(), value);
    }
    Ok(settings)
}

/// Reads `node` as a value of the type that `default` has.
fn like(default: &toml::Value, node: &Node) -> Result<toml::Value, Fault> {
    let reader = Reader::new(node);
    match default {
        toml::Value::Boolean(_) => bool::deserialize(reader).map(toml::Value::Boolean),
        toml::Value::Integer(_) => i64::deserialize(reader).map(toml::Value::Integer),
        toml::Value::Float(_) => f64::deserialize(reader).map(toml::Value::Float),
        toml::Value::String(_) | toml::Value::Datetime(_) => {
            String::deserialize(reader).map(toml::Value::String)
        }
        toml::Value::Array(_) => Vec::<toml::Value>::deserialize(reader).map(toml::Value::Array),
        // An empty table as the default stands for keys of the user's own choice.
        toml::Value::Table(inner) if inner.is_empty() => {
            toml::Table::deserialize(reader).map(toml::Value::Table)
        }
        toml::Value::Table(inner) => laid_over(table_of(node)?, inner).map(toml::Value::Table),
    }
}

fn table_of(node: &Node) -> Result<&Table, Fault> {
    match &node.value {
        Value::Table(table) => Ok(table),
        _ => Err(Fault::new(node.place().clone(), "expected a table")),
    }
}

/// What was written about topologies and where, so that their own types can be read later.
#[derive(Clone, Default)]
pub(super) struct Written {
    origin: Origin,
    topologies: Option<Node>,
}

/// Names the file only: it is shown as part of the configuration, and its text is not.
impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.origin.fmt(f)
    }
}

impl Written {
    pub(super) fn new(origin: Origin, topologies: Option<Node>) -> Self {
        Self { origin, topologies }
    }

    pub(super) fn settings<T>(&self, name: &str) -> Result<T, ConfigError>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        self.read(name).map_err(|fault| {
            self.origin.explain(&fault.within(name.to_owned()).within("topologies"))
        })
    }

    fn read<T>(&self, name: &str) -> Result<T, Fault>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        let defaults = toml::Value::try_from(T::default()).map_err(|e| {
            Fault::new(Place::Default, format!("the defaults cannot be written as TOML: {e}"))
        })?;
        let mut node = Node::from_default(&defaults);
        if let Some(section) = self.topologies.as_ref().and_then(|all| all.get(name)) {
            let mut own = table_of(section)?.clone();
            own.remove(ENABLED);
            own.remove(BAD_RECORD_POLICY);
            node = node.overlaid(&Node::new(section.place().clone(), Value::Table(own)));
        }
        T::deserialize(Reader::new(&node)).map_err(|fault| fault.at(node.place()))
    }
}
