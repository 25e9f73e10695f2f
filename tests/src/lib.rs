//! Nothing: a package must have a library or a binary. The tests are in `tests/main.rs`.
