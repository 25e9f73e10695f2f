//! Hot partitions: how fast each input is read, and which of a topic's get far more than the others.
//!
//! Every ten seconds the counts of all workers of this process are compared with those before. What
//! other processes read is not known here: `/metrics` of all of them has what it takes to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pipeline::HeavyKey;
use pipeline::worker::InputStats;

use super::Overview;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A partition is hot that gets so many times the mean of the topic's others,
const HOT: f64 = 3.0;
/// this many records a second at least,
const HOT_RATE_MIN: f64 = 100.0;
/// so many looks one after another.
const HOT_LOOKS: u32 = 3;
/// While a partition stays hot this is said again after so many looks: ten minutes.
const SAID_EVERY: u32 = 60;

/// An input of a topology.
type Place = (String, Arc<str>, u32);

/// How fast the inputs of this process are read.
#[derive(Default)]
pub(crate) struct Heat(Mutex<State>);

#[derive(Default)]
struct State {
    looked_at: Option<Duration>,
    inputs: BTreeMap<Place, Input>,
}

#[derive(Clone, Default)]
struct Input {
    /// Records handled, as of the last look.
    records: u64,
    /// Records per second between the last two looks; none before the second one.
    rate: Option<f64>,
    /// Looks that found it hot, one after another.
    hot: u32,
}

/// How fast one input is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) topology: String,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    /// Records per second.
    pub(crate) rate: f64,
}

/// How unevenly a topic's partitions are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Skew {
    pub(crate) topology: String,
    pub(crate) topic: Arc<str>,
    /// The fastest partition's rate, in times the mean of all that are read here.
    pub(crate) skew: f64,
}

/// A partition that gets far more than its share.
#[derive(Clone, Debug, PartialEq)]
struct Hot {
    topology: String,
    topic: Arc<str>,
    partition: u32,
    rate: f64,
    /// Its rate in times the mean of the others; they may stand still.
    times: f64,
    heaviest: Vec<HeavyKey>,
}

impl Heat {
    /// Looks at the workers every ten seconds, for as long as the process lives.
    pub(super) async fn watch(overview: Arc<Overview>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let inputs = overview.topologies.iter().flat_map(|planned| {
                let name = planned.plan.topology().name();
                let inputs = planned.stats.iter().flat_map(|stats| stats.inputs());
                inputs.map(|input| (name.to_owned(), input))
            });
            let now = overview.clock.elapsed();
            overview.heat.look(now, &inputs.collect::<Vec<_>>()).iter().for_each(warn);
        }
    }

    /// Takes in what has been read until `now`. Answers with the partitions that it is time to
    /// warn of.
    fn look(&self, now: Duration, inputs: &[(String, InputStats)]) -> Vec<Hot> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = state.looked_at.map(|at| now.saturating_sub(at).as_secs_f64());
        state.looked_at = Some(now);
        let before = std::mem::take(&mut state.inputs);
        for (topology, input) in inputs {
            let place =
                (topology.clone(), Arc::clone(&input.partition.topic), input.partition.partition);
            let known = before.get(&place);
            let rate = known.zip(passed).map(|(known, passed)| {
                // A task that was made again counts from nothing.
                let from = if known.records <= input.records { known.records } else { 0 };
                (input.records - from) as f64 / passed.max(0.001)
            });
            let hot = known.map_or(0, |known| known.hot);
            state.inputs.insert(place, Input { records: input.records, rate, hot });
        }
        let found = state.hottest(inputs);
        let hot: BTreeMap<Place, Hot> = found.into_iter().collect();
        let mut told = Vec::new();
        for (place, input) in &mut state.inputs {
            let Some(hot) = hot.get(place) else {
                input.hot = 0;
                continue;
            };
            input.hot += 1;
            if input.hot >= HOT_LOOKS && (input.hot - HOT_LOOKS).is_multiple_of(SAID_EVERY) {
                told.push(hot.clone());
            }
        }
        told
    }

    /// How fast each input is read.
    pub(crate) fn rates(&self) -> Vec<Rate> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = |((topology, topic, partition), input): (&Place, &Input)| {
            let (topology, topic) = (topology.clone(), Arc::clone(topic));
            Some(Rate { topology, topic, partition: *partition, rate: input.rate? })
        };
        state.inputs.iter().filter_map(rate).collect()
    }

    /// How unevenly each topic is read of which several partitions are read here, and something.
    pub(crate) fn skews(&self) -> Vec<Skew> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let skew = |((topology, topic), rates): ((String, Arc<str>), Vec<f64>)| {
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let most = rates.iter().copied().fold(0.0, f64::max);
            (rates.len() > 1 && mean > 0.0).then(|| Skew { topology, topic, skew: most / mean })
        };
        state.by_topic().into_iter().filter_map(skew).collect()
    }
}

impl State {
    /// The rates of each topic's partitions.
    fn by_topic(&self) -> BTreeMap<(String, Arc<str>), Vec<f64>> {
        let mut topics: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for ((topology, topic, _), input) in &self.inputs {
            if let Some(rate) = input.rate {
                topics.entry((topology.clone(), Arc::clone(topic))).or_default().push(rate);
            }
        }
        topics
    }

    /// The partitions that get far more than the others of their topic now.
    fn hottest(&self, inputs: &[(String, InputStats)]) -> Vec<(Place, Hot)> {
        let topics = self.by_topic();
        let judge = |(topology, input): &(String, InputStats)| {
            let (topic, partition) = (&input.partition.topic, input.partition.partition);
            let place = (topology.clone(), Arc::clone(topic), partition);
            let rate = self.inputs.get(&place)?.rate?;
            let rates = topics.get(&(topology.clone(), Arc::clone(topic)))?;
            if rates.len() < 2 || rate < HOT_RATE_MIN {
                return None;
            }
            let others = (rates.iter().sum::<f64>() - rate) / (rates.len() - 1) as f64;
            let times = rate / others.max(f64::MIN_POSITIVE);
            (times >= HOT).then(|| {
                let (topology, topic) = (topology.clone(), Arc::clone(topic));
                let heaviest = input.heaviest.clone();
                (place, Hot { topology, topic, partition, rate, times, heaviest })
            })
        };
        let mut seen = BTreeSet::new();
        let hot = inputs.iter().filter_map(judge);
        hot.filter(|(place, _)| seen.insert(place.clone())).collect()
    }
}

fn warn(hot: &Hot) {
    let Hot { topology, topic, partition, rate, .. } = hot;
    let (rate, times, keys) = (rate.round(), said_times(hot.times), said_keys(&hot.heaviest));
    tracing::warn!(
        topology,
        topic = &**topic,
        partition,
        rate,
        "a partition is hot: it gets {times} the mean of the others that are read here; {keys} \
         (docs/operations.md)"
    );
}

fn said_times(times: f64) -> String {
    match times {
        ..1000.0 => format!("{times:.1} times"),
        _ => "more than a thousand times".to_owned(),
    }
}

fn said_keys(heaviest: &[HeavyKey]) -> String {
    if heaviest.is_empty() {
        return "no single key is heavy".to_owned();
    }
    let said = |one: &HeavyKey| {
        let (whole, tenths) = (one.permille / 10, one.permille % 10);
        format!("`{}` (about {whole}.{tenths} %)", one.key)
    };
    format!("heaviest keys: {}", heaviest.iter().map(said).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use pipeline::TaskId;
    use pipeline::log::TopicPartition;

    use super::*;

    fn input(topic: &str, partition: u32, records: u64) -> (String, InputStats) {
        let key = HeavyKey { key: "card-17".to_owned(), permille: 384 };
        let stats = InputStats {
            task: TaskId { sub: 0, partition },
            partition: TopicPartition::new(topic, partition),
            position: records,
            end: records,
            records,
            heaviest: vec![key],
        };
        ("fraud".to_owned(), stats)
    }

    /// Looks `looks` times, ten seconds apart; partition 0 of two gets `first` records each time,
    /// the other `second`. Answers how often partition 0 was warned of.
    fn looked(heat: &Heat, looks: std::ops::Range<u64>, (first, second): (u64, u64)) -> usize {
        let look = |number: u64| {
            let inputs = [
                input("payments", 0, number * first),
                input("payments", 1, number * second),
                input("alone", 0, number * 10_000),
            ];
            heat.look(Duration::from_secs(10 * number), &inputs)
        };
        let told: Vec<Hot> = looks.flat_map(look).collect();
        assert!(told.iter().all(|hot| (&*hot.topic, hot.partition) == ("payments", 0)), "{told:?}");
        told.len()
    }

    #[test]
    fn a_partition_that_stays_hot_is_told_after_a_while_and_seldom_again() {
        let heat = Heat::default();
        assert_eq!(looked(&heat, 0..3, (9_000, 1_000)), 0, "two rates are known: too early");
        assert_eq!(looked(&heat, 3..4, (9_000, 1_000)), 1);
        assert_eq!(looked(&heat, 4..63, (9_000, 1_000)), 0, "it was said");
        assert_eq!(looked(&heat, 63..64, (9_000, 1_000)), 1, "after ten minutes again");
    }

    #[test]
    fn uneven_or_little_is_not_hot() {
        assert_eq!(looked(&Heat::default(), 0..20, (2_900, 1_000)), 0);
        assert_eq!(looked(&Heat::default(), 0..20, (900, 0)), 0, "90 records a second");
        assert_eq!(looked(&Heat::default(), 0..20, (1_100, 0)), 1, "all go to one");
    }

    #[test]
    fn rates_and_skew_are_those_of_the_last_ten_seconds() {
        let heat = Heat::default();
        looked(&heat, 0..2, (3_000, 1_000));
        let rates: Vec<f64> = heat.rates().into_iter().map(|rate| rate.rate).collect();
        assert_eq!(rates, [1_000.0, 300.0, 100.0], "alone, then payments");
        let skews = heat.skews();
        assert_eq!((skews.len(), skews[0].skew), (1, 1.5), "one partition alone has no skew");
        // Made again, a task counts from nothing.
        heat.look(Duration::from_secs(20), &[input("payments", 0, 500)]);
        assert_eq!(heat.rates()[0].rate, 50.0);
    }

    #[test]
    fn the_warning_names_the_keys() {
        let keys = [("card-17", 384), ("card-4", 12)];
        let keys = keys.map(|(key, permille)| HeavyKey { key: key.to_owned(), permille });
        let said = "heaviest keys: `card-17` (about 38.4 %), `card-4` (about 1.2 %)";
        assert_eq!(said_keys(&keys), said);
        assert_eq!(said_times(f64::MAX), "more than a thousand times");
    }
}
