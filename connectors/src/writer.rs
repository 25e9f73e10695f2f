//! A writer that comes back after an unknown outcome.
//!
//! Adds to [`pipeline::log::Writer`] only that: it is shared, and made anew when the log says that
//! it cannot tell. It does not retry a commit; whether that is right, its user knows.

use std::sync::{Arc, Mutex, PoisonError};

use pipeline::log::{Commit, CommitHandle, Log, LogError, Outcome, Writer};

/// A named writer of a log.
pub(crate) struct SharedWriter {
    log: Arc<dyn Log>,
    name: String,
    state: Mutex<State>,
}

struct State {
    /// `None` after an unknown outcome, until the next commit.
    writer: Option<Box<dyn Writer>>,
    /// Counts the writers made, so that a late answer does not drop a younger one.
    generation: u64,
}

/// A commit under way, and the writer it went through.
pub(crate) struct Underway {
    handle: CommitHandle,
    generation: u64,
}

impl SharedWriter {
    /// Opens the writer. An older one of the same name is fenced.
    pub(crate) fn open(log: Arc<dyn Log>, name: String) -> Result<Self, LogError> {
        let writer = Some(log.writer(&name)?);
        Ok(Self { log, name, state: Mutex::new(State { writer, generation: 0 }) })
    }

    /// Enqueues `commit`. Waits while the log's queue is full: not for async code.
    ///
    /// The mutex is held for the enqueueing alone, not until the log has answered.
    pub(crate) fn commit(&self, commit: Commit) -> Result<Underway, LogError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = self.renewed(&mut state)?;
        let handle = writer.commit(commit);
        Ok(Underway { handle, generation: state.generation })
    }

    /// After an unknown outcome: connects anew, so that what was committed can be read. Says
    /// whether that was needed.
    pub(crate) fn renew(&self) -> Result<bool, LogError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_needed = state.writer.is_none();
        self.renewed(&mut state)?;
        Ok(is_needed)
    }

    fn renewed<'s>(&self, state: &'s mut State) -> Result<&'s mut Box<dyn Writer>, LogError> {
        if state.writer.is_none() {
            self.log.reconnect()?;
            state.writer = Some(self.log.writer(&self.name)?);
            state.generation += 1;
        }
        Ok(state.writer.as_mut().expect("it was made a moment ago"))
    }

    /// Waits for the outcome.
    pub(crate) fn wait(&self, underway: Underway) -> Outcome {
        let Underway { handle, generation } = underway;
        self.noted(handle.wait(), generation)
    }

    /// Awaits the outcome.
    pub(crate) async fn outcome(&self, underway: Underway) -> Outcome {
        let Underway { handle, generation } = underway;
        self.noted(handle.await, generation)
    }

    fn noted(&self, outcome: Outcome, generation: u64) -> Outcome {
        if matches!(outcome, Outcome::Unknown(_)) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.generation == generation {
                state.writer = None;
            }
        }
        outcome
    }
}
