//! Sources: bytes become records.

use crate::codec::CodecError;
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

    fn decode(&self, record: &RecordRef<'_>) -> Result<Record<K, V>, (&'static str, CodecError)> {
        let key = K::decode(record.key).map_err(|error| ("key", error))?;
        let value = self.consumed.value.decode(record.value).map_err(|error| ("value", error))?;
        let timestamp = match &self.consumed.timestamp {
            None => record.timestamp,
            Some(extract) => extract(&value, record.timestamp),
        };
        if timestamp < 0 {
            let reason = format!("{timestamp} ms is before 1970");
            return Err(("timestamp", CodecError::new(reason)));
        }
        Ok(Record { key, value, timestamp })
    }
}

impl<K: Key, V: Clone + 'static> Entry for SourceEntry<K, V> {
    fn feed(&mut self, record: &RecordRef<'_>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let decoded = self.decode(record).map_err(|(part, error)| Fault::BadRecord {
            node: self.node.clone(),
            reason: format!("the {part} is {error}"),
        })?;
        ctx.observe(decoded.timestamp);
        self.next.forward(decoded, ctx)
    }
}
