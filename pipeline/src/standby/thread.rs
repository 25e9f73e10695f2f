//! Standbys on a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Standby, StandbyParts, StandbySettings};
use crate::log::LogError;
use crate::task::TaskError;

/// How long standbys wait for records before they look whether they shall stop.
const WAIT: Duration = Duration::from_millis(200);

/// Running standbys. Dropping the handle lets them run on; [`Self::stop`] ends them.
pub struct StandbyHandle {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), TaskError>>,
}

/// Starts the standbys of a topology. `failed` is told if they stop by themselves.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    parts: StandbyParts,
    settings: StandbySettings,
    failed: impl FnOnce(&TaskError) + Send + 'static,
) -> Result<StandbyHandle, LogError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopping);
    let name = format!("standby-{}", parts.plan.topology.name());
    let run = move || {
        let ended = run(Standby::new(parts, settings), &stop);
        if let Err(error) = &ended {
            failed(error);
        }
        ended
    };
    let thread = thread::Builder::new().name(name).spawn(run);
    let thread =
        thread.map_err(|error| LogError::Unavailable(format!("cannot start a thread: {error}")))?;
    Ok(StandbyHandle { stopping, thread })
}

fn run(mut standby: Standby, stop: &AtomicBool) -> Result<(), TaskError> {
    while !stop.load(Ordering::Relaxed) {
        let rest = standby.run_once(WAIT)?;
        thread::park_timeout(rest);
    }
    Ok(())
}

impl StandbyHandle {
    /// Tells the standbys to end; [`Self::join`] waits for it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What they ended with, if they did not end well.
    pub fn join(self) -> Result<(), TaskError> {
        self.thread.join().unwrap_or_else(|_| {
            // The panic has been printed with its place.
            Err(LogError::Unavailable("the thread of the standbys panicked".into()).into())
        })
    }
}
