//! The `millpond` library: configuration, roles, admin API, demo and command line.
//!
//! A binary of one's own is the shipped one with other topologies:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use millpond::pipeline::{Topology, TopologyBuilder, TopologyError};
//! use millpond::{App, TopologyDef};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Settings {}
//!
//! fn build(_settings: &Settings) -> Result<Topology, TopologyError> {
//!     let builder = TopologyBuilder::new("copy");
//!     builder.stream::<String, String>("in").to("out");
//!     builder.build()
//! }
//!
//! fn main() -> ExitCode {
//!     App::new(vec![TopologyDef::new("copy", "copies `in` to `out`", build)]).main()
//! }
//! ```
//! This room wires the others together; it knows no topology and decides nothing about records.

mod admin;
mod app;
mod cli;
mod client;
pub mod config;
mod demo;
mod error;
mod logs;
mod roles;
mod topology;

pub use app::App;
pub use demo::{DemoRecord, DemoSearch, DemoSource, DemoTraffic};
pub use pipeline;
pub use topology::TopologyDef;
