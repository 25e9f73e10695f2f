//! The headers of dead letters. **Format.**
//!
//! A dead letter is the record as it was read: key, value, headers, and its timestamp where the
//! log can take it. What happened stands in headers beside its own: those that begin with
//! `__streams.errors.` are Kafka Streams' (KIP-1034), those with `millpond.errors.` are ours.

/// What is wrong, one word: [`crate::Defect::name`].
pub const EXCEPTION: &str = "__streams.errors.exception";
/// What is wrong, in words.
pub const MESSAGE: &str = "__streams.errors.message";
/// Of a panic, the place in the source; behind it the backtrace, if `RUST_BACKTRACE` asks for one.
pub const STACKTRACE: &str = "__streams.errors.stacktrace";
/// The topic that the record was read from.
pub const TOPIC: &str = "__streams.errors.topic";
/// The partition there.
pub const PARTITION: &str = "__streams.errors.partition";
/// The offset there.
pub const OFFSET: &str = "__streams.errors.offset";

/// The node of the topology that could not handle it.
pub const NODE: &str = "millpond.errors.node";
/// The task, as sub-topology and partition: `0_3`.
pub const TASK: &str = "millpond.errors.task";
/// The record's own timestamp in milliseconds; the dead letter may have another if the log would
/// not take that one.
pub const TIMESTAMP: &str = "millpond.errors.timestamp";
/// Of a record behind a repartition, the source record that it was made from: `orders-3@17`.
pub const SOURCE: &str = "millpond.errors.source";
/// What was too large to be kept beside the reason: `value`, `headers`, `key`, with commas. It is
/// still in the topic that the record was read from, as long as that keeps it.
pub const OMITTED: &str = "millpond.errors.omitted";

/// On a record that was sent again: the dead letter that it was, as `fraud-dlq-0@17`.
pub const REPLAY: &str = "millpond.replay";

/// Whether `name` is one of the headers that are written anew on each dead letter.
pub fn is_error_header(name: &[u8]) -> bool {
    name.starts_with(b"__streams.errors.") || name.starts_with(b"millpond.errors.")
}
