//! Random records against naive models.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{answer, millis, topology, unmerged};
use crate::codec::int64;
use crate::driver::{RawRecord, Script, TopologyDriver};
use crate::{
    Key, SessionWindows, SlidingWindows, TimeWindows, Topology, TopologyBuilder, Windowed,
};

/// Key and timestamp of each record.
type Events = Vec<(u8, i64)>;

fn events(spread: i64) -> impl Strategy<Value = Events> {
    prop::collection::vec((0..3_u8, 0..spread), 1..40)
}

fn as_script(events: &Events) -> Script {
    let record = |(key, at): &(u8, i64)| {
        ("in".to_owned(), Some(format!("k{key}")), Some("1".to_owned()), *at)
    };
    events.iter().map(record).collect()
}

/// The last value of each key, window and value, without those that are deleted.
fn table(records: &[RawRecord]) -> BTreeMap<(String, i64, i64), i64> {
    let mut rows = BTreeMap::new();
    for record in records {
        let Windowed { key, window } = Windowed::<String>::decode(record.key.as_deref()).unwrap();
        let row = (key, window.start, window.end);
        match record.value.as_deref() {
            None => rows.remove(&row),
            Some(bytes) => rows.insert(row, int64().decode(Some(bytes)).unwrap()),
        };
    }
    rows
}

fn by_key(events: &Events) -> BTreeMap<String, Vec<i64>> {
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (key, at) in events {
        times.entry(format!("k{key}")).or_default().push(*at);
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

/// Sessions by sorting.
fn naive_sessions(events: &Events, gap: i64) -> BTreeMap<(String, i64, i64), i64> {
    let mut rows = BTreeMap::new();
    for (key, times) in by_key(events) {
        for session in times.chunk_by(|a, b| b - a <= gap) {
            let bounds = (session[0], session[session.len() - 1]);
            let count = i64::try_from(session.len()).unwrap();
            rows.insert((key.clone(), bounds.0, bounds.1), count);
        }
    }
    rows
}

/// Sliding windows by their definition.
fn naive_sliding(events: &Events, size: i64) -> BTreeMap<(String, i64, i64), i64> {
    let mut rows = BTreeMap::new();
    for (key, times) in by_key(events) {
        let after = times.iter().map(|at| at + 1);
        let ending = times.iter().map(|at| (at - size).max(0));
        for start in after.chain(ending).collect::<BTreeSet<i64>>() {
            let count = times.iter().filter(|at| (start..=start + size).contains(at)).count();
            if count > 0 {
                let count = i64::try_from(count).unwrap();
                rows.insert((key.clone(), start, start + size), count);
            }
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sessions_are_those_of_all_records_in_order(events in events(400), gap in 1..40_i64) {
        let windows = SessionWindows::of_inactivity_gap_and_grace(millis(gap), millis(10_000));
        let counted = || topology(|stream| {
            let counts = stream.group_by_key().windowed_by(windows).count("counts");
            counts.to_with("out", int64());
        });
        let records = answer(&counted, &as_script(&events));
        prop_assert_eq!(table(&records), naive_sessions(&events, gap));
    }

    #[test]
    fn sliding_windows_are_those_of_the_definition(events in events(200), size in 0..50_i64) {
        let windows =
            SlidingWindows::of_time_difference_and_grace(millis(size), millis(10_000));
        let counted = || topology(|stream| {
            let counts = stream.group_by_key().windowed_by(windows).count("counts");
            counts.to_with("out", int64());
        });
        let records = answer(&counted, &as_script(&events));
        prop_assert_eq!(table(&records), naive_sliding(&events, size));
    }
}

/// Final counts of hopping windows, from panes or from whole windows, behind a repartition or not.
fn finals(windows: TimeWindows, panes: bool, repartitioned: bool) -> Topology {
    let builder = TopologyBuilder::new("windows");
    let stream = builder.stream::<String, i64>("in");
    let grouped = if repartitioned {
        // Another key, so that partitions get the records of all sources.
        stream.group_by("by-key", |key, _| format!("of-{key}"))
    } else {
        stream.group_by_key()
    };
    let group = grouped.windowed_by(windows).emit_final();
    let counts =
        if panes { group.count("counts") } else { group.aggregate_by("counts", unmerged()) };
    counts.to_with("out", int64());
    builder.build().unwrap()
}

/// Final counts of sliding windows, from a tree or from whole windows.
fn sliding_finals(windows: SlidingWindows, tree: bool, repartitioned: bool) -> Topology {
    let builder = TopologyBuilder::new("windows");
    let stream = builder.stream::<String, i64>("in");
    let grouped = if repartitioned {
        stream.group_by("by-key", |key, _| format!("of-{key}"))
    } else {
        stream.group_by_key()
    };
    let group = grouped.windowed_by(windows).emit_final();
    let counts =
        if tree { group.count("counts") } else { group.aggregate_by("counts", unmerged()) };
    counts.to_with("out", int64());
    builder.build().unwrap()
}

fn run(topology: Topology, events: &Events, committed: &[bool]) -> Vec<RawRecord> {
    let mut driver = TopologyDriver::with_partitions(topology, 3);
    let commits = committed.iter().chain(std::iter::repeat(&false));
    for ((topic, key, value, at), commit) in as_script(events).into_iter().zip(commits) {
        let bytes = |text: Option<String>| text.map(String::into_bytes);
        driver.append(&topic, bytes(key).as_deref(), bytes(value).as_deref(), at);
        if *commit {
            driver.commit();
        }
    }
    driver.commit();
    let mut records = driver.read_raw("out");
    records.sort_by_key(|record| (record.partition, record.key.clone()));
    records
}

/// The clocks of others close the windows before a record that waits aside, and nothing is told
/// at that moment: the first window told of later must have taken the record in.
#[test]
fn what_waits_aside_is_taken_in_when_time_moved_without_a_result() {
    let mut events = vec![(0, 265), (1, 230), (1, 240)];
    events.extend((0..12_u8).map(|key| (key, 50_000)));
    let windows = SlidingWindows::of_time_difference_and_grace(millis(10), millis(25));
    let told = |committed: &[bool]| run(sliding_finals(windows, true, true), &events, committed);
    let rows = table(&told(&[true]));
    assert_eq!(rows.get(&("of-k1".to_owned(), 230, 240)), Some(&2), "{rows:?}");
    assert_eq!(told(&[true]), told(&[]));
}

fn hopping() -> impl Strategy<Value = TimeWindows> {
    (1..30_i64, 0..20_i64).prop_flat_map(|(advance, grace)| {
        (advance..20 * advance).prop_map(move |size| {
            TimeWindows::of_size_and_grace(millis(size), millis(grace)).advance_by(millis(advance))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn panes_tell_what_whole_windows_tell(
        windows in hopping(), mut events in events(500),
        committed in prop::collection::vec(any::<bool>(), 0..40), repartitioned: bool,
    ) {
        // Each source goes on to the end, so that all windows close.
        events.extend((0..12_u8).map(|key| (key, 5_000)));
        let panes = run(finals(windows, true, repartitioned), &events, &committed);
        let whole = run(finals(windows, false, repartitioned), &events, &committed);
        prop_assert_eq!(&panes, &whole);
        prop_assert!(!panes.is_empty());
        // Nothing depends on when commits happened.
        prop_assert_eq!(&panes, &run(finals(windows, true, repartitioned), &events, &[]));
    }

    #[test]
    fn a_tree_tells_what_whole_sliding_windows_tell(
        size in 0..70_i64, grace in 0..40_i64, mut events in events(300),
        committed in prop::collection::vec(any::<bool>(), 0..40), repartitioned: bool,
        in_time: bool,
    ) {
        // Whole windows that begin with what others know miss records that were late for these:
        // they are compared where no record is late.
        let grace = if in_time { 10_000 } else { grace };
        events.extend((0..12_u8).map(|key| (key, 50_000)));
        let windows = SlidingWindows::of_time_difference_and_grace(millis(size), millis(grace));
        let tree = run(sliding_finals(windows, true, repartitioned), &events, &committed);
        if in_time {
            let whole = run(sliding_finals(windows, false, repartitioned), &events, &committed);
            prop_assert_eq!(&tree, &whole);
        }
        prop_assert!(!tree.is_empty());
        prop_assert_eq!(&tree, &run(sliding_finals(windows, true, repartitioned), &events, &[]));
    }
}
