//! The DSL: streams, tables and global tables, with Kafka Streams' names.
//!
//! Each type is a handle on a node of the graph under construction. The methods that add an
//! operator stand beside that operator in [`crate::operators`]; this module has what they share.

mod builder;
mod consumed;
mod stream;
mod table;
mod window;

pub use builder::TopologyBuilder;
pub(crate) use builder::add_source;
pub use consumed::Consumed;
pub use stream::{GlobalTable, Stream};
pub(crate) use table::Lookup;
pub use table::Table;
pub use window::TimeWindows;
