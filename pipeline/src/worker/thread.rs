//! A worker on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Worker, WorkerError, WorkerParts, WorkerSettings};
use crate::log::LogError;

/// How long a worker without work waits for events before it looks whether it shall stop.
const WAIT: Duration = Duration::from_millis(50);

/// A running worker. Dropping the handle lets it run on; [`Self::stop`] ends it.
pub struct WorkerHandle {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), WorkerError>>,
}

/// Starts a worker. `failed` is told if it stops by itself.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    parts: WorkerParts,
    settings: WorkerSettings,
    failed: impl FnOnce(&WorkerError) + Send + 'static,
) -> Result<WorkerHandle, LogError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopping);
    let name = format!("worker-{}", settings.instance);
    let run = move || {
        let ended = run(parts, settings, &stop);
        if let Err(error) = &ended {
            failed(error);
        }
        ended
    };
    let thread = std::thread::Builder::new().name(name).spawn(run);
    let thread =
        thread.map_err(|error| LogError::Unavailable(format!("cannot start a thread: {error}")))?;
    Ok(WorkerHandle { stopping, thread })
}

fn run(parts: WorkerParts, settings: WorkerSettings, stop: &AtomicBool) -> Result<(), WorkerError> {
    let mut worker = Worker::new(parts, settings)?;
    while !stop.load(Ordering::Relaxed) {
        worker.run_once(WAIT)?;
    }
    worker.close()
}

impl WorkerHandle {
    /// Tells the worker to commit what it has done and end; [`Self::join`] waits for it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What the worker ended with, if it did not end well.
    pub fn join(self) -> Result<(), WorkerError> {
        self.thread.join().unwrap_or_else(|_| {
            // The panic has been printed with its place; a bug of ours is fatal for the worker.
            Err(LogError::Unavailable("a worker's thread panicked".into()).into())
        })
    }

    /// Whether the worker has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}
