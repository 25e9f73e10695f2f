//! The graph that the DSL draws: nodes, stores, sources and sinks, and what went wrong on the way.

use std::sync::Arc;

use stores::views::ViewSchema;

use super::TopologyError;
use crate::bad_record::SourceRules;
use crate::codec::CodecError;
use crate::dsl::Idle;
use crate::operator::{Assembly, Entry};

/// A store, as its place in [`Graph::stores`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreRef(pub(crate) usize);

impl StoreRef {
    /// No store: of a table that cannot be looked into.
    pub(crate) const NONE: Self = Self(usize::MAX);
}

/// A sink, as its place in [`Graph::sinks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SinkRef(pub(crate) usize);

/// Makes the reader of a source for a task.
pub(crate) type EntryFactory = Arc<dyn Fn(&mut Assembly) -> Box<dyn Entry> + Send + Sync>;

/// Says whether key and value of a global table's record can be read.
pub(crate) type RecordCheck =
    Arc<dyn Fn(Option<&[u8]>, Option<&[u8]>) -> Result<(), CodecError> + Send + Sync>;

/// Everything that the DSL has been told.
pub(crate) struct Graph {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) stores: Vec<StoreSpec>,
    pub(crate) sources: Vec<SourceSpec>,
    pub(crate) sinks: Vec<SinkSpec>,
    pub(crate) views: Vec<ViewSpec>,
    pub(crate) globals: Vec<GlobalSpec>,
    pub(crate) errors: Vec<TopologyError>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) parents: Vec<usize>,
    /// What it does depends on which record arrived first.
    pub(crate) arrival_order: bool,
    /// The windows that it makes, if it does.
    pub(crate) closes: Option<Closes>,
    /// How far the results that time makes in this node may lie behind the clocks by which it makes
    /// them, in milliseconds.
    pub(crate) delay_ms: i64,
}

/// When windows are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closes {
    /// How long after its end a window takes records, in milliseconds.
    pub(crate) after_ms: i64,
    /// How far a result's timestamp may lie before its window's end, in milliseconds.
    pub(crate) span_ms: i64,
    /// Whether the end belongs to the window.
    pub(crate) end_inclusive: bool,
}

/// What a node is.
pub(crate) enum Role {
    Source(usize),
    Processor(Vec<StoreRef>),
    Sink(SinkRef),
}

/// A store with a changelog.
pub(crate) struct StoreSpec {
    pub(crate) name: String,
}

/// A topic that is read.
pub(crate) struct SourceSpec {
    pub(crate) node: usize,
    pub(crate) topic: TopicName,
    pub(crate) entry: EntryFactory,
    pub(crate) idle: Idle,
    /// A repartition topic with as many partitions as the other inputs of its reader have, so
    /// that what is read from it meets them.
    pub(crate) beside: bool,
    pub(crate) rules: SourceRules,
}

/// Whose topic it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicName {
    External(String),
    Repartition(String),
}

impl TopicName {
    pub(crate) fn external(&self) -> Option<String> {
        match self {
            Self::External(topic) => Some(topic.clone()),
            Self::Repartition(_) => None,
        }
    }
}

/// A topic that is written.
pub(crate) struct SinkSpec {
    pub(crate) node: usize,
    pub(crate) target: Target,
    /// Within a commit only the last record of a key is written.
    pub(crate) coalesce: bool,
}

/// What a sink's topic is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    To(String),
    Repartition(String),
    View(String),
    Alerts,
}

/// A view: its schema without what only the plan knows.
pub(crate) struct ViewSpec {
    pub(crate) name: String,
    pub(crate) sink: SinkRef,
    pub(crate) schema: ViewSchema,
}

/// A global table.
pub(crate) struct GlobalSpec {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) check: RecordCheck,
}

impl Graph {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            nodes: Vec::new(),
            stores: Vec::new(),
            sources: Vec::new(),
            sinks: Vec::new(),
            views: Vec::new(),
            globals: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Adds a node, named after its kind and number as Kafka Streams does.
    pub(crate) fn add(&mut self, kind: &str, role: Role, parents: Vec<usize>) -> usize {
        let number = self.nodes.len();
        let name = format!("{kind}-{number:010}");
        let (arrival_order, closes, delay_ms) = (false, None, 0);
        self.nodes.push(Node { name, role, parents, arrival_order, closes, delay_ms });
        number
    }

    /// Adds a store; its name is an error if another store has it.
    pub(crate) fn add_store(&mut self, name: &str) -> StoreRef {
        if self.stores.iter().any(|store| store.name == name) {
            self.errors.push(TopologyError::NameTwice { what: "store", name: name.to_owned() });
        }
        self.check_name("store", name);
        self.stores.push(StoreSpec { name: name.to_owned() });
        StoreRef(self.stores.len() - 1)
    }

    /// Adds a sink and its node under `parent`.
    pub(crate) fn add_sink(&mut self, parent: usize, target: Target, coalesce: bool) -> SinkRef {
        let sink = SinkRef(self.sinks.len());
        let node = self.add("KSTREAM-SINK", Role::Sink(sink), vec![parent]);
        self.sinks.push(SinkSpec { node, target, coalesce });
        sink
    }

    /// Notes an error if `name` cannot be part of a topic's name.
    pub(crate) fn check_name(&mut self, what: &'static str, name: &str) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 100 || !name.chars().all(legal) {
            self.errors.push(TopologyError::Name { what, name: name.to_owned() });
        }
    }

    /// The sources, in order, from which records reach `node`.
    pub(crate) fn sources_above(&self, node: usize) -> Vec<usize> {
        let (mut sources, mut seen, mut next) = (Vec::new(), vec![node], vec![node]);
        while let Some(node) = next.pop() {
            if let Role::Source(source) = self.nodes[node].role {
                sources.push(source);
            }
            for parent in &self.nodes[node].parents {
                if !seen.contains(parent) {
                    seen.push(*parent);
                    next.push(*parent);
                }
            }
        }
        sources.sort_unstable();
        sources
    }

    /// How far results that time makes in `node` or before it may lie behind the clocks of the
    /// sources, in milliseconds. Before a repartition topic its control records account for it.
    pub(crate) fn delay_ms(&self, node: usize) -> i64 {
        let Node { parents, delay_ms, .. } = &self.nodes[node];
        let before = parents.iter().map(|parent| self.delay_ms(*parent)).max();
        delay_ms.saturating_add(before.unwrap_or(0))
    }

    /// The windows that the keys of `node` lie in: those of the next node above that makes some.
    pub(crate) fn closes(&self, node: usize) -> Option<Closes> {
        let Node { parents, closes, .. } = &self.nodes[node];
        closes.or_else(|| parents.iter().find_map(|parent| self.closes(*parent)))
    }

    /// Notes an error if `topic` cannot be a topic of somebody else's.
    pub(crate) fn check_topic(&mut self, what: &'static str, topic: &str) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits = (1..=249).contains(&topic.len()) && topic != "." && topic != "..";
        if !fits || !topic.chars().all(legal) {
            self.errors.push(TopologyError::Topic { what, topic: topic.to_owned() });
        }
    }

    /// The stores that `node` uses.
    pub(crate) fn stores_of(&self, node: usize) -> &[StoreRef] {
        match &self.nodes[node].role {
            Role::Processor(stores) => stores,
            Role::Source(_) | Role::Sink(_) => &[],
        }
    }
}
