//! What becomes of records that come too late for their windows: they are counted, and go to the
//! late topic if there is one.

use std::sync::Arc;

use super::window_time::{LATE, Lateness};
use crate::codec::Serde;
use crate::dsl::Stream;
use crate::format::{LATE_REASON_HEADER, LATE_WINDOWS_HEADER};
use crate::key::Key;
use crate::operator::Fault;
use crate::task::{Context, Outgoing};
use crate::topology::{Graph, SinkRef, Target};

/// Where late records go, as the DSL was told.
pub(crate) struct LateTopic<V> {
    topic: String,
    codec: Serde<V>,
}

impl<V> LateTopic<V> {
    pub(crate) fn with(topic: &str, codec: Serde<V>) -> Self {
        Self { topic: topic.to_owned(), codec }
    }
}

/// What the operators of a node need to know about its late topic.
pub(crate) struct LateSink<V>(Option<(SinkRef, Serde<V>)>);

impl<V> Clone for LateSink<V> {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|(sink, codec)| (*sink, Arc::clone(codec))))
    }
}

impl<V> LateSink<V> {
    /// The sink that [`Self::place`] will add.
    pub(crate) fn plan(late: Option<&LateTopic<V>>, graph: &Graph) -> Self {
        Self(late.map(|late| (SinkRef(graph.sinks.len()), Arc::clone(&late.codec))))
    }

    /// Adds the sink behind the node of `changes`, which was just made.
    pub(crate) fn place<K2: Clone + 'static, V2: Clone + 'static>(
        late: Option<&LateTopic<V>>,
        changes: &Stream<K2, V2>,
    ) {
        let Some(late) = late else { return };
        let mut graph = changes.graph.borrow_mut();
        graph.check_name("topic", &late.topic);
        graph.add_sink(changes.node, Target::To(late.topic.clone()), false);
    }
}

/// Counts late records, and writes them to the late topic.
pub(crate) struct LateRecords<V> {
    node: String,
    /// Which records are late was decided, and counted, before they came here.
    judged: bool,
    sink: LateSink<V>,
    value: Vec<u8>,
}

/// A record that missed some of its windows.
pub(crate) struct Missed<'a, V> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a V,
    pub(crate) timestamp: i64,
    /// Of the windows that it lies in, how many were closed, and how many there are.
    pub(crate) windows: (usize, usize),
}

impl<V> LateRecords<V> {
    pub(crate) fn new(node: &str, sink: LateSink<V>) -> Self {
        Self { node: node.to_owned(), judged: false, sink, value: Vec::new() }
    }

    /// The same; if `judged`, which records are late was decided before they come here.
    pub(crate) fn judged(self, judged: bool) -> Self {
        Self { judged, ..self }
    }

    /// Whether those that come too late for this reason are counted here.
    pub(crate) fn counts(&self, why: Lateness) -> bool {
        !(self.judged && why == LATE)
    }

    /// The node that drops them.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// A record came too late for some or all of its windows. Each of these is counted.
    pub(crate) fn missed(
        &mut self,
        why: Lateness,
        record: &Missed<'_, V>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let (missed, all) = record.windows;
        for _ in 0..missed {
            ctx.count_dropped(&self.node, why);
        }
        let Some((sink, codec)) = &self.sink.0 else { return Ok(()) };
        self.value.clear();
        let encoded = codec.encode(record.value, &mut self.value);
        let has_value = encoded.map_err(|error| ctx.bad_value(&self.node, &error))?;
        let outgoing = Outgoing {
            timestamp: record.timestamp,
            key: Some(record.key),
            value: has_value.then_some(&self.value[..]),
        };
        let windows = format!("{missed}/{all}");
        let headers =
            [(LATE_REASON_HEADER, why.as_bytes()), (LATE_WINDOWS_HEADER, windows.as_bytes())];
        ctx.send_with(&self.node, *sink, outgoing, &headers)
    }
}

/// The bytes of a key, which is not null, into a buffer.
pub(crate) fn key_bytes<K: Key>(key: &K, out: &mut Vec<u8>) -> bool {
    out.clear();
    key.encode(out)
}
