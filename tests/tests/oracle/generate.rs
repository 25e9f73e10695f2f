//! Random parameters and records, made from a seed: small numbers, so that what is rare in traffic
//! (ties at the edge of a window, equal timestamps, time zero, null keys, records just late enough)
//! is common here.

use crate::cases::{Input, Params};

/// Random numbers from a seed (SplitMix64, Steele et al. 2014): the same on every machine, for ever.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` up to and with `to`.
    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.between(0, all.len() as u64 - 1) as usize]
    }
}

/// Which topics a topology reads, and what their values look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inputs {
    Texts,
    Numbers,
    Pair,
    Foreign,
    /// Texts that refer to other keys.
    Own,
}

fn inputs_of(topology: &str) -> Inputs {
    if let Some((group, parts)) = topology.split_once(':') {
        return match group {
            "foreign" if parts.starts_with("self-") => Inputs::Own,
            "versioned" if parts.starts_with("foreign-") => Inputs::Foreign,
            "versioned" if parts.starts_with("rows-") => Inputs::Texts,
            "stream" if parts.starts_with("own-") => Inputs::Texts,
            "foreign" => Inputs::Foreign,
            "stream" if parts.starts_with("global-") => Inputs::Foreign,
            "streams" if parts.starts_with("self-") => Inputs::Texts,
            "merged" | "cogrouped" | "stream" | "streams" | "tables" | "versioned"
            | "windowed-tables" => Inputs::Pair,
            _ => Inputs::Texts,
        };
    }
    match topology {
        "aggregate-sum" | "table-groupby-sum" => Inputs::Numbers,
        _ if topology.starts_with("fk-") => Inputs::Foreign,
        _ if topology.starts_with("stream-") || topology.starts_with("table-table-") => {
            Inputs::Pair
        }
        _ => Inputs::Texts,
    }
}

/// Parameters of all kinds: a topology takes those that it has.
fn params(random: &mut Random) -> Params {
    let size = random.pick(&[1, 2, 3, 5, 10, 10, 60, 1_000]);
    // Joins keep a gap of nothing; sessions must not.
    Params {
        size,
        advance: random.between(1, size),
        grace: random.pick(&[0, 0, 1, 2, 5, 10, 50, 10 * size]),
        gap: random.pick(&[1, 2, 3, 5, 10, 100]),
        before: random.pick(&[0, 1, 2, 5, 10, 50]),
        after: random.pick(&[0, 1, 2, 5, 10, 50]),
    }
}

/// How records come.
struct Style {
    inputs: Inputs,
    keys: u64,
    null_key: u64,
    null_value: u64,
    step: u64,
    disorder: u64,
    late: u64,
    repeat: u64,
    edge: u64,
    size: u64,
}

impl Style {
    fn new(topology: &str, params: &Params, random: &mut Random) -> Self {
        Self {
            inputs: inputs_of(topology),
            keys: random.pick(&[1, 2, 2, 3, 5, 10]),
            null_key: random.pick(&[0, 5, 20]),
            null_value: random.pick(&[0, 5, 25]),
            step: random.pick(&[0, 1, 1, 2, 5, params.size, params.gap]),
            disorder: random.pick(&[0, 1, 3, 10, params.size, 2 * params.before]),
            late: random.pick(&[0, 2, 10]),
            repeat: random.pick(&[0, 10, 30]),
            edge: random.pick(&[0, 10, 40]),
            size: params.size.max(1),
        }
    }

    fn topic(&self, random: &mut Random) -> &'static str {
        match self.inputs {
            Inputs::Texts | Inputs::Numbers | Inputs::Own => "in",
            Inputs::Pair | Inputs::Foreign => random.pick(&["left", "right"]),
        }
    }

    fn key(&self, topic: &str, random: &mut Random) -> Option<String> {
        let letter = if self.inputs == Inputs::Foreign && topic == "right" { 'f' } else { 'k' };
        let number = random.between(0, self.keys - 1);
        (!random.chance(self.null_key)).then(|| format!("{letter}{number}"))
    }

    fn value(&self, topic: &str, line: usize, random: &mut Random) -> Option<String> {
        if random.chance(self.null_value) {
            return None;
        }
        let side = if topic == "left" { 'L' } else { 'R' };
        // A small range now and then, so that a value is replaced by its equal.
        let number = if random.chance(30) { random.between(0, 2) } else { line as u64 };
        Some(match self.inputs {
            Inputs::Texts => format!("v{number}"),
            Inputs::Numbers => (random.between(0, 20) as i64 - 10).to_string(),
            Inputs::Foreign if topic == "left" && !random.chance(10) => {
                format!("f{}|L{number}", random.between(0, self.keys - 1))
            }
            Inputs::Own => format!("k{}|v{number}", random.between(0, self.keys)),
            Inputs::Pair | Inputs::Foreign => format!("{side}{number}"),
        })
    }

    /// A time near `now`, never negative.
    fn timestamp(&self, now: i64, before: &[Input], random: &mut Random) -> i64 {
        if !before.is_empty() && random.chance(self.repeat) {
            return before[random.between(0, before.len() as u64 - 1) as usize].timestamp;
        }
        let back = random.between(0, self.disorder) as i64;
        let late = if random.chance(self.late) { random.between(0, 20 * self.size) } else { 0 };
        let mut at = now - back - late as i64;
        if random.chance(self.edge) {
            at = at - at.rem_euclid(self.size as i64) + random.between(0, 2) as i64 - 1;
        }
        at.max(0)
    }
}

/// Parameters and records for `topology`.
pub(super) fn generate(topology: &str, seed: u64) -> (Params, Vec<Input>) {
    let mut random = Random::new(seed);
    let mut params = params(&mut random);
    if topology.starts_with("rekeyed:session-") {
        // See `docs/kafka-streams.md`: without a grace, ties at the end of a session differ.
        params.grace += 1;
    }
    let style = Style::new(topology, &params, &mut random);
    let mut now: i64 = random.pick(&[0, 0, 3, 1_000, 1_763_719_200_123]);
    let mut records: Vec<Input> = Vec::new();
    for line in 0..random.between(2, 60) as usize {
        now += random.between(0, style.step) as i64;
        if random.chance(2) {
            now += random.between(0, 5 * params.size.max(params.gap)) as i64;
        }
        let topic = style.topic(&mut random);
        let (key, value) = (style.key(topic, &mut random), style.value(topic, line, &mut random));
        let timestamp = style.timestamp(now, &records, &mut random);
        let latest = records.iter().map(|record| record.timestamp).max().unwrap_or(0);
        let timestamp = timestamp.max(latest - late_max(topology, &params));
        let mut record = Input { topic: topic.to_owned(), key, value, timestamp };
        if topology.starts_with("versioned:") {
            delete_later(&mut record, &records);
        }
        records.push(record);
    }
    if random.chance(70) || topology.ends_with("-closed") {
        flush(&style, now, &mut records);
    }
    (params, records)
}

/// A row of a versioned table is not deleted at the time of its value: Kafka Streams forgets such a
/// deletion, see `docs/kafka-streams.md`.
fn delete_later(record: &mut Input, before: &[Input]) {
    let is_same = |other: &Input, at: i64| {
        other.timestamp == at && other.key == record.key && other.topic == record.topic
    };
    while record.value.is_none() && before.iter().any(|other| is_same(other, record.timestamp)) {
        record.timestamp += 1;
    }
}

/// How late a record may be. What comes after its own sliding window, but not after all, counts in
/// final results: see `docs/kafka-streams.md`.
fn late_max(topology: &str, params: &Params) -> i64 {
    let is_final = topology.ends_with("-final") || topology.ends_with("-closed");
    if is_final && topology.contains(":sliding-") { params.grace as i64 } else { i64::MAX / 2 }
}

/// Far later records, one for each topic, so that everything that waits comes out.
fn flush(style: &Style, now: i64, records: &mut Vec<Input>) {
    let topics: &[&str] = match style.inputs {
        Inputs::Texts | Inputs::Numbers | Inputs::Own => &["in"],
        Inputs::Pair | Inputs::Foreign => &["left", "right"],
    };
    for topic in topics {
        records.push(Input {
            topic: (*topic).to_owned(),
            key: Some("zz".to_owned()),
            value: Some("1".to_owned()),
            timestamp: now + 100_000_000,
        });
    }
}
