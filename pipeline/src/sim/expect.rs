//! What of a topology's outputs does not depend on who did what when.
//!
//! It is read from the graph: what stands behind one partition of one source is the same record by
//! record; behind a repartition the last value of each key is; behind a node in arrival order
//! nothing is promised.

use std::collections::BTreeMap;

use super::subject::Subject;
use crate::topology::{Role, SinkSpec, Target, TopicName, Topology};

/// How much two runs agree in a topic, from most to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Agreement {
    /// The records of each source partition, one by one, in order.
    Sequence,
    /// The records, in any order.
    Records,
    /// The records without what their headers say of who made them, in any order.
    Values,
    /// The last value of each key, and its time.
    Last,
    /// The last value of each key.
    Content,
    /// The keys.
    Keys,
    /// Nothing.
    Nothing,
}

/// What a node depends on.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    arrival: bool,
    repartitioned: bool,
    stateful: bool,
    /// Behind leaderboards: a row has the time of the change that came last.
    untimed: bool,
}

/// What two runs of a topology agree in.
pub(super) struct Expected {
    /// By topic: those of `to`, views and alerts.
    pub(super) topics: BTreeMap<String, Agreement>,
    /// Stores with the same entries in the end.
    pub(super) stores: Vec<Comparable>,
    /// No node is in arrival order, so that what breaks off is the same.
    pub(super) dead_letters: bool,
}

/// A store with the same entries in the end.
pub(super) struct Comparable {
    pub(super) name: String,
    /// The time in front of its values is that of the change that came last, which differs.
    pub(super) untimed: bool,
}

impl Expected {
    /// `idle`: time may leave sources behind.
    pub(super) fn of(subject: &Subject, idle: bool) -> Self {
        let topology: &Topology = &subject.topology;
        let walk = Walk { topology, tables_stand: subject.tables_stand };
        let graph = &topology.graph;
        let mut topics: BTreeMap<String, Agreement> = BTreeMap::new();
        for sink in &graph.sinks {
            let past = walk.past(sink.node);
            let loose = past.arrival || (idle && past.repartitioned && past.stateful);
            let agreement = match (&sink.target, loose) {
                (Target::Repartition(_), _) => continue,
                (_, true) => Agreement::Nothing,
                (Target::View(_) | Target::To(_), _) if past.untimed => Agreement::Content,
                (Target::View(_), _) => Agreement::Last,
                (Target::Alerts, _) => Agreement::Keys,
                (Target::To(_), _) if sink.coalesce => Agreement::Last,
                (Target::To(_), _) if !past.repartitioned => Agreement::Sequence,
                (Target::To(_), _) if !past.stateful => Agreement::Records,
                (Target::To(_), _) => Agreement::Last,
            };
            let topic = topology.target(&sink.target);
            let together = |known: Agreement| match known.max(agreement) {
                Agreement::Sequence => Agreement::Records,
                Agreement::Last | Agreement::Content => Agreement::Nothing,
                other => other,
            };
            let known = topics.get(&topic).copied();
            topics.insert(topic, known.map_or(agreement, together));
        }
        for (topic, agreement) in &subject.promises {
            let behind = |sink: &&SinkSpec| topology.target(&sink.target) == *topic;
            let moved = graph.sinks.iter().filter(behind).any(|s| walk.past(s.node).repartitioned);
            let agreement = if idle && moved { Agreement::Nothing } else { *agreement };
            topics.insert((*topic).to_owned(), agreement);
        }
        let mut stores = Vec::new();
        for (place, store) in graph.stores.iter().enumerate() {
            let uses = |node: &usize| graph.stores_of(*node).iter().any(|of| of.0 == place);
            let users = (0..graph.nodes.len()).filter(uses);
            let pasts: Vec<Past> = users.map(|node| walk.past(node)).collect();
            let steady = |past: &Past| !(past.arrival || idle && past.repartitioned);
            let notes = subject.loose_stores.contains(&store.name.as_str());
            if pasts.iter().all(steady) && !notes {
                let untimed = pasts.iter().any(|past| past.untimed);
                stores.push(Comparable { name: store.name.clone(), untimed });
            }
        }
        let arrival = |node: usize| walk.past(node).arrival;
        Self { topics, stores, dead_letters: !(0..graph.nodes.len()).any(arrival) }
    }
}

struct Walk<'a> {
    topology: &'a Topology,
    tables_stand: bool,
}

impl Walk<'_> {
    fn past(&self, node: usize) -> Past {
        let graph = &self.topology.graph;
        let (mut past, mut left, mut seen) = (Past::default(), vec![node], vec![node]);
        while let Some(node) = left.pop() {
            let inputs = self.inputs_beside(node);
            past.arrival |= graph.nodes[node].arrival_order && !(self.tables_stand && inputs == 1);
            past.arrival |= inputs > 1;
            past.stateful |= !graph.stores_of(node).is_empty();
            past.untimed |= graph.nodes[node].name.starts_with("KTABLE-TOP");
            let mut before = graph.nodes[node].parents.clone();
            if let Role::Source(source) = graph.nodes[node].role
                && let TopicName::Repartition(name) = &graph.sources[source].topic
            {
                past.repartitioned = true;
                let writes = |target: &Target| *target == Target::Repartition(name.clone());
                let sink = graph.sinks.iter().find(|sink| writes(&sink.target));
                before.extend(sink.map(|sink| sink.node));
            }
            before.retain(|node| !seen.contains(node));
            seen.extend(&before);
            left.extend(before);
        }
        past
    }

    /// How many topics the tasks read that `node` is a part of.
    fn inputs_beside(&self, node: usize) -> usize {
        let is_source =
            |node: &&usize| matches!(self.topology.graph.nodes[**node].role, Role::Source(_));
        let sub = self.topology.subs.iter().find(|sub| sub.contains(&node));
        sub.map_or(1, |sub| sub.iter().filter(is_source).count())
    }
}
