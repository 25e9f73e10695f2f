//! What the second models of the built-in topologies begin with: the records of a source that can
//! be handled, and the windows that they are in time for.

use std::collections::BTreeMap;

use crate::format::EVENT_ID_HEADER;
use crate::sim::shadow::Stored;
use crate::sim::subject::Facts;

/// A record that decodes, with its source's clock.
pub(super) struct Good {
    pub(super) key: Option<String>,
    pub(super) n: i64,
    pub(super) at: i64,
    pub(super) clock: i64,
    pub(super) event_id: Option<String>,
}

/// Sums, or counts, by group and window start.
pub(super) type Sums = BTreeMap<(String, i64), i64>;

/// The good records of each partition of `topic`, in order.
pub(super) fn good(facts: &Facts<'_>, topic: &str) -> BTreeMap<u32, Vec<Good>> {
    let of_partition = |records: Vec<&Stored>| {
        let mut clock = i64::MIN;
        let good = |record: &Stored| {
            let key = record.key.as_deref().map(std::str::from_utf8).transpose().ok()?;
            let n = serde_json::from_slice(record.value.as_deref()?).ok()?;
            let at = Some(record.timestamp).filter(|at| *at >= 0)?;
            clock = clock.max(at);
            let event_id = record.header(EVENT_ID_HEADER);
            let event_id = event_id.map(|id| String::from_utf8_lossy(id).into_owned());
            Some(Good { key: key.map(str::to_owned), n, at, clock, event_id })
        };
        records.into_iter().filter_map(good).collect()
    };
    facts.topic(topic).into_iter().map(|(at, records)| (at, of_partition(records))).collect()
}

/// Windows by their size, advance and grace.
#[derive(Clone, Copy)]
pub(super) struct Hops {
    pub(super) size_ms: i64,
    pub(super) advance_ms: i64,
    pub(super) grace_ms: i64,
}

impl Hops {
    /// The starts of the windows that `record` is in time for, by its own source's clock.
    pub(super) fn starts(self, record: &Good) -> impl Iterator<Item = i64> {
        let last = record.at - record.at.rem_euclid(self.advance_ms);
        let (at, clock) = (record.at, record.clock);
        let starts = (0..=self.size_ms / self.advance_ms).map(move |n| last - n * self.advance_ms);
        starts
            .filter(move |start| start + self.size_ms > at)
            .filter(move |start| start + self.size_ms > clock - self.grace_ms)
    }

    /// The sums of what `value` makes of the records of `topic`, by what `group` says.
    pub(super) fn sums(
        self,
        facts: &Facts<'_>,
        topic: &str,
        (group, value): (impl Fn(&Good) -> String, impl Fn(i64) -> i64),
    ) -> Sums {
        let mut sums = Sums::new();
        for record in good(facts, topic).into_values().flatten() {
            for start in self.starts(&record) {
                *sums.entry((group(&record), start)).or_default() += value(record.n);
            }
        }
        sums
    }
}

/// What a topic of `[group, start, sum]` says in the end; an error if one is told twice and `once`
/// says that none is.
pub(super) fn told(facts: &Facts<'_>, topic: &str, once: bool) -> Result<Sums, String> {
    let mut sums = Sums::new();
    for record in facts.topic(topic).into_values().flatten() {
        let (group, start, sum): (String, i64, i64) =
            serde_json::from_str(&record.value_text()).unwrap_or_default();
        if sums.insert((group.clone(), start), sum).is_some() && once {
            return Err(format!("{topic} tells twice of {group} at {start}"));
        }
    }
    Ok(sums)
}

/// Every window that is told of is as it should be; all are, if `all` have closed.
pub(super) fn agree(topic: &str, found: &Sums, wanted: &Sums, all: bool) -> Result<(), String> {
    let wrong = found.iter().find(|(window, sum)| wanted.get(window) != Some(sum));
    if let Some((window, sum)) = wrong {
        return Err(format!("{topic}: {window:?} is {sum}, not {:?}", wanted.get(window)));
    }
    match wanted.keys().find(|window| !found.contains_key(window)) {
        Some(window) if all => Err(format!("{topic} does not tell of {window:?}")),
        _ => Ok(()),
    }
}
