//! q1: the bids with their prices in euros. A map.

use pipeline::{Topology, TopologyBuilder, TopologyError};

use super::event::{Bid, bids, events};

/// Builds the query; its results are in the topic `q1`. Prices there are in thousandths of a euro,
/// so that nothing is rounded: a dollar is 0.908 euros.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build() -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q1");
    bids(&events(&builder)).map_values(|_, bid| in_euros(bid)).to("q1");
    builder.build()
}

/// The same bid in thousandths of a euro.
pub(super) fn in_euros(bid: Bid) -> Bid {
    Bid { price: bid.price * 908, ..bid }
}
