//! Values in a store behind their timestamps, as Kafka Streams' timestamped stores keep them.

use super::stream_time::{put_timestamp, split_timestamp};
use crate::codec::{CodecError, Serde};
use crate::operator::Fault;
use crate::task::Context;
use crate::topology::StoreRef;

/// Reads and writes the values of one store. It owns the buffer that they are encoded in.
pub(crate) struct Stored<T> {
    node: String,
    store: StoreRef,
    codec: Serde<T>,
    buffer: Vec<u8>,
}

impl<T> Stored<T> {
    pub(crate) fn new(node: String, store: StoreRef, codec: Serde<T>) -> Self {
        Self { node, store, codec, buffer: Vec::new() }
    }

    /// The node that the store belongs to, for counters and errors.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// The timestamp and value under `key`.
    pub(crate) fn get(&self, key: &[u8], ctx: &Context<'_>) -> Result<Option<(i64, T)>, Fault> {
        let codec = &self.codec;
        let read = ctx.read(self.store, key, |stored| {
            let stored = stored.map(|bytes| {
                split_timestamp(bytes).ok_or_else(|| CodecError::new("too short for a timestamp"))
            });
            let Some((timestamp, bytes)) = stored.transpose()? else { return Ok(None) };
            codec.decode(Some(bytes)).map(|value| Some((timestamp, value)))
        })?;
        read.map_err(|error| ctx.bad_state(&self.node, &error))
    }

    /// Sets the timestamp and value under `key`.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        timestamp: i64,
        value: &T,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.buffer.clear();
        put_timestamp(&mut self.buffer, timestamp);
        let encoded = self.codec.encode(value, &mut self.buffer);
        encoded.map_err(|error| ctx.bad_state(&self.node, &error))?;
        ctx.put(self.store, key, &self.buffer);
        Ok(())
    }

    /// Removes `key`.
    pub(crate) fn delete(&self, key: &[u8], ctx: &mut Context<'_>) {
        ctx.delete(self.store, key);
    }
}
