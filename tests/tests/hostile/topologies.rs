//! Records and state: topologies over topics and changelogs that hold anything at all.

use std::time::Duration;

use pipeline::driver::TopologyDriver;
use pipeline::{TimeWindows, Topology, TopologyBuilder};

use super::{Target, texts};

fn counts() -> Topology {
    let builder = TopologyBuilder::new("app");
    builder
        .stream::<String, serde_json::Value>("in")
        .dedup("seen", Duration::from_secs(60), |_, value, _| {
            value["id"].as_str().map(str::to_owned)
        })
        .group_by_key()
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(10)))
        .count("counts")
        .to("out");
    builder.build().unwrap()
}

/// A driver holds its log in memory: a new one now and then.
const RECORDS_MAX: u32 = 500;

#[test]
fn records_of_the_shipped_topologies() {
    let fraud = || topologies::fraud::build(&topologies::fraud::Settings::default()).unwrap();
    let orders = || topologies::orders::build(&topologies::orders::Settings::default()).unwrap();
    let logins = || topologies::logins::build(&topologies::logins::Settings::default()).unwrap();
    let all = || [fraud(), orders(), logins()].map(TopologyDriver::new);
    let (mut drivers, mut tried) = (all(), 0);
    let read = &mut |input: &[u8]| {
        tried += 1;
        if tried % RECORDS_MAX == 0 {
            drivers = all();
        }
        for driver in &mut drivers {
            for topic in driver.topology().source_topics() {
                driver.pipe_bytes(&topic, Some(b"k"), Some(input), 1_700_000_000_000);
                driver.pipe_bytes(&topic, Some(input), Some(b"{}"), 1_700_000_000_000);
            }
        }
    };
    let seeds = texts(&[
        r#"{"event_id":"p1","card_id":"c","amount_cents":150,"currency":"EUR","country":"DE","ts":1700000000000}"#,
        r#"{"type":"placed","order_id":"o1","customer_id":"c1","ts":1700000000000,"items":[{"sku":"a","qty":2,"unit_price_cents":5}]}"#,
        r#"{"host":"h","app":"sshd","message":"Failed password for root from 1.2.3.4 port 22 ssh2"}"#,
        r#"{"event_id":"p2","amount_cents":9223372036854775807,"country":"","ts":-1}"#,
    ]);
    Target { name: "record", seeds, mutations: 400, allocated_max: 0, read }.run();
}

/// What restores from a changelog of garbage must not panic; what it cannot read it says.
#[test]
fn changelogs() {
    let mut whole = TopologyDriver::new(counts());
    whole.pipe("in", "k", &serde_json::json!({ "id": "1" }), 5_000);
    let changelogs = ["app-g1-counts-changelog", "app-g1-seen-changelog"];
    let mut seeds = Vec::new();
    for changelog in changelogs {
        for record in whole.read_raw(changelog) {
            seeds.extend([record.key.unwrap_or_default(), record.value.unwrap_or_default()]);
        }
    }
    assert!(seeds.len() >= 4, "the changelogs hold {} seeds", seeds.len());
    let read = &mut |input: &[u8]| {
        let mut driver = TopologyDriver::new(counts());
        for changelog in changelogs {
            let (key, value) = input.split_at(input.len() / 2);
            driver.append(changelog, Some(key), Some(value), 0);
            driver.append(changelog, Some(input), None, 0);
            driver.append(changelog, None, Some(input), 0);
        }
        driver.append("in", Some(b"k"), Some(b"{\"id\":\"1\"}"), 5_000);
        // An error is an answer too; the driver of the tests panics with it.
        let outcome = driver.try_commit();
        if let Err(error) = outcome {
            assert!(!error.to_string().contains("panic"), "{error}");
        }
    };
    Target { name: "changelog", seeds, mutations: 150, allocated_max: 0, read }.run();
}
