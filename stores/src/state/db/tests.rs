//! State that is damaged, or another log's.

use std::fs;
use std::path::PathBuf;

use super::*;

const SETTINGS: StateSettings = StateSettings { cache_bytes: 1 << 20, write_buffer_bytes: 4 << 20 };

fn filled(path: &Path) -> StoreId {
    let db = StateDb::open(path, SETTINGS).unwrap();
    let store = db.store("counts", 0).unwrap();
    let mut batch = db.batch();
    for key in 0..2_000_u32 {
        batch.set(store, &key.to_be_bytes(), Some(&[7; 100]));
    }
    batch.set_position(store, Position::new(2_000, 1));
    batch.write().unwrap();
    db.flush().unwrap();
    store
}

fn files(path: &Path, wanted: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| path.to_string_lossy().contains(wanted);
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.filter(named).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x5a;
    fs::write(path, bytes).unwrap();
}

fn read_all(db: &StateDb, store: StoreId) -> Result<usize, StateError> {
    let mut count = 0;
    db.scan(store, (&[], &[0xff; 8]), Order::Ascending, &mut |_, _| {
        count += 1;
        true
    })?;
    Ok(count)
}

#[test]
fn state_that_does_not_open_is_thrown_away_and_says_why() {
    for file in ["MANIFEST", "CURRENT"] {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        flip(&files(directory.path(), file)[0], 3);
        let db = StateDb::open(directory.path(), SETTINGS).unwrap();
        assert!(db.rebuilt().is_some(), "{file}");
        let store = db.store("counts", 0).unwrap();
        assert_eq!(db.position(store).unwrap(), None, "{file}");
        assert_eq!(read_all(&db, store).unwrap(), 0, "{file}");
    }
}

#[test]
fn state_without_some_of_its_files_is_thrown_away() {
    for file in ["CURRENT", "MANIFEST", ".sst"] {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        for path in files(directory.path(), file) {
            fs::remove_file(path).unwrap();
        }
        let db = StateDb::open(directory.path(), SETTINGS).unwrap();
        assert!(db.rebuilt().is_some(), "{file}");
        let store = db.store("counts", 0).unwrap();
        assert_eq!(db.position(store).unwrap(), None, "{file}");
    }
}

#[test]
fn damage_that_a_read_meets_is_mended_by_the_next_opening() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path());
    let largest = files(directory.path(), ".sst");
    let largest = largest.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    flip(largest, 200);
    {
        let db = StateDb::open(directory.path(), SETTINGS).unwrap();
        let error = read_all(&db, store).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("next start"), "{error}");
    }
    let db = StateDb::open(directory.path(), SETTINGS).unwrap();
    assert!(db.rebuilt().is_some());
    assert_eq!(read_all(&db, store).unwrap(), 0);
    drop(db);
    let db = StateDb::open(directory.path(), SETTINGS).unwrap();
    assert_eq!(db.rebuilt(), None, "once is enough");
}

#[test]
fn state_that_is_whole_or_new_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(StateDb::open(directory.path(), SETTINGS).unwrap().rebuilt(), None);
    let store = filled(directory.path());
    let db = StateDb::open(directory.path(), SETTINGS).unwrap();
    assert_eq!(db.rebuilt(), None);
    assert_eq!(read_all(&db, store).unwrap(), 2_000);
}

#[test]
fn state_that_another_has_open_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let _db = StateDb::open(directory.path(), SETTINGS).unwrap();
    let error = StateDb::open(directory.path(), SETTINGS).err().unwrap();
    assert!(matches!(error, StateError::Open { .. }), "{error}");
}

#[test]
fn state_of_another_log_is_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path());
    let db = StateDb::open(directory.path(), SETTINGS).unwrap();
    assert_eq!(db.follow("a").unwrap(), None, "state from before there were ids is adopted");
    assert_eq!(read_all(&db, store).unwrap(), 2_000);
    assert_eq!(db.follow("a").unwrap(), None);
    assert_eq!(db.follow("b").unwrap(), Some("a".to_owned()));
    assert_eq!(read_all(&db, store).unwrap(), 0);
    assert_eq!(db.position(store).unwrap(), None);
    assert_eq!(db.follow("b").unwrap(), None);
    assert_eq!(db.store("counts", 0).unwrap(), store, "numbers stay");
}
