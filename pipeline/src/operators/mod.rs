//! The operators, one file each: the struct, and the DSL method that adds it.

mod aggregate;
mod alert;
mod combine;
mod dedup;
mod filter;
mod group;
mod join;
mod map;
mod materialize;
mod peek;
mod process;
mod sink;
pub(crate) mod source;
mod split;
mod stored;
mod stream_time;
mod table;
mod top;
mod view;
mod window_aggregate;

pub use alert::{AlertRule, Severity};
pub use group::Grouped;
pub use split::Split;
pub use view::ViewFields;
pub use window_aggregate::WindowedGroup;

/// The kinds of entries in a store, as the first byte of their keys. **Format.**
pub(crate) mod kind {
    /// What a task or an operator must remember: stream time, upstream clocks.
    pub(crate) const META: u8 = 0;
    /// A user's key.
    pub(crate) const ENTRY: u8 = 1;
}
