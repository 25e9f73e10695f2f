//! q2: the bids for some auctions, by number. A filter.

use pipeline::{Topology, TopologyBuilder, TopologyError};

use super::event::{Bid, bids, events};

/// Builds the query; its results, auction and price, are in the topic `q2`.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build() -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q2");
    bids(&events(&builder))
        .filter(|_, bid| is_chosen(bid))
        .map_values(|_, bid| (bid.auction, bid.price))
        .to("q2");
    builder.build()
}

/// Whether the bid is for one of the auctions.
pub(super) fn is_chosen(bid: &Bid) -> bool {
    bid.auction % 123 == 0
}
