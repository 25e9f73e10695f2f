//! Tables: the handle.

use std::sync::Arc;

use super::Stream;
use crate::operator::Fault;
use crate::record::Change;
use crate::task::Context;
use crate::topology::StoreRef;

/// Finds the value of a key in a table, through whatever the table was made of.
pub(crate) type Lookup<K, V> =
    Arc<dyn Fn(&K, &mut Context<'_>) -> Result<Option<Stamped<V>>, Fault> + Send + Sync>;

/// A value of a table and the event time that it is of, in milliseconds.
pub(crate) struct Stamped<V> {
    pub(crate) value: V,
    pub(crate) timestamp: i64,
}

/// A table: for each key the latest value. Its updates flow like a stream's records; joins look
/// values up in it.
pub struct Table<K, V> {
    /// The updates.
    pub(crate) changes: Stream<K, Change<V>>,
    pub(crate) lookup: Lookup<K, V>,
    /// The stores that [`Self::lookup`] reads in the end.
    pub(crate) stores: Vec<StoreRef>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self {
            changes: self.changes.clone(),
            lookup: Arc::clone(&self.lookup),
            stores: self.stores.clone(),
        }
    }
}
