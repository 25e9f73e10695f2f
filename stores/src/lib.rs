//! State and views: bytes and documents in and out, each with the position it reflects.
//!
//! This room is the only one that touches RocksDB for state and tantivy. It knows no log, no
//! topology and no HTTP: positions are numbers to it, keys and values are bytes, documents are
//! JSON objects.

pub mod clock;
pub mod fail_point;
pub mod position;
pub mod state;
pub mod views;
