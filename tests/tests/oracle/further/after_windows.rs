//! Folds over windows, and what comes after windows: counts of results, joins of windowed tables.

use pipeline::codec::{int64, utf8};
use pipeline::{Grouped, Suppressed, Table, Topology, Windowed};

use super::windows::{count, kind};
use super::{both, built, either, never_null, numbers, texts};
use crate::cases::{Case, Params, Text, present};

const MONTH_MS: u64 = 30 * 24 * 3_600_000;

type Texts = Table<Windowed<Text>, String>;

/// `windowed:KIND-fold` and `merged:KIND-fold`: all values, one after the other.
fn folded(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let stream = if name.starts_with("merged:") {
            never_null(builder, "left").merge(&never_null(builder, "right"))
        } else {
            never_null(builder, "in")
        };
        fold(stream.group_by_key(), name, params).to_with("out", utf8());
    })
}

fn fold(grouped: Grouped<Text, String>, name: &str, params: &Params) -> Texts {
    let initial = || "0".to_owned();
    let add = |_: &Text, value: &String, all: String| format!("{all}+{value}");
    match kind(name) {
        "session" => {
            grouped
                .windowed_by(params.sessions())
                .aggregate("all", initial, add, |_, one, two| format!("({one}|{two})"))
        }
        "sliding" => grouped.windowed_by(params.sliding()).aggregate("all", initial, add),
        "hopping" => grouped.windowed_by(params.hopping()).aggregate("all", initial, add),
        _ => grouped.windowed_by(params.tumbling()).aggregate("all", initial, add),
    }
}

/// `windowed:KIND-count[-suppress]-again`: how many results a key has had.
fn again(name: &'static str, params: &Params) -> Topology {
    built(|builder| {
        let counts = count(present(builder, "in").group_by_key(), name, params);
        let counts = if name.ends_with("-suppress-again") {
            counts.suppress("open", Suppressed::until_window_closes())
        } else {
            counts
        };
        counts
            .to_stream()
            .group_by("by-key", |window, _| window.key.clone())
            .count("counts-of-counts")
            .to_with("out", int64());
    })
}

/// `windowed-tables:...`: the counts of two streams. No window closes that a record of the other
/// side may still look for, but in `closed-inner`.
fn tables(name: &'static str, params: &Params) -> Topology {
    let open_ms = if name == "windowed-tables:closed-inner" { 0 } else { MONTH_MS };
    let params = Params { grace: params.grace + open_ms, ..*params };
    built(|builder| {
        let counted = |topic: &str| {
            let counts = present(builder, topic).group_by_key().windowed_by(params.tumbling());
            counts.count(topic).map_values(|_, count| count.to_string())
        };
        let (left, right) = (counted("left"), counted("right"));
        let joined = match name {
            "windowed-tables:inner" | "windowed-tables:closed-inner" => {
                left.join(&right, |_, l, r| both(l, Some(r)))
            }
            "windowed-tables:left" => left.left_join(&right, |_, l, r| both(l, r)),
            _ => left.outer_join(&right, |_, l, r| either(l, r)),
        };
        joined.to_with("out", utf8());
    })
}

/// `grouped:fold` and `grouped:count-and-reduce`: over all time.
fn grouped(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let stream = present(builder, "in");
        let add = |_: &Text, value: &String, all: String| format!("{all}+{value}");
        let out = if name == "grouped:fold" {
            stream.group_by_key().aggregate("all", || "0".to_owned(), add)
        } else {
            let counts = stream.group_by_key().count("counts");
            let latest = stream.group_by_key().reduce("latest", |_, latest| latest.clone());
            latest.join(&counts, |_, latest, count| both(latest, Some(&count.to_string())))
        };
        out.to_with("out", utf8());
    })
}

const fn windowed(name: &'static str, build: fn(&'static str, &Params) -> Topology) -> Case {
    Case { windowed: true, ..texts(name, build) }
}

/// A row whose window has closed is forgotten here at once.
pub(super) const CLOSED_TABLES: Case = windowed("windowed-tables:closed-inner", tables);

pub(super) const CASES: &[Case] = &[
    texts("grouped:fold", grouped),
    texts("grouped:count-and-reduce", grouped),
    windowed("windowed:tumbling-fold", folded),
    windowed("windowed:hopping-fold", folded),
    windowed("windowed:session-fold", folded),
    windowed("windowed:sliding-fold", folded),
    windowed("merged:tumbling-fold", folded),
    windowed("merged:session-fold", folded),
    windowed("merged:sliding-fold", folded),
    numbers("windowed:tumbling-count-again", again),
    numbers("windowed:hopping-count-again", again),
    numbers("windowed:session-count-again", again),
    numbers("windowed:sliding-count-again", again),
    numbers("windowed:hopping-count-suppress-again", again),
    numbers("windowed:session-count-suppress-again", again),
    windowed("windowed-tables:inner", tables),
    windowed("windowed-tables:left", tables),
    windowed("windowed-tables:outer", tables),
];
