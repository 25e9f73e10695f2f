//! q0: the bids as they are. What it costs to read and write.

use pipeline::{Topology, TopologyBuilder, TopologyError};

use super::event::{bids, events};

/// Builds the query; its results are in the topic `q0`.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build() -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q0");
    bids(&events(&builder)).to("q0");
    builder.build()
}
