//! Foreign-key joins against a model that joins whole tables.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::driver::{Script, TopologyDriver, check_last_values_four_ways};
use crate::{Topology, TopologyBuilder};

fn topology(left_join: bool) -> Topology {
    let builder = TopologyBuilder::new("app");
    let left = builder.table::<String, (Option<i64>, u32)>("left", "left");
    let right = builder.table::<i64, u32>("right", "right");
    let joined = if left_join {
        left.left_join_foreign(
            &right,
            "joined",
            |_, row| row.0,
            |_, row, right| (row.1, right.copied()),
        )
    } else {
        left.join_foreign(&right, "joined", |_, row| row.0, |_, row, right| (row.1, Some(*right)))
    };
    joined.to("out");
    // Rows that move between groups are taken back where they were.
    joined
        .group_by("by-right", |_, row: &(u32, Option<u32>)| (format!("{:?}", row.1), ()))
        .count("counts")
        .to("counts");
    builder.build().unwrap()
}

/// A change: of the left table or the right one, its row, and what it refers to or holds; then
/// what happens to the worker.
#[derive(Clone, Debug)]
enum Step {
    Left(u8, Option<Option<i64>>),
    Right(i64, bool),
    Commit,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let refers = prop_oneof![Just(None), (0..5_i64).prop_map(Some)];
    let step = prop_oneof![
        6 => (0..8_u8, prop::option::weighted(0.8, refers)).prop_map(|(k, r)| Step::Left(k, r)),
        4 => (0..5_i64, prop::bool::weighted(0.7)).prop_map(|(k, there)| Step::Right(k, there)),
        2 => Just(Step::Commit),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..50)
}

type Row = (u32, Option<u32>);

#[derive(Default)]
struct Tables {
    left: BTreeMap<u8, (Option<i64>, u32)>,
    right: BTreeMap<i64, u32>,
}

impl Tables {
    fn joined(&self, left_join: bool) -> BTreeMap<String, Row> {
        let row = |(key, (refers, value)): (&u8, &(Option<i64>, u32))| {
            let right = refers.and_then(|refers| self.right.get(&refers).copied());
            (right.is_some() || left_join).then(|| (format!("k{key}"), (*value, right)))
        };
        self.left.iter().filter_map(row).collect()
    }
}

/// The last value of each key of a topic.
fn last<V: crate::codec::Value>(driver: &TopologyDriver, topic: &str) -> BTreeMap<String, V> {
    let mut last = BTreeMap::new();
    for record in driver.read::<String, V>(topic) {
        match record.value {
            Some(value) => last.insert(record.key, value),
            None => last.remove(&record.key),
        };
    }
    last
}

fn agrees(driver: &TopologyDriver, tables: &Tables, left_join: bool) -> Result<(), TestCaseError> {
    let joined = tables.joined(left_join);
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (_, right) in joined.values() {
        *counts.entry(format!("{right:?}")).or_default() += 1;
    }
    prop_assert_eq!(last::<Row>(driver, "out"), joined);
    let mut counted = last::<i64>(driver, "counts");
    counted.retain(|_, count| *count != 0);
    prop_assert_eq!(counted, counts);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn each_row_has_the_result_of_the_last_rows(steps in steps(), left_join: bool) {
        let mut driver = TopologyDriver::with_partitions(topology(left_join), 3);
        let mut tables = Tables::default();
        for (at, step) in (0_u32..).zip(steps) {
            match step {
                Step::Left(key, row) => {
                    let row = row.map(|refers| (refers, at));
                    let json = row.map(|row| serde_json::to_vec(&row).unwrap());
                    let key_text = format!("k{key}");
                    driver.append("left", Some(key_text.as_bytes()), json.as_deref(), at.into());
                    match row {
                        Some(row) => tables.left.insert(key, row),
                        None => tables.left.remove(&key),
                    };
                }
                Step::Right(key, there) => {
                    let json = there.then(|| serde_json::to_vec(&at).unwrap());
                    let bytes = key.to_be_bytes();
                    driver.append("right", Some(&bytes), json.as_deref(), at.into());
                    if there {
                        tables.right.insert(key, at);
                    } else {
                        tables.right.remove(&key);
                    }
                }
                Step::Commit => {
                    driver.commit();
                    agrees(&driver, &tables, left_join)?;
                }
                Step::Kill => driver.kill(),
            }
        }
        driver.commit();
        agrees(&driver, &tables, left_join)?;
    }
}

#[test]
fn updates_in_four_ways() {
    let line = |topic: &str, key: &str, value: Option<&str>, at| {
        (topic.to_owned(), Some(key.to_owned()), value.map(str::to_owned), at)
    };
    let right_key = String::from_utf8(7_i64.to_be_bytes().to_vec()).unwrap();
    let script: Script = vec![
        line("left", "a", Some("[7,1]"), 1),
        line("right", &right_key, Some("70"), 2),
        line("left", "b", Some("[7,2]"), 3),
        line("left", "c", Some("[null,3]"), 4),
        line("right", &right_key, Some("71"), 5),
        line("left", "a", Some("[8,4]"), 6),
        line("right", &right_key, None, 7),
        line("left", "b", None, 8),
        line("left", "c", None, 9),
    ];
    let run = |left_join| {
        let mut driver = TopologyDriver::new(topology(left_join));
        for (topic, key, value, at) in &script {
            let key = key.as_deref().map(str::as_bytes);
            driver.pipe_bytes(topic, key, value.as_deref().map(str::as_bytes), *at);
        }
        let out = driver.read::<String, Row>("out");
        let text = |value: Option<Row>| value.map_or("-".to_owned(), |row| format!("{row:?}"));
        out.into_iter().map(|r| format!("{} {} @{}", r.key, text(r.value), r.timestamp)).collect()
    };
    let inner: Vec<String> = run(false);
    assert_eq!(
        inner,
        [
            "a (1, Some(70)) @2",
            "b (2, Some(70)) @3",
            "a (1, Some(71)) @5",
            "b (2, Some(71)) @5",
            "a - @6",
            "b - @7",
            "b - @8",
        ]
    );
    let left: Vec<String> = run(true);
    assert_eq!(
        left,
        [
            "a (1, None) @1",
            "a (1, Some(70)) @2",
            "b (2, Some(70)) @3",
            "c (3, None) @4",
            "a (1, Some(71)) @5",
            "b (2, Some(71)) @5",
            "a (4, None) @6",
            "b (2, None) @7",
            "b - @8",
            "c - @9",
        ]
    );
    for left_join in [false, true] {
        check_last_values_four_ways(&|| topology(left_join), &script, &["out"]);
    }
}

/// What is said in `steps`, by commits: a left row that refers to a right one, or is deleted.
fn after(steps: &[&[(&str, &str, Option<&str>)]]) -> BTreeMap<String, Row> {
    let mut driver = TopologyDriver::with_partitions(topology(false), 3);
    for commit in steps {
        for (topic, key, value) in *commit {
            let key = key
                .parse::<i64>()
                .map_or_else(|_| key.as_bytes().to_vec(), |key| key.to_be_bytes().to_vec());
            driver.append(topic, Some(&key), value.map(str::as_bytes), 1);
        }
        driver.commit();
    }
    last(&driver, "out")
}

#[test]
fn a_row_that_comes_again_before_its_result_is_taken_back_leaves_none() {
    let begin: &[_] = &[("left", "a", Some("[0,1]")), ("right", "0", Some("5"))];
    assert_eq!(after(&[begin]).len(), 1);
    let again: &[_] = &[("left", "a", None), ("left", "a", Some("[1,2]"))];
    assert_eq!(after(&[begin, again]), BTreeMap::new());
    let moved: &[_] = &[("left", "a", Some("[1,2]")), ("left", "a", Some("[1,3]"))];
    assert_eq!(after(&[begin, moved]), BTreeMap::new());
}
