//! How the log on Kafka behaves, and what its clients are told.
//!
//! Client settings are Kafka's own, under Kafka's names, passed on as they stand. Those that
//! exactly-once or the detection of lost records rest on cannot be changed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::super::LogError;
use super::members::CLIENT_PREFIX;

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Records and offsets of a commit become visible in one transaction, or not at all.
    ExactlyOnce,
    /// Records are written first, offsets after them: a crash in between repeats records.
    AtLeastOnce,
}

/// How the log on Kafka behaves.
#[derive(Clone)]
pub struct KafkaSettings {
    /// Client settings under Kafka's names: `bootstrap.servers`, `security.protocol`, ... Those
    /// that begin with `consumer.` or `producer.` go to clients of that kind alone, without it.
    pub client: BTreeMap<String, String>,
    /// What tells this process from the others of the application; the same after a restart.
    pub instance: String,
    /// What a commit promises.
    pub guarantee: Guarantee,
    /// Replicas of the topics that are made; `None` leaves it to the brokers.
    pub replication_factor: Option<u16>,
    /// The largest record, in bytes: topics that are made take it.
    pub record_bytes_max: usize,
    /// How long one request, with its repetitions, may take.
    pub request_timeout: Duration,
}

impl KafkaSettings {
    /// Settings for a process called `instance` and the brokers at `bootstrap`.
    pub fn new(bootstrap: &str, instance: &str) -> Self {
        let client = BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.to_owned())]);
        Self {
            client,
            instance: instance.to_owned(),
            guarantee: Guarantee::ExactlyOnce,
            replication_factor: None,
            record_bytes_max: 1_000_000,
            request_timeout: Duration::from_secs(30),
        }
    }

    /// A client setting as it was given, for consumers if it is theirs alone.
    pub(super) fn consumer_setting(&self, name: &str) -> Option<&str> {
        let own = self.client.get(&format!("consumer.{name}"));
        own.or_else(|| self.client.get(name)).map(String::as_str)
    }

    /// Whether the group uses the protocol of KIP-848, in which the broker assigns.
    pub(super) fn broker_assigns(&self) -> bool {
        self.consumer_setting("group.protocol") == Some("consumer")
    }

    /// Settings of a client that only administers.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client_config("", &[], &[])
    }

    /// Settings of a consumer in `group`. `instance` makes it a static member.
    pub(super) fn consumer(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        let fetch_bytes = self.record_bytes_max.max(1 << 20).to_string();
        let mut defaults = vec![
            // A consumer whose queue is full would stop for a second.
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.error.backoff.ms", "100"),
            // What counts here are a message's bytes; each takes an operation of librdkafka's beside
            // them, which is more where messages are small.
            ("queued.max.messages.kbytes", "2048"),
            ("queued.min.messages", "5000"),
            ("fetch.message.max.bytes", &fetch_bytes),
        ];
        if instance.is_none() {
            // That a partition has been read to its end is known after an empty answer only.
            defaults.push(("fetch.wait.max.ms", "50"));
        }
        let range = instance.is_some() && self.consumer_setting("group.protocol").is_none();
        if range {
            defaults.push(("partition.assignment.strategy", "range"));
        }
        if self.broker_assigns() {
            // Broker-side `range` keeps co-partitioned inputs together.
            defaults.push(("group.remote.assignor", "range"));
        }
        let mut fixed = vec![
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("allow.auto.create.topics", "false"),
        ];
        fixed.extend(instance.map(|instance| ("group.instance.id", instance)));
        self.client_config("consumer.", &defaults, &fixed)
    }

    /// Settings of a producer whose transactions have this name.
    pub(super) fn producer(&self, transactional_id: &str) -> ClientConfig {
        // The broker counts what surrounds a record, too.
        let message_bytes = (self.record_bytes_max + (64 << 10)).to_string();
        let defaults = [
            ("linger.ms", "1"),
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "262144"),
            ("transaction.timeout.ms", "10000"),
            ("message.max.bytes", &message_bytes),
        ];
        let mut fixed = vec![("enable.idempotence", "true"), ("acks", "all")];
        if self.guarantee == Guarantee::ExactlyOnce {
            fixed.push(("transactional.id", transactional_id));
        }
        let mut config = self.client_config("producer.", &defaults, &fixed);
        if self.guarantee == Guarantee::AtLeastOnce {
            config.remove("transaction.timeout.ms");
        }
        config
    }

    fn client_config(
        &self,
        kind: &str,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
    ) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", format!("{CLIENT_PREFIX}{}", self.instance));
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("socket.keepalive.enable", "true");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        let scoped = |name: &str| name.starts_with("consumer.") || name.starts_with("producer.");
        for (name, value) in self.client.iter().filter(|(name, _)| !scoped(name)) {
            // Each kind of client warns of the settings of the other one.
            if !kind.is_empty() || !is_of_one_kind(name) {
                config.set(name, value);
            }
        }
        for (name, value) in &self.client {
            if let Some(name) = name.strip_prefix(kind).filter(|_| !kind.is_empty()) {
                config.set(name, value);
            }
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    /// Says what is wrong with the client settings before a broker is asked.
    ///
    /// # Errors
    /// When a setting is missing, unknown, or one that may not be changed.
    pub fn check(&self) -> Result<(), LogError> {
        let refuse = |reason: String| Err(LogError::Unavailable(reason));
        if !self.client.contains_key("bootstrap.servers") {
            return refuse("kafka: `bootstrap.servers` is not set: name a broker".to_owned());
        }
        for name in self.client.keys() {
            let plain = name.strip_prefix("consumer.").or_else(|| name.strip_prefix("producer."));
            let plain = plain.unwrap_or(name);
            if let Some((_, why)) = FIXED.iter().find(|(fixed, _)| *fixed == plain) {
                return refuse(format!("kafka: `{name}` cannot be set: {why}"));
            }
        }
        let probes = [self.consumer("check", Some("check")), self.producer("check")];
        for probe in probes {
            if let Err(error) = probe.create_native_config() {
                return refuse(format!("kafka: {}", without_value(&error)));
            }
        }
        Ok(())
    }
}

/// Settings that Millpond decides, and what decides them.
const FIXED: &[(&str, &str)] = &[
    ("group.id", "it is the topology's name and generation"),
    ("group.instance.id", "it is made of `log.instance` and the worker's name"),
    ("transactional.id", "it is made of `log.instance` and the worker's name"),
    ("enable.auto.commit", "offsets are committed with the results"),
    ("enable.auto.offset.store", "offsets are committed with the results"),
    ("enable.idempotence", "results would be lost or doubled without it"),
    ("acks", "a commit is what all replicas in sync have"),
    ("auto.offset.reset", "lost records are told, never skipped"),
    ("isolation.level", "only committed records are read"),
    ("enable.partition.eof", "the ends of partitions are always watched"),
];

/// Settings that an admin client has no use for.
fn is_of_one_kind(name: &str) -> bool {
    const KINDS: [&str; 10] = [
        "fetch.",
        "queued.",
        "group.",
        "session.",
        "heartbeat.",
        "max.poll.",
        "partition.assignment",
        "transaction.",
        "linger.",
        "compression.",
    ];
    KINDS.iter().any(|kind| name.starts_with(kind))
}

/// What is wrong with a setting, without its value: it may be a secret.
fn without_value(error: &rdkafka::error::KafkaError) -> String {
    match error {
        rdkafka::error::KafkaError::ClientConfig(_, reason, name, _) => {
            format!("`{name}` is wrong: {}", mask(reason))
        }
        other => other.to_string(),
    }
}

/// librdkafka quotes values as `value "..."`.
fn mask(reason: &str) -> String {
    match reason.split_once("value \"") {
        Some((before, rest)) => {
            let after = rest.split_once('"').map_or("", |(_, after)| after);
            format!("{before}value \"...\"{after}")
        }
        None => reason.to_owned(),
    }
}

impl fmt::Debug for KafkaSettings {
    /// Shows names and plain values; never a value that could be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |name: &str| name.ends_with("bootstrap.servers") || name.ends_with(".ms");
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if plain(name) { value.clone() } else { "...".to_owned() })
        };
        f.debug_struct("KafkaSettings")
            .field("client", &self.client.iter().map(shown).collect::<BTreeMap<_, _>>())
            .field("instance", &self.instance)
            .field("guarantee", &self.guarantee)
            .field("replication_factor", &self.replication_factor)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &[(&str, &str)]) -> KafkaSettings {
        let mut settings = KafkaSettings::new("broker:9092", "one");
        for (name, value) in more {
            settings.client.insert((*name).to_owned(), (*value).to_owned());
        }
        settings
    }

    #[test]
    fn client_settings_are_passed_on_under_their_names() {
        let settings = settings(&[
            ("security.protocol", "SASL_SSL"),
            ("consumer.fetch.min.bytes", "7"),
            ("producer.linger.ms", "9"),
            ("session.timeout.ms", "6000"),
        ]);
        settings.check().unwrap();
        let consumer = settings.consumer("group", Some("a"));
        assert_eq!(consumer.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(consumer.get("fetch.min.bytes"), Some("7"));
        assert_eq!(consumer.get("linger.ms"), None);
        assert_eq!(consumer.get("group.instance.id"), Some("a"));
        assert_eq!(consumer.get("partition.assignment.strategy"), Some("range"));
        assert_eq!(settings.producer("x").get("linger.ms"), Some("9"));
        assert_eq!(settings.admin().get("session.timeout.ms"), None);
    }

    #[test]
    fn what_exactly_once_rests_on_cannot_be_set() {
        for name in ["isolation.level", "producer.acks", "consumer.group.id"] {
            let error = settings(&[(name, "x")]).check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let error = settings(&[("bootstrap.server", "x")]).check().unwrap_err().to_string();
        assert!(error.contains("bootstrap.server"), "{error}");
    }

    #[test]
    fn secrets_are_never_shown() {
        let secret = "hunter2-very-secret";
        let names = ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.config"];
        let all: Vec<(&str, &str)> = names.iter().map(|name| (*name, secret)).collect();
        let settings = settings(&all);
        assert!(!format!("{settings:?}").contains(secret));
        let wrong = [("socket.timeout.ms", secret), ("security.protocol", secret)];
        for wrong in wrong {
            let error = self::settings(&[wrong]).check().unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
    }
}
