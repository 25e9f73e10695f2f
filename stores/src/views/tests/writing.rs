//! What the writer promises: by key, all or nothing, with the positions.

use proptest::prelude::*;

use super::*;

#[test]
fn an_upsert_replaces_and_a_delete_deletes() {
    let (_dir, mut writer, view) = fresh();
    put(&mut writer, "a", &count(1));
    put(&mut writer, "b", &count(2));
    writer.commit(&progress(1)).unwrap();
    assert_eq!(view.snapshot().documents(), 2);

    put(&mut writer, "a", &count(3));
    writer.delete("b");
    writer.delete("never there");
    assert_eq!(writer.pending(), 3);
    writer.commit(&progress(2)).unwrap();
    assert_eq!(writer.pending(), 0);
    assert_eq!(view.snapshot().documents(), 1);
    assert_eq!(source_of(&view, "a"), Some(count(3)));
    assert_eq!(source_of(&view, "b"), None);
    assert_eq!(keys(&view, "count:3"), ["a"]);
    assert_eq!(keys(&view, "count:1 count:2"), Vec::<String>::new());
}

#[test]
fn the_last_operation_of_a_commit_wins() {
    let (_dir, mut writer, view) = fresh();
    put(&mut writer, "upserted", &count(1));
    writer.delete("upserted");
    put(&mut writer, "upserted", &count(2));
    put(&mut writer, "deleted", &count(1));
    writer.delete("deleted");
    assert_eq!(writer.pending(), 2);
    writer.commit(&progress(1)).unwrap();
    assert_eq!(keys(&view, "*"), ["upserted"]);
    assert_eq!(source_of(&view, "upserted"), Some(count(2)));
}

#[test]
fn keys_are_taken_as_they_are() {
    let (_dir, mut writer, view) = fresh();
    let long = "k".repeat(65_530);
    let all = ["", " ", "A", "a", "a b", "ä\u{0}/\\\"", long.as_str()];
    for round in 0..2 {
        for key in all {
            put(&mut writer, key, &count(round));
        }
        writer.commit(&progress(1)).unwrap();
    }
    assert_eq!(view.snapshot().documents(), all.len() as u64);
    for key in all {
        assert_eq!(source_of(&view, key), Some(count(1)));
        writer.delete(key);
    }
    writer.commit(&progress(2)).unwrap();
    assert_eq!(view.snapshot().documents(), 0);
    let too_long = writer.upsert(&"k".repeat(65_531), 0, b"{}");
    assert_eq!(too_long, Err(DocumentError::Key { bytes: 65_531 }));
}

#[test]
fn reopening_gives_the_documents_and_the_progress_of_the_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path());
    assert_eq!(opened.rebuilt.as_deref(), Some("there was none"));
    assert_eq!(opened.writer.progress(), &Progress::default());
    put(&mut opened.writer, "a", &count(1));
    opened.writer.commit(&progress(7)).unwrap();
    put(&mut opened.writer, "a", &count(2));
    opened.writer.delete("b");
    drop(opened);

    let Opened { writer, view, rebuilt } = open(dir.path());
    assert_eq!(rebuilt, None);
    assert_eq!(writer.progress(), &progress(7));
    assert_eq!(view.snapshot().progress(), &progress(7));
    assert_eq!(source_of(&view, "a"), Some(count(1)));
}

#[test]
fn an_index_that_was_never_committed_to_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let Opened { rebuilt, writer, .. } = open(dir.path());
    assert_eq!(rebuilt, None);
    assert_eq!(writer.progress(), &Progress::default());
}

#[test]
fn a_commit_without_documents_moves_the_progress() {
    let (dir, mut writer, view) = fresh();
    put(&mut writer, "a", &count(1));
    writer.commit(&progress(1)).unwrap();
    writer.commit(&progress(2)).unwrap();
    assert_eq!(view.snapshot().progress(), &progress(2));
    assert_eq!(view.snapshot().documents(), 1);
    drop(writer);
    assert_eq!(open(dir.path()).writer.progress(), &progress(2));
}

#[test]
fn a_snapshot_stays_as_it_is_and_the_next_one_is_announced() {
    let (_dir, mut writer, view) = fresh();
    let mut announced = view.subscribe();
    put(&mut writer, "a", &count(1));
    writer.commit(&progress(1)).unwrap();
    let earlier = view.snapshot();
    assert!(announced.has_changed().unwrap());
    announced.mark_unchanged();

    writer.delete("a");
    writer.commit(&progress(2)).unwrap();
    assert_eq!(earlier.progress(), &progress(1));
    assert_eq!(earlier.search(&request("count:1")).unwrap().total, 1);
    assert!(announced.has_changed().unwrap());
    let later = announced.borrow().clone();
    assert_eq!((later.progress(), later.documents()), (&progress(2), 0));

    drop(writer);
    assert_eq!(view.snapshot().progress(), &progress(2), "a view outlives its writer");
}

#[test]
fn a_second_writer_is_refused_and_changes_nothing() {
    let (dir, mut writer, view) = fresh();
    put(&mut writer, "a", &count(1));
    writer.commit(&progress(1)).unwrap();
    let mut other = schema();
    other.partitions = 9;
    let Err(error) = ViewWriter::open(dir.path(), other, MEMORY_BYTES) else {
        panic!("two writers have the view open")
    };
    assert!(matches!(error, ViewError::Locked { .. }), "{error}");
    put(&mut writer, "b", &count(2));
    writer.commit(&progress(2)).unwrap();
    assert_eq!(view.snapshot().documents(), 2);
}

#[test]
fn the_writer_says_when_it_is_full() {
    let (_dir, mut writer, view) = fresh();
    let line = json!({ "line": "x".repeat(10_000) });
    let mut held = 0;
    while !writer.is_full() {
        put(&mut writer, &held.to_string(), &line);
        held += 1;
        assert!(held < 200, "a megabyte is full at some time");
    }
    for _ in 0..1_000 {
        put(&mut writer, "same", &count(1));
        put(&mut writer, "0", &count(1));
    }
    assert_eq!(writer.pending(), held + 1, "an operation that was replaced is not held");
    writer.commit(&progress(1)).unwrap();
    assert!(!writer.is_full());
    assert_eq!(view.snapshot().documents(), held as u64 + 1);
}

#[test]
fn many_small_commits_end_in_few_segments() {
    let (_dir, mut writer, view) = fresh();
    for round in 0..100 {
        for key in 0..20 {
            put(&mut writer, &format!("{}", (round * 7 + key) % 300), &count(round));
        }
        writer.commit(&progress(round.unsigned_abs())).unwrap();
    }
    assert_eq!(view.snapshot().documents(), 300);
    let segments = view.snapshot().searcher().segment_readers().len();
    assert!(segments <= 30, "{segments} segments after 100 commits");
}

#[derive(Clone, Debug)]
enum Step {
    Upsert(u8, i64),
    Delete(u8),
    Commit,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12_u8, any::<i64>()).prop_map(|(key, value)| Step::Upsert(key, value)),
        3 => (0..12_u8).prop_map(Step::Delete),
        2 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The index is the fold of the committed operations, whatever the commits and restarts.
    #[test]
    fn an_index_is_the_fold_of_its_operations(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = open(dir.path());
        let mut model = std::collections::BTreeMap::new();
        let mut committed = (model.clone(), Progress::default());
        for (offset, step) in (0..).zip(steps) {
            match step {
                Step::Upsert(key, value) => {
                    put(&mut opened.writer, &key.to_string(), &count(value));
                    model.insert(key.to_string(), value);
                }
                Step::Delete(key) => {
                    opened.writer.delete(&key.to_string());
                    model.remove(&key.to_string());
                }
                Step::Commit => {
                    opened.writer.commit(&progress(offset)).unwrap();
                    committed = (model.clone(), progress(offset));
                }
                Step::Reopen => {
                    drop(opened);
                    opened = open(dir.path());
                    prop_assert_eq!(&opened.rebuilt, &None);
                    prop_assert_eq!(opened.writer.progress(), &committed.1);
                    model = committed.0.clone();
                }
            }
            let found = opened.view.snapshot().search(&request("*")).unwrap();
            let found = found.hits.into_iter().map(|hit| {
                let source: serde_json::Value = serde_json::from_str(hit.source.get()).unwrap();
                (hit.key, source["count"].as_i64().unwrap())
            });
            prop_assert_eq!(found.collect::<std::collections::BTreeMap<_, _>>(), committed.0.clone());
        }
    }
}
