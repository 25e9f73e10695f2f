//! The events of Nexmark's auction house.

use pipeline::{Consumed, Stream, TopologyBuilder};
use serde::{Deserialize, Serialize};

/// The topic that all events are in, without keys.
pub const TOPIC: &str = "nexmark";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Somebody has registered.
    Person(Person),
    /// Somebody offers something.
    Auction(Auction),
    /// Somebody wants it.
    Bid(Bid),
}

/// Who buys and sells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub id: i64,
    /// The name.
    pub name: String,
    /// The city.
    pub city: String,
    /// The state, as two letters.
    pub state: String,
    /// When, milliseconds since 1970-01-01 UTC.
    pub date_time: i64,
}

/// Something that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auction {
    /// Which.
    pub id: i64,
    /// What is offered.
    pub item: String,
    /// By whom.
    pub seller: i64,
    /// What kind of thing it is.
    pub category: i64,
    /// When, milliseconds since 1970-01-01 UTC.
    pub date_time: i64,
    /// Until when it takes bids.
    pub expires: i64,
}

/// An offer to buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bid {
    /// For which auction.
    pub auction: i64,
    /// By whom.
    pub bidder: i64,
    /// For how much.
    pub price: i64,
    /// When, milliseconds since 1970-01-01 UTC.
    pub date_time: i64,
}

impl Event {
    /// When it happened, milliseconds since 1970-01-01 UTC.
    pub fn date_time(&self) -> i64 {
        match self {
            Self::Person(person) => person.date_time,
            Self::Auction(auction) => auction.date_time,
            Self::Bid(bid) => bid.date_time,
        }
    }
}

/// All events, by the time that they tell of themselves.
pub(super) fn events(builder: &TopologyBuilder) -> Stream<Option<String>, Event> {
    let own_time = Consumed::default().with_timestamp(|event: &Event, _| event.date_time());
    builder.stream_with(TOPIC, own_time)
}

/// The bids among them.
pub(super) fn bids(events: &Stream<Option<String>, Event>) -> Stream<Option<String>, Bid> {
    events.flat_map_values(|_, event| match event {
        Event::Bid(bid) => Some(bid),
        Event::Person(_) | Event::Auction(_) => None,
    })
}
