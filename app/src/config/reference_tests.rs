//! Keeps `docs/millpond.toml` true: it has every setting, no other, and the defaults of the code.
//!
//! In that file a line `#name = value` or `#[section]` is a setting commented out, `# text` is
//! prose.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value as Json;

use super::read::Reader;
use super::{Config, tree};

const REFERENCE: &str = include_str!("../../../docs/millpond.toml");

fn read(text: &str) -> Config {
    let root = tree::parse(text).unwrap();
    Config::deserialize(Reader::new(&root)).unwrap_or_else(|fault| panic!("{fault}"))
}

fn json<T: serde::Serialize>(value: &T) -> Json {
    serde_json::to_value(value).unwrap()
}

/// The reference with every commented-out setting in force.
fn uncommented() -> String {
    let setting = |line: &str| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    REFERENCE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| setting(rest)).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// What the reference says, with everything in force, as plain data.
fn written() -> Json {
    json(&toml::from_str::<toml::Table>(&uncommented()).unwrap())
}

fn keys(value: &Json) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_file_as_it_stands_means_the_defaults() {
    assert_eq!(json(&read(REFERENCE)), json(&Config::default()));
}

#[test]
fn every_plain_setting_is_in_force_in_the_file() {
    let live = json(&toml::from_str::<toml::Table>(REFERENCE).unwrap());
    for (name, default) in json(&Config::default()).as_object().unwrap() {
        match default {
            Json::Object(section) if !["topics", "topologies", "sources"].contains(&&**name) => {
                assert_eq!(keys(&live[name]), section.keys().cloned().collect(), "[{name}]");
            }
            Json::Object(_) | Json::Array(_) => {}
            _ => assert_eq!(live[name], *default, "{name}"),
        }
    }
}

/// Compares one item of a repeated section with an item that has only its required settings: the
/// reference must name every setting, and show the default of each that has one.
fn assert_item(shown: &Json, required: &str, item: &Json) {
    let required: BTreeSet<String> = required.split_whitespace().map(str::to_owned).collect();
    assert_eq!(keys(shown), keys(item));
    for (name, default) in item.as_object().unwrap() {
        if !required.contains(name) && !default.is_null() {
            assert_eq!(shown[name], *default, "the default of {name}");
        }
    }
}

#[test]
fn every_repeated_section_shows_every_setting_and_its_default() {
    let least = read(
        "topics.payments = {}\n\
         [[sources.file]]\npath = 'p'\ntopic = 't'\n\
         [[sources.syslog]]\nlisten = 'udp://127.0.0.1:1'\ntopic = 't'\n\
         [[endpoints]]\nname = 'n'\nurl = 'http://h'",
    );
    let shown = written();
    assert_item(&shown["topics"]["payments"], "", &json(&least.topics["payments"]));
    assert_item(&shown["sources"]["file"][0], "path topic", &json(&least.sources.file[0]));
    assert_item(&shown["sources"]["syslog"][0], "listen topic", &json(&least.sources.syslog[0]));
    assert_item(&shown["endpoints"][0], "name url", &json(&least.endpoints[0]));
}

#[test]
fn the_examples_are_valid() {
    // An endpoint takes its secret from one place: the file shows both.
    let text: String = uncommented()
        .lines()
        .filter(|l| !l.starts_with("secret_file"))
        .fold(String::new(), |text, line| text + line + "\n");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millpond.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path), std::iter::empty(), &[]).unwrap();
    assert_eq!(config.endpoints[0].name, "ops");
}

#[test]
fn every_setting_has_prose_before_it() {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    for (number, pair) in lines.windows(2).enumerate() {
        let setting = pair[1].trim_start_matches('#');
        if setting.starts_with(|c: char| c.is_ascii_lowercase()) && setting.contains(" = ") {
            assert!(pair[0].starts_with("# "), "line {}: {}", number + 2, pair[1]);
        }
    }
}

#[test]
fn the_top_level_settings_are_known_to_the_environment() {
    let defaults = json(&Config::default());
    let plain: BTreeSet<&str> = defaults
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| !value.is_object() && !value.is_array())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(plain, BTreeSet::from(Config::TOP_LEVEL));
}
