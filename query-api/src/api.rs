//! What the handlers share: the views, the limits, and the right to run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stores::views::{QueryError, View, Views};
use tokio::sync::Semaphore;

use crate::errors::Problem;
use crate::settings::QuerySettings;

/// The state of the router.
pub(crate) struct Api {
    pub(crate) views: Arc<Views>,
    pub(crate) settings: QuerySettings,
    /// One permit for each search that may run.
    pub(crate) running: Arc<Semaphore>,
    /// One permit for each request that may wait for a position.
    pub(crate) waiting: Semaphore,
}

impl Api {
    pub(crate) fn new(views: Arc<Views>, settings: QuerySettings) -> Self {
        let running = Arc::new(Semaphore::new(permits(settings.query_concurrency_max)));
        let waiting = Semaphore::new(permits(settings.after_waiting_max));
        Self { views, settings, running, waiting }
    }

    pub(crate) fn view(&self, name: &str) -> Result<Arc<View>, Problem> {
        self.views.get(name).ok_or_else(|| Problem::UnknownView(name.chars().take(128).collect()))
    }

    /// Runs a search or a look-up on a thread that may block.
    ///
    /// It holds its permit until it has really ended, also when nobody waits for it any more: a
    /// search that is given up, or whose client has gone, still uses a core until it notices.
    pub(crate) async fn run<T, F>(&self, search: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<AtomicBool>) -> Result<T, QueryError> + Send + 'static,
    {
        let most = self.settings.query_concurrency_max;
        let running = Arc::clone(&self.running);
        let permit = running.try_acquire_owned().map_err(|_| Problem::TooMany { most })?;
        let cancelled = Arc::new(AtomicBool::new(false));
        // Dropped when the search has ended, has timed out, or the client has closed.
        let _cancel = CancelOnDrop(Arc::clone(&cancelled));
        let search = tokio::task::spawn_blocking(move || {
            let found = search(&cancelled);
            drop(permit);
            found
        });
        let timeout = Duration::from_millis(self.settings.query_timeout_ms);
        match tokio::time::timeout(timeout, search).await {
            Ok(Ok(found)) => Ok(found?),
            Ok(Err(panicked)) => Err(Problem::internal(&panicked)),
            Err(_) => Err(Problem::Timeout(self.settings.query_timeout_ms)),
        }
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A semaphore takes fewer permits than a setting can say.
fn permits(most: usize) -> usize {
    most.min(Semaphore::MAX_PERMITS)
}
