//! A seeded generator: 2 % persons, 6 % auctions and 92 % bids, as Nexmark has them, with a few hot
//! auctions and bidders, and events a little out of order.

use super::event::{Auction, Bid, Event, Person};
use crate::traffic::Dice;

/// The first id of each kind.
const FIRST_ID: i64 = 1_000;

const CITIES: [(&str, &str); 8] = [
    ("Phoenix", "AZ"),
    ("Los Angeles", "CA"),
    ("San Francisco", "CA"),
    ("Boise", "ID"),
    ("Portland", "OR"),
    ("Bend", "OR"),
    ("Seattle", "WA"),
    ("Cheyenne", "WY"),
];

/// Makes events. One seed always makes the same ones.
pub struct Generator {
    dice: Dice,
    made: u64,
    start_ms: i64,
    spacing_ms: i64,
    /// An event's time is up to this much before its place.
    pub disorder_ms: i64,
}

impl Generator {
    /// Events from `start_ms` (milliseconds since 1970-01-01 UTC) on, one every `spacing_ms`.
    pub fn new(seed: u64, start_ms: i64, spacing_ms: i64) -> Self {
        Self { dice: Dice::new(seed, 0), made: 0, start_ms, spacing_ms, disorder_ms: 0 }
    }

    /// How many of the first `made` events are persons, and auctions.
    fn counts(made: u64) -> (i64, i64) {
        let (rounds, rest) = (made / 50, made % 50);
        let (persons, auctions) =
            (rounds + rest.min(1), rounds * 3 + rest.saturating_sub(1).min(3));
        (persons.cast_signed(), auctions.cast_signed())
    }

    fn below(&mut self, n: i64) -> i64 {
        let n = u32::try_from(n.max(1)).expect("periods here are shorter than 49 days");
        i64::from(self.dice.below(n))
    }

    /// An id among the last ones, the last one in half of the cases.
    fn recent(&mut self, count: i64, window: i64) -> i64 {
        let last = FIRST_ID + (count - 1).max(0);
        if self.below(2) == 0 {
            // It stays for a while: the hot one.
            return last - (last - FIRST_ID) % 4;
        }
        last - self.below(window.min(count))
    }

    fn person(&mut self, id: i64, date_time: i64) -> Person {
        let (city, state) = CITIES[self.dice.index(CITIES.len())];
        let name = format!("person {id}");
        Person { id, name, city: city.to_owned(), state: state.to_owned(), date_time }
    }

    fn auction(&mut self, id: i64, persons: i64, date_time: i64) -> Auction {
        let open = 100 + self.below(60 * self.spacing_ms);
        Auction {
            id,
            item: format!("item {id}"),
            seller: self.recent(persons, 20),
            category: 10 + self.below(5),
            date_time,
            expires: date_time + open,
        }
    }

    fn bid(&mut self, persons: i64, auctions: i64, date_time: i64) -> Bid {
        Bid {
            auction: self.recent(auctions, 20),
            bidder: self.recent(persons, 50),
            price: 100 + self.below(10_000),
            date_time,
        }
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let place = self.start_ms + self.made.cast_signed() * self.spacing_ms;
        let date_time = place - self.below(self.disorder_ms + 1);
        self.made += 1;
        let (persons, auctions) = Self::counts(self.made);
        Some(match (self.made - 1) % 50 {
            0 => Event::Person(self.person(FIRST_ID + persons - 1, date_time)),
            1..=3 => Event::Auction(self.auction(FIRST_ID + auctions - 1, persons, date_time)),
            _ => Event::Bid(self.bid(persons, auctions, date_time)),
        })
    }
}
