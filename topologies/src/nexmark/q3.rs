//! q3: who in three states sells things of category 10. A join of two tables by a foreign key.

use pipeline::{Topology, TopologyBuilder, TopologyError};
use serde::{Deserialize, Serialize};

use super::event::{Auction, Event, Person, events};

/// A local seller's auction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offer {
    /// The seller's name.
    pub name: String,
    /// The seller's city.
    pub city: String,
    /// The seller's state.
    pub state: String,
}

/// Builds the query; its results are in the topic `q3`, by auction. A seller who registers after
/// the auction has begun is found as well: neither side waits for the other.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build() -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q3");
    let events = events(&builder);
    let persons = events
        .flat_map(|_, event| match event {
            Event::Person(person) if is_local(&person) => Some((person.id, person)),
            Event::Person(_) | Event::Auction(_) | Event::Bid(_) => None,
        })
        .repartition("persons")
        .to_table("persons");
    let auctions = events
        .flat_map(|_, event| match event {
            Event::Auction(auction) if is_wanted(&auction) => Some((auction.id, auction)),
            Event::Person(_) | Event::Auction(_) | Event::Bid(_) => None,
        })
        .repartition("auctions")
        .to_table("auctions");
    auctions
        .join_foreign(
            &persons,
            "sellers",
            |_, auction| Some(auction.seller),
            |_, auction, person| offer(auction, person),
        )
        .to("q3");
    builder.build()
}

pub(super) fn is_local(person: &Person) -> bool {
    ["OR", "ID", "CA"].contains(&person.state.as_str())
}

pub(super) fn is_wanted(auction: &Auction) -> bool {
    auction.category == 10
}

pub(super) fn offer(_: &Auction, person: &Person) -> Offer {
    let Person { name, city, state, .. } = person.clone();
    Offer { name, city, state }
}
