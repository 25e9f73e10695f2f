//! Holds `docs/topologies.md` to what the topologies are.

use std::sync::Arc;

use expect_test::expect_file;
use pipeline::clock::ManualClock;
use pipeline::log::Cleanup;
use pipeline::log::embedded::{EmbeddedLog, EmbeddedSettings};
use pipeline::log::storage::MemoryStorage;
use pipeline::{Plan, Topology};
use serde::Serialize;
use serde_json::Value;

use crate::{fraud, logins, orders};

const PAGE: &str = include_str!("../../../docs/topologies.md");

/// Each topology with its default settings.
fn topologies() -> [(Topology, Value); 3] {
    fn with<S: Serialize>(topology: Topology, settings: &S) -> (Topology, Value) {
        (topology, serde_json::to_value(settings).unwrap())
    }
    let (fraud, orders, logins) =
        (fraud::Settings::default(), orders::Settings::default(), logins::Settings::default());
    [
        with(fraud::build(&fraud).unwrap(), &fraud),
        with(orders::build(&orders).unwrap(), &orders),
        with(logins::build(&logins).unwrap(), &logins),
    ]
}

/// The part of the page between a heading and the next one of its level or above.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let start = page.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
    let body = &page[start + heading.len()..];
    let level = heading.split(' ').next().unwrap().len();
    let is_heading = |line: &str| {
        let hashes = line.len() - line.trim_start_matches('#').len();
        (1..=level).contains(&hashes) && line[hashes..].starts_with(' ')
    };
    let mut end = 0;
    for line in body.split_inclusive('\n') {
        if is_heading(line) {
            break;
        }
        end += line.len();
    }
    &body[..end]
}

/// The first two cells of a table's rows, without backticks.
fn rows(section: &str) -> Vec<(String, String)> {
    let cells = |row: &str| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        (cells.next().unwrap(), cells.next().unwrap())
    };
    section.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

#[test]
fn settings_are_documented_with_their_defaults() {
    for (topology, settings) in topologies() {
        let documented = rows(section(PAGE, &format!("### Settings of `{}`", topology.name())));
        let actual: Vec<(String, String)> = settings
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, default)| (name.clone(), default.to_string()))
            .collect();
        let sorted = |mut rows: Vec<(String, String)>| {
            rows.sort();
            rows
        };
        assert_eq!(sorted(documented), sorted(actual), "{}", topology.name());
    }
}

#[test]
fn fields_of_views_are_documented_with_their_kinds() {
    for (topology, _) in topologies() {
        let storage = Arc::new(MemoryStorage::new());
        let clock = Arc::new(ManualClock::at(0));
        let log = EmbeddedLog::in_memory(storage, EmbeddedSettings::default(), clock).unwrap();
        let keep = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let plan = Plan::make(Arc::new(topology), log.as_ref(), (1, keep)).unwrap();
        for view in &plan.views {
            let documented = rows(section(PAGE, &format!("### View `{}`", view.schema.name)));
            let kind = |kind| serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned();
            let fields = view.schema.fields.iter();
            let actual: Vec<(String, String)> =
                fields.map(|field| (field.name.clone(), kind(field.kind))).collect();
            assert_eq!(documented, actual, "{}", view.schema.name);
        }
    }
}

/// `UPDATE_EXPECT=1` writes the descriptions into the page.
#[test]
fn descriptions_are_documented() {
    let mut page = PAGE.to_owned();
    for (topology, _) in topologies() {
        let section = section(&page, &format!("### Nodes of `{}`", topology.name())).to_owned();
        let (before, rest) = section.split_once("```text\n").expect("a block of text");
        let (_, after) = rest.split_once("```").expect("an end of the block");
        let described = topology.describe();
        let replaced = format!("{before}```text\n{described}```{after}");
        page = page.replacen(&section, &replaced, 1);
    }
    expect_file!["../../../docs/topologies.md"].assert_eq(&page);
}
