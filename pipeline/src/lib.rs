//! The log, the DSL, operators, tasks and workers.

pub mod log;

pub use stores::{clock, position};
