//! Sources: bytes become records.

use crate::bad_record::Defect;
use crate::dsl::Consumed;
use crate::key::Key;
use crate::log::RecordRef;
use crate::operator::{Entry, Fault, Next};
use crate::record::Record;
use crate::task::Context;

/// Reads one topic.
pub(crate) struct SourceEntry<K, V> {
    node: String,
    consumed: Consumed<V>,
    next: Next<K, V>,
}

impl<K: Key, V: Clone + 'static> SourceEntry<K, V> {
    pub(crate) fn new(node: String, consumed: Consumed<V>, next: Next<K, V>) -> Self {
        Self { node, consumed, next }
    }

    fn decode(
        &self,
        record: &RecordRef<'_>,
        ctx: &Context<'_>,
    ) -> Result<Record<K, V>, (Defect, String)> {
        let key =
            K::decode(record.key).map_err(|error| (Defect::Key, format!("the key is {error}")))?;
        let value = self.consumed.value.decode(record.value);
        let value = value.map_err(|error| (Defect::Value, format!("the value is {error}")))?;
        let timestamp = match &self.consumed.timestamp {
            None => record.timestamp,
            Some(extract) => extract(&value, record.timestamp),
        };
        ctx.time_bounds()
            .check(timestamp)
            .map_err(|why| (Defect::Timestamp, format!("the timestamp {why}")))?;
        Ok(Record { key, value, timestamp })
    }
}

impl<K: Key, V: Clone + 'static> Entry for SourceEntry<K, V> {
    fn feed(&mut self, record: &RecordRef<'_>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let decoded = self.decode(record, ctx).map_err(|(defect, reason)| Fault::BadRecord {
            node: self.node.clone(),
            defect,
            reason,
        })?;
        ctx.observe(decoded.timestamp);
        self.next.forward(decoded, ctx)
    }
}
