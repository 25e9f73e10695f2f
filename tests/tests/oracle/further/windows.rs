//! Aggregates with windows and without: at each update, when windows close, suppressed, of merged
//! streams, behind a repartition, and what comes after them.

use pipeline::codec::{Value, int64, utf8};
use pipeline::{
    BufferConfig, Grouped, Stream, Suppressed, Table, Topology, TopologyBuilder, Windowed,
};

use super::{built, group_of, is_even, joined, never_null, numbers, texts};
use crate::cases::{Agreement, Case, Params, Text, millis, present};

type Counts = Table<Windowed<Text>, i64>;
type Texts = Table<Windowed<Text>, String>;

/// What of Kafka Streams' limits of a buffer is compared: how many keys it holds.
pub(super) fn limited(params: &Params) -> Suppressed {
    let buffer = BufferConfig::max_records(params.before % 3 + 1);
    Suppressed::until_time_limit(millis(params.size), buffer)
}

/// `windowed:KIND-count...`: how often each key comes. Sliding windows leave nulls out.
fn counts(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let table = if kind(name) == "sliding" {
            count(present(builder, "in").group_by_key(), name, params)
        } else {
            count(crate::cases::texts(builder, "in").group_by_key(), name, params)
        };
        show(&table, name, params);
    })
}

/// `merged:KIND-count...`: of two topics.
fn merged(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let topic = |topic| crate::cases::texts(builder, topic);
        let table = count(topic("left").merge(&topic("right")).group_by_key(), name, params);
        show(&table, name, params);
    })
}

/// `rekeyed:KIND-count...`: behind a repartition by value.
fn rekeyed(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let grouped = by_value(builder);
        // With a commit after each record, partial aggregates are of one record.
        let grouped = if name.contains("-combined-") { grouped.combined(10) } else { grouped };
        show(&count(grouped, name, params), name, params);
    })
}

/// `windowed:KIND-reduce...`: what comes, one after the other.
fn reduced(name: &'static str, params: &Params) -> Topology {
    let group = |builder: &TopologyBuilder| never_null(builder, "in").group_by_key();
    built(|builder| show_texts(&reduce(group(builder), name, params), name))
}

/// `rekeyed:KIND-reduce...`.
fn rekeyed_reduced(name: &'static str, params: &Params) -> Topology {
    built(|builder| show_texts(&reduce(by_value(builder), name, params), name))
}

fn by_value(builder: &TopologyBuilder) -> Grouped<Text, String> {
    never_null(builder, "in").group_by("by-value", |_, value| group_of(Some(value)))
}

/// Whether results are told once; those of Kafka Streams that `-closed` are compared with are
/// suppressed until then.
fn is_final(name: &str) -> bool {
    name.ends_with("-final") || name.ends_with("-closed")
}

pub(super) fn kind(name: &str) -> &str {
    name.split([':', '-']).nth(1).unwrap()
}

pub(super) fn count<V: Value>(grouped: Grouped<Text, V>, name: &str, params: &Params) -> Counts {
    let is_final = is_final(name);
    match kind(name) {
        "session" => {
            let group = grouped.windowed_by(params.sessions());
            if is_final { group.emit_final() } else { group }.count("counts")
        }
        "sliding" => {
            let group = grouped.windowed_by(params.sliding());
            if is_final { group.emit_final() } else { group }.count("counts")
        }
        kind => {
            let windows = if kind == "hopping" { params.hopping() } else { params.tumbling() };
            let group = grouped.windowed_by(windows);
            if is_final { group.emit_final() } else { group }.count("counts")
        }
    }
}

fn reduce(grouped: Grouped<Text, String>, name: &str, params: &Params) -> Texts {
    let is_final = is_final(name);
    // What is put together from parts must not depend on their order.
    let by_max = name.ends_with("-max-final");
    let add = move |one: String, two: &String| {
        if by_max { one.max(two.clone()) } else { joined(&one, two) }
    };
    match kind(name) {
        "session" => {
            let group = grouped.windowed_by(params.sessions());
            if is_final { group.emit_final() } else { group }.reduce("reduced", add)
        }
        "sliding" => {
            let group = grouped.windowed_by(params.sliding());
            if is_final { group.emit_final() } else { group }.reduce("reduced", add)
        }
        kind => {
            let windows = if kind == "hopping" { params.hopping() } else { params.tumbling() };
            let group = grouped.windowed_by(windows);
            if is_final { group.emit_final() } else { group }.reduce("reduced", add)
        }
    }
}

fn show(table: &Counts, name: &str, params: &Params) {
    match name.rsplit('-').next() {
        Some("suppress") => {
            let closed = Suppressed::until_window_closes();
            table.suppress("open", closed).to_with("out", int64());
        }
        Some("limited") => table.suppress("held", limited(params)).to_with("out", int64()),
        Some("filtered") => table.filter(|_, count| count % 2 == 0).to_with("out", int64()),
        Some("regrouped") => table
            .group_by("by-key", |window, count| (window.key.clone(), *count))
            .reduce("sums", |sum, count| sum + count, |sum, count| sum - count)
            .to_with("out", int64()),
        _ => table.to_with("out", int64()),
    }
}

fn show_texts(table: &Texts, name: &str) {
    if name.ends_with("-suppress") {
        table.suppress("open", Suppressed::until_window_closes()).to_with("out", utf8());
    } else {
        table.to_with("out", utf8());
    }
}

/// `grouped:...count...`: aggregates of keys over all time.
fn grouped(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let stream = present(builder, "in");
        let counts = match name {
            "grouped:count" => stream.group_by_key().count("counts"),
            "grouped:count-limited" => {
                stream.group_by_key().count("counts").suppress("held", limited(params))
            }
            "grouped:by-value-count" => {
                stream.group_by("by-value", |_, value| group_of(Some(value))).count("counts")
            }
            "grouped:flat-map-count" => stream
                .flat_map(|key, value| {
                    let group = group_of(Some(&value));
                    [(key, value.clone()), (group, value)]
                })
                .group_by_key()
                .count("counts"),
            _ => stream
                .group_by_key()
                .count("counts")
                .to_stream()
                .group_by("by-count", |_, count| Some(format!("c{count}")))
                .count("counts-of-counts"),
        };
        counts.to_with("out", int64());
    })
}

/// `grouped:...reduce`.
fn grouped_texts(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let stream = present(builder, "in");
        let grouped = if name == "grouped:by-value-reduce" {
            stream.group_by("by-value", |_, value| group_of(Some(value)))
        } else {
            branches(&stream).group_by_key()
        };
        grouped.reduce("reduced", |one, two| joined(&one, two)).to_with("out", utf8());
    })
}

fn branches(stream: &Stream<Text, String>) -> Stream<Text, String> {
    let mut split = stream.split();
    let even = split.branch(|_, value| is_even(value));
    let odd = split.done();
    even.map_values(|_, value| format!("{value}e")).merge(&odd)
}

/// A case of counts with windows.
const fn windowed(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { windowed: true, ..numbers(name, build) }
}

/// A case of texts with windows.
const fn windowed_texts(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { windowed: true, ..texts(name, build) }
}

/// Final counts of windows that Kafka Streams may have dropped before.
const fn kept(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { agreement: Agreement::Kept, ..windowed(name, build) }
}

/// Final counts, beside what Kafka Streams suppressed.
const fn closed(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { agreement: Agreement::Last, ..windowed(name, build) }
}

pub(super) const REGROUPED_SESSIONS: Case = numbers("windowed:session-count-regrouped", counts);

pub(super) const CASES: &[Case] = &[
    numbers("grouped:count", grouped),
    numbers("grouped:count-limited", grouped),
    numbers("grouped:by-value-count", grouped),
    numbers("grouped:flat-map-count", grouped),
    numbers("grouped:counts-of-counts", grouped),
    texts("grouped:by-value-reduce", grouped_texts),
    texts("grouped:branches-reduce", grouped_texts),
    windowed("windowed:tumbling-count-final", counts),
    windowed("windowed:hopping-count-final", counts),
    kept("windowed:session-count-final", counts),
    kept("windowed:sliding-count-final", counts),
    closed("windowed:session-count-closed", counts),
    closed("windowed:sliding-count-closed", counts),
    windowed("windowed:tumbling-count-limited", counts),
    windowed("windowed:session-count-limited", counts),
    windowed("windowed:hopping-count-limited", counts),
    windowed("windowed:sliding-count-limited", counts),
    Case { agreement: Agreement::Live, ..windowed("windowed:tumbling-count-filtered", counts) },
    numbers("windowed:hopping-count-regrouped", counts),
    windowed_texts("windowed:tumbling-reduce", reduced),
    windowed_texts("windowed:hopping-reduce", reduced),
    windowed_texts("windowed:session-reduce", reduced),
    windowed_texts("windowed:sliding-reduce", reduced),
    windowed_texts("windowed:tumbling-reduce-final", reduced),
    Case { agreement: Agreement::Kept, ..windowed_texts("windowed:session-reduce-final", reduced) },
    windowed_texts("windowed:hopping-reduce-max-final", reduced),
    Case {
        agreement: Agreement::Kept,
        ..windowed_texts("windowed:sliding-reduce-max-final", reduced)
    },
    windowed_texts("windowed:session-reduce-suppress", reduced),
    windowed_texts("windowed:sliding-reduce-suppress", reduced),
    windowed("merged:tumbling-count", merged),
    windowed("merged:hopping-count-suppress", merged),
    windowed("merged:session-count", merged),
    windowed("merged:tumbling-count-final", merged),
    windowed("merged:session-count-suppress", merged),
    windowed("rekeyed:tumbling-count", rekeyed),
    windowed("rekeyed:hopping-count-suppress", rekeyed),
    windowed("rekeyed:session-count", rekeyed),
    windowed("rekeyed:sliding-count", rekeyed),
    windowed("rekeyed:tumbling-combined-count", rekeyed),
    windowed("rekeyed:hopping-combined-count", rekeyed),
    windowed("rekeyed:hopping-combined-count-final", rekeyed),
    windowed("rekeyed:tumbling-count-final", rekeyed),
    windowed("rekeyed:hopping-count-final", rekeyed),
    kept("rekeyed:session-count-final", rekeyed),
    kept("rekeyed:sliding-count-final", rekeyed),
    closed("rekeyed:session-count-closed", rekeyed),
    closed("rekeyed:sliding-count-closed", rekeyed),
    windowed_texts("rekeyed:session-reduce", rekeyed_reduced),
    windowed_texts("rekeyed:sliding-reduce", rekeyed_reduced),
];
