//! `[kafka]`: settings of the Kafka clients, under Kafka's own names, passed on as they stand.
//!
//! Names may be written with dots (`bootstrap.servers = "..."`, which TOML reads as tables) or
//! quoted; in variables `_` stands for `.`. A value may lie in a file: `<name>.file` names it.
//! Which names and values there are is for the client to say.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::check::At;
use super::endpoints::read_secret;
use super::error::Fault;

/// Says that a value lies in a file.
const FILE: &str = ".file";

/// Settings of the Kafka clients, by name. Printing them never shows a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Kafka(BTreeMap<String, String>);

impl Kafka {
    /// The settings, for whom they are meant.
    pub fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there is a broker to ask.
    pub(super) fn names_brokers(&self) -> bool {
        self.0.contains_key("bootstrap.servers")
    }

    /// Whether members share partitions out by `range`, as they do unless told otherwise.
    pub(super) fn shares_by_range(&self) -> bool {
        let told = |name: &str| {
            let own = self.0.get(&format!("consumer.{name}"));
            own.or_else(|| self.0.get(name)).map(String::as_str)
        };
        told("group.protocol").is_none_or(|protocol| protocol == "classic")
            && told("partition.assignment.strategy").is_none_or(|names| names == "range")
    }

    /// Puts in place of each `<name>.file` what the file says.
    pub(super) fn read_files(&mut self, at: &At<'_>) -> Result<(), Fault> {
        let files: Vec<String> =
            self.0.keys().filter(|name| name.ends_with(FILE)).cloned().collect();
        for name in files {
            let path = self.0.remove(&name).unwrap_or_default();
            let setting = name.trim_end_matches(FILE).to_owned();
            if self.0.contains_key(&setting) {
                let message = format!("`{setting}` is set as well as `{name}`: keep one of them");
                return Err(at.fault_here(message));
            }
            let value = read_secret(Path::new(&path)).map_err(|reason| at.fault_here(reason))?;
            self.0.insert(setting, value.expose().to_owned());
        }
        Ok(())
    }
}

/// Whether a setting's value is nobody's business.
fn is_secret(name: &str) -> bool {
    const MARKS: [&str; 8] = [
        "password",
        "secret",
        "token",
        "credential",
        "jaas",
        "pem",
        "ssl.key",
        "oauthbearer.config",
    ];
    let names_a_file = name.ends_with(".location") || name.ends_with(FILE);
    !names_a_file && MARKS.iter().any(|mark| name.contains(mark))
}

impl Serialize for Kafka {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        serializer.collect_map(self.0.iter().map(shown))
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Kafka {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Part::Table(table) = Part::deserialize(deserializer)? else {
            return Err(de::Error::custom("must be a table of client settings"));
        };
        let mut settings = BTreeMap::new();
        flatten("", table, &mut settings);
        Ok(Self(settings))
    }
}

/// What stands behind a name: a value, or names that go on.
enum Part {
    Value(String),
    Table(BTreeMap<String, Part>),
}

fn flatten(prefix: &str, table: BTreeMap<String, Part>, out: &mut BTreeMap<String, String>) {
    for (name, part) in table {
        let name = format!("{prefix}{}", name.replace('_', "."));
        match part {
            Part::Value(value) => {
                out.insert(name, value);
            }
            Part::Table(table) => flatten(&format!("{name}."), table, out),
        }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text: a password from a variable may look like a number.
        deserializer.deserialize_str(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a truth value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Part, E> {
        Ok(Part::Value(text.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Part, E> {
        Ok(Part::Value(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Part, E> {
        Ok(Part::Value(number.to_string()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Part, E> {
        Ok(Part::Value(value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Part, A::Error> {
        let mut table = BTreeMap::new();
        while let Some((name, part)) = entries.next_entry()? {
            table.insert(name, part);
        }
        Ok(Part::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn read(text: &str, env: &[(&str, &str)]) -> Config {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_text("test", text, env, &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn names_are_kafkas_however_they_are_written() {
        let text = "[kafka]\nbootstrap.servers = 'a:9092'\n'session.timeout.ms' = 6000\n\
                    enable.ssl.certificate.verification = false\n";
        let config = read(text, &[("MILLPOND_KAFKA__SASL_USERNAME", "ann")]);
        let settings = config.kafka.expose();
        assert_eq!(settings["bootstrap.servers"], "a:9092");
        assert_eq!(settings["session.timeout.ms"], "6000");
        assert_eq!(settings["enable.ssl.certificate.verification"], "false");
        assert_eq!(settings["sasl.username"], "ann");
    }

    #[test]
    fn a_password_that_looks_like_a_number_stays_as_it_is() {
        let config = read("", &[("MILLPOND_KAFKA__SASL_PASSWORD", "0012_3e4")]);
        assert_eq!(config.kafka.expose()["sasl.password"], "0012_3e4");
    }

    #[test]
    fn a_secret_may_lie_in_a_file_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let text = format!(
            "[kafka]\nsasl.password.file = '{}'\nssl.key.password = 'hunter2'\n\
             ssl.key.pem = 'hunter2'\nsasl.oauthbearer.client.secret = 'hunter2'\n\
             ssl.key.location = 'key.pem'\n",
            path.display()
        );
        let config = read(&text, &[]);
        assert_eq!(config.kafka.expose()["sasl.password"], "hunter2");
        let shown = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("key.pem"), "the name of a file is no secret");
    }
}
