//! Nexmark: the queries of a benchmark of stream processors, on an auction house's events.
//!
//! Tucker, Tufte, Papadimos and Maier, "NEXMark: a benchmark for queries over data streams"
//! (2002), in the form that it has today (github.com/nexmark/nexmark). Each query is a complete
//! example of the DSL in a file of its own; all read the topic [`TOPIC`].
//!
//! | query | what it asks | what it shows |
//! |---|---|---|
//! | [`q0`] | the bids | reading and writing |
//! | [`q1`] | the bids in euros | `map_values` |
//! | [`q2`] | bids for some auctions | `filter` |
//! | [`q3`] | local sellers of a category | a foreign-key join of tables |
//! | [`q4`] | average winning price by category | a table grouped again, with retractions |
//! | [`q5`] | the hottest auctions | hopping windows, an aggregate of a window's keys |
//! | [`q7`] | the highest bid of ten seconds | tumbling windows over everything |
//! | [`q8`] | new people who sell | a windowed join of streams |
//! | [`q9`] | the winning bid of each auction | an aggregator of one's own |
//! | [`q11`] | bids of a session | session windows |
//! | [`q12`] | bids in ten seconds of processing time | time of arrival |
//!
//! The tests compare each with a plain computation over the same events, whatever the number of
//! partitions.

mod event;
mod generate;
pub mod q0;
pub mod q1;
pub mod q11;
pub mod q12;
pub mod q2;
pub mod q3;
pub mod q4;
pub mod q5;
pub mod q7;
pub mod q8;
pub mod q9;
mod winning;

pub use event::{Auction, Bid, Event, Person, TOPIC};
pub use generate::Generator;
pub use winning::{Known, Winner};

#[cfg(test)]
mod tests;
