//! Against a real broker: the log's contract, and what only Kafka can do wrong.

mod broker;
mod client;
mod contract;
mod eos;
mod faults;
mod jars;
mod node;
mod roles;
mod truncation;
mod wait;
