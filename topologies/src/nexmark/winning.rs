//! The winning bids, which q4 averages and q9 shows: for each auction the highest of the bids that
//! came while it was open, of equal ones the earliest.

use pipeline::aggregates::{Aggregator, At};
use pipeline::codec::{Serde, json};
use pipeline::{Grouped, Stream};
use serde::{Deserialize, Serialize};

use super::event::{Auction, Bid, Event};

/// Auctions and bids, each under its auction. They stay in one stream, so that both sides of this
/// join lie in one partition, and no result depends on which of two topics was read first.
pub(super) fn by_auction(events: &Stream<Option<String>, Event>) -> Grouped<i64, Event> {
    events
        .flat_map(|_, event| match &event {
            Event::Person(_) => None,
            Event::Auction(auction) => Some((auction.id, event)),
            Event::Bid(bid) => Some((bid.auction, event)),
        })
        .group_by_key()
}

/// An auction and its best bid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winner {
    /// The auction.
    pub auction: Auction,
    /// The best bid.
    pub bid: Bid,
}

/// What is known of an auction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    auction: Option<Auction>,
    /// The best of the bids that count.
    best: Option<Bid>,
    /// Bids that were read before the auction: whether they count is not known yet.
    early: Vec<Bid>,
}

/// Finds the winning bid of an auction, from auction and bids in any order.
pub(super) struct Winning;

impl Known {
    fn bid(&mut self, bid: Bid) {
        let Some(auction) = &self.auction else {
            self.early.push(bid);
            return;
        };
        if counts(auction, &bid) && self.best.as_ref().is_none_or(|best| beats(&bid, best)) {
            self.best = Some(bid);
        }
    }
}

/// Whether the bid came while the auction was open.
pub(super) fn counts(auction: &Auction, bid: &Bid) -> bool {
    (auction.date_time..=auction.expires).contains(&bid.date_time)
}

/// Whether `bid` is better than `best`: higher, or as high and earlier; the bidder's number decides
/// between bids of one moment.
pub(super) fn beats(bid: &Bid, best: &Bid) -> bool {
    let merit = |bid: &Bid| (-bid.price, bid.date_time, bid.bidder);
    merit(bid) < merit(best)
}

impl Aggregator<i64, Event> for Winning {
    type State = Known;
    type Output = Option<Winner>;

    fn init(&self) -> Known {
        Known::default()
    }

    fn add(&self, mut known: Known, _: &i64, event: &Event, _: At) -> Known {
        match event {
            Event::Person(_) => {}
            Event::Bid(bid) => known.bid(*bid),
            Event::Auction(auction) => {
                known.auction = Some(auction.clone());
                std::mem::take(&mut known.early).into_iter().for_each(|bid| known.bid(bid));
            }
        }
        known
    }

    fn output(&self, known: &Known) -> Option<Winner> {
        let (auction, bid) = known.auction.clone().zip(known.best)?;
        Some(Winner { auction, bid })
    }

    fn codec(&self) -> Serde<Known> {
        json()
    }
}
