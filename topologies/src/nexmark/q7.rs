//! q7: the highest bid of every ten seconds. One window for all keys: everything goes to one
//! partition.

use std::time::Duration;

use pipeline::aggregates::Fold;
use pipeline::{TimeWindows, Topology, TopologyBuilder, TopologyError};

use super::event::{Bid, bids, events};

/// Builds the query; its results, all bids with the highest price, are in the topic `q7`. Events
/// may come `grace` late.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build(grace: Duration) -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q7");
    let highest = Fold::json(Vec::new, |_: &String, bid: &Bid, best| with(best, *bid))
        .with_merge(|_, a, b| b.into_iter().fold(a, with));
    bids(&events(&builder))
        .group_by("all", |_, _| "all".to_owned())
        .windowed_by(TimeWindows::of_size_and_grace(Duration::from_secs(10), grace))
        .aggregate_by("highest", highest)
        .to("q7");
    builder.build()
}

/// The highest bids of `best` and `bid`, in order.
pub(super) fn with(mut best: Vec<Bid>, bid: Bid) -> Vec<Bid> {
    let highest = best.first().map_or(i64::MIN, |best| best.price);
    if bid.price > highest {
        return vec![bid];
    }
    if bid.price == highest {
        let place = best.partition_point(|other| *other <= bid);
        best.insert(place, bid);
    }
    best
}
