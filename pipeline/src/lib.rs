//! The log, the DSL, operators, tasks and workers.
//!
//! A topology is written with [`TopologyBuilder`], tested with [`TopologyDriver`], and run by
//! [`worker::Worker`]s on a [`log::Log`]. This room knows neither HTTP nor files: sources and
//! sinks are topics of the log.

pub mod aggregates;
mod bad_record;
pub mod codec;
pub mod dead_letters;
pub mod driver;
mod dsl;
pub mod follow;
pub mod format;
mod globals;
pub mod key;
pub mod log;
mod operator;
mod operators;
pub mod processor;
pub mod record;
pub mod sim;
pub mod standby;
mod task;
mod topology;
pub mod worker;

pub use bad_record::{AheadBound, BadRecordPolicy, Defect, SourceRules, TIMESTAMP_AHEAD_MAX};
pub use chrono_tz::Tz;
pub use driver::TopologyDriver;
pub use dsl::{
    CalendarWindows, Consumed, GlobalTable, JoinWindows, SessionWindows, SlidingWindows, Stream,
    StreamJoined, Table, TimeWindows, TopologyBuilder,
};
pub use key::Key;
pub use operators::{
    AlertRule, BufferConfig, Cogrouped, Grouped, GroupedTable, JoinGrace, NeverMerged, Severity,
    Split, Suppressed, VersionedTable, ViewFields, WindowedGroup, Windows, WindowsDefinition,
};
pub use record::{Change, Record, RecordInfo, Window, Windowed};
pub use stores::{clock, fail_point, position};
pub use task::{Broken, Counters, HeavyKey, TaskError, TaskSettings};
pub use topology::{Plan, PlanError, TaskId, Topology, TopologyError, ViewPlan};
