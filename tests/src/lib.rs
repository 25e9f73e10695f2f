//! The tests are in `tests/main.rs`. Here are only the documents whose code must compile and run.

/// The README's topology, with its test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
