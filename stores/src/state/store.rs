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

use std::collections::BTreeMap;
use std::sync::Arc;

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
        for overlay in self.overlays() {
            if let Some(change) = overlay.get(key) {
                return Ok(read(change));
            }
        }
        self.db.read(self.id, key, read)
    }

    /// Sets `key`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.undo.note(key, self.active.get(key));
        self.active.set(key, Some(value));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: &[u8]) {
        self.undo.note(key, self.active.get(key));
        self.active.set(key, None);
    }

    /// What has changed until now stays; what changes from now on can be undone.
    pub fn begin(&mut self) {
        self.undo.clear();
    }

    /// Takes back what has changed since [`Self::begin`].
    pub fn undo(&mut self) {
        for (key, before) in self.undo.backwards() {
            match before {
                None => self.active.forget(key),
                Some(value) => self.active.set(key, value),
            }
        }
        self.undo.clear();
    }

    /// The entries from the first key of `range` up to, not including, the second, in order, at
    /// most `limit` of them.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn scan(&self, range: (&[u8], &[u8]), limit: usize) -> Result<Vec<Entry>, StateError> {
        let mut changed: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for overlay in [self.committing.as_ref(), Some(&self.active)].into_iter().flatten() {
            changed.extend(overlay.iter().filter(|(key, _)| *key >= range.0 && *key < range.1));
        }
        let mut changed = changed.into_iter().peekable();
        let mut found = Vec::new();
        let mut keep = |key: &[u8], value: Option<&[u8]>| {
            if let Some(value) = value {
                found.push((key.to_vec(), value.to_vec()));
            }
            found.len() < limit
        };
        let mut full = limit == 0;
        self.db.scan(self.id, range, &mut |key, value| {
            while let Some((newer, change)) = changed.next_if(|(newer, _)| *newer < key) {
                full = full || !keep(newer, change);
            }
            let change = changed.next_if(|(newer, _)| *newer == key);
            full = full || !keep(key, change.map_or(Some(value), |(_, change)| change));
            !full
        })?;
        for (key, change) in changed {
            full = full || !keep(key, change);
        }
        found.truncate(limit);
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
        self.committing.insert(std::mem::take(&mut self.active))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store() -> Store {
        Store::open(&Arc::new(StateDb::in_memory().unwrap()), "s", 0).unwrap()
    }

    fn get(store: &Store, key: u8) -> Option<Vec<u8>> {
        store.read(&[key], |value| value.map(<[u8]>::to_vec)).unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Delete(u8),
        Begin,
        Undo,
        Freeze,
        Apply,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..9_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            2 => (0..9_u8).prop_map(Step::Delete),
            1 => Just(Step::Begin),
            1 => Just(Step::Undo),
            1 => Just(Step::Freeze),
            1 => Just(Step::Apply),
        ];
        prop::collection::vec(step, 1..60)
    }

    /// What the store should hold, and what it held when it was last told to begin.
    #[derive(Default)]
    struct Model {
        now: BTreeMap<u8, u8>,
        begun: BTreeMap<u8, u8>,
        frozen: bool,
    }

    fn run(store: &mut Store, step: &Step, model: &mut Model) {
        match *step {
            Step::Put(key, value) => {
                store.put(&[key], &[value]);
                model.now.insert(key, value);
            }
            Step::Delete(key) => {
                store.delete(&[key]);
                model.now.remove(&key);
            }
            Step::Begin => {
                store.begin();
                model.begun.clone_from(&model.now);
            }
            Step::Undo => {
                store.undo();
                model.now.clone_from(&model.begun);
            }
            Step::Freeze if !model.frozen => {
                store.freeze();
                model.begun.clone_from(&model.now);
                model.frozen = true;
            }
            Step::Apply => {
                let db = Arc::clone(&store.db);
                let mut batch = db.batch();
                store.applied(Some(Position::new(1, 1)), &mut batch);
                batch.write().unwrap();
                model.frozen = false;
            }
            Step::Freeze => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn reads_and_scans_see_through_all_layers(
            steps in steps(), from in 0..9_u8, to in 0..9_u8, limit in 0..9_usize,
        ) {
            let mut store = store();
            let mut model = Model::default();
            for step in &steps {
                run(&mut store, step, &mut model);
                for key in 0..9 {
                    let expected = model.now.get(&key).map(|value| vec![*value]);
                    prop_assert_eq!(get(&store, key), expected);
                }
                let expected: Vec<_> = model
                    .now
                    .iter()
                    .filter(|(key, _)| **key >= from && **key < to)
                    .map(|(key, value)| (vec![*key], vec![*value]))
                    .take(limit)
                    .collect();
                prop_assert_eq!(store.scan((&[from], &[to]), limit).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_store_that_is_opened_again_is_at_its_last_commit() {
        let directory = tempfile::tempdir().unwrap();
        let settings =
            super::super::StateSettings { cache_bytes: 1 << 20, write_buffer_bytes: 4 << 20 };
        {
            let db = Arc::new(StateDb::open(directory.path(), settings).unwrap());
            let mut store = Store::open(&db, "counts", 3).unwrap();
            store.put(b"a", b"1");
            store.freeze();
            let mut batch = db.batch();
            store.applied(Some(Position::new(17, 2)), &mut batch);
            batch.write().unwrap();
            store.put(b"a", b"lost");
            db.flush().unwrap();
        }
        let db = Arc::new(StateDb::open(directory.path(), settings).unwrap());
        let other = db.store("other", 3).unwrap();
        let store = Store::open(&db, "counts", 3).unwrap();
        assert_ne!(store.id(), other);
        assert_eq!(db.position(store.id()).unwrap(), Some(Position::new(17, 2)));
        assert_eq!(store.read(b"a", |v| v.map(<[u8]>::to_vec)).unwrap(), Some(b"1".to_vec()));
        db.clear(store.id()).unwrap();
        assert_eq!(db.position(store.id()).unwrap(), None);
        assert!(store.read(b"a", |value| value.is_none()).unwrap());
    }
}
