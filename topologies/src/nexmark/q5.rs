//! q5: the hottest auctions, those with the most bids in the last ten seconds, every two seconds.
//! Hopping windows, and an aggregate of all keys of a window.

use std::collections::BTreeSet;
use std::time::Duration;

use pipeline::aggregates::Fold;
use pipeline::{TimeWindows, Topology, TopologyBuilder, TopologyError};
use serde::{Deserialize, Serialize};

use super::event::{bids, events};

/// The auctions with the most bids of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hottest {
    /// How many bids.
    pub bids: i64,
    /// Which auctions have as many.
    pub auctions: BTreeSet<i64>,
}

impl Hottest {
    /// A count only grows, so the largest that an auction has had is its count.
    pub(super) fn with(mut self, auction: i64, bids: i64) -> Self {
        if bids > self.bids {
            self = Self { bids, auctions: BTreeSet::new() };
        }
        if bids == self.bids {
            self.auctions.insert(auction);
        }
        self
    }
}

/// Builds the query; its results are in the topic `q5`, by the window's start. Events may come
/// `grace` late.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build(grace: Duration) -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q5");
    let windows = TimeWindows::of_size_and_grace(Duration::from_secs(10), grace)
        .advance_by(Duration::from_secs(2));
    bids(&events(&builder))
        .group_by("by-auction", |_, bid| bid.auction)
        .windowed_by(windows)
        .count("counts")
        .to_stream()
        .map(|auction, bids| (auction.window.start, (auction.key, bids)))
        .group_by_key()
        .aggregate_by(
            "hottest",
            Fold::json(Hottest::default, |_: &i64, (auction, bids): &(i64, i64), hottest| {
                hottest.with(*auction, *bids)
            })
            .with_merge(|_, a, b| {
                let Hottest { bids, auctions } = b;
                auctions.into_iter().fold(a, |a, auction| a.with(auction, bids))
            }),
        )
        .to("q5");
    builder.build()
}
