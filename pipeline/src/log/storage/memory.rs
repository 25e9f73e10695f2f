//! Storage in memory, with a disk's worst habit: unsynced writes can be lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Op, Space, Storage, StorageError};

type Map = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// Storage that lives as long as the value. Clones of an `Arc` of it outlive a log that is closed
/// and opened again.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Map,
    /// What a power failure leaves, and the writes since.
    synced: Map,
    unsynced: Vec<Vec<Op>>,
    fails_next: Option<FailedWrite>,
    full: bool,
}

/// What a write that failed has done nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedWrite {
    /// Nothing.
    Lost,
    /// Everything: only the answer was an error.
    Applied,
}

impl MemoryStorage {
    /// Empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: of the writes since the last sync only the first `kept` survive.
    pub fn lose_power(&self, kept: usize) {
        let mut state = self.lock();
        let mut survived = std::mem::take(&mut state.synced);
        for ops in state.unsynced.drain(..).take(kept) {
            apply(&mut survived, &ops);
        }
        state.synced.clone_from(&survived);
        state.now = survived;
    }

    /// Cuts the power as no storage should: of the first write that is lost, half of what it says
    /// was done. To see that whoever relies on whole writes would notice.
    pub fn lose_power_in_a_write(&self, kept: usize) {
        if let Some(torn) = self.lock().unsynced.get_mut(kept) {
            torn.truncate(torn.len() / 2);
        }
        self.lose_power(kept + 1);
    }

    /// How many writes a power failure could lose now.
    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// Lets the next write fail.
    pub fn fail_next_write(&self, failure: FailedWrite) {
        self.lock().fails_next = Some(failure);
    }

    /// Lets all writes fail from now on, as on a full disk.
    pub fn fill(&self) {
        self.lock().full = true;
    }

    /// Lets writes succeed again.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.fails_next = None;
        state.full = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(map: &mut Map, ops: &[Op]) {
    for op in ops {
        match op.clone() {
            Op::Put(space, key, value) => {
                map.insert((space, key), value);
            }
            Op::Delete(space, key) => {
                map.remove(&(space, key));
            }
            Op::DeleteRange(space, from, to) => {
                let range = (space, from)..(space, to);
                let keys: Vec<_> = map.range(range).map(|(key, _)| key.clone()).collect();
                for key in keys {
                    map.remove(&key);
                }
            }
        }
    }
}

impl Storage for MemoryStorage {
    fn place(&self) -> String {
        "the log in memory".to_owned()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.lock().now.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        (from, to): (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        let state = self.lock();
        for ((_, key), value) in state.now.range((space, from.to_vec())..(space, to.to_vec())) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn scan_around(
        &self,
        space: Space,
        (from, to): (&[u8], &[u8]),
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        let state = self.lock();
        let upto = (space, Vec::new())..=(space, from.to_vec());
        let first = state.now.range(upto).next_back();
        let start = first.map_or_else(|| (space, from.to_vec()), |(key, _)| key.clone());
        for ((_, key), value) in state.now.range(start..(space, to.to_vec())) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, ops: &[Op], sync: bool) -> Result<(), StorageError> {
        let mut state = self.lock();
        if state.full {
            return Err(StorageError::Failed("no space left on the device".into()));
        }
        let failure = state.fails_next.take();
        if failure == Some(FailedWrite::Lost) {
            return Err(StorageError::Failed("the write was made to fail".into()));
        }
        apply(&mut state.now, ops);
        state.unsynced.push(ops.to_vec());
        if failure == Some(FailedWrite::Applied) {
            return Err(StorageError::Failed("the write was made to fail".into()));
        }
        if sync {
            let unsynced = std::mem::take(&mut state.unsynced);
            for ops in unsynced {
                apply(&mut state.synced, &ops);
            }
        }
        Ok(())
    }

    fn reclaim(&self, _space: Space, _range: (&[u8], &[u8])) -> Result<(), StorageError> {
        Ok(())
    }

    fn reopen(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
