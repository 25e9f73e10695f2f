//! Scripts of topologies: text in, text out.

use std::fmt::Write;

use pipeline::Topology;
use pipeline::driver::{RawRecord, Script, TopologyDriver, check_four_ways};

/// The moment that scripts begin at: 2023-11-14T22:15:00Z, where windows of a minute and of five
/// minutes begin.
pub(crate) const START_MS: i64 = 1_700_000_100_000;

/// Reads a script: a record on each line, as topic, key, seconds since [`START_MS`], and a value,
/// in which `@` stands for the moment in milliseconds. `-` is a null key or value.
pub(crate) fn parse(text: &str) -> Script {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let record = |line: &str| {
        let mut parts = line.splitn(4, ' ').map(str::trim);
        let mut next = || parts.next().unwrap_or_else(|| panic!("four parts in {line}"));
        let given = |text: &str| (text != "-").then(|| text.to_owned());
        let (topic, key, seconds, value) = (next().to_owned(), given(next()), next(), next());
        let at = START_MS + seconds.parse::<i64>().expect("whole seconds") * 1_000;
        (topic, key, given(&value.replace('@', &at.to_string())), at)
    };
    lines.map(record).collect()
}

/// Runs a script four ways, and prints the records of each output topic.
pub(crate) fn run(build: &dyn Fn() -> Topology, script: &Script, outputs: &[&str]) -> String {
    let written = check_four_ways(build, script, outputs);
    let mut text = String::new();
    for topic in outputs {
        writeln!(text, "{topic}:").unwrap();
        for RawRecord { key, value, .. } in &written[*topic] {
            let print = |bytes: &Option<Vec<u8>>| {
                let text = bytes.as_deref().map(String::from_utf8_lossy);
                text.map_or_else(|| "-".to_owned(), |text| text.into_owned())
            };
            writeln!(text, "  {} {}", print(key), print(value)).unwrap();
        }
    }
    text
}

/// Runs a script straight.
pub(crate) fn drive(topology: Topology, script: &Script) -> TopologyDriver {
    let mut driver = TopologyDriver::new(topology);
    for (topic, key, value, at) in script {
        let (key, value) = (key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
        driver.append(topic, key, value, *at);
    }
    driver.commit();
    driver
}
