//! Runs a [`FileTail`] on a thread of its own. Decides when, not what.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pipeline::clock::Clock;

use super::{FileError, FileState, FileTail};

/// After errors the interval doubles, up to this.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// A thread that follows a file. Dropping it stops the thread between two commits.
#[derive(Debug)]
pub struct FileThread {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn set(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether to stop, after `wait` at most.
    fn within(&self, wait: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, wait, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl FileTail {
    /// Follows the file on a named thread until the answer is dropped.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn spawn(self, clock: Arc<dyn Clock>) -> io::Result<FileThread> {
        let stop = Arc::new(Stop::default());
        let name = format!("file-{}", self.settings.name);
        let stopping = Arc::clone(&stop);
        let body = move || self.run(&stopping, &*clock);
        let thread = Some(std::thread::Builder::new().name(name).spawn(body)?);
        Ok(FileThread { stop, thread })
    }

    fn run(mut self, stop: &Stop, clock: &dyn Clock) {
        let interval = Duration::from_millis(self.settings.poll_interval_ms.max(1));
        let mut retry = interval;
        let mut reported = String::new();
        loop {
            let wait = match self.run_once(clock.wall_ms()) {
                Ok(progress) => {
                    retry = interval;
                    reported.clear();
                    if progress.state == FileState::More { Duration::ZERO } else { interval }
                }
                Err(error @ FileError::Fenced { .. }) => {
                    tracing::error!(source = %self.settings.name, %error, "stopped following");
                    return;
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != reported {
                        tracing::warn!(source = %self.settings.name, error = text, "will retry");
                        reported = text;
                    }
                    retry = (retry * 2).min(RETRY_MAX.max(interval));
                    retry
                }
            };
            if stop.within(wait) {
                return;
            }
        }
    }
}

impl FileThread {
    /// Whether it has ended by itself: another process follows the same source.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for FileThread {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already; there is nothing left to save here.
            let _ = thread.join();
        }
    }
}
