//! What operators keep between records, so that it can be taken back with the record.

use std::cell::Cell;
use std::rc::Rc;

use super::Context;

/// A number that an operator keeps between records. What a record did to it is taken back if the
/// record breaks off.
#[derive(Clone, Debug)]
pub(crate) struct Remembered(Rc<Cell<i64>>);

impl Remembered {
    /// Begins with `value`.
    pub(crate) fn new(value: i64) -> Self {
        Self(Rc::new(Cell::new(value)))
    }

    /// The number.
    pub(crate) fn get(&self) -> i64 {
        self.0.get()
    }

    /// Changes it within the record that `ctx` is about.
    pub(crate) fn set(&self, value: i64, ctx: &mut Context<'_>) {
        let before = self.0.replace(value);
        if before != value {
            ctx.changed_memory(self.clone(), before);
        }
    }

    /// Changes it for good: it is a cache, and true whatever is taken back.
    pub(crate) fn load(&self, value: i64) {
        self.0.set(value);
    }
}
