//! q9: the winning bid of each auction.

use pipeline::{Topology, TopologyBuilder, TopologyError};

use super::event::events;
use super::winning::{Winning, by_auction};

/// Builds the query; its results are in the topic `q9`, by auction.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build() -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q9");
    by_auction(&events(&builder))
        .aggregate_by("winning-bids", Winning)
        .filter(|_, winner| winner.is_some())
        .to("q9");
    builder.build()
}
