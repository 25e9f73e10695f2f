//! Who writes a store: the task that has it, or whoever follows its changelog until a task wants it.
//!
//! A task claims its stores. That ends every loan of them at once, after waiting for a write that
//! is under way: a store never has two writers, and what a task wrote is never written over by
//! somebody who had read less of the changelog.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{StateBatch, StateDb, StateError, StoreId};

/// The claims on all stores of a database.
#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<StoreId, Claimed>>);

#[derive(Clone, Copy, Default)]
struct Claimed {
    /// Tasks that have the store: one, or none.
    now: usize,
    /// How often it was claimed: a loan from before the last time is over.
    ever: u64,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<StoreId, Claimed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's right to write a store. It ends when this is dropped.
pub struct Claim {
    db: Arc<StateDb>,
    store: StoreId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.db.claims.lock();
        let claimed = claims.entry(self.store).or_default();
        claimed.now = claimed.now.saturating_sub(1);
    }
}

/// A follower's right to write a store, until a task claims it.
#[derive(Clone, Copy, Debug)]
pub struct Loan {
    store: StoreId,
    claimed: u64,
}

impl Loan {
    /// The store that is lent.
    pub fn store(&self) -> StoreId {
        self.store
    }
}

impl StateDb {
    /// Takes `store` for a task.
    pub fn claim(self: &Arc<Self>, store: StoreId) -> Claim {
        let mut claims = self.claims.lock();
        let claimed = claims.entry(store).or_default();
        claimed.now += 1;
        claimed.ever += 1;
        drop(claims);
        Claim { db: Arc::clone(self), store }
    }

    /// Lends `store` to a follower; `None` if a task has it.
    pub fn lend(&self, store: StoreId) -> Option<Loan> {
        let claimed = self.claims.lock().get(&store).copied().unwrap_or_default();
        (claimed.now == 0).then_some(Loan { store, claimed: claimed.ever })
    }

    /// Whether no task has claimed the store since it was lent.
    pub fn is_lent(&self, loan: Loan) -> bool {
        holds(&self.claims.lock(), loan)
    }

    /// Writes a batch, which must change that store alone, if it is still lent. Answers whether it
    /// was.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write_lent(&self, loan: Loan, batch: StateBatch<'_>) -> Result<bool, StateError> {
        // Held while the batch is written: a claim waits for it.
        let claims = self.claims.lock();
        let lent = holds(&claims, loan);
        if lent {
            batch.write()?;
        }
        Ok(lent)
    }

    /// Forgets everything of a store, if it is still lent. Answers whether it was.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clear_lent(&self, loan: Loan) -> Result<bool, StateError> {
        let claims = self.claims.lock();
        let lent = holds(&claims, loan);
        if lent {
            self.clear(loan.store)?;
        }
        Ok(lent)
    }
}

fn holds(claims: &HashMap<StoreId, Claimed>, loan: Loan) -> bool {
    let claimed = claims.get(&loan.store).copied().unwrap_or_default();
    claimed.ever == loan.claimed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    fn write(db: &StateDb, loan: Loan, value: &[u8], offset: u64) -> bool {
        let mut batch = db.batch();
        batch.set(loan.store(), b"key", Some(value));
        batch.set_position(loan.store(), Position::new(offset, 1));
        db.write_lent(loan, batch).unwrap()
    }

    #[test]
    fn a_loan_ends_with_a_claim_and_stays_ended() {
        let db = Arc::new(StateDb::in_memory().unwrap());
        let (store, other) = (db.store("one", 0).unwrap(), db.store("one", 1).unwrap());
        let (loan, of_other) = (db.lend(store).unwrap(), db.lend(other).unwrap());
        assert!(write(&db, loan, b"first", 1));

        let claim = db.claim(store);
        assert!(db.lend(store).is_none(), "a task has it");
        assert!(!write(&db, loan, b"second", 2), "the loan is over");
        assert!(!db.clear_lent(loan).unwrap());
        assert!(write(&db, of_other, b"other", 1), "another store is not concerned");

        drop(claim);
        assert!(!db.is_lent(loan), "what was read before the claim may be older than the store");
        assert!(!write(&db, loan, b"third", 3));
        let found = db.read(store, b"key", |value| value.map(<[u8]>::to_vec)).unwrap();
        assert_eq!(found.as_deref(), Some(b"first".as_slice()));
        assert_eq!(db.position(store).unwrap(), Some(Position::new(1, 1)));
        assert!(write(&db, db.lend(store).unwrap(), b"fourth", 4), "it can be lent again");
    }

    #[test]
    fn a_store_stays_claimed_until_the_last_claim_ends() {
        let db = Arc::new(StateDb::in_memory().unwrap());
        let store = db.store("one", 0).unwrap();
        let (first, second) = (db.claim(store), db.claim(store));
        drop(first);
        assert!(db.lend(store).is_none());
        drop(second);
        assert!(db.lend(store).is_some());
    }
}
