//! What crosses rooms: everything that a single crate cannot test for itself.
//!
//! It is one binary, because each binary links RocksDB and tantivy: a new group of tests is a
//! module here, not another file beside this one.

// The attribute tells clippy that it is all tests, its helpers too.
#[cfg(test)]
mod bad_records;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kafka;
mod log_contract;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod simulate;
mod tidy;
#[cfg(test)]
mod window_costs;
