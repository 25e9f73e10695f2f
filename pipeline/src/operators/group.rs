//! `group_by`, `group_by_key` and `repartition`.

use std::sync::Arc;

use super::sink::Sink;
use super::window_aggregate::WindowedGroup;
use crate::codec::{Serde, Value, json};
use crate::dsl::{Consumed, Stream, TimeWindows};
use crate::key::Key;
use crate::topology::{Target, TopicName};

/// A stream grouped by key, to be aggregated.
pub struct Grouped<K, V> {
    stream: Stream<K, V>,
    /// The repartition topic's name; without one it is the store's.
    name: Option<String>,
}

impl<K: Key, V: Value> Stream<K, V> {
    /// Groups by the key. If it was changed before, the records go through a repartition topic
    /// named after the store.
    pub fn group_by_key(&self) -> Grouped<K, V> {
        Grouped { stream: self.clone(), name: None }
    }

    /// Groups by a new key, through the repartition topic `name`.
    pub fn group_by<K2: Key>(
        &self,
        name: &str,
        select: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> Grouped<K2, V> {
        Grouped { stream: self.select_key(select), name: Some(name.to_owned()) }
    }

    /// Sends the records through the repartition topic `name` to where their keys are; values
    /// travel as JSON.
    #[must_use]
    pub fn repartition(&self, name: &str) -> Self {
        self.repartition_with(name, json())
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Sends the records through the repartition topic `name`; values travel as `codec` says.
    #[must_use]
    pub fn repartition_with(&self, name: &str, codec: Serde<V>) -> Self {
        self.graph.borrow_mut().check_name("repartition", name);
        let target = Target::Repartition(name.to_owned());
        let sink = self.graph.borrow_mut().add_sink(self.node, target, false);
        let node = self.graph.borrow().sinks[sink.0].node;
        let node_name = self.graph.borrow().nodes[node].name.clone();
        let write = Arc::clone(&codec);
        self.end(node, move || Sink::new(node_name.clone(), sink, Arc::clone(&write)));
        let topic = TopicName::Repartition(name.to_owned());
        crate::dsl::add_source(&self.graph, topic, Consumed::with(codec))
    }
}

impl<K: Key, V: Value> Grouped<K, V> {
    /// Groups by time as well.
    pub fn windowed_by(self, windows: TimeWindows) -> WindowedGroup<K, V> {
        WindowedGroup { grouped: self, windows }
    }

    /// The stream, with each record where its key is.
    pub(super) fn partitioned(self, store: &str) -> Stream<K, V> {
        if self.stream.rekeyed {
            self.stream.repartition(self.name.as_deref().unwrap_or(store))
        } else {
            self.stream
        }
    }
}
