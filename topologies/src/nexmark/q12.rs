//! q12: how many bids somebody makes in ten seconds of processing time.
//!
//! No operator reads a clock. Processing time is the time that the log has put on a record when it
//! came (what a producer or the HTTP ingest stamps it with); so the windows are those of arrival,
//! and still a replay gives the same ones. The event's own time is in its value, unused here.

use std::time::Duration;

use pipeline::{Consumed, TimeWindows, Topology, TopologyBuilder, TopologyError};

use super::event::{TOPIC, bids};

/// Builds the query; its results are in the topic `q12`, by bidder and window.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build() -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q12");
    let events = builder.stream_with(TOPIC, Consumed::default());
    bids(&events)
        .group_by("by-bidder", |_, bid| bid.bidder)
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(10)))
        .count("counts")
        .to("q12");
    builder.build()
}
