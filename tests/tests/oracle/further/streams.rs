//! Joins of streams with tables of all kinds, with themselves, and behind a repartition.

use std::time::Duration;

use pipeline::codec::{int64, nullable, utf8};
use pipeline::{JoinWindows, Stream, StreamJoined, Table, Topology, TopologyBuilder};

use super::tables::{evens, referred};
use super::{both, built, either, group_of, is_even, numbers, texts};
use crate::cases::joins::{join_windows, table};
use crate::cases::{Agreement, Case, Params, Text, millis, present};

/// `stream:table-...`, `stream:counts-...`.
fn with_table(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let left = present(builder, "left");
        let out = match name {
            "stream:table-rekeyed-inner" => rekeyed_beside(&left)
                .join(&table(builder, "right"), |_, left, right| both(left, Some(right))),
            "stream:table-rekeyed-left" => rekeyed_beside(&left)
                .left_join(&table(builder, "right"), |_, left, right| both(left, right)),
            "stream:table-filtered-inner" => {
                left.join(&evens(builder, "right"), |_, left, right| both(left, Some(right)))
            }
            "stream:table-filtered-left" => {
                left.left_join(&evens(builder, "right"), |_, left, right| both(left, right))
            }
            "stream:to-table-inner" => {
                left.join(&kept(builder, "right"), |_, left, right| both(left, Some(right)))
            }
            "stream:to-table-left" => {
                left.left_join(&kept(builder, "right"), |_, left, right| both(left, right))
            }
            "stream:counts-inner" => {
                left.join(&counted(builder, "right"), |_, left, count| both(left, Some(count)))
            }
            _ => left.left_join(&counted(builder, "right"), |_, left, count| both(left, count)),
        };
        out.to_with("out", utf8());
    })
}

/// The latest values that are not null.
fn kept(builder: &TopologyBuilder, topic: &str) -> Table<Text, String> {
    present(builder, topic).to_table(topic)
}

/// `stream:own-...` and `stream:joined-tables-left`: with a table that is made of the stream itself
/// and, because it is made before the join is, sees its records first.
fn with_own(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let topic = if name == "stream:joined-tables-left" { "left" } else { "in" };
        let left = crate::cases::texts(builder, topic);
        let own = left.materialize("own");
        let present = left.flat_map_values(|_, value| value);
        let out = match name {
            "stream:own-table-left" => present.left_join(&own, |_, left, own| both(left, own)),
            "stream:own-count-inner" => {
                let counts = present.group_by_key().count("counts");
                present.join(&counts, |_, left, count| both(left, Some(&count.to_string())))
            }
            _ => {
                let joined = table(builder, "right").outer_join(&own, |_, l, r| either(l, r));
                present.left_join(&joined, |_, left, joined| both(left, joined))
            }
        };
        out.to_with("out", utf8());
    })
}

fn rekeyed_beside(left: &Stream<Text, String>) -> Stream<Text, String> {
    left.select_key(|_, value| group_of(Some(value))).repartition("by-value")
}

pub(super) fn counted(builder: &TopologyBuilder, topic: &str) -> Table<Text, String> {
    let name = format!("{topic}-counts");
    present(builder, topic).group_by_key().count(&name).map_values(|_, count| count.to_string())
}

/// `stream:global-...`: by the key before the bar of the left value.
fn with_global(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let rows = builder.global_table_with::<Text, _>("right", "rows", utf8());
        let left = present(builder, "left");
        let key = |key: &Text, value: &String| referred(key, value).flatten();
        let out = if name == "stream:global-inner" {
            left.join_global(&rows, key, |_, left, right| both(left, Some(right)))
        } else {
            left.left_join_global(&rows, key, |_, left, right| both(left, right))
        };
        out.to_with("out", utf8());
    })
}

/// `streams:self-...`: each record meets itself, too.
fn with_itself(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let stream = crate::cases::texts(builder, "in");
        let windows = join_windows(params);
        join((&stream, &stream), windows, (name, "join")).to_with("out", utf8());
    })
}

/// `streams:self-halves-...`: the even records with the odd ones.
fn halves(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let mut split = crate::cases::texts(builder, "in").split();
        let even = split.branch(|_, value| value.as_deref().is_some_and(is_even));
        let odd = split.done();
        join((&even, &odd), join_windows(params), (name, "join")).to_with("out", utf8());
    })
}

/// `streams:rekeyed-inner`: behind repartitions, where nothing comes too late in a day. What meets
/// nothing is handed on by another clock than in Kafka Streams.
fn rekeyed(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let day = Duration::from_secs(86_400);
        let windows = JoinWindows::of_time_difference_and_grace(millis(params.before), day);
        let windows = windows.after(millis(params.after));
        let by_value = |topic| {
            let present = crate::cases::texts(builder, topic).filter(|_, value| value.is_some());
            present.select_key(|_, value| group_of(value.as_deref()))
        };
        let (left, right) = (by_value("left"), by_value("right"));
        join((&left, &right), windows, (name, "join")).to_with("out", utf8());
    })
}

/// `streams:joined-twice`: with the right stream, then with itself.
fn joined_twice(_: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let windows = join_windows(params);
        let topic = |topic| crate::cases::texts(builder, topic);
        let (left, right) = (topic("left"), topic("right"));
        let once = join((&left, &right), windows, ("inner", "first"));
        let once = once.map_values(|_, value| Some(value));
        join((&once, &left), windows, ("inner", "second")).to_with("out", utf8());
    })
}

/// `streams:joined-count`: the matches of each key and window.
fn joined_count(_: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let topic = |topic| crate::cases::texts(builder, topic);
        let (left, right) = (topic("left"), topic("right"));
        join((&left, &right), join_windows(params), ("inner", "join"))
            .group_by_key()
            .windowed_by(params.tumbling())
            .count("counts")
            .to_with("out", int64());
    })
}

/// An inner, left or outer join, as the end of `name` says, with the store `store`.
fn join(
    (left, right): (&Stream<Text, Text>, &Stream<Text, Text>),
    windows: JoinWindows,
    (name, store): (&str, &str),
) -> Stream<Text, String> {
    let joined = StreamJoined::with(store, nullable(utf8()), nullable(utf8()));
    let pair = |left: Option<&Text>, right: Option<&Text>| {
        either(left.and_then(Option::as_ref), right.and_then(Option::as_ref))
    };
    if name.ends_with("left") {
        left.left_join_stream(right, windows, joined, move |_, left, right| pair(Some(left), right))
    } else if name.ends_with("outer") {
        left.outer_join_stream(right, windows, joined, move |_, left, right| pair(left, right))
    } else {
        left.join_stream(right, windows, joined, move |_, left, right| {
            pair(Some(left), Some(right))
        })
    }
}

/// A left or outer join: when it hands on what has met nothing is its own affair.
const fn unmatched(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { agreement: Agreement::Unmatched, ..texts(name, build) }
}

pub(super) const CASES: &[Case] = &[
    texts("stream:table-rekeyed-inner", with_table),
    texts("stream:table-rekeyed-left", with_table),
    texts("stream:table-filtered-inner", with_table),
    texts("stream:table-filtered-left", with_table),
    texts("stream:to-table-inner", with_table),
    texts("stream:to-table-left", with_table),
    texts("stream:own-table-left", with_own),
    texts("stream:own-count-inner", with_own),
    texts("stream:joined-tables-left", with_own),
    texts("stream:counts-inner", with_table),
    texts("stream:counts-left", with_table),
    texts("stream:global-inner", with_global),
    texts("stream:global-left", with_global),
    texts("streams:self-inner", with_itself),
    unmatched("streams:self-left", with_itself),
    unmatched("streams:self-outer", with_itself),
    texts("streams:self-halves-inner", halves),
    unmatched("streams:self-halves-left", halves),
    unmatched("streams:self-halves-outer", halves),
    texts("streams:rekeyed-inner", rekeyed),
    texts("streams:joined-twice", joined_twice),
    Case { windowed: true, ..numbers("streams:joined-count", joined_count) },
];
