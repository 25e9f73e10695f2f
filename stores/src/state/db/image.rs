//! All state as a value: what a simulated disk keeps while the process above it dies.
//!
//! State has no write-ahead log, so a process that is killed finds again what had been flushed. An
//! image is such a moment; loading it is what a start after a kill finds. Not for backups: it
//! holds everything in memory.

use rocksdb::{ColumnFamily, WriteBatch};

use super::{Order, PoisonError, StateDb, StateError, no_wal};
use crate::position::Position;

/// A key of the database with its value.
type Pair = (Box<[u8]>, Box<[u8]>);

/// Everything in a state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateImage {
    entries: Vec<Pair>,
    meta: Vec<Pair>,
}

impl StateImage {
    /// The same data with the positions of `other`: a write that was torn in two would look so.
    #[must_use]
    pub fn with_positions_of(&self, other: &Self) -> Self {
        let is_position = |(key, _): &&Pair| key.first() == Some(&b'p');
        let mut meta: Vec<_> =
            self.meta.iter().filter(|entry| !is_position(entry)).cloned().collect();
        meta.extend(other.meta.iter().filter(is_position).cloned());
        meta.sort();
        Self { entries: self.entries.clone(), meta }
    }

    /// The same data without the entries whose key within their store `forget` says true of.
    #[must_use]
    pub fn without(&self, forget: &dyn Fn(&[u8]) -> bool) -> Self {
        let kept = self.entries.iter().filter(|(key, _)| !forget(&key[8..]));
        Self { entries: kept.cloned().collect(), meta: self.meta.clone() }
    }
}

impl StateDb {
    /// What it holds now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn image(&self) -> Result<StateImage, StateError> {
        Ok(StateImage { entries: self.all(self.entries())?, meta: self.all(self.meta())? })
    }

    /// Replaces everything by `image`. No store of it may be in use.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn load(&self, image: &StateImage) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        for (family, entries) in [(self.entries(), &image.entries), (self.meta(), &image.meta)] {
            for (key, _) in self.all(family)? {
                batch.delete_cf(family, key);
            }
            for (key, value) in entries {
                batch.put_cf(family, key, value);
            }
        }
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.db.write_opt(batch, &no_wal()).map_err(|error| self.failed("write", &error))
    }

    /// The entries of the store `name`, and the position that they reflect, without making the
    /// store if it is not there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn contents(
        &self,
        name: &str,
        partition: u32,
    ) -> Result<(Vec<super::super::Entry>, Option<Position>), StateError> {
        let key = [b"n", name.as_bytes()].concat();
        let found = self.db.get_cf(self.meta(), &key).map_err(|e| self.failed("read", &e))?;
        if found.is_none() {
            return Ok((Vec::new(), None));
        }
        let store = self.store(name, partition)?;
        let mut entries = Vec::new();
        self.scan(store, (&[], &[0xff; 64]), Order::Ascending, &mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            true
        })?;
        Ok((entries, self.position(store)?))
    }

    fn all(&self, family: &ColumnFamily) -> Result<Vec<Pair>, StateError> {
        let mut iterator = self.db.raw_iterator_cf(family);
        let mut all = Vec::new();
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            all.push((Box::from(key), Box::from(value)));
            iterator.next();
        }
        iterator.status().map_err(|error| self.failed("read", &error))?;
        Ok(all)
    }
}
