//! The topologies that Millpond ships, and the traffic that shows them.
//!
//! It is not an engine: every module here is a user of the DSL, as anybody's own crate could be.

pub mod logins;
pub mod traffic;
