//! q11: how many bids somebody makes in a session, which ends with ten seconds of silence.

use std::time::Duration;

use pipeline::{SessionWindows, Topology, TopologyBuilder, TopologyError};

use super::event::{bids, events};

/// Builds the query; its results are in the topic `q11`, by bidder and session. Events may come
/// `grace` late.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build(grace: Duration) -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q11");
    bids(&events(&builder))
        .group_by("by-bidder", |_, bid| bid.bidder)
        .windowed_by(SessionWindows::of_inactivity_gap_and_grace(Duration::from_secs(10), grace))
        .count("sessions")
        .to("q11");
    builder.build()
}
