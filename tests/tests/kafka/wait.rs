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

/// Tries until there is an answer; an attempt without one says how far it is. Gives up when that
/// has not changed for `most`: how long it may take in all grows with what there is to do.
pub(crate) fn while_it_moves<T>(
    most: Duration,
    mut attempt: impl FnMut() -> Result<T, u64>,
) -> Option<T> {
    let clock = SystemClock::new();
    let (mut reached, mut since) = (None, clock.elapsed());
    loop {
        match attempt() {
            Ok(answer) => return Some(answer),
            Err(place) if Some(place) != reached => {
                reached = Some(place);
                since = clock.elapsed();
            }
            Err(_) if clock.elapsed() - since > most => return None,
            Err(_) => {}
        }
        std::thread::park_timeout(STEP);
    }
}
