//! What is looked at on Kafka before anything runs: topics that others own.
//!
//! Millpond makes its own topics, and those that `[topics.<name>]` describes. Everything else must
//! be there, and fit; what does not is named together with what mends it, all of it at once. That
//! joined inputs have equally many partitions is the plan's to say, on every log.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::Topology;
use pipeline::log::kafka::KafkaLog;
use pipeline::log::{Cleanup, Log as _, TopicSpec};

use super::topics::ingested;
use crate::config::Config;
use crate::error::AppError;

/// Looks at the topics that topologies read and write.
///
/// # Errors
/// When the brokers are away, or topics are missing or do not fit.
pub(super) fn check(
    log: &KafkaLog,
    config: &Config,
    topologies: &[Topology],
) -> Result<(), AppError> {
    let known = log.topics()?;
    let mut faults = Vec::new();
    let described = |name: &String| config.topics.contains_key(name);
    let outputs: BTreeSet<String> = topologies.iter().flat_map(Topology::output_topics).collect();
    let used: BTreeSet<String> =
        ingested(config, topologies).into_iter().chain(outputs.iter().cloned()).collect();
    faults.extend(used.iter().filter(|name| !known.contains_key(*name) && !described(name)).map(
        |name| {
            let partitions = config.log.partitions;
            format!(
                "topic `{name}` does not exist: create it (kafka-topics.sh --create --topic \
                 {name} --partitions {partitions}), or let it be made by a section [topics.{name}]"
            )
        },
    ));
    let globals: BTreeSet<String> = topologies.iter().flat_map(Topology::global_topics).collect();
    faults.extend(globals.iter().filter_map(|name| not_compacted(name, &known)));
    let largest = log.message_bytes_max()?;
    let own = topologies.iter().map(|one| format!("{}-", one.name()));
    let own: Vec<String> = own.collect();
    for (name, bytes_max) in &largest {
        let written = outputs.contains(name) || own.iter().any(|prefix| name.starts_with(prefix));
        let record_bytes_max = config.log.record_bytes_max;
        if written && (*bytes_max as u64) < record_bytes_max {
            faults.push(format!(
                "topic `{name}` takes {bytes_max} bytes at most (max.message.bytes), less than \
                 log.record_bytes_max ({record_bytes_max}): raise the one (kafka-configs.sh \
                 --alter --topic {name} --add-config max.message.bytes={}), or lower the other",
                record_bytes_max + 1024
            ));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(AppError::Usage(list(&faults))),
    }
}

/// A table that every worker holds is read from its beginning: deletion by age would eat rows.
fn not_compacted(name: &str, known: &BTreeMap<String, TopicSpec>) -> Option<String> {
    let deleted = matches!(known.get(name)?.cleanup, Cleanup::Delete { .. });
    deleted.then(|| {
        format!(
            "topic `{name}` is the source of a global table and its cleanup.policy is delete: rows \
             would vanish with age; set it to compact (kafka-configs.sh --alter --topic {name} \
             --add-config cleanup.policy=compact)"
        )
    })
}

fn list(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        many => many.iter().fold(format!("{} things are wrong:", many.len()), |text, fault| {
            text + "\n  - " + fault
        }),
    }
}
