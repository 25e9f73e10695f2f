//! Joins of streams: by script, and against models that keep everything in a list.

use std::time::Duration;

use proptest::prelude::*;

use crate::driver::{RawRecord, Script, TopologyDriver, check_four_ways};
use crate::log::partition_for;
use crate::{JoinWindows, StreamJoined, Topology, TopologyBuilder};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

impl Kind {
    /// Whether records of the left (0) or right (1) side are handed on alone.
    fn alone(self, side: usize) -> bool {
        self == Self::Outer || (self == Self::Left && side == 0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Spans {
    before: i64,
    after: i64,
    grace: i64,
}

impl Spans {
    fn windows(self) -> JoinWindows {
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        JoinWindows::of_time_difference_and_grace(ms(self.before), ms(self.grace))
            .after(ms(self.after))
    }

    /// How far before and after a record of `side` what it meets may lie.
    fn of(self, side: usize) -> (i64, i64) {
        if side == 0 { (self.before, self.after) } else { (self.after, self.before) }
    }
}

/// Joins the topics `left` and `right` into `out`. Those that are rekeyed, by the part of their
/// values before the `:`, come from behind a repartition.
fn topology(kind: Kind, spans: Spans, rekeyed: &[&str]) -> Topology {
    let builder = TopologyBuilder::new("app");
    let side = |topic: &str| {
        let stream = builder.stream::<Option<String>, String>(topic);
        if !rekeyed.contains(&topic) {
            return stream;
        }
        stream.select_key(|_, value| value.split_once(':').map(|(key, _)| key.to_owned()))
    };
    let (left, right) = (side("left"), side("right"));
    let (windows, joined) = (spans.windows(), StreamJoined::named("join"));
    let both = |left: Option<&String>, right: Option<&String>| {
        let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| "-".to_owned());
        format!("{} {}", text(left), text(right))
    };
    match kind {
        Kind::Inner => {
            left.join_stream(&right, windows, joined, move |_, l, r| both(Some(l), Some(r)))
        }
        Kind::Left => {
            left.left_join_stream(&right, windows, joined, move |_, l, r| both(Some(l), r))
        }
        Kind::Outer => left.outer_join_stream(&right, windows, joined, move |_, l, r| both(l, r)),
    }
    .to("out");
    builder.build().unwrap()
}

fn text(record: &RawRecord) -> String {
    let utf8 = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map_or("null".to_owned(), |b| String::from_utf8(b.clone()).unwrap())
    };
    format!("{} {} @{}", utf8(&record.key), utf8(&record.value), record.timestamp)
}

#[test]
fn each_kind_in_four_ways() {
    let line = |topic: &str, key: Option<&str>, value: &str, at: i64| {
        (topic.to_owned(), key.map(str::to_owned), Some(format!("{value:?}")), at)
    };
    let script: Script = vec![
        line("left", Some("a"), "L1", 100),
        line("right", Some("a"), "R1", 95),
        line("right", Some("a"), "R2", 111),
        line("left", Some("b"), "L2", 100),
        line("right", None, "R3", 101),
        line("left", None, "L3", 101),
        line("right", Some("c"), "R4", 116),
        line("left", Some("a"), "L4", 91),
        line("right", Some("b"), "R5", 110),
        line("left", Some("z"), "L9", 900),
    ];
    let run = |kind| {
        let spans = Spans { before: 10, after: 10, grace: 5 };
        let out = check_four_ways(&|| topology(kind, spans, &[]), &script, &["out"]);
        out["out"].iter().map(text).collect::<Vec<_>>()
    };
    // L2 comes when its window has ended, and is handed on at once; R5, later still, meets it.
    let inner = ["a \"L1 R1\" @100", "a \"L4 R1\" @95", "b \"L2 R5\" @110"];
    assert_eq!(run(Kind::Inner), inner);
    assert_eq!(
        run(Kind::Left),
        [inner[0], "b \"L2 -\" @100", "null \"L3 -\" @101", inner[1], inner[2],]
    );
    assert_eq!(
        run(Kind::Outer),
        [
            inner[0],
            "b \"L2 -\" @100",
            "null \"- R3\" @101",
            "null \"L3 -\" @101",
            inner[1],
            inner[2],
            "a \"- R2\" @111",
            "c \"- R4\" @116",
        ]
    );
}

#[test]
fn what_is_past_is_forgotten() {
    let spans = Spans { before: 10, after: 10, grace: 0 };
    let mut driver = TopologyDriver::new(topology(Kind::Outer, spans, &[]));
    for at in 0..200 {
        driver.pipe("left", "k", &format!("L{at}"), at * 7);
        driver.pipe("right", "k", &format!("R{at}"), at * 7);
    }
    // The last of each entry of the changelog: what is in the store.
    let mut last = std::collections::BTreeMap::new();
    for record in driver.read_raw("app-g1-join-changelog") {
        last.insert(record.key, record.value.is_some());
    }
    let kept = last.values().filter(|kept| **kept).count();
    // Two segments of 21 ms for each side, and the meta entries.
    assert!(kept < 2 * 2 * 4 + 4, "{kept} entries");
}

/// A record: side, key (4 is null), timestamp, and whether a commit or a crash follows.
type Step = (usize, u8, i64, u8);

fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..2_usize, 0..5_u8, 0..120_i64, 0..6_u8), 1..max)
}

fn kinds() -> impl Strategy<Value = (Kind, Spans)> {
    let kind = prop_oneof![Just(Kind::Inner), Just(Kind::Left), Just(Kind::Outer)];
    (kind, 0..20_i64, 0..20_i64, 0..20_i64)
        .prop_map(|(kind, before, after, grace)| (kind, Spans { before, after, grace }))
}

const TOPICS: [&str; 2] = ["left", "right"];

fn key_text(key: u8) -> Option<String> {
    (key < 4).then(|| format!("k{key}"))
}

fn pair(side: usize, own: &str, other: &str) -> String {
    if side == 0 { format!("{own} {other}") } else { format!("{other} {own}") }
}

fn play(driver: &mut TopologyDriver, after: u8) {
    match after {
        0 => driver.commit(),
        1 => {
            driver.commit();
            driver.kill();
        }
        2 => driver.kill(),
        _ => driver.process(),
    }
}

/// What Kafka Streams answers, without its bunching: see `stream_join.rs`.
fn kafka_streams(kind: Kind, spans: Spans, steps: &[Step]) -> Vec<(Option<String>, String, i64)> {
    let retention = spans.before + spans.after + spans.grace;
    let (mut now, mut newest) = (i64::MIN, [i64::MIN; 2]);
    let mut kept: Vec<(i64, usize, usize, u8)> = Vec::new();
    let mut waiting: Vec<(i64, usize, u8, i64, usize)> = Vec::new();
    let mut out = Vec::new();
    let value = |side: usize, id: usize| format!("{}{id}", ["L", "R"][side]);
    for (id, (side, key, at, _)) in steps.iter().copied().enumerate() {
        now = now.max(at);
        waiting.sort_unstable();
        let due = waiting.partition_point(|waits| waits.0 < now);
        for (_, side, key, at, id) in waiting.drain(..due) {
            out.push((key_text(key), pair(side, &value(side, id), "-"), at));
        }
        let own = value(side, id);
        if key == 4 {
            if kind.alone(side) {
                out.push((None, pair(side, &own, "-"), at));
            }
            continue;
        }
        let (before, after) = spans.of(side);
        let mut met = false;
        kept.sort_unstable();
        for (their_at, their_id, their_side, their_key) in &kept {
            let alive = *their_at > newest[*their_side] - retention;
            let meets = (at - before..=at + after).contains(their_at);
            if *their_side != side && *their_key == key && alive && meets {
                met = true;
                let text = pair(side, &own, &value(*their_side, *their_id));
                out.push((key_text(key), text, at.max(*their_at)));
                waiting.retain(|waits| waits.4 != *their_id);
            }
        }
        newest[side] = newest[side].max(at);
        if at > newest[side] - retention {
            kept.push((at, id, side, key));
        }
        if kind.alone(side) && !met {
            if at + after < now {
                out.push((key_text(key), pair(side, &own, "-"), at));
            } else {
                waiting.push((at + after + spans.grace, side, key, at, id));
            }
        }
    }
    out
}

/// The results that do not depend on arrival: two records meet if neither was read, by its
/// source's clock, after the other closed.
fn by_source_clocks((kind, spans): (Kind, Spans), rekeyed: &[&str], steps: &[Step]) -> Vec<String> {
    let mut clocks = std::collections::BTreeMap::new();
    let mut records = Vec::new();
    for (id, (side, key, at, _)) in steps.iter().copied().enumerate() {
        let partition = partition_for(source_key((side, key), rekeyed, id).as_bytes(), 3);
        let clock = clocks.entry((side, partition)).or_insert(at);
        *clock = at.max(*clock);
        let (_, after) = spans.of(side);
        records.push((side, key, at, *clock, at + after + spans.grace, id));
    }
    let mut out = Vec::new();
    let mut met = vec![false; records.len()];
    for (_, key, at, clock, closes, id) in records.iter().filter(|record| record.0 == 0) {
        for (_, other, their_at, their_clock, theirs, other_id) in
            records.iter().filter(|record| record.0 == 1)
        {
            let meets = (at - spans.before..=at + spans.after).contains(their_at);
            let in_time = their_clock <= closes && clock <= theirs;
            if key == other && *key < 4 && meets && in_time {
                (met[*id], met[*other_id]) = (true, true);
                out.push(format!("k{key} \"k{key}:{id} k{key}:{other_id}\" @{}", at.max(their_at)));
            }
        }
    }
    for (side, key, at, _, _, id) in &records {
        if kind.alone(*side) && !met[*id] {
            let (name, own) = match key_text(*key) {
                Some(name) => (name.clone(), format!("{name}:{id}")),
                None => ("null".to_owned(), format!("{id}")),
            };
            out.push(format!("{name} \"{}\" @{at}", pair(*side, &own, "-")));
        }
    }
    out.sort();
    out
}

/// The key in the source topic.
fn source_key((side, key): (usize, u8), rekeyed: &[&str], id: usize) -> String {
    if rekeyed.contains(&TOPICS[side]) {
        return format!("source-{}", id * 7 % 11);
    }
    format!("k{key}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn streams_read_directly_meet_as_in_kafka_streams(
        (kind, spans) in kinds(), steps in steps(40),
    ) {
        let mut driver = TopologyDriver::new(topology(kind, spans, &[]));
        for (id, (side, key, at, after)) in steps.iter().enumerate() {
            let (key, value) = (key_text(*key), format!("\"{}{id}\"", ["L", "R"][*side]));
            let key = key.as_deref().map(str::as_bytes);
            driver.append(TOPICS[*side], key, Some(value.as_bytes()), *at);
            play(&mut driver, *after);
        }
        driver.commit();
        let out = driver.read::<Option<String>, String>("out");
        let out: Vec<_> =
            out.into_iter().map(|r| (r.key, r.value.unwrap(), r.timestamp)).collect();
        // A crash before a commit has several records processed again, by their timestamps.
        if steps.iter().all(|step| step.3 != 2) {
            prop_assert_eq!(out, kafka_streams(kind, spans, &steps));
        }
    }

    #[test]
    fn behind_a_repartition_the_order_of_arrival_does_not_matter(
        (kind, spans) in kinds(), steps in steps(40), one_side: bool,
    ) {
        // Where one side is read directly, its records have their keys there already.
        let rekeyed = if one_side { &TOPICS[1..] } else { &TOPICS };
        let null_keys = |step: &Step| !one_side || step.1 < 4;
        let steps: Vec<Step> = steps.into_iter().filter(null_keys).collect();
        let mut driver = TopologyDriver::with_partitions(topology(kind, spans, rekeyed), 3);
        for (id, (side, key, at, after)) in steps.iter().enumerate() {
            let value = match key_text(*key) {
                Some(key) => format!("\"{key}:{id}\""),
                None => format!("\"{id}\""),
            };
            let source = source_key((*side, *key), rekeyed, id);
            driver.append(TOPICS[*side], Some(source.as_bytes()), Some(value.as_bytes()), *at);
            play(&mut driver, *after);
        }
        // Time goes on in every partition, so that everything closes.
        for topic in TOPICS {
            for key in (0..40).map(|n| format!("{topic}-{n}")) {
                let value = format!("\"{key}:\"");
                driver.append(topic, Some(key.as_bytes()), Some(value.as_bytes()), 9_999);
            }
        }
        driver.commit();
        let mut out: Vec<String> = driver.read_raw("out").iter().map(text).collect();
        out.sort();
        prop_assert_eq!(out, by_source_clocks((kind, spans), rekeyed, &steps));
    }
}
