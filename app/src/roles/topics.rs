//! The topics that come from outside: made as the configuration says, before anything reads them.
//!
//! Topics between and behind the topologies are made by their plans.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::Topology;
use pipeline::log::{Cleanup, Log, LogError, TopicSpec};

use crate::config::{Config, Topic};

/// The topics that take records from outside: what topologies read, and what the configuration
/// names.
pub(super) fn ingested(config: &Config, topologies: &[Topology]) -> BTreeSet<String> {
    let read = topologies
        .iter()
        .flat_map(|one| one.source_topics().into_iter().chain(one.global_topics()));
    let files = config.sources.file.iter().map(|source| source.topic.clone());
    let sockets = config.sources.syslog.iter().map(|source| source.topic.clone());
    read.chain(files).chain(sockets).chain(config.topics.keys().cloned()).collect()
}

/// Makes the topics that are missing, and gives those that are there the retention of today.
pub(super) fn make(
    log: &dyn Log,
    config: &Config,
    topologies: &[Topology],
) -> Result<(), LogError> {
    let known = log.topics()?;
    let compacted: BTreeSet<String> = topologies.iter().flat_map(Topology::global_topics).collect();
    let outputs = topologies.iter().flat_map(Topology::output_topics);
    let names: BTreeSet<String> = ingested(config, topologies).into_iter().chain(outputs).collect();
    for name in names {
        let settings = config.topics.get(&name).cloned().unwrap_or_default();
        let partitions = partitions(&name, &settings, config, &known);
        let cleanup = match compacted.contains(&name) {
            true => Cleanup::Compact,
            false => cleanup(config, &settings),
        };
        log.create_topic(&TopicSpec { name, partitions, cleanup })?;
    }
    Ok(())
}

/// On Kafka: makes the missing ones of the topics that the configuration describes. Those that are
/// there belong to somebody else, and stay as they are.
pub(super) fn make_described(
    log: &dyn Log,
    config: &Config,
    topologies: &[Topology],
) -> Result<(), LogError> {
    let known = log.topics()?;
    let compacted: BTreeSet<String> = topologies.iter().flat_map(Topology::global_topics).collect();
    for (name, settings) in config.topics.iter().filter(|(name, _)| !known.contains_key(*name)) {
        let partitions = settings.partitions.unwrap_or(config.log.partitions);
        let cleanup = match compacted.contains(name) {
            true => Cleanup::Compact,
            false => cleanup(config, settings),
        };
        log.create_topic(&TopicSpec { name: name.clone(), partitions, cleanup })?;
    }
    Ok(())
}

/// What happens to old records where no topic's own settings say otherwise.
pub(super) fn default_cleanup(config: &Config) -> Cleanup {
    cleanup(config, &Topic::default())
}

fn cleanup(config: &Config, topic: &Topic) -> Cleanup {
    Cleanup::Delete {
        retention_ms: topic.retention_ms.unwrap_or(config.log.retention_ms).bound(),
        retention_bytes: topic.retention_bytes.unwrap_or(config.log.retention_bytes).bound(),
    }
}

/// A topic that is there keeps its number of partitions for ever.
fn partitions(
    name: &str,
    settings: &Topic,
    config: &Config,
    known: &BTreeMap<String, TopicSpec>,
) -> u32 {
    let wanted = settings.partitions.unwrap_or(config.log.partitions);
    let Some(found) = known.get(name) else { return wanted };
    if settings.partitions.is_some_and(|wanted| wanted != found.partitions) {
        let (topic, partitions) = (name, found.partitions);
        tracing::warn!(
            topic,
            partitions,
            wanted,
            "the number of partitions of a topic never changes"
        );
    }
    found.partitions
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pipeline::clock::ManualClock;
    use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
    use pipeline::log::storage::MemoryStorage;

    use super::*;

    fn log() -> Arc<EmbeddedLog> {
        let clock = Arc::new(ManualClock::at(0));
        let storage = Arc::new(MemoryStorage::default());
        EmbeddedLog::in_memory(storage, EmbeddedSettings::default(), clock).unwrap()
    }

    fn config(topic: &str) -> Config {
        let text = format!("[topics.a]\n{topic}");
        Config::from_text("test", &text, std::iter::empty(), &[]).unwrap()
    }

    #[test]
    fn a_topic_is_made_as_its_settings_say() {
        let log = log();
        make(&*log, &config("partitions = 3\nretention_ms = 5"), &[]).unwrap();
        let found = log.topics().unwrap()["a"].clone();
        let bytes = Config::default().log.retention_bytes.bound();
        assert_eq!(found.partitions, 3);
        let expected = Cleanup::Delete { retention_ms: Some(5), retention_bytes: bytes };
        assert_eq!(found.cleanup, expected);
    }

    #[test]
    fn a_topic_that_is_there_keeps_its_partitions_and_gets_the_retention_of_today() {
        let log = log();
        make(&*log, &config("partitions = 3"), &[]).unwrap();
        make(&*log, &config("partitions = 8\nretention_bytes = -1"), &[]).unwrap();
        let found = log.topics().unwrap()["a"].clone();
        assert_eq!(found.partitions, 3);
        assert!(matches!(found.cleanup, Cleanup::Delete { retention_bytes: None, .. }));
    }
}
