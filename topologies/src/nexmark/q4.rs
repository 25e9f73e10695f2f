//! q4: the average price that winning bids bring, for each category. An aggregate of an aggregate:
//! a higher bid takes the lower one out of the average.

use pipeline::aggregates::Average;
use pipeline::{Topology, TopologyBuilder, TopologyError};

use super::event::events;
use super::winning::{Winning, by_auction};

/// Builds the query; its results are in the topic `q4`, by category.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build() -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q4");
    by_auction(&events(&builder))
        .aggregate_by("winning-bids", Winning)
        .filter(|_, winner| winner.is_some())
        .map_values(|_, winner| winner.as_ref().map(|won| (won.auction.category, won.bid.price)))
        .group_by("by-category", |_, won| (won.map_or(0, |(category, _)| category), *won))
        .aggregate_by("averages", Average::of(|won: &Option<(i64, i64)>| won.map_or(0, |w| w.1)))
        .to("q4");
    builder.build()
}
