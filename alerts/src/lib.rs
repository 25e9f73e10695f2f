//! The `alerts` room: pushes the alerts of the log's alert topics to webhooks.
//!
//! [`Notifier`] follows alert topics with one group member for each [`Endpoint`], signs after
//! Standard Webhooks, retries, and remembers in the log where it stopped. [`receiver`] is the other
//! side, for demos and tests. This room does not decide what is an alert: topologies write alert
//! records in the transaction that caused them, and `docs/webhooks.md` freezes their format.
//!
//! ```text
//! Notifier -> Worker (one thread per endpoint) -> Session (one membership of the group)
//!                 -> delivery (one async task per alert) -> Caller (one HTTP call)
//! ```

mod address;
mod alert;
mod assignment;
mod caller;
mod delivery;
mod endpoint;
mod marks;
mod notifier;
mod partition;
mod progress;
pub mod receiver;
mod resolver;
mod schedule;
mod secret;
mod session;
mod signature;
mod stats;
mod undelivered;
mod worker;

pub use address::refusal;
pub use alert::{Alert, AlertError, Window};
pub use endpoint::{Endpoint, EndpointError, Start};
pub use notifier::{Notifier, NotifierConfig, NotifierError, StopError};
pub use secret::{Secret, SecretError};
pub use signature::{Message, SignatureError, check_age, sign, verify};
pub use stats::{AttemptReport, EndpointState, EndpointStats};

/// The topic of what could not be delivered, with the reason.
pub const UNDELIVERED_TOPIC: &str = "millpond-undelivered";

/// The topic in which an endpoint marks what it has delivered beyond its committed offset.
pub const DELIVERIES_TOPIC: &str = "millpond-deliveries";
