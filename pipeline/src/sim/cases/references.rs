//! Tables that meet tables, are grouped anew and ranked: the last value of each row is known from
//! the last values of the sources alone.

use std::collections::BTreeMap;

use serde_json::json;

use super::{PACE, built};
use crate::dsl::TopologyBuilder;
use crate::operators::ViewFields;
use crate::sim::dice::Dice;
use crate::sim::input::{Input, Inputs, stream};
use crate::sim::subject::{Facts, Subject};

type Rows<V> = BTreeMap<String, V>;

/// The last value of each key; deletions leave nothing.
fn last<V: serde::de::DeserializeOwned>(facts: &Facts<'_>, topic: &str) -> Rows<V> {
    let mut rows = Rows::new();
    for record in facts.topic(topic).into_values().flatten() {
        match record.value.as_deref().map(serde_json::from_slice::<V>) {
            Some(Ok(value)) => drop(rows.insert(record.key_text(), value)),
            Some(Err(_)) => {}
            None => drop(rows.remove(&record.key_text())),
        }
    }
    rows
}

fn same<V: PartialEq + std::fmt::Debug>(
    topic: &str,
    found: &Rows<V>,
    wanted: &Rows<V>,
) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{topic} is {found:?}, not {wanted:?}")) }
}

/// Updates of two tables, with deletions. The keys of the first are `k0` to `k6`, those of the
/// second begin with `prefix`.
fn updates(dice: &mut Dice, [one, other]: [&'static str; 2], prefix: &str) -> Inputs {
    let count = 20 + dice.below(50);
    let rest = stream(dice, (count, PACE), |dice, at| {
        let (topic, prefix) = if dice.chance(60) { (one, "k") } else { (other, prefix) };
        let key = format!("{prefix}{}", dice.below(7));
        let mut input = Input::new(topic, &key, &dice.below(40).to_string(), at);
        if dice.chance(20) {
            input.value = None;
        }
        input
    });
    Inputs::as_scheduled(rest)
}

/// Joins of two tables by their keys: inner, left and outer.
pub(super) fn couples() -> Subject {
    let builder = TopologyBuilder::new("sim-couples");
    let left = builder.table::<String, i64>("couples-left", "couples-left");
    let right = builder.table::<String, i64>("couples-right", "couples-right");
    left.join(&right, |_, l, r| (Some(*l), Some(*r))).to("couples-inner");
    left.left_join(&right, |_, l, r| (Some(*l), r.copied())).to("couples-some");
    left.outer_join(&right, |_, l, r| (l.copied(), r.copied())).to("couples-all");
    Subject::new(built(builder.build()), |dice| {
        updates(dice, ["couples-left", "couples-right"], "k")
    })
    .on_record_time()
    .checked(check_couples)
}

fn check_couples(facts: &Facts<'_>) -> Result<(), String> {
    type Couple = (Option<i64>, Option<i64>);
    let (left, right) = (last::<i64>(facts, "couples-left"), last::<i64>(facts, "couples-right"));
    let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let couple = |key: &&String| -> (String, Couple) {
        ((*key).clone(), (left.get(*key).copied(), right.get(*key).copied()))
    };
    let all: Rows<Couple> = keys.iter().map(couple).collect();
    let some: Rows<Couple> = all.clone().into_iter().filter(|(_, (l, _))| l.is_some()).collect();
    let inner: Rows<Couple> = some.clone().into_iter().filter(|(_, (_, r))| r.is_some()).collect();
    for (topic, wanted) in
        [("couples-inner", &inner), ("couples-some", &some), ("couples-all", &all)]
    {
        same(topic, &last(facts, topic), wanted)?;
    }
    Ok(())
}

/// Joins of tables by a foreign key: inner and left. What is told goes to the other table's
/// partition and back.
pub(super) fn referring() -> Subject {
    let builder = TopologyBuilder::new("sim-referring");
    let rows = builder.table::<String, i64>("referring-in", "referring-in");
    let names = builder.table::<String, i64>("referring-names", "referring-names");
    rows.join_foreign(
        &names,
        "referring-inner",
        |_, n| referred(*n),
        |_, n, name| (*n, Some(*name)),
    )
    .to("referring-inner");
    rows.left_join_foreign(
        &names,
        "referring-left",
        |_, n| referred(*n),
        |_, n, name| (*n, name.copied()),
    )
    .to("referring-left");
    rows.left_join_foreign(
        &names,
        "referring-seen",
        |_, n| referred(*n),
        |_, n, name| (*n, name.copied()),
    )
    .view("referring", ViewFields::new().i64("n"), |_, (n, _)| json!({ "n": n }));
    Subject::new(built(builder.build()), |dice| {
        updates(dice, ["referring-in", "referring-names"], "n")
    })
    .on_record_time()
    .checked(check_referring)
}

/// What a row refers to.
fn referred(n: i64) -> Option<String> {
    (n % 9 != 8).then(|| format!("n{}", n % 9))
}

fn check_referring(facts: &Facts<'_>) -> Result<(), String> {
    let rows = last::<i64>(facts, "referring-in");
    let names = last::<i64>(facts, "referring-names");
    let joined = |(key, n): (&String, &i64)| {
        let name = referred(*n).and_then(|name| names.get(&name).copied());
        (key.clone(), (*n, name))
    };
    let left: Rows<(i64, Option<i64>)> = rows.iter().map(joined).collect();
    let inner = left.clone().into_iter().filter(|(_, (_, name))| name.is_some()).collect();
    same("referring-inner", &last(facts, "referring-inner"), &inner)?;
    same("referring-left", &last(facts, "referring-left"), &left)
}

/// A table that is grouped anew, where rows move from group to group, and its best rows.
pub(super) fn regrouped() -> Subject {
    let builder = TopologyBuilder::new("sim-regrouped");
    let rows = builder.table::<String, i64>("regrouped-in", "regrouped-in");
    let group = |n: i64| format!("g{}", n % 3);
    let groups = || rows.group_by("regrouped-by", move |_, n| (group(*n), *n));
    groups().reduce("regrouped-sum", |a, b| a + b, |a, b| a - b).to("regrouped-sums");
    rows.top("regrouped-top", 2, move |key, n| (group(*n), *n, key.clone()))
        .map_values(|_, best| best.iter().map(|row| row.rank).collect::<Vec<i64>>())
        .to("regrouped-best");
    Subject::new(built(builder.build()), |dice| {
        updates(dice, ["regrouped-in", "regrouped-in"], "l")
    })
    .on_record_time()
    .checked(check_regrouped)
}

fn check_regrouped(facts: &Facts<'_>) -> Result<(), String> {
    let mut sums: Rows<i64> = Rows::new();
    let mut ranks: Rows<Vec<i64>> = Rows::new();
    for n in last::<i64>(facts, "regrouped-in").into_values() {
        *sums.entry(format!("g{}", n % 3)).or_default() += n;
        ranks.entry(format!("g{}", n % 3)).or_default().push(n);
    }
    for ranks in ranks.values_mut() {
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        ranks.truncate(2);
    }
    // A group that had rows and has none any more is empty, or nothing was ever told of it.
    let mut found = last::<i64>(facts, "regrouped-sums");
    found.retain(|group, sum| *sum != 0 || sums.contains_key(group));
    same("regrouped-sums", &found, &sums)?;
    same("regrouped-best", &last::<Vec<i64>>(facts, "regrouped-best"), &ranks)
}
