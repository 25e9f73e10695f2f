//! What lies on the disk is never trusted: whatever is not whole is begun afresh, with a reason.

use std::fs;
use std::path::PathBuf;

use super::*;

/// An index of two segments, one with a deleted document, closed. So few are deleted that nothing
/// is merged, and every file in the folder matters.
fn written() -> tempfile::TempDir {
    let (dir, mut writer, _view) = fresh();
    for (commit, keys) in ["abcdefgh", "hi"].into_iter().enumerate() {
        for key in keys.split("").filter(|key| !key.is_empty()) {
            put(&mut writer, key, &json!({ "line": "some words", "host": "h", "count": commit }));
        }
        writer.commit(&progress(commit as u64)).unwrap();
    }
    drop(writer);
    dir
}

fn shard(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("logins").join("shard-0")
}

/// The files that matter. Locks are empty.
fn files(dir: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(shard(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

/// Damages one file after the other, each time in a copy of one index.
fn check_each_file(damage: impl Fn(&std::path::Path)) {
    let original = written();
    let names = files(&original);
    assert!(names.len() > 10, "two segments have many files: {names:?}");
    for name in &names {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir_all(shard(&copy)).unwrap();
        for file in &names {
            fs::copy(shard(&original).join(file), shard(&copy).join(file)).unwrap();
        }
        damage(&shard(&copy).join(name));
        check_rebuilt(&copy, name);
    }
}

#[track_caller]
fn check_rebuilt(dir: &tempfile::TempDir, what: &str) {
    let Opened { mut writer, view, rebuilt } = open(dir.path());
    let reason = rebuilt.unwrap_or_else(|| panic!("{what} is damaged and nobody noticed"));
    assert!(!reason.is_empty());
    assert_eq!(writer.progress(), &Progress::default(), "{what}: {reason}");
    assert_eq!(view.snapshot().documents(), 0, "{what}: {reason}");
    put(&mut writer, "again", &count(1));
    writer.commit(&progress(1)).unwrap();
    assert_eq!(keys(&view, "*"), ["again"]);
}

#[test]
fn an_undamaged_copy_is_kept() {
    let dir = written();
    assert_eq!(open(dir.path()).rebuilt, None);
}

#[test]
fn an_index_without_words_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let narrow = ViewSchema { fields: Vec::new(), ..schema() };
    for key in 0..6 {
        let opened = ViewWriter::open(dir.path(), narrow.clone(), MEMORY_BYTES).unwrap();
        let mut writer = opened.writer;
        put(&mut writer, &key.to_string(), &count(1));
        writer.commit(&progress(1)).unwrap();
        assert_eq!(opened.rebuilt.is_some(), key == 0);
        assert_eq!(opened.view.snapshot().documents(), key + 1);
    }
}

#[test]
fn a_file_with_a_changed_byte_is_noticed() {
    check_each_file(|path| {
        let mut bytes = fs::read(path).unwrap();
        // Tantivy's footer holds a version that may differ; the byte lies in what it protects.
        bytes[0] ^= 0x20;
        fs::write(path, bytes).unwrap();
    });
}

#[test]
fn a_file_that_is_cut_off_is_noticed() {
    check_each_file(|path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
fn a_file_that_is_empty_is_noticed() {
    check_each_file(|path| fs::write(path, b"").unwrap());
}

#[test]
fn a_file_of_zeroes_is_noticed() {
    check_each_file(|path| {
        let length = fs::read(path).unwrap().len();
        fs::write(path, vec![0; length]).unwrap();
    });
}

#[test]
fn a_file_that_is_gone_is_noticed() {
    // The list of managed files is the one that tantivy makes again by itself.
    check_each_file(|path| {
        if path.ends_with(".managed.json") {
            fs::write(path, b"gone").unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    });
}

#[test]
fn another_schema_begins_afresh() {
    let dir = written();
    let mut other = schema();
    other.fields.pop();
    let opened = ViewWriter::open(dir.path(), other, MEMORY_BYTES).unwrap();
    assert_eq!(opened.rebuilt.as_deref(), Some("the view's schema has changed"));
    assert_eq!(opened.view.snapshot().documents(), 0);
}

#[test]
fn another_format_begins_afresh() {
    let dir = written();
    let stamp = shard(&dir).join("millpond.json");
    let text = fs::read_to_string(&stamp).unwrap();
    let older = text.replace("\"format\": 1,", "\"format\": 0,");
    assert_ne!(text, older);
    fs::write(stamp, older).unwrap();
    let reason = open(dir.path()).rebuilt;
    assert_eq!(reason.as_deref(), Some("it was written in another format"));
}

#[test]
fn a_foreign_folder_begins_afresh() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(shard(&dir)).unwrap();
    fs::write(shard(&dir).join("meta.json"), b"{}").unwrap();
    let reason = open(dir.path()).rebuilt;
    assert_eq!(reason.as_deref(), Some("it was never finished"));
}

#[test]
fn what_is_no_folder_is_an_error_and_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logins");
    fs::write(&path, b"mine").unwrap();
    let Err(error) = ViewWriter::open(dir.path(), schema(), MEMORY_BYTES) else {
        panic!("a file cannot hold an index")
    };
    assert!(matches!(error, ViewError::Folder { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn what_a_killed_commit_left_does_not_stop_the_same_commit_again() {
    let dir = written();
    let read = |name: String| (fs::read(shard(&dir).join(&name)).unwrap(), name);
    let before: Vec<(Vec<u8>, String)> = files(&dir).into_iter().map(read).collect();
    let delete = |dir: &tempfile::TempDir| {
        let Opened { mut writer, view, rebuilt } = open(dir.path());
        assert_eq!(rebuilt, None);
        writer.delete("c");
        writer.commit(&progress(2)).unwrap();
        assert_eq!(keys(&view, "*").len(), 8);
    };
    delete(&dir);
    // The kill comes before the list of segments: the new files are there, and nobody knows them.
    for (bytes, name) in &before {
        fs::write(shard(&dir).join(name), bytes).unwrap();
    }
    assert!(files(&dir).len() > before.len(), "a file of deletes was left: {:?}", files(&dir));
    delete(&dir);
}
