//! Outputs against those of the model.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Fault;
use super::super::expect::{Agreement, Expected};
use super::super::shadow::{Shadow, Stored};
use super::super::world::World;

fn fault(invariant: &'static str, what: String) -> Option<Fault> {
    Some(Fault { invariant, what })
}

/// The records of a topic without control records, partition by partition.
fn data<'a>(shadow: &'a Shadow, topic: &'a str) -> Vec<(u32, &'a Stored)> {
    let of = |(at, records): (&'a crate::log::TopicPartition, &'a [Stored])| {
        records.iter().filter(|record| !record.is_control()).map(move |r| (at.partition, r))
    };
    shadow.topic(topic).flat_map(of).collect()
}

/// No alert and no dead letter is written twice, anywhere, ever.
pub(super) fn nothing_twice(world: &World<'_>, shadow: &Shadow) -> Option<Fault> {
    let names = &world.subject.topology.names;
    let mut ids = BTreeSet::new();
    for (_, alert) in data(shadow, &names.alerts()) {
        if !ids.insert(&alert.key) {
            return fault("no alert is written twice", alert.key_text());
        }
    }
    let mut places = BTreeSet::new();
    for (_, letter) in data(shadow, &names.dead_letters()) {
        let place = ["topic", "partition", "offset"]
            .map(|part| letter.header(&format!("__streams.errors.{part}")).unwrap_or_default());
        // That of a result which time made tells of no record.
        if place[0].is_empty() {
            continue;
        }
        if !places.insert(place) {
            let place = place.map(|part| String::from_utf8_lossy(part).into_owned());
            return fault("no dead letter is written twice", place.join(" "));
        }
    }
    None
}

/// Each topic agrees with the model's as far as the topology promises.
pub(super) fn topics(expected: &Expected, shadow: &Shadow, model: &Shadow) -> Option<Fault> {
    for (topic, agreement) in &expected.topics {
        let (found, wanted) = (data(shadow, topic), data(model, topic));
        let differs = match agreement {
            Agreement::Nothing => None,
            Agreement::Keys => keys(&found, &wanted),
            Agreement::Last => last((&found, &wanted), |record| record.timestamp),
            Agreement::Content => last((&found, &wanted), |_| 0),
            Agreement::Values => values(&found, &wanted),
            Agreement::Records => records(&found, &wanted),
            Agreement::Sequence => sequences(&found, &wanted),
        };
        if let Some(what) = differs {
            return fault("outputs are the model's", format!("{topic}: {what}"));
        }
    }
    None
}

fn keys(found: &[(u32, &Stored)], wanted: &[(u32, &Stored)]) -> Option<String> {
    let keys = |records: &[(u32, &Stored)]| -> BTreeSet<String> {
        records.iter().map(|(_, record)| record.key_text()).collect()
    };
    let (found, wanted) = (keys(found), keys(wanted));
    let missing = wanted.difference(&found).next().map(|key| format!("`{key}` is missing"));
    missing.or_else(|| found.difference(&wanted).next().map(|key| format!("`{key}` is too many")))
}

type Value<'a> = (Option<&'a [u8]>, i64);
type Records<'a> = &'a [(u32, &'a Stored)];

/// Compares the last value of each key, with its time as `time` says.
fn last((found, wanted): (Records<'_>, Records<'_>), time: fn(&Stored) -> i64) -> Option<String> {
    type Rows<'a> = BTreeMap<(u32, &'a Option<Vec<u8>>), Value<'a>>;
    fn last<'a>(records: &[(u32, &'a Stored)], time: fn(&Stored) -> i64) -> Rows<'a> {
        let entry = |(at, record): &(u32, &'a Stored)| {
            ((*at, &record.key), (record.value.as_deref(), time(record)))
        };
        let mut last: BTreeMap<_, Value<'a>> = records.iter().map(entry).collect();
        last.retain(|_, (value, _)| value.is_some());
        last
    }
    let (found, wanted) = (last(found, time), last(wanted, time));
    let keys: BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    let differs = keys.into_iter().find(|key| found.get(key) != wanted.get(key))?;
    let show = |value: Option<&Value<'_>>| {
        value.map_or("nothing".to_owned(), |(value, at)| {
            format!("{} at {at}", String::from_utf8_lossy(value.unwrap_or(b"null")))
        })
    };
    let key = String::from_utf8_lossy(differs.1.as_deref().unwrap_or(b"null"));
    Some(format!("`{key}` is {}, not {}", show(found.get(differs)), show(wanted.get(differs))))
}

fn records(found: &[(u32, &Stored)], wanted: &[(u32, &Stored)]) -> Option<String> {
    let sorted = |records: &[(u32, &Stored)]| {
        let place = |(at, record): &(u32, &Stored)| {
            let Stored { timestamp, key, value, headers, .. } = (*record).clone();
            (*at, key, value, timestamp, headers)
        };
        let mut sorted: Vec<_> = records.iter().map(place).collect();
        sorted.sort();
        sorted
    };
    let (sorted_found, sorted_wanted) = (sorted(found), sorted(wanted));
    let at = (0..sorted_found.len().max(sorted_wanted.len()))
        .find(|at| sorted_found.get(*at) != sorted_wanted.get(*at))?;
    let (counts, differs) =
        ((found.len(), wanted.len()), (sorted_found.get(at), sorted_wanted.get(at)));
    Some(format!("{counts:?} records, the first that differ: {differs:?}"))
}

fn values(found: &[(u32, &Stored)], wanted: &[(u32, &Stored)]) -> Option<String> {
    let bare = |records: &[(u32, &Stored)]| -> Vec<(u32, Stored)> {
        let without = |(at, record): &(u32, &Stored)| {
            (*at, Stored { headers: Vec::new(), ..(*record).clone() })
        };
        records.iter().map(without).collect()
    };
    let (found, wanted) = (bare(found), bare(wanted));
    records(&by_reference(&found), &by_reference(&wanted))
}

/// By partition and origin, the records in order. What time has made has no origin, and the order
/// of several tasks in one partition is nobody's: it is compared key by key.
fn sequences(found: &[(u32, &Stored)], wanted: &[(u32, &Stored)]) -> Option<String> {
    type Line<'a> = BTreeMap<(u32, Result<(u16, u32), &'a Option<Vec<u8>>>), Vec<&'a Stored>>;
    fn lines<'a>(records: &[(u32, &'a Stored)]) -> Line<'a> {
        let mut lines = Line::new();
        for (at, record) in records {
            let origin = record.origin().map(|origin| (origin.source, origin.partition));
            lines.entry((*at, origin.ok_or(&record.key))).or_default().push(record);
        }
        lines
    }
    let (found, wanted) = (lines(found), lines(wanted));
    let places: BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    for place in places {
        let none = Vec::new();
        let (one, other) = (found.get(place).unwrap_or(&none), wanted.get(place).unwrap_or(&none));
        let same = |at: usize| match (one.get(at), other.get(at)) {
            (Some(one), Some(other)) => one.says_the_same(other),
            _ => false,
        };
        let length = one.len().max(other.len());
        if let Some(at) = (0..length).find(|at| !same(*at)) {
            let show = |line: &[&Stored]| {
                line.get(at).map_or("nothing".to_owned(), |record| {
                    format!("{}={}", record.key_text(), record.value_text())
                })
            };
            let (one, other) = (show(one), show(other));
            return Some(format!("record {at} of {place:?} is {one}, not {other}"));
        }
    }
    None
}

fn by_reference(records: &[(u32, Stored)]) -> Vec<(u32, &Stored)> {
    records.iter().map(|(at, record)| (*at, record)).collect()
}

/// The dead letters of external topics are the same, to the byte.
pub(super) fn dead_letters(
    world: &World<'_>,
    expected: &Expected,
    (shadow, model): (&Shadow, &Shadow),
) -> Option<Fault> {
    if !expected.dead_letters {
        return None;
    }
    let topology = &world.subject.topology;
    let sources = topology.source_topics();
    let topic = topology.names.dead_letters();
    let of_source = |(_, letter): &(u32, &Stored)| {
        let of = letter.header("__streams.errors.topic").unwrap_or_default();
        sources.iter().any(|source| source.as_bytes() == of)
    };
    // A letter about a time that no log takes has the time of the append, which is the clock's. The
    // record's own stands in a header, which is compared.
    let timeless = |(at, letter): (u32, &Stored)| (at, Stored { timestamp: 0, ..letter.clone() });
    let letters = |shadow| -> Vec<(u32, Stored)> {
        data(shadow, &topic).into_iter().filter(of_source).map(timeless).collect()
    };
    let (found, wanted) = (letters(shadow), letters(model));
    let differs = records(&by_reference(&found), &by_reference(&wanted))?;
    fault("dead letters are the model's", differs)
}
