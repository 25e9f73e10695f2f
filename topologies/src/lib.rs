//! The topologies that Millpond ships, and the traffic that shows them.
//!
//! - [`fraud`] finds cards that are being tested: many small payments from several countries.
//! - [`orders`] keeps what orders come to, and turns away what they cannot take any more.
//! - [`logins`] counts failed ssh logins and finds addresses that guess passwords.
//! - [`nexmark`] has the queries of a benchmark, as examples of the DSL.
//!
//! It is not an engine: every module here is a user of the DSL, as anybody's own crate could be.
//! Each topology is a function of its settings, `build`; `docs/topologies.md` describes them.

mod distinct;
pub mod fraud;
pub mod logins;
pub mod nexmark;
pub mod orders;
mod pair;
pub mod traffic;

pub use distinct::Distinct;
pub use pair::Pair;

/// A setting of milliseconds of which 0 means for ever.
pub(crate) fn period(ms: u64) -> Option<std::time::Duration> {
    (ms > 0).then(|| std::time::Duration::from_millis(ms))
}

#[cfg(test)]
mod tests;
