//! Against a real broker: the log's contract, and what only Kafka can do wrong.

mod authority;
mod broker;
mod client;
mod comeback;
mod contract;
mod eos;
mod faults;
mod golden;
mod hot;
mod jars;
mod node;
mod pauses;
mod preflight;
mod roles;
mod rounds;
mod scoped;
mod security;
mod standbys;
mod truncation;
mod wait;
