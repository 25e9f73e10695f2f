//! A processor that uses everything there is.

use std::time::Duration;

use expect_test::expect;

use super::*;
use crate::driver::{Script, TopologyDriver, check_four_ways};
use crate::{Topology, TopologyBuilder, TopologyError};

/// Sums what comes under each key; tells the sums of all keys when time says so, and forgets them.
struct Sums {
    sums: KeyValueStore<String, i64>,
    schedule: Schedule,
}

impl Processor<String, i64> for Sums {
    type Key = String;
    type Value = i64;

    fn process(
        &mut self,
        record: Record<String, i64>,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        if record.value < 0 {
            return Err(ctx.bad_record("less than nothing"));
        }
        let mut sums = ctx.store(&self.sums);
        let sum = sums.get(&record.key)?.unwrap_or(0) + record.value;
        sums.put(&record.key, &sum)
    }

    fn schedule(&self) -> Vec<Schedule> {
        vec![self.schedule]
    }

    fn punctuate(
        &mut self,
        schedule: Schedule,
        now: i64,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        assert_eq!(schedule, self.schedule);
        for (key, value) in ctx.store(&self.sums).all(100)? {
            ctx.store(&self.sums).delete(&key)?;
            ctx.forward(Record { key, value, timestamp: now })?;
        }
        Ok(())
    }
}

fn topology(schedule: Schedule) -> Topology {
    let builder = TopologyBuilder::new("app");
    let sums = builder.key_value_store("sums");
    builder
        .stream::<String, i64>("in")
        .process("sum-up", &[sums.id()], move || Sums { sums: sums.clone(), schedule })
        .to("out");
    builder.build().unwrap()
}

fn read(driver: &TopologyDriver) -> String {
    let records = driver.read::<String, i64>("out");
    let text = |r: crate::driver::OutputRecord<String, i64>| {
        format!("{} {}={}\n", r.timestamp, r.key, r.value.unwrap())
    };
    records.into_iter().map(text).collect()
}

#[test]
fn stream_time_punctuates_after_the_record_that_reaches_a_multiple() {
    let second = || topology(Schedule::StreamTime(Duration::from_secs(1)));
    let record = |key: &str, value: i64, at: i64| {
        ("in".to_owned(), Some(key.to_owned()), Some(value.to_string()), at)
    };
    let script: Script = vec![
        record("a", 1, 100),
        record("b", 2, 999),
        record("a", 4, 300),
        record("a", 8, 1000),
        record("b", 1, 999),
        record("c", 1, 5200),
        record("c", 1, 5300),
    ];
    check_four_ways(&second, &script, &["out"]);
    let mut driver = TopologyDriver::new(second());
    for (topic, key, value, at) in &script {
        let (key, value) = (key.as_deref().unwrap(), value.as_deref().unwrap());
        driver.pipe_bytes(topic, Some(key.as_bytes()), Some(value.as_bytes()), *at);
    }
    expect![[r"
        1000 a=13
        1000 b=2
        5000 b=1
        5000 c=1
    "]]
    .assert_eq(&read(&driver));
}

#[test]
fn the_wall_clock_punctuates_also_when_nothing_comes_and_after_a_crash() {
    // The driver's clock begins at a multiple of ten seconds.
    let mut driver = TopologyDriver::new(topology(Schedule::WallClock(Duration::from_secs(10))));
    driver.pipe("in", "a", &1_i64, 0);
    driver.advance_wall_clock(Duration::from_millis(9_999));
    driver.pipe("in", "a", &2_i64, 99_000_000);
    assert_eq!(read(&driver), "");
    driver.kill();
    driver.advance_wall_clock(Duration::from_millis(1));
    driver.commit();
    assert_eq!(read(&driver), "1700000010000 a=3\n");
    driver.pipe("in", "b", &5_i64, 0);
    driver.kill();
    driver.advance_wall_clock(Duration::from_secs(35));
    driver.commit();
    driver.commit();
    assert_eq!(read(&driver), "1700000010000 a=3\n1700000040000 b=5\n");
    assert!(
        driver.topology().describe().contains("sum-up (stores: [sums, sum-up]) [arrival order]")
    );
}

#[test]
fn a_record_that_a_processor_refuses_is_a_dead_letter() {
    let mut driver = TopologyDriver::new(topology(Schedule::StreamTime(Duration::from_secs(1))));
    driver.pipe("in", "a", &-1_i64, 0);
    let headers = driver.read_headers("app-dlq");
    assert_eq!(headers[0]["__streams.errors.message"], "less than nothing");
}

/// Uses a store that the topology does not give it.
struct Undeclared(KeyValueStore<String, i64>);

impl Processor<String, i64> for Undeclared {
    type Key = String;
    type Value = i64;

    fn process(
        &mut self,
        record: Record<String, i64>,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        ctx.store(&self.0).put(&record.key, &1)
    }
}

#[test]
fn a_store_that_was_not_declared_says_what_to_do() {
    let builder = TopologyBuilder::new("app");
    let store = builder.key_value_store("sums");
    let input = builder.stream::<String, i64>("in");
    input.process("p", &[], move || Undeclared(store.clone())).to("out");
    let mut driver = TopologyDriver::new(builder.build().unwrap());
    driver.pipe("in", "a", &1_i64, 0);
    let message = &driver.read_headers("app-dlq")[0]["__streams.errors.message"];
    assert!(message.contains("`p` uses store `sums`"), "{message}");
}

#[test]
fn a_store_of_another_builder_is_refused() {
    let store = TopologyBuilder::new("other").key_value_store("sums");
    let builder = TopologyBuilder::new("app");
    let id = store.id();
    builder.stream::<String, i64>("in").process("p", &[id], move || Undeclared(store.clone()));
    let error = builder.build().err();
    assert_eq!(error, Some(TopologyError::TwoTopologies { node: "p".to_owned() }));
}

/// Copies a header, with one of its own.
struct Stamp;

impl Processor<String, i64> for Stamp {
    type Key = String;
    type Value = i64;

    fn process(
        &mut self,
        record: Record<String, i64>,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ) -> Result<(), ProcessorError> {
        let known = ctx.headers().count().to_string();
        ctx.add_header("headers-before", known.as_bytes());
        ctx.forward(record)
    }
}

#[test]
fn headers_go_with_what_a_record_becomes_and_no_further() {
    let builder = TopologyBuilder::new("app");
    let input = builder.stream::<String, i64>("in");
    input.filter(|_, value| *value == 1).process("stamp", &[], || Stamp).to("stamped");
    input.to("plain");
    let mut driver = TopologyDriver::new(builder.build().unwrap());
    driver.pipe("in", "a", &1_i64, 0);
    driver.pipe("in", "a", &2_i64, 0);
    assert_eq!(driver.read_headers("stamped")[0]["headers-before"], "0");
    assert!(!driver.read_headers("plain")[1].contains_key("headers-before"));
}
