//! The thread that appends: it takes everything that waits and makes one write of it (group
//! commit). In memory there is no thread: the caller appends.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::append::Request;
use super::{LogError, Shared};

/// One write takes about this much at most: it is copied on its way.
const WRITE_BYTES: usize = 16 << 20;

/// Where requests wait.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Puts a request in line, waiting while the queue holds `bytes_max`. A closed queue drops
    /// it, which tells its owner that the outcome is unknown.
    pub(crate) fn push(&self, request: Request, bytes_max: usize) {
        let state = self.lock();
        let full = |state: &mut State| state.bytes >= bytes_max && !state.closed;
        let mut state =
            self.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            state.bytes += request.bytes();
            state.requests.push_back(request);
            self.changed.notify_all();
        }
    }

    /// Takes those that wait, blocking for the first; `None` once closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Request>> {
        let state = self.lock();
        let idle = |state: &mut State| state.requests.is_empty() && !state.closed;
        let mut state =
            self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let (mut requests, mut bytes) = (Vec::new(), 0);
        while bytes < WRITE_BYTES
            && let Some(request) = state.requests.pop_front()
        {
            bytes += request.bytes();
            requests.push(request);
        }
        state.bytes -= bytes;
        self.changed.notify_all();
        (!requests.is_empty()).then_some(requests)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Lets the appender finish what waits, and refuses more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves nobody waiting for an appender that is gone, even if it panicked.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.0.lock().requests.clear();
    }
}

/// Starts the appender of `shared`; it ends when its queue is closed.
pub(crate) fn spawn(shared: Arc<Shared>) -> Result<JoinHandle<()>, LogError> {
    let run = move || {
        let _closing = Closing(&shared.queue);
        while let Some(requests) = shared.queue.take() {
            shared.append(requests);
        }
    };
    std::thread::Builder::new()
        .name("log-appender".into())
        .spawn(run)
        .map_err(|error| LogError::Unavailable(format!("cannot start a thread: {error}")))
}
