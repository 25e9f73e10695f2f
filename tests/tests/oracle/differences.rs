//! What differs on purpose, with the fewest records that show it: what we answer, and what Kafka
//! Streams does. The reasons are in `docs/kafka-streams.md`.

use super::further::named;
use super::peer::{Peer, Stores};
use crate::cases::{Input, Output, Params, Text, answer};

/// Topic, key, value (null if it is empty) and time.
type Row = (&'static str, &'static str, &'static str, i64);

/// An input, what we answer, and what Kafka Streams does: input, time, key, window's start, value.
struct Difference {
    topology: &'static str,
    params: Params,
    records: &'static [Row],
    ours: &'static [&'static str],
    peers: &'static [&'static str],
}

const NONE: Params = Params { size: 1, advance: 1, grace: 0, gap: 5, before: 0, after: 0 };

const DIFFERENCES: &[Difference] = &[
    // A record joins a session at the last moment possible.
    Difference {
        topology: "windowed:session-count-regrouped",
        params: Params { gap: 1, grace: 30, ..NONE },
        records: &[("in", "k0", "v0", 121), ("in", "k0", "v1", 152), ("in", "k0", "v2", 121)],
        ours: &["1 121 k0 - 1", "2 152 k0 - 2", "3 152 k0 - 3"],
        peers: &["1 121 k0 - 1", "2 152 k0 - 2", "3 152 k0 - 4"],
    },
    // Time jumps.
    Difference {
        topology: "windowed:session-count-final",
        params: NONE,
        records: &[("in", "k0", "v0", 12_844), ("in", "k1", "v1", 100_012_857)],
        ours: &["2 12844 k0 12844 1"],
        peers: &[],
    },
    Difference {
        topology: "windowed:sliding-count-final",
        params: NONE,
        records: &[("in", "k0", "v0", 12_844), ("in", "k1", "v1", 100_012_857)],
        ours: &["2 12844 k0 12843 1"],
        peers: &[],
    },
    // A record whose own window has closed, but not those of later records that hold it.
    Difference {
        topology: "windowed:sliding-count-final",
        params: Params { size: 60, ..NONE },
        records: &[
            ("in", "k1", "v0", 147),
            ("in", "k0", "v1", 146),
            ("in", "k0", "v2", 199),
            ("in", "k1", "v3", 205),
        ],
        ours: &["3 147 k1 87 1", "4 199 k0 139 2"],
        peers: &["3 147 k1 87 1", "4 199 k0 139 1"],
    },
    // Another record of the same time came before, and there is no grace.
    Difference {
        topology: "rekeyed:session-count",
        params: NONE,
        records: &[("in", "k0", "v1", 27), ("in", "k0", "v2", 32), ("in", "k0", "v1", 32)],
        ours: &["1 27 k1 27 1", "2 32 k2 32 1", "3 27 k1 27 null", "3 32 k1 27 2"],
        peers: &["1 27 k1 27 1", "2 32 k2 32 1", "3 32 k1 27 2"],
    },
    // A row that was never kept.
    Difference {
        topology: "table:filter",
        params: NONE,
        records: &[("in", "k0", "v1", 1), ("in", "k0", "v2", 2)],
        ours: &["2 2 k0 - \"v2\""],
        peers: &["1 1 k0 - null", "2 2 k0 - \"v2\""],
    },
    Difference {
        topology: "tables:filtered-left",
        params: NONE,
        records: &[("left", "k0", "L0", 2), ("right", "k0", "R1", 10)],
        ours: &["1 2 k0 - \"L0!,null\""],
        peers: &["1 2 k0 - \"L0!,null\"", "2 10 k0 - \"L0!,null\""],
    },
    Difference {
        topology: "versioned:tables-left",
        params: NONE,
        records: &[("left", "k0", "L0", 2), ("right", "k0", "", 10)],
        ours: &["1 2 k0 - \"L0,null\""],
        peers: &["1 2 k0 - \"L0,null\"", "2 10 k0 - \"L0,null\""],
    },
    // A row that has changed while it was held back.
    Difference {
        topology: "table:limited-count",
        params: Params { size: 1_000, before: 1, ..NONE },
        records: &[
            ("in", "k2", "v1", 987),
            ("in", "k4", "v1", 8_220),
            ("in", "k4", "v13", 9_211),
            ("in", "k5", "v14", 9_338),
        ],
        ours: &["2 987 k1 - 1", "4 9211 k3 - 1"],
        peers: &["2 987 k1 - 1", "4 9211 k1 - 0", "4 9211 k3 - 1"],
    },
    // A row is deleted at the time of its value, and an older value comes late.
    Difference {
        topology: "versioned:as-of-inner",
        params: Params { size: 1_000, grace: 10, ..NONE },
        records: &[
            ("right", "k0", "R0", 1_000),
            ("right", "k0", "", 1_000),
            ("right", "k0", "R2", 0),
            ("left", "k0", "L3", 1_001),
        ],
        ours: &[],
        peers: &["4 1001 k0 - \"L3,R2\""],
    },
    // The left row's window has closed.
    Difference {
        topology: "windowed-tables:closed-inner",
        params: Params { size: 1_000, grace: 1, ..NONE },
        records: &[
            ("left", "k0", "L0", 0),
            ("left", "k1", "L1", 1_537),
            ("right", "k0", "R2", 0),
            ("right", "k1", "R3", 1_600),
        ],
        ours: &["4 1600 k1 1000 \"1,1\""],
        peers: &["3 0 k0 0 \"1,1\"", "4 1600 k1 1000 \"1,1\""],
    },
    // A record without a key.
    Difference {
        topology: "plain:repartition-nulls",
        params: NONE,
        records: &[("in", "k0", "v1", 1), ("in", "k0", "v2", 2)],
        ours: &["1 1 null - \"v1\"", "2 2 k0 - \"v2\""],
        peers: &["2 2 k0 - \"v2\""],
    },
    // A record that is older than the history, by the clock of its source; the row is older still.
    Difference {
        topology: "versioned:as-of-rekeyed-left",
        params: Params { grace: 5, ..NONE },
        records: &[
            ("right", "k1", "R0", 0),
            ("right", "k9", "R1", 1_000),
            ("left", "k0", "L2", 1_000),
            ("left", "k0", "L1", 10),
            ("right", "k9", "R4", 2_000),
            ("left", "k0", "L3", 2_000),
        ],
        ours: &["4 10 k1 - \"L1,null\"", "6 1000 k2 - \"L2,null\""],
        peers: &["4 10 k1 - \"L1,R0\"", "6 1000 k2 - \"L2,null\""],
    },
];

fn text(output: &Output) -> String {
    let Output { key, value, timestamp, window_start, line, .. } = output;
    let or = |text: &Text, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
    let start = or(&window_start.map(|start| start.to_string()), "-");
    format!("{line} {timestamp} {} {start} {value}", or(key, "null"))
}

#[test]
fn what_differs_on_purpose_differs_so() {
    let mut peer = Peer::start();
    for Difference { topology, params, records, ours, peers } in DIFFERENCES {
        let input = |(topic, key, value, timestamp): &Row| Input {
            topic: (*topic).to_owned(),
            key: Some((*key).to_owned()),
            value: Some((*value).to_owned()).filter(|value| !value.is_empty()),
            timestamp: *timestamp,
        };
        let records: Vec<Input> = records.iter().map(input).collect();
        peer.ask(topology, params, &records, Stores::RocksDb);
        let theirs: Vec<String> = peer.answer().iter().map(text).collect();
        assert_eq!(theirs, *peers, "{topology}: Kafka Streams");
        let answered = answer(named(topology), params, &records);
        let answered: Vec<String> = answered.iter().map(text).collect();
        assert_eq!(answered, *ours, "{topology}: ours");
    }
}
