//! The tests are in `tests/main.rs`. Here are the documents whose code must compile and run, and
//! what the crash tests share with the command that runs a thousand of them.

pub mod crashes;

/// The README's topology, with its test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
