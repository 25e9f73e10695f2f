//! The DSL: streams, tables and global tables, with Kafka Streams' names.
//!
//! Each type is a handle on a node of the graph under construction. The methods that add an
//! operator stand beside that operator in [`crate::operators`]; this module has what they share.

mod both;
mod builder;
mod consumed;
mod join_windows;
mod stream;
mod table;
mod window;
mod window_calendar;
mod window_session;
mod window_sliding;

pub(crate) use both::Side;
pub use builder::TopologyBuilder;
pub(crate) use builder::add_source;
pub use consumed::Consumed;
pub(crate) use consumed::Idle;
pub use join_windows::{JoinWindows, StreamJoined};
pub use stream::{GlobalTable, Stream};
pub use table::Table;
pub(crate) use table::{Lookup, Stamped};
pub(crate) use window::FixedWindows;
pub use window::TimeWindows;
pub use window_calendar::CalendarWindows;
pub use window_session::SessionWindows;
pub use window_sliding::SlidingWindows;
