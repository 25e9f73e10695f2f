//! The follower on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{FollowError, FollowStats, IndexFollower};
use crate::log::{Log, LogError};

/// How long the follower waits for records before it looks whether it shall stop.
const WAIT: Duration = Duration::from_millis(50);
/// Turns between two publications of its statistics.
const STATS_EVERY: u32 = 4;

/// A running follower.
pub struct FollowerHandle {
    stopping: Arc<AtomicBool>,
    stats: Arc<Mutex<Vec<FollowStats>>>,
    thread: JoinHandle<Result<(), FollowError>>,
}

/// Starts `follower`. `failed` is told if it stops by itself; its views go on being served as
/// they were.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    mut follower: IndexFollower,
    log: Arc<dyn Log>,
    failed: impl FnOnce(&FollowError) + Send + 'static,
) -> Result<FollowerHandle, LogError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let stats = Arc::new(Mutex::new(Vec::new()));
    let (stop, publish) = (Arc::clone(&stopping), Arc::clone(&stats));
    let run = move || {
        let mut turn = 0_u32;
        let mut follow = || {
            while !stop.load(Ordering::Relaxed) {
                follower.run_once(WAIT)?;
                if turn.is_multiple_of(STATS_EVERY) {
                    let counted = follower.stats(log.as_ref())?;
                    *publish.lock().unwrap_or_else(PoisonError::into_inner) = counted;
                }
                turn = turn.wrapping_add(1);
            }
            follower.commit_all()
        };
        let ended = follow();
        if let Err(error) = &ended {
            failed(error);
        }
        ended
    };
    let thread = std::thread::Builder::new().name("indexer".into()).spawn(run);
    let thread =
        thread.map_err(|error| LogError::Unavailable(format!("cannot start a thread: {error}")))?;
    Ok(FollowerHandle { stopping, stats, thread })
}

impl FollowerHandle {
    /// What the follower has counted, by view, a moment ago.
    pub fn stats(&self) -> Vec<FollowStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the follower to commit and end; [`Self::join`] waits for it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What the follower ended with, if it did not end well.
    pub fn join(self) -> Result<(), FollowError> {
        self.thread.join().unwrap_or_else(|_| {
            Err(LogError::Unavailable("the indexer's thread panicked".into()).into())
        })
    }
}
