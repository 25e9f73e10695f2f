//! Crashes: a real process is killed again and again under traffic, and what is left is compared
//! with a model that knows only what was sent.
//!
//! ```text
//! Campaign::run -> traffic (a thread: HTTP batches, lines of a file) ----.
//!               -> lives   (a process each, killed)                      |-> check -> Report
//!               -> receiver (webhooks; lives in this process) -----------'
//! ```
//! The process is a Millpond with the topology [`ledger`], the same `main` as the shipped one's.
//! A life ends at a fail-point, by SIGKILL at a random moment, or in the middle of a clean stop.
//! It tests no power failures: what the operating system has, a kill leaves there.

mod campaign;
mod check;
pub mod http;
pub mod ledger;
mod model;
pub mod process;
mod progress;
mod receiver;
mod report;
mod traffic;

pub use campaign::{CONCURRENCY, Campaign, Stage};
pub use progress::Progress;
pub use receiver::{Inbox, Receiver, SECRET};
pub use report::Report;
