//! A store against a model of it, and what its scans cost.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, SystemClock};

fn store() -> Store {
    Store::open(&Arc::new(StateDb::in_memory().unwrap()), "s", 0).unwrap()
}

fn get(store: &Store, key: u8) -> Option<Vec<u8>> {
    store.read(&[key], |value| value.map(<[u8]>::to_vec)).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Begin,
    Undo,
    Mark,
    UndoToMark,
    Freeze,
    Apply,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..9_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..9_u8).prop_map(Step::Delete),
        1 => Just(Step::Begin),
        1 => Just(Step::Undo),
        1 => Just(Step::Mark),
        1 => Just(Step::UndoToMark),
        1 => Just(Step::Freeze),
        1 => Just(Step::Apply),
    ];
    prop::collection::vec(step, 1..60)
}

/// What the store should hold, and what it held when it was last told to begin.
#[derive(Default)]
struct Model {
    now: BTreeMap<u8, u8>,
    begun: BTreeMap<u8, u8>,
    /// A mark since then, and what the store held there.
    marked: Option<(usize, BTreeMap<u8, u8>)>,
    frozen: bool,
}

fn run(store: &mut Store, step: &Step, model: &mut Model) {
    match *step {
        Step::Put(key, value) => {
            store.put(&[key], &[value]);
            model.now.insert(key, value);
        }
        Step::Delete(key) => {
            store.delete(&[key]);
            model.now.remove(&key);
        }
        Step::Begin => {
            store.begin();
            model.begun.clone_from(&model.now);
            model.marked = None;
        }
        Step::Undo => {
            store.undo_to(0);
            model.now.clone_from(&model.begun);
            model.marked = None;
        }
        Step::Mark => model.marked = Some((store.mark(), model.now.clone())),
        Step::UndoToMark => {
            if let Some((mark, then)) = model.marked.take() {
                store.undo_to(mark);
                model.now = then;
            }
        }
        Step::Freeze if !model.frozen => {
            store.freeze();
            model.begun.clone_from(&model.now);
            model.marked = None;
            model.frozen = true;
        }
        Step::Apply => {
            let db = Arc::clone(&store.db);
            let mut batch = db.batch();
            store.applied(Some(Position::new(1, 1)), &mut batch);
            batch.write().unwrap();
            model.frozen = false;
        }
        Step::Freeze => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn reads_and_scans_see_through_all_layers(
        steps in steps(), from in 0..9_u8, to in 0..9_u8, limit in 0..9_usize,
    ) {
        let mut store = store();
        let mut model = Model::default();
        for step in &steps {
            run(&mut store, step, &mut model);
            for key in 0..9 {
                let expected = model.now.get(&key).map(|value| vec![*value]);
                prop_assert_eq!(get(&store, key), expected);
            }
            let expected: Vec<_> = model
                .now
                .iter()
                .filter(|(key, _)| **key >= from && **key < to)
                .map(|(key, value)| (vec![*key], vec![*value]))
                .take(limit)
                .collect();
            prop_assert_eq!(store.scan((&[from], &[to]), limit).unwrap(), expected);
            let all = model.now.range(from..to.max(from)).map(|(key, value)| (*key, *value));
            let expected: Vec<_> = all.rev().take(limit).collect();
            prop_assert_eq!(descending(&store, (from, to), limit), expected);
        }
    }
}

#[test]
fn a_store_that_is_opened_again_is_at_its_last_commit() {
    let directory = tempfile::tempdir().unwrap();
    let settings =
        super::super::StateSettings { cache_bytes: 1 << 20, write_buffer_bytes: 4 << 20 };
    {
        let db = Arc::new(StateDb::open(directory.path(), settings).unwrap());
        let mut store = Store::open(&db, "counts", 3).unwrap();
        store.put(b"a", b"1");
        store.freeze();
        let mut batch = db.batch();
        store.applied(Some(Position::new(17, 2)), &mut batch);
        batch.write().unwrap();
        store.put(b"a", b"lost");
        db.flush().unwrap();
    }
    let db = Arc::new(StateDb::open(directory.path(), settings).unwrap());
    let other = db.store("other", 3).unwrap();
    let store = Store::open(&db, "counts", 3).unwrap();
    assert_ne!(store.id(), other);
    assert_eq!(db.position(store.id()).unwrap(), Some(Position::new(17, 2)));
    assert_eq!(store.read(b"a", |v| v.map(<[u8]>::to_vec)).unwrap(), Some(b"1".to_vec()));
    db.clear(store.id()).unwrap();
    assert_eq!(db.position(store.id()).unwrap(), None);
    assert!(store.read(b"a", |value| value.is_none()).unwrap());
}

fn descending(store: &Store, (from, to): (u8, u8), limit: usize) -> Vec<(u8, u8)> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        found.push((key[0], value[0]));
        found.len() < limit
    };
    if limit > 0 {
        store.scan_each((&[from], &[to]), Order::Descending, visit).unwrap();
    }
    found
}

/// The time that a scan of five entries takes, and of the only one there is, in the best round.
fn scan_ns(store: &Store, keys: u32) -> [u128; 2] {
    let clock = SystemClock::new();
    let mut best = [Duration::MAX; 2];
    for _ in 0..10 {
        for (order, best) in [Order::Ascending, Order::Descending].into_iter().zip(&mut best) {
            let start = clock.elapsed();
            for n in 0..200 {
                let from = (n * 7_919 % (keys - 5)).to_be_bytes();
                let to = (u32::from_be_bytes(from) + 5).to_be_bytes();
                let mut found = 0;
                let visit = &mut |_: &[u8], _: &[u8]| {
                    found += 1;
                    true
                };
                store.scan_each((&from, &to), order, visit).unwrap();
                assert_eq!(found, 5);
            }
            *best = (*best).min(clock.elapsed().saturating_sub(start));
        }
    }
    best.map(|best| best.as_nanos() / 200)
}

#[test]
fn a_short_scan_costs_the_same_over_few_changes_and_many() {
    let db = Arc::new(StateDb::in_memory().unwrap());
    let mut costs = Vec::new();
    for keys in [200_u32, 20_000] {
        let mut store = Store::open(&db, &format!("of-{keys}"), 0).unwrap();
        let fill = |store: &mut Store| {
            for key in 0..keys {
                store.put(&key.to_be_bytes(), b"a value of some twenty bytes");
            }
        };
        fill(&mut store);
        let overlay = scan_ns(&store, keys);
        store.freeze();
        let mut batch = db.batch();
        store.applied(None, &mut batch);
        batch.write().unwrap();
        let database = scan_ns(&store, keys);
        fill(&mut store);
        let both = scan_ns(&store, keys);
        println!(
            "ns for 5 of {keys} entries, ascending and descending: {overlay:?} in the overlay, \
             {database:?} in the database, {both:?} in both"
        );
        costs.push(overlay[0].max(overlay[1]));
    }
    // It was 100 times as much when each scan sorted the overlay.
    assert!(costs[1] < 20 * costs[0], "{costs:?}");
}
