//! `[topics.<name>]`: settings of single topics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{At, NOT_A_TOPIC_NAME, is_field_path, is_topic_name};
use super::error::Fault;
use super::values::{Ahead, Retention};
use super::worker::BadRecordPolicy;

/// Settings of one topic; what is unset is as `[log]` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topic {
    /// Partitions, if the topic is yet to be created.
    pub partitions: Option<u32>,
    /// The field of an ingested JSON record that holds its key, as a dotted path.
    pub key_field: Option<String>,
    /// The field of an ingested JSON record that holds its timestamp, as a dotted path.
    pub timestamp_field: Option<String>,
    /// How long records are kept, by append time.
    pub retention_ms: Option<Retention>,
    /// How many bytes a partition keeps.
    pub retention_bytes: Option<Retention>,
    /// What topologies do with bad records of this topic.
    pub bad_record_policy: Option<BadRecordPolicy>,
    /// How far event time may lie ahead of the time at which a record was appended.
    pub timestamp_ahead_ms_max: Option<Ahead>,
}

pub(super) fn check(topics: &BTreeMap<String, Topic>, at: &At<'_>) -> Result<(), Fault> {
    for (name, topic) in topics {
        if !is_topic_name(name) {
            return Err(at.fault_of_name(name, NOT_A_TOPIC_NAME));
        }
        let at = at.table(name);
        if let Some(partitions) = topic.partitions {
            at.range("partitions", partitions.into(), 1..=1024)?;
        }
        for (key, field) in
            [("key_field", &topic.key_field), ("timestamp_field", &topic.timestamp_field)]
        {
            if field.as_ref().is_some_and(|path| !is_field_path(path)) {
                return Err(at.fault(key, "not a path to a field, such as `card` or `customer.id`"));
            }
        }
    }
    Ok(())
}
