//! Waiting with a bound.

use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};

/// Between two attempts.
const STEP: Duration = Duration::from_millis(20);

/// Tries until there is an answer or `most` is over.
pub(crate) fn eventually<T>(most: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let clock = SystemClock::new();
    loop {
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if clock.elapsed() > most {
            return None;
        }
        std::thread::park_timeout(STEP);
    }
}
