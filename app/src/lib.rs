//! The `millpond` room.

pub mod config;
