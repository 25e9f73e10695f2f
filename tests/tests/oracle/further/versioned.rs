//! Versioned tables: joined as of a time, and as tables that updates which are not the latest do
//! not change.

use pipeline::codec::{int64, utf8};
use pipeline::{JoinGrace, Table, Topology, TopologyBuilder, VersionedTable};

use super::tables::{by_group, changed, join, referred};
use super::{both, built, group_of, is_even, numbers, texts};
use crate::cases::joins::table;
use crate::cases::{Case, Params, Text, millis, present};

/// A table that remembers at least for as long as a join may wait.
fn versioned(
    builder: &TopologyBuilder,
    topic: &str,
    params: &Params,
) -> VersionedTable<Text, String> {
    let history = millis(params.grace + params.size);
    crate::cases::texts(builder, topic).materialize_versioned(topic, history)
}

/// `versioned:[grace-]inner|left`: a stream with a table as of its records' times.
fn as_of(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let rows = versioned(builder, "right", params);
        // In Kafka Streams a record without a key cannot wait: see `docs/kafka-streams.md`.
        let waits = name.contains("-grace-") || name.contains("-rekeyed-");
        let left = present(builder, "left");
        let left = if name == "versioned:as-of-rekeyed-left" {
            left.select_key(|_, value| group_of(Some(value))).repartition("by-value")
        } else {
            left
        };
        let left = left.filter(move |key, _| !waits || key.is_some());
        let grace = if waits {
            JoinGrace::with("waiting", millis(params.grace), utf8())
        } else {
            JoinGrace::none()
        };
        let out = if name.ends_with("inner") {
            left.join_as_of(&rows, grace, |_, left, right| both(left, Some(right)))
        } else {
            left.left_join_as_of(&rows, grace, |_, left, right| both(left, right))
        };
        out.to_with("out", utf8());
    })
}

fn latest(builder: &TopologyBuilder, topic: &str, params: &Params) -> Table<Text, String> {
    versioned(builder, topic, params).latest()
}

/// `versioned:rows-...`: groups of rows.
fn count(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let rows = latest(builder, "in", params);
        let rows =
            if name.contains("filter") { rows.filter(|_, value| is_even(value)) } else { rows };
        rows.group_by("by-value", by_group).count("counts").to_with("out", int64());
    })
}

/// `versioned:tables-...`: two versioned tables; `versioned:foreign-left`: of which one refers to
/// the other; `versioned:beside-...`: one beside one that is not.
fn tables(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let left = latest(builder, "left", params);
        let right = if name.contains(":beside-") {
            table(builder, "right")
        } else {
            latest(builder, "right", params)
        };
        let out = if name == "versioned:foreign-left" {
            left.left_join_foreign(&right, "joined", referred, |_, left, right| both(left, right))
        } else {
            join(&left, &right, name)
        };
        out.to_with("out", utf8());
    })
}

/// Behind a repartition a record waits by the clocks of the sources.
pub(super) const REKEYED: Case = texts("versioned:as-of-rekeyed-left", as_of);

pub(super) const CASES: &[Case] = &[
    texts("versioned:as-of-inner", as_of),
    texts("versioned:as-of-left", as_of),
    texts("versioned:as-of-grace-inner", as_of),
    texts("versioned:as-of-grace-left", as_of),
    numbers("versioned:rows-count", count),
    numbers("versioned:rows-filter-count", count),
    changed("versioned:tables-inner", tables),
    changed("versioned:tables-left", tables),
    changed("versioned:tables-outer", tables),
    changed("versioned:beside-left", tables),
    changed("versioned:foreign-left", tables),
];
