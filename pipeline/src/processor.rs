//! The processor API: for what the DSL lacks.
//!
//! A [`Processor`] gets each record with the stores that it asked for, the record's headers, and
//! time: punctuation by stream time or by the wall clock. It forwards any number of records. What
//! it must not forget is in its stores: its own fields are lost when the task is made again, after
//! a crash as after a rebalance.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::bad_record::Defect;
use crate::codec::{CodecError, Serde};
use crate::key::Key;
use crate::operator::{Fault, Next};
use crate::operators::kind;
use crate::record::Record;
use crate::task::Context;
use crate::topology::StoreRef;

/// Handles records one by one. See [`crate::Stream::process`] for an example.
pub trait Processor<K, V>: 'static {
    /// The key of what it forwards.
    type Key: Clone + 'static;
    /// The value of what it forwards.
    type Value: Clone + 'static;

    /// Whether it changes fields of its own while it handles records. Nobody can take that back if
    /// a record breaks off: its task is made again from the log then. With `false` only what the
    /// record did to stores and outputs is taken back, which costs nothing else.
    const KEEPS_STATE: bool = true;

    /// Handles one record to completion.
    ///
    /// # Errors
    /// What the context's methods answer, to be handed on with `?`; or
    /// [`ProcessorContext::bad_record`]. What the record did is taken back, and it follows the
    /// policy for bad records.
    fn process(
        &mut self,
        record: Record<K, V>,
        ctx: &mut ProcessorContext<'_, '_, Self::Key, Self::Value>,
    ) -> Result<(), ProcessorError>;

    /// When it wants to be called without a record. Asked once, when the topology is built.
    fn schedule(&self) -> Vec<Schedule> {
        Vec::new()
    }

    /// Is called as [`Self::schedule`] says; `now` is the moment in milliseconds since 1970-01-01
    /// UTC, a multiple of the period.
    ///
    /// # Errors
    /// As for [`Self::process`]: what this call did is taken back, and it follows the policy of the
    /// topology; the record by which time moved goes on. Fields stay as they are.
    fn punctuate(
        &mut self,
        _schedule: Schedule,
        _now: i64,
        _ctx: &mut ProcessorContext<'_, '_, Self::Key, Self::Value>,
    ) -> Result<(), ProcessorError> {
        Ok(())
    }
}

/// When a processor is called without a record. Several periods that have passed at once make one
/// call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// After the record with which stream time (the largest timestamp seen) reached or passed a
    /// multiple of this period. Depends on the records alone.
    StreamTime(Duration),
    /// At the first commit after the wall clock reached or passed a multiple of this period. What
    /// it does depends on when the records arrived: the node is marked `arrival order`.
    WallClock(Duration),
}

impl Schedule {
    /// The period in milliseconds, at least 1.
    pub(crate) fn period_ms(self) -> i64 {
        let (Self::StreamTime(period) | Self::WallClock(period)) = self;
        i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// The last multiple of the period up to `now`, if it comes after `before`.
    pub(crate) fn reached(self, before: i64, now: i64) -> Option<i64> {
        let multiple = now.saturating_sub(now.rem_euclid(self.period_ms()));
        (before < multiple).then_some(multiple)
    }
}

/// Why a processor could not go on.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProcessorError(pub(crate) Fault);

impl From<Fault> for ProcessorError {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

/// A keyed store that processors read and write: see [`crate::TopologyBuilder::key_value_store`].
/// There is an example at [`ProcessorContext`].
pub struct KeyValueStore<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) store: StoreRef,
    pub(crate) codec: Serde<V>,
    pub(crate) key: PhantomData<fn() -> K>,
}

impl<K, V> Clone for KeyValueStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            store: self.store,
            codec: Arc::clone(&self.codec),
            key: PhantomData,
        }
    }
}

impl<K, V> KeyValueStore<K, V> {
    /// What [`crate::Stream::process`] is told of the stores that its processor uses.
    pub fn id(&self) -> StoreId {
        StoreId { name: Arc::clone(&self.name), store: self.store }
    }
}

/// A store, whatever its types.
#[derive(Clone, Debug)]
pub struct StoreId {
    pub(crate) name: Arc<str>,
    pub(crate) store: StoreRef,
}

/// What a processor can reach.
///
/// ```
/// use pipeline::driver::TopologyDriver;
/// use pipeline::processor::{KeyValueStore, Processor, ProcessorContext, ProcessorError};
/// use pipeline::{Record, TopologyBuilder};
///
/// /// The pieces that each till has sold; a null till does not count.
/// struct Tills {
///     sold: KeyValueStore<String, i64>,
/// }
///
/// impl Processor<String, i64> for Tills {
///     type Key = String;
///     type Value = i64;
///
///     fn process(
///         &mut self,
///         record: Record<String, i64>,
///         ctx: &mut ProcessorContext<'_, '_, String, i64>,
///     ) -> Result<(), ProcessorError> {
///         if record.value < 0 {
///             return Err(ctx.bad_record("sold fewer than none"));
///         }
///         if record.value == 0 || record.timestamp < ctx.stream_time() {
///             ctx.count_dropped("nothing sold, or late");
///             return Ok(());
///         }
///         if let Some(id) = ctx.event_id().map(str::to_owned) {
///             ctx.add_header("receipt", id.as_bytes());
///         }
///         for (name, _) in ctx.headers() {
///             assert!(!name.is_empty());
///         }
///         let mut sold = ctx.store(&self.sold);
///         let pieces = sold.get(&record.key)?.unwrap_or(0) + record.value;
///         sold.put(&record.key, &pieces)?;
///         sold.delete(&"closed".to_owned())?;
///         let all: i64 = sold.all(100)?.iter().map(|(_, pieces)| pieces).sum();
///         let (from, to) = ("a".to_owned(), "z".to_owned());
///         assert_eq!(sold.range(&from, &to, 100)?.len(), sold.all(100)?.len());
///         ctx.forward(Record { value: all, ..record })
///     }
/// }
///
/// let builder = TopologyBuilder::new("shop");
/// let sold = builder.key_value_store("sold");
/// let tills = move || Tills { sold: sold.clone() };
/// # let sold = tills().sold;
/// builder.stream::<String, i64>("sales").process("tills", &[sold.id()], tills).to("sold");
/// let mut driver = TopologyDriver::new(builder.build()?);
/// for (till, pieces, at) in [("left", 3, 0), ("right", 8, 1), ("left", 1, 2)] {
///     driver.pipe("sales", till, &pieces, at);
/// }
/// let sold: Vec<_> = driver.read::<String, i64>("sold").into_iter().map(|r| r.value).collect();
/// assert_eq!(sold, [Some(3), Some(11), Some(12)]);
/// # Ok::<(), pipeline::TopologyError>(())
/// ```
pub struct ProcessorContext<'a, 'c, K, V> {
    pub(crate) node: &'a str,
    pub(crate) stores: &'a [StoreRef],
    pub(crate) next: &'a Next<K, V>,
    pub(crate) stream_time: i64,
    pub(crate) ctx: &'a mut Context<'c>,
}

impl<'c, K: Clone, V: Clone> ProcessorContext<'_, 'c, K, V> {
    /// Hands a record to the nodes after this one.
    ///
    /// # Errors
    /// When one of them cannot handle it.
    pub fn forward(&mut self, record: Record<K, V>) -> Result<(), ProcessorError> {
        Ok(self.next.forward(record, self.ctx)?)
    }

    /// Opens one of the processor's stores.
    ///
    /// # Panics
    /// When the topology does not say that the processor uses it.
    pub fn store<'s, SK: Key, SV>(
        &'s mut self,
        store: &'s KeyValueStore<SK, SV>,
    ) -> OpenStore<'s, 'c, SK, SV> {
        let (node, name) = (self.node, &store.name);
        assert!(
            self.stores.contains(&store.store),
            "processor `{node}` uses store `{name}`, which is not among the stores that it was \
             given: add its id() to them",
        );
        OpenStore { node: self.node, store, ctx: self.ctx }
    }

    /// The largest timestamp that this processor has seen, in milliseconds since 1970-01-01 UTC;
    /// [`i64::MIN`] before the first record.
    pub fn stream_time(&self) -> i64 {
        self.stream_time
    }

    /// The id that the sender gave the event (`Idempotency-Key` over HTTP), if it did.
    pub fn event_id(&self) -> Option<&str> {
        self.ctx.event_id()
    }

    /// The headers of the record that is being handled, in order; none when time called. Behind a
    /// repartition only the engine's own and the event's id are left.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ctx.headers().iter()
    }

    /// Adds a header to whatever this record becomes in topics written with `to`.
    pub fn add_header(&mut self, name: &str, value: &[u8]) {
        self.ctx.add_header(name, value);
    }

    /// Counts a record as dropped, for this reason.
    pub fn count_dropped(&self, reason: &'static str) {
        self.ctx.count_dropped(self.node, reason);
    }

    /// The error for a record that cannot be handled, with the reason.
    pub fn bad_record(&self, reason: impl Into<String>) -> ProcessorError {
        let (node, reason) = (self.node.to_owned(), reason.into());
        Fault::BadRecord { node, defect: Defect::Refused, reason }.into()
    }
}

/// A store, open while a record is handled. There is an example at [`ProcessorContext`].
pub struct OpenStore<'s, 'c, K, V> {
    node: &'s str,
    store: &'s KeyValueStore<K, V>,
    ctx: &'s mut Context<'c>,
}

impl<K: Key, V> OpenStore<'_, '_, K, V> {
    /// The value of `key`.
    ///
    /// # Errors
    /// When the disk fails, or the value was written as another type.
    pub fn get(&self, key: &K) -> Result<Option<V>, ProcessorError> {
        let key = self.key(key)?;
        let codec = &self.store.codec;
        let read = self.ctx.read(self.store.store, &key, |value| {
            value.map(|bytes| codec.decode(Some(bytes))).transpose()
        });
        read.map_err(Fault::from)?.map_err(|error| self.damaged(&error))
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// When the key is null, or the value cannot be written as bytes.
    pub fn put(&mut self, key: &K, value: &V) -> Result<(), ProcessorError> {
        let key = self.key(key)?;
        let mut bytes = Vec::new();
        let encoded = self.store.codec.encode(value, &mut bytes);
        if encoded.map_err(|error| self.damaged(&error))? {
            self.ctx.put(self.store.store, &key, &bytes);
        } else {
            self.ctx.delete(self.store.store, &key);
        }
        Ok(())
    }

    /// Removes `key`.
    ///
    /// # Errors
    /// When the key is null.
    pub fn delete(&mut self, key: &K) -> Result<(), ProcessorError> {
        let key = self.key(key)?;
        self.ctx.delete(self.store.store, &key);
        Ok(())
    }

    /// The entries from the key `from` up to, not including, `to`, in the order of their bytes, at
    /// most `limit` of them.
    ///
    /// # Errors
    /// When the disk fails, or an entry was written as another type.
    pub fn range(&self, from: &K, to: &K, limit: usize) -> Result<Vec<(K, V)>, ProcessorError> {
        self.scan(&self.key(from)?, &self.key(to)?, limit)
    }

    /// All entries in the order of their keys' bytes, at most `limit` of them.
    ///
    /// # Errors
    /// When the disk fails, or an entry was written as another type.
    pub fn all(&self, limit: usize) -> Result<Vec<(K, V)>, ProcessorError> {
        self.scan(&[kind::ENTRY], &[kind::ENTRY + 1], limit)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(K, V)>, ProcessorError> {
        let entries = self.ctx.scan(self.store.store, (from, to), limit).map_err(Fault::from)?;
        let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
            Ok((K::decode(key.get(1..))?, self.store.codec.decode(Some(&value))?))
        };
        let decoded: Result<_, CodecError> = entries.into_iter().map(decode).collect();
        decoded.map_err(|error| self.damaged(&error))
    }

    fn key(&self, key: &K) -> Result<Vec<u8>, ProcessorError> {
        let mut bytes = vec![kind::ENTRY];
        if key.encode(&mut bytes) {
            return Ok(bytes);
        }
        let reason = format!("store `{}` has no null keys", self.store.name);
        Err(Fault::BadRecord { node: self.node.to_owned(), defect: Defect::Key, reason }.into())
    }

    fn damaged(&self, error: &CodecError) -> ProcessorError {
        self.ctx.bad_state(self.node, error).into()
    }
}

#[cfg(test)]
mod tests;
