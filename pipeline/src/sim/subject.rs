//! What is simulated: a topology, and where its records come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::dice::Dice;
use super::expect::Agreement;
use super::input::Inputs;
use super::shadow::{Shadow, Stored};
use crate::topology::Topology;

type MakeInputs = Arc<dyn Fn(&mut Dice) -> Inputs + Send + Sync>;

/// What a topology's own check says: nothing, or what is wrong.
pub type Check = fn(&Facts<'_>) -> Result<(), String>;

/// Whether a document of the first kind contains everything that one of the second says.
pub type Contains = fn(&Value, &Value) -> bool;

/// A topology with its inputs, and what is known about its results beside what every topology
/// promises.
#[derive(Clone)]
pub struct Subject {
    pub(super) topology: Arc<Topology>,
    pub(super) inputs: MakeInputs,
    /// The largest record that is written, in bytes.
    pub(super) record_bytes_max: usize,
    /// A model of its own, which knows nothing of the engine.
    pub(super) check: Option<Check>,
    /// For topologies whose documents only grow.
    pub(super) contains: Option<Contains>,
    /// The tables that it joins do not change while it runs, so its joins do not depend on what
    /// arrived first.
    pub(super) tables_stand: bool,
    /// Event time is the records' own timestamp, so that the sources tell what clocks may say.
    pub(super) on_record_time: bool,
    /// Topics that agree more than can be read from the graph.
    pub(super) promises: Vec<(&'static str, Agreement)>,
    /// Stores whose entries depend on when they were looked at, though no result does.
    pub(super) loose_stores: Vec<&'static str>,
    /// Its check holds where time leaves sources behind too.
    pub(super) checked_when_idle: bool,
    /// In how many of a hundred seeds time leaves sources behind.
    pub(super) idle_percent: u32,
}

impl Subject {
    /// `topology`, fed with what `inputs` makes of the dice of a seed.
    pub fn new(
        topology: Topology,
        inputs: impl Fn(&mut Dice) -> Inputs + Send + Sync + 'static,
    ) -> Self {
        Self {
            topology: Arc::new(topology),
            inputs: Arc::new(inputs),
            record_bytes_max: 1 << 20,
            check: None,
            contains: None,
            tables_stand: false,
            on_record_time: false,
            promises: Vec::new(),
            loose_stores: Vec::new(),
            checked_when_idle: false,
            idle_percent: 10,
        }
    }

    /// Its name: the topology's.
    pub fn name(&self) -> &str {
        self.topology.name()
    }

    /// Compares the results with `check` as well.
    #[must_use]
    pub fn checked(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    /// Says that documents only grow: what a view promises to contain can be looked up in it.
    #[must_use]
    pub fn growing(self, contains: Contains) -> Self {
        Self { contains: Some(contains), ..self }
    }

    /// Refuses to write records larger than `bytes`.
    #[must_use]
    pub fn writing_at_most(self, bytes: usize) -> Self {
        Self { record_bytes_max: bytes, ..self }
    }

    /// Says that event time is the records' own timestamp, so that clocks can be checked too.
    #[must_use]
    pub fn on_record_time(self) -> Self {
        Self { on_record_time: true, ..self }
    }

    /// Says of a topic what cannot be read from the graph: an operator that reads several topics
    /// promises it for itself.
    #[must_use]
    pub(super) fn promising(mut self, topic: &'static str, agreement: Agreement) -> Self {
        self.promises.push((topic, agreement));
        self
    }

    /// Says that a store has notes beside what results are made of: they are not compared.
    #[must_use]
    pub(super) fn keeping_notes_in(mut self, store: &'static str) -> Self {
        self.loose_stores.push(store);
        self
    }

    /// Compares the results with `check` in worlds where time leaves sources behind as well, and
    /// has half of its worlds so.
    #[must_use]
    pub(super) fn checked_when_idle(self, check: Check) -> Self {
        Self { check: Some(check), checked_when_idle: true, idle_percent: 50, ..self }
    }

    /// Says that the tables of its joins are complete before anything runs.
    #[must_use]
    pub fn with_standing_tables(self) -> Self {
        Self { tables_stand: true, ..self }
    }
}

/// What a run has read and written, for a check.
pub struct Facts<'a> {
    pub(super) topology: &'a Topology,
    pub(super) shadow: &'a Shadow,
    /// Whether all records were there before the only worker began.
    pub plain: bool,
    /// Whether time leaves behind the sources that stand still.
    pub idle: bool,
}

impl Facts<'_> {
    /// The records of a topic by partition, in order, without control records.
    pub fn topic(&self, topic: &str) -> BTreeMap<u32, Vec<&Stored>> {
        let mut partitions = BTreeMap::new();
        for (at, records) in self.shadow.all().filter(|(at, _)| *at.topic == *topic) {
            let data = records.iter().filter(|record| !record.is_control()).collect();
            partitions.insert(at.partition, data);
        }
        partitions
    }

    /// The documents of a view, by key.
    pub fn view(&self, view: &str) -> BTreeMap<String, Value> {
        let mut documents = BTreeMap::new();
        for record in self.topic(&self.topology.names.view(view)).into_values().flatten() {
            match &record.value {
                Some(value) => documents.insert(
                    record.key_text(),
                    serde_json::from_slice(value).unwrap_or(Value::Null),
                ),
                None => documents.remove(&record.key_text()),
            };
        }
        documents
    }

    /// The ids of all alerts.
    pub fn alerts(&self) -> Vec<String> {
        let alerts = self.topic(&self.topology.names.alerts());
        alerts.into_values().flatten().map(Stored::key_text).collect()
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> Vec<&Stored> {
        self.topic(&self.topology.names.dead_letters()).into_values().flatten().collect()
    }
}
