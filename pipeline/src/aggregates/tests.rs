//! What holds for every aggregate, and what each one says.

use std::collections::BTreeSet;
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Values<V> = Vec<(i64, V)>;

fn at(timestamp: i64, offset: usize) -> At {
    At { timestamp, source: 1, partition: 0, offset: offset as u64 }
}

fn all<V, G: Aggregator<(), V>>(aggregator: &G, values: &[(At, V)]) -> G::State {
    let add = |state, (at, value): &(At, V)| aggregator.add(state, &(), value, *at);
    values.iter().fold(aggregator.init(), add)
}

fn bytes<V, G: Aggregator<(), V>>(aggregator: &G, state: &G::State) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(aggregator.codec().encode(state, &mut out).unwrap(), "a state is never null");
    out
}

/// Checks that the states of two parts merge to that of the whole, byte for byte, that states
/// read back, and answers with the output.
fn laws<V: Clone, G: Aggregator<(), V>>(aggregator: &G, values: &Values<V>, cut: usize) -> G::Output
where
    G::State: PartialEq + Debug,
{
    let values: Vec<(At, V)> = values
        .iter()
        .enumerate()
        .map(|(offset, (timestamp, value))| (at(*timestamp, offset), value.clone()))
        .collect();
    let whole = all(aggregator, &values);
    let encoded = bytes(aggregator, &whole);
    assert_eq!(aggregator.codec().decode(Some(&encoded)).unwrap(), whole);
    if let Some(merge) = aggregator.merge() {
        let (first, second) = values.split_at(cut.min(values.len()));
        let merged = merge(aggregator, &(), all(aggregator, first), all(aggregator, second));
        assert_eq!(bytes(aggregator, &merged), encoded, "merged at {cut}");
        let same = merge(aggregator, &(), aggregator.init(), merged);
        assert_eq!(bytes(aggregator, &same), encoded, "merged with nothing");
    }
    aggregator.output(&whole)
}

/// Checks that the order of arrival does not matter.
fn any_order<V: Clone, G: Aggregator<(), V>>(aggregator: &G, values: &Values<V>) {
    let mut values: Vec<(At, V)> = values
        .iter()
        .enumerate()
        .map(|(offset, (timestamp, value))| (at(*timestamp, offset), value.clone()))
        .collect();
    let forward = bytes(aggregator, &all(aggregator, &values));
    values.reverse();
    assert_eq!(bytes(aggregator, &all(aggregator, &values)), forward);
}

/// Checks that values that are taken out leave what the others make.
fn retracts<V: Clone, G: Aggregator<(), V>>(aggregator: &G, values: &Values<V>, cut: usize) {
    let of = |values: &[(i64, V)]| {
        let values: Vec<(At, V)> = values.iter().map(|(t, v)| (At::time(*t), v.clone())).collect();
        all(aggregator, &values)
    };
    let (kept, gone) = values.split_at(cut.min(values.len()));
    let retract = aggregator.retract().expect("it can retract");
    let left =
        gone.iter().fold(of(values), |state, (_, value)| retract(aggregator, &(), state, value));
    assert_eq!(bytes(aggregator, &left), bytes(aggregator, &of(kept)));
}

fn numbers() -> impl Strategy<Value = Values<i64>> {
    vec((0..20_i64, -20..20_i64), 0..60)
}

proptest! {
    #[test]
    fn whole_numbers(values in numbers(), cut in 0..60_usize) {
        let all: Vec<i64> = values.iter().map(|(_, value)| *value).collect();
        let sum: i64 = all.iter().sum();
        prop_assert_eq!(laws(&Count, &values, cut), all.len() as i64);
        retracts(&Count, &values, cut);
        let of = |value: &i64| *value;
        prop_assert_eq!(laws(&Sum::of(of), &values, cut), sum);
        retracts(&Sum::of(of), &values, cut);
        let average = (!all.is_empty()).then(|| sum as f64 / all.len() as f64);
        prop_assert_eq!(laws(&Average::of(of), &values, cut), average);
        retracts(&Average::of(of), &values, cut);
        if !all.is_empty() {
            prop_assert_eq!(Some(&laws(&Extreme::min(of), &values, cut)), all.iter().min());
            prop_assert_eq!(Some(&laws(&Extreme::max(of), &values, cut)), all.iter().max());
        }
    }

    #[test]
    fn first_last_and_collected_go_by_event_time(values in numbers(), cut in 0..60_usize) {
        let mut sorted: Vec<_> = values.iter().enumerate().map(|(n, (t, v))| (*t, n, *v)).collect();
        sorted.sort_unstable();
        let sorted: Vec<i64> = sorted.into_iter().map(|(_, _, value)| value).collect();
        let of = |value: &i64| *value;
        if let (Some(first), Some(last)) = (sorted.first(), sorted.last()) {
            prop_assert_eq!(laws(&Edge::first(of), &values, cut), *first);
            prop_assert_eq!(laws(&Edge::last(of), &values, cut), *last);
            any_order(&Edge::first(of), &values);
            any_order(&Edge::last(of), &values);
        }
        let kept = sorted.len().min(5);
        let left_out = (sorted.len() - kept) as u64;
        let earliest = laws(&Collect::earliest(5, of), &values, cut);
        prop_assert_eq!(earliest, Collected { items: sorted[..kept].to_vec(), left_out });
        let latest = laws(&Collect::latest(5, of), &values, cut);
        let items = sorted[sorted.len() - kept..].to_vec();
        prop_assert_eq!(latest, Collected { items, left_out });
        any_order(&Collect::earliest(5, of), &values);
        any_order(&Collect::latest(5, of), &values);
    }

    #[test]
    fn top_n_is_the_head_of_all_items_in_order(
        values in vec((0..9_i64, (0..9_i64, 0..12_u8)), 0..60), cut in 0..60_usize,
    ) {
        let top = TopN::of(3, |(rank, item): &(i64, u8)| (*rank, *item));
        let items: BTreeSet<u8> = values.iter().map(|(_, (_, item))| *item).collect();
        let best = |item: &u8| {
            let of_it = values.iter().filter(|(_, (_, other))| other == item);
            of_it.map(|(_, (rank, _))| *rank).max().unwrap()
        };
        let mut expected: Vec<_> =
            items.iter().map(|item| Ranked { rank: best(item), item: *item }).collect();
        expected.sort_by_key(|ranked| (std::cmp::Reverse(ranked.rank), ranked.item));
        expected.truncate(3);
        prop_assert_eq!(laws(&top, &values, cut), expected);
        any_order(&top, &values);
    }

    #[test]
    fn distinct_is_exact_up_to_its_bound(values in numbers(), cut in 0..60_usize) {
        let items: BTreeSet<i64> = values.iter().map(|(_, value)| *value).collect();
        let distinct = Distinct::of(10, |value: &i64| *value);
        let expected =
            DistinctCount { count: items.len().min(10) as u64, or_more: items.len() > 10 };
        prop_assert_eq!(laws(&distinct, &values, cut), expected);
        any_order(&distinct, &values);
        let few = ApproxDistinct::of(|value: &i64| value.to_be_bytes());
        // Two items may fall into one of the 4,096 registers.
        prop_assert!(laws(&few, &values, cut).abs_diff(items.len() as u64) <= 2);
        any_order(&few.with_precision(9), &values);
    }

    #[test]
    fn percentiles_are_within_their_accuracy(
        values in vec((0..9_i64, (-1.0..1.0_f64, -12..12_i32).prop_map(|(n, e)| n * 10_f64.powi(e))), 1..80),
        cut in 0..80_usize,
    ) {
        let quantiles = [0.0, 0.25, 0.5, 0.9, 1.0];
        let percentiles = Percentiles::of(&quantiles, |number: &f64| *number);
        let mut sorted: Vec<f64> = values.iter().map(|(_, number)| *number).collect();
        sorted.sort_by(f64::total_cmp);
        for (quantile, said) in quantiles.iter().zip(laws(&percentiles, &values, cut)) {
            let exact = sorted[(quantile * (sorted.len() - 1) as f64).floor() as usize];
            prop_assert!((said - exact).abs() <= 0.010_001 * exact.abs(), "{said} for {exact}");
        }
        any_order(&percentiles, &values);
        retracts(&percentiles, &values, cut);
    }

    #[test]
    fn floats_add_up(values in vec((0..9_i64, -1e6..1e6_f64), 0..60), cut in 0..60_usize) {
        let exact: f64 = values.iter().map(|(_, number)| number).sum();
        let values: Vec<(At, f64)> = values.iter().map(|(t, v)| (At::time(*t), *v)).collect();
        let sum = FloatSum::of(|number: &f64| *number);
        let (first, second) = values.split_at(cut.min(values.len()));
        let merge = Aggregator::<(), f64>::merge(&sum).unwrap();
        let merged = merge(&sum, &(), all(&sum, first), all(&sum, second));
        for total in [all(&sum, &values), merged] {
            let said = Aggregator::<(), f64>::output(&sum, &total);
            prop_assert!((said - exact).abs() <= 1e-6);
        }
    }

    #[test]
    fn bytes_that_are_no_state_are_refused(bytes in vec(any::<u8>(), 0..60)) {
        // No panic and no memory taken for what is not there.
        let of = |value: &i64| value.to_be_bytes();
        let registers = Aggregator::<(), i64>::codec(&ApproxDistinct::of(of)).decode(Some(&bytes));
        let sketch = Percentiles::of(&[0.5], |number: &f64| *number);
        let sketch = Aggregator::<(), f64>::codec(&sketch).decode(Some(&bytes));
        drop((registers, sketch));
    }
}

#[test]
fn many_distinct_items_are_estimated_within_three_standard_errors() {
    let approximate = ApproxDistinct::of(|item: &u64| item.to_be_bytes());
    let mut state = Aggregator::<(), u64>::init(&approximate);
    let mut next = 10;
    for item in 0..200_000_u64 {
        state = approximate.add(state, &(), &(item * 7919), At::time(0));
        if item + 1 == next {
            let said = Aggregator::<(), u64>::output(&approximate, &state) as f64;
            let error = (said - next as f64).abs() / next as f64;
            assert!(error <= 3.0 * 1.04 / 64.0, "{said} for {next}");
            next *= 3;
        }
    }
}

#[test]
fn a_sketch_keeps_its_bound_and_the_large_numbers() {
    let percentiles = Percentiles::of(&[1.0], |number: &f64| *number).with_accuracy(0.001);
    let mut sketch = Aggregator::<(), f64>::init(&percentiles);
    for step in 0..20_000 {
        sketch = percentiles.add(sketch, &(), &1.01_f64.powi(step % 9_000), At::time(0));
    }
    let bytes = bytes::<f64, _>(&percentiles, &sketch);
    assert!(bytes.len() < 5 * BUCKETS_MAX, "{} bytes", bytes.len());
    let largest = Aggregator::<(), f64>::output(&percentiles, &sketch)[0];
    assert!((largest / 1.01_f64.powi(8_999) - 1.0).abs() < 0.001_001);
}

#[test]
fn a_fold_merges_and_retracts_only_if_told_how() {
    let fold = || Fold::json(|| 0_i64, |_: &(), value: &i64, sum: i64| sum + value);
    assert!(fold().merge().is_none());
    assert!(fold().retract().is_none());
    let able = fold().with_merge(|_, a, b| a + b).with_retract(|_, value, sum| sum - value);
    let values = vec![(0, 3), (1, 4), (2, 5)];
    assert_eq!(laws(&able, &values, 2), 12);
    retracts(&able, &values, 1);
}

#[test]
fn a_reduction_merges_with_its_own_closure() {
    let join = Reduce::new(|a: String, b: &String| a + b);
    let values: Values<String> =
        ["a", "b", "c"].iter().map(|text| (0, (*text).to_owned())).collect();
    assert_eq!(laws(&join, &values, 1), "abc");
}
