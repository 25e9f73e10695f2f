//! Values in a store behind their timestamps, as Kafka Streams' timestamped stores keep them.

use stores::state::{KeyRange, Order};

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
        let read = ctx.read(self.store, key, |stored| {
            stored.map(|bytes| decode(&self.codec, bytes)).transpose()
        })?;
        read.map_err(|error| ctx.bad_state(&self.node, &error))
    }

    /// The timestamp and value of an entry that was read already.
    pub(crate) fn decode(&self, stored: &[u8], ctx: &Context<'_>) -> Result<(i64, T), Fault> {
        decode(&self.codec, stored).map_err(|error| ctx.bad_state(&self.node, &error))
    }

    /// Shows the entries in a range of keys to `visit`, each with its timestamp and value.
    pub(crate) fn each(
        &self,
        range: KeyRange<'_>,
        ctx: &Context<'_>,
        visit: &mut dyn FnMut(&[u8], i64, T),
    ) -> Result<(), Fault> {
        let mut damaged = None;
        ctx.scan_each(self.store, range, Order::Ascending, &mut |key, stored| {
            match decode(&self.codec, stored) {
                Ok((timestamp, value)) => visit(key, timestamp, value),
                Err(error) => damaged = Some(error),
            }
            damaged.is_none()
        })?;
        damaged.map_or(Ok(()), |error| Err(ctx.bad_state(&self.node, &error)))
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

fn decode<T>(codec: &Serde<T>, stored: &[u8]) -> Result<(i64, T), CodecError> {
    let cut = || CodecError::new("too short for a timestamp");
    let (timestamp, bytes) = split_timestamp(stored).ok_or_else(cut)?;
    Ok((timestamp, codec.decode(Some(bytes))?))
}
