//! One partition of a store as a task sees it: RocksDB under up to three overlays.
//!
//! ```text
//! put, delete ->  active      what the task has done since it last began a commit
//!   freeze    ->  committing  what the log has been given and has not decided yet
//!   applied   ->  RocksDB     what the log has accepted
//! ```
//! Reads look through all of them. What was applied last is kept as `recent`, unchanged, so that
//! keys in use are read from memory. After a commit that failed the store is dropped with its
//! overlays and made again. What one record did can be taken back alone: [`Store::begin`] and
//! [`Store::undo`].

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use super::overlay::Hashed;
use super::scan::{self, KeyRange, Order, Visit};
use super::undo::Undo;
use super::{Overlay, StateBatch, StateDb, StateError, StoreId};
use crate::position::Position;

/// A key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// One partition of one store.
pub struct Store {
    db: Arc<StateDb>,
    id: StoreId,
    active: Overlay,
    committing: Option<Overlay>,
    recent: Overlay,
    /// What has changed since [`Self::begin`].
    undo: Undo,
    hasher: DefaultHashBuilder,
}

impl Store {
    /// Opens partition `partition` of the store called `name`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(db: &Arc<StateDb>, name: &str, partition: u32) -> Result<Self, StateError> {
        Ok(Self {
            id: db.store(name, partition)?,
            db: Arc::clone(db),
            active: Overlay::default(),
            committing: None,
            recent: Overlay::default(),
            undo: Undo::default(),
            hasher: DefaultHashBuilder::default(),
        })
    }

    /// Its number in the database.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Shows the value of `key` to `read`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Result<T, StateError> {
        let hashed = hashed(&self.hasher, key);
        for overlay in self.overlays() {
            if let Some(change) = overlay.get(hashed) {
                return Ok(read(change));
            }
        }
        self.db.read(self.id, key, read)
    }

    /// Sets `key`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let hashed = hashed(&self.hasher, key);
        self.undo.note(key, self.active.get(hashed));
        self.active.set(hashed, Some(value));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: &[u8]) {
        let hashed = hashed(&self.hasher, key);
        self.undo.note(key, self.active.get(hashed));
        self.active.set(hashed, None);
    }

    /// What has changed until now stays; what changes from now on can be undone.
    pub fn begin(&mut self) {
        self.undo.clear();
    }

    /// How far it has changed since [`Self::begin`], for [`Self::undo_to`].
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back what has changed since `mark` was answered by [`Self::mark`], which was after the
    /// last [`Self::begin`].
    pub fn undo_to(&mut self, mark: usize) {
        for (key, before) in self.undo.backwards_to(mark) {
            let hashed = hashed(&self.hasher, key);
            match before {
                None => self.active.unset(hashed),
                Some(value) => self.active.set(hashed, value),
            }
        }
        self.undo.truncate(mark);
    }

    /// Shows the entries in `range` to `visit`, in `order`, until it says no. Nothing is copied,
    /// and nothing beyond what is shown is read.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn scan_each(
        &self,
        range: KeyRange<'_>,
        order: Order,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        // What was applied last is in the database.
        let overlays = (&self.active, self.committing.as_ref());
        scan::scan((&self.db, self.id), overlays, range, order, visit)
    }

    /// The entries in `range`, in order of their keys, at most `limit` of them.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn scan(&self, range: KeyRange<'_>, limit: usize) -> Result<Vec<Entry>, StateError> {
        let mut found = Vec::new();
        if limit > 0 {
            self.scan_each(range, Order::Ascending, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                found.len() < limit
            })?;
        }
        Ok(found)
    }

    /// What has changed since the last freeze.
    pub fn active(&self) -> &Overlay {
        &self.active
    }

    /// Gives what has changed to a commit; the next changes go to a fresh overlay.
    ///
    /// # Panics
    /// When the commit before has not been applied.
    pub fn freeze(&mut self) -> &Overlay {
        assert!(self.committing.is_none(), "one commit at a time");
        self.undo.clear();
        let fresh = Overlay::like(&self.active);
        self.committing.insert(std::mem::replace(&mut self.active, fresh))
    }

    /// Moves what the log has accepted into `batch`. `position` is where the changelog goes on;
    /// `None` if nothing was appended to it.
    pub fn applied(&mut self, position: Option<Position>, batch: &mut StateBatch<'_>) {
        let Some(committed) = self.committing.take() else { return };
        for (key, value) in committed.iter() {
            batch.set(self.id, key, value);
        }
        if let Some(position) = position {
            batch.set_position(self.id, position);
        }
        self.recent = committed;
    }

    /// About how much memory its overlays take, in bytes.
    pub fn bytes(&self) -> usize {
        self.overlays().map(Overlay::bytes).sum()
    }

    fn overlays(&self) -> impl Iterator<Item = &Overlay> {
        [Some(&self.active), self.committing.as_ref(), Some(&self.recent)].into_iter().flatten()
    }
}

fn hashed<'a>(hasher: &DefaultHashBuilder, key: &'a [u8]) -> Hashed<'a> {
    Hashed { key, hash: hasher.hash_one(key) }
}

#[cfg(test)]
mod tests;
