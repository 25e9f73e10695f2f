//! The operators, one file each: the struct, and the DSL method that adds it.

mod aggregate;
mod alert;
mod as_of_join;
mod cogroup;
mod combine;
mod combine_windows;
mod dedup;
mod expire;
mod expiry;
mod filter;
mod foreign_key_join;
mod group;
mod join;
mod map;
mod materialize;
mod new_keys;
mod peek;
mod process;
mod seen_filter;
mod session_aggregate;
mod sink;
mod sliding_aggregate;
mod sliding_final;
pub(crate) mod source;
mod split;
mod stored;
mod stream_join;
mod stream_time;
mod suppress;
mod suppress_limit;
mod suppress_windows;
mod table;
mod table_aggregate;
mod table_group;
mod table_join;
mod top;
mod versioned;
mod view;
mod window_aggregate;
mod window_late;
mod window_panes;
mod window_parts;
mod window_time;
mod window_tree;
mod windowed;

pub use alert::{AlertRule, Severity};
pub use as_of_join::JoinGrace;
pub use cogroup::Cogrouped;
pub use group::Grouped;
pub use split::Split;
pub use suppress::{BufferConfig, Suppressed};
pub use table_group::GroupedTable;
pub use versioned::VersionedTable;
pub use view::ViewFields;
pub use windowed::{NeverMerged, WindowedGroup, Windows, WindowsDefinition};

/// The kinds of entries in a store, as the first byte of their keys. **Format.**
pub(crate) mod kind {
    /// What a task or an operator must remember: stream time, upstream clocks.
    pub(crate) const META: u8 = 0;
    /// A user's key.
    pub(crate) const ENTRY: u8 = 1;
    /// What is to be done at a time, or where something is found.
    pub(crate) const DUE: u8 = 2;
    /// What is not part of the results yet.
    pub(crate) const ASIDE: u8 = 3;
}

#[cfg(test)]
mod tests;
