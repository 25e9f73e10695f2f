//! Tables: filtered, grouped, joined with each other in all ways, and combinations of these.

use pipeline::codec::{int64, utf8};
use pipeline::{Table, Topology, TopologyBuilder};

use super::streams::counted;
use super::windows::limited;
use super::{both, built, either, group_of, is_even, joined, numbers, texts};
use crate::cases::joins::table;
use crate::cases::{Agreement, Case, Params, Text};

type Texts = Table<Text, String>;

/// The rows that end with an even number, marked.
pub(super) fn evens(builder: &TopologyBuilder, topic: &str) -> Texts {
    let even = table(builder, topic).filter(|_, value| is_even(value));
    even.map_values(|_, value| format!("{value}!"))
}

#[expect(clippy::ptr_arg, reason = "the signature of a selector")]
pub(super) fn by_group(_: &Text, value: &String) -> (Text, String) {
    (group_of(Some(value)), value.clone())
}

/// The key before the bar of a value.
#[expect(clippy::ptr_arg, reason = "the signature of a foreign key")]
pub(super) fn referred(_: &Text, value: &String) -> Option<Text> {
    value.split_once('|').map(|(key, _)| Some(key.to_owned()))
}

/// `table:...count`.
fn count(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let table = table(builder, "in");
        let even = || table.filter(|_, value| is_even(value));
        let counts = match name {
            "table:of-stream-count" => table.group_by("by-value", by_group).count("counts"),
            "table:filter-count" => even().group_by("by-value", by_group).count("counts"),
            "table:count-count" => table
                .group_by("by-value", by_group)
                .count("counts")
                .group_by("by-count", |_, count| (Some(format!("c{count}")), *count))
                .count("counts-of-counts"),
            "table:to-stream-count" => {
                let stream = table.to_stream().select_key(|_, value| group_of(Some(value)));
                stream.group_by_key().count("counts")
            }
            "table:limited-count" => {
                let held = table.suppress("held", limited(params));
                held.group_by("by-value", by_group).count("counts")
            }
            "table:null-group-count" => {
                let group = |key: &Text, value: &String| match by_group(key, value) {
                    (_, value) if is_even(&value) => (None, value),
                    group => group,
                };
                table.group_by("by-value", group).count("counts")
            }
            _ => {
                let stream = table.to_stream_with_tombstones().group_by_key();
                let windows = stream.windowed_by(params.tumbling());
                return windows.count("counts").to_with("out", int64());
            }
        };
        counts.to_with("out", int64());
    })
}

/// `table:...`, of texts.
fn alone(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let table = table(builder, "in");
        let even = || table.filter(|_, value| is_even(value));
        let out = match name {
            "table:filter" => even(),
            "table:map-values" => table.map_values(|_, value| format!("{value}!")),
            "table:filter-not-reduce" => table
                .filter(|_, value| !is_even(value))
                .map_values(|_, value| format!("{value}!"))
                .group_by("by-value", by_group)
                .reduce("reduced", |all, one| joined(&all, one), |all, one| format!("{all}-{one}")),
            "table:aggregate" => table.group_by("by-value", by_group).aggregate(
                "all",
                String::new,
                |_, value, all| format!("{all}+{value}"),
                |_, value, all| format!("{all}-{value}"),
            ),
            "table:limited" => table.suppress("held", limited(params)),
            "table:filter-limited" => even().suppress("held", limited(params)),
            "table:self-inner" => join(&table, &table, "inner"),
            "table:self-left" => join(&table, &table, "left"),
            _ => join(&table, &table, "outer"),
        };
        out.to_with("out", utf8());
    })
}

/// An inner, left or outer join, as `kind` says.
pub(super) fn join(left: &Texts, right: &Texts, kind: &str) -> Texts {
    if kind.contains("inner") {
        left.join(right, |_, left, right| both(left, Some(right)))
    } else if kind.contains("left") {
        left.left_join(right, |_, left, right| both(left, right))
    } else {
        left.outer_join(right, |_, left, right| either(left, right))
    }
}

/// `tables:...`, of texts.
fn joins(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let kind = &name["tables:".len()..];
        let out = if kind.starts_with("filtered-") {
            join(&evens(builder, "left"), &evens(builder, "right"), kind)
        } else if kind.starts_with("counted-") {
            join(&counted(builder, "left"), &counted(builder, "right"), kind)
        } else if kind.starts_with("grouped-") {
            join(&grouped(builder, "left"), &grouped(builder, "right"), kind)
        } else {
            let left = table(builder, "left");
            let joined = join(&left, &table(builder, "right"), kind);
            if kind.ends_with("-again") {
                join(&joined, &left, kind)
            } else {
                joined.filter(|_, value| is_even(value))
            }
        };
        out.to_with("out", utf8());
    })
}

/// How many rows a group has.
fn grouped(builder: &TopologyBuilder, topic: &str) -> Texts {
    let groups = table(builder, topic).group_by(&format!("{topic}-by-value"), by_group);
    groups.count(&format!("{topic}-counts")).map_values(|_, count| count.to_string())
}

/// `tables:...-count`: of the groups of a join.
fn joins_count(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let (left, right) = (table(builder, "left"), table(builder, "right"));
        let joined = join(&left, &right, name);
        joined.group_by("by-value", by_group).count("counts").to_with("out", int64());
    })
}

/// `foreign:...`, of texts.
fn foreign(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let left = table(builder, "left");
        let right = match name {
            "foreign:counts-left" => counted(builder, "right"),
            "foreign:filtered-inner" | "foreign:filtered-left" => {
                table(builder, "right").filter(|_, value| is_even(value))
            }
            _ => table(builder, "right"),
        };
        let left = if name.contains(":of-filtered-") { left.filter(of_even) } else { left };
        let joined = foreign_join((&left, &right), name);
        let out = if name == "foreign:then-table" { join(&joined, &left, "left") } else { joined };
        out.to_with("out", utf8());
    })
}

#[expect(clippy::ptr_arg, reason = "the signature of a filter")]
fn of_even(_: &Text, value: &String) -> bool {
    is_even(value)
}

/// `foreign:self-...`: rows that refer to others of their table.
fn foreign_self(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let table = table(builder, "in");
        foreign_join((&table, &table), name).to_with("out", utf8());
    })
}

/// `foreign:...-count`: of the groups of a join.
fn foreign_count(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let (left, right) = (table(builder, "left"), table(builder, "right"));
        let joined = foreign_join((&left, &right), name);
        joined.group_by("by-value", by_group).count("counts").to_with("out", int64());
    })
}

fn foreign_join((left, right): (&Texts, &Texts), name: &str) -> Texts {
    if name.contains("left") {
        left.left_join_foreign(right, "joined", referred, |_, left, right| both(left, right))
    } else {
        left.join_foreign(right, "joined", referred, |_, left, right| both(left, Some(right)))
    }
}

/// Compared but for deletions of what is not there.
const fn live(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { agreement: Agreement::Live, ..texts(name, build) }
}

/// Compared but for what changes nothing.
pub(super) const fn changed(
    name: &'static str,
    build: fn(&'static str, &Params) -> Topology,
) -> Case {
    Case { agreement: Agreement::Changed, ..texts(name, build) }
}

/// Compared key by key, but for what changes nothing: two sub-topologies answer one record.
const fn by_key(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { agreement: Agreement::ChangedByKey, ..texts(name, build) }
}

/// What is held back is not what a row was before.
pub(super) const LIMITED_COUNT: Case = numbers("table:limited-count", count);

pub(super) const CASES: &[Case] = &[
    numbers("table:of-stream-count", count),
    numbers("table:filter-count", count),
    numbers("table:count-count", count),
    numbers("table:null-group-count", count),
    numbers("table:to-stream-count", count),
    Case { windowed: true, ..numbers("table:to-stream-window-count", count) },
    live("table:filter", alone),
    texts("table:map-values", alone),
    texts("table:filter-not-reduce", alone),
    texts("table:aggregate", alone),
    texts("table:limited", alone),
    live("table:filter-limited", alone),
    texts("table:self-inner", alone),
    texts("table:self-left", alone),
    texts("table:self-outer", alone),
    changed("tables:filtered-inner", joins),
    changed("tables:filtered-left", joins),
    changed("tables:filtered-outer", joins),
    texts("tables:counted-inner", joins),
    texts("tables:counted-left", joins),
    texts("tables:counted-outer", joins),
    texts("tables:grouped-inner", joins),
    texts("tables:grouped-left", joins),
    texts("tables:grouped-outer", joins),
    texts("tables:inner-again", joins),
    texts("tables:left-again", joins),
    texts("tables:outer-again", joins),
    live("tables:inner-filter", joins),
    live("tables:left-filter", joins),
    live("tables:outer-filter", joins),
    numbers("tables:inner-count", joins_count),
    numbers("tables:left-count", joins_count),
    numbers("tables:outer-count", joins_count),
    texts("foreign:filtered-inner", foreign),
    texts("foreign:filtered-left", foreign),
    texts("foreign:counts-left", foreign),
    texts("foreign:then-table", foreign),
    texts("foreign:of-filtered-inner", foreign),
    texts("foreign:of-filtered-left", foreign),
    by_key("foreign:self-inner", foreign_self),
    by_key("foreign:self-left", foreign_self),
    numbers("foreign:inner-count", foreign_count),
    numbers("foreign:left-count", foreign_count),
];
