//! q8: who has registered and offered something within the same ten seconds. A windowed join.
//!
//! A tumbling window is not a distance: two events of one window are less than ten seconds apart,
//! and of those that are, the ones in one window are kept.

use std::time::Duration;

use pipeline::{JoinWindows, StreamJoined, Topology, TopologyBuilder, TopologyError};
use serde::{Deserialize, Serialize};

use super::event::{Event, events};

/// Somebody new who sells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NewSeller {
    /// The name.
    pub name: String,
    /// The window's start, milliseconds since 1970-01-01 UTC.
    pub window_start: i64,
}

const WINDOW: Duration = Duration::from_secs(10);

/// The start of the window that a moment lies in.
pub(super) fn window_start(at: i64) -> i64 {
    at - at.rem_euclid(10_000)
}

/// Builds the query; its results are in the topic `q8`, by person, each once. Events may come
/// `grace` late.
///
/// # Errors
/// Never, unless two of its names were made the same.
pub fn build(grace: Duration) -> Result<Topology, TopologyError> {
    let builder = TopologyBuilder::new("nexmark-q8");
    let events = events(&builder);
    let persons = events.flat_map(|_, event| match event {
        Event::Person(person) => Some((person.id, (person.name, person.date_time))),
        Event::Auction(_) | Event::Bid(_) => None,
    });
    let sellers = events.flat_map(|_, event| match event {
        Event::Auction(auction) => Some((auction.seller, auction.date_time)),
        Event::Person(_) | Event::Bid(_) => None,
    });
    let windows = JoinWindows::of_time_difference_and_grace(WINDOW, grace);
    persons
        .join_stream(&sellers, windows, StreamJoined::named("sales"), |_, person, sold_at| {
            let (name, registered_at) = person.clone();
            let window_start = window_start(registered_at);
            (window_start == self::window_start(*sold_at))
                .then_some(NewSeller { name, window_start })
        })
        .flat_map_values(|_, seller| seller)
        // A person registers once: other pairs are other auctions of the same seller and window.
        .dedup("told", 2 * WINDOW + grace, |id, _, _| Some(id.to_string()))
        .to("q8");
    builder.build()
}
