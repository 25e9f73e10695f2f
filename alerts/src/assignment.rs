//! Where an endpoint goes on in the partitions that it is given.
//!
//! Asks the log; it decides nothing that the log has not said, and it says loudly what is lost.

use std::sync::atomic::Ordering;

use pipeline::log::{LogError, Position, TopicPartition, Validity};

use crate::endpoint::Start;
use crate::worker::Worker;

/// Where an endpoint goes on.
pub(crate) struct Places {
    /// One for each partition assigned.
    pub(crate) positions: Vec<(TopicPartition, Position)>,
    /// Those among them that were chosen now, because the endpoint is new and asks for what comes:
    /// they are to be committed before anything else.
    pub(crate) chosen: Vec<(TopicPartition, Position)>,
}

/// Where to go on: where the log says that we stopped, if that is still there.
pub(crate) fn places(worker: &Worker, assigned: &[TopicPartition]) -> Result<Places, LogError> {
    let log = &worker.log;
    let committed = log.committed(&worker.group.group, assigned)?;
    let mut positions = Vec::with_capacity(assigned.len());
    let mut chosen = Vec::new();
    for (at, committed) in assigned.iter().zip(committed) {
        let range = log.range(at)?;
        let Some(committed) = committed else {
            let position = match worker.endpoint.start {
                Start::Oldest => Position::new(range.start, range.end.epoch),
                Start::Now => range.end,
            };
            if worker.endpoint.start == Start::Now {
                chosen.push((at.clone(), position));
            }
            positions.push((at.clone(), position));
            continue;
        };
        let (endpoint, next) = (&worker.endpoint.name, committed.offset);
        let offset = match log.validate(at, committed)? {
            Validity::Valid | Validity::Compacted { .. } => next,
            Validity::Truncated { epoch_end } => {
                let text = format!("{at} has lost the alerts {epoch_end} to {next}");
                tracing::error!(%endpoint, text, "the log was truncated");
                worker.counters().set_error(text);
                epoch_end
            }
            Validity::Expired { start } => {
                let text = format!("the alerts {next} to {start} of {at} expired unsent");
                tracing::error!(%endpoint, text, "retention was faster than delivery");
                worker.counters().set_error(text);
                let expired = start.saturating_sub(next);
                worker.counters().expired.fetch_add(expired, Ordering::Relaxed);
                start
            }
        };
        positions.push((at.clone(), Position::new(offset, range.end.epoch)));
    }
    Ok(Places { positions, chosen })
}
