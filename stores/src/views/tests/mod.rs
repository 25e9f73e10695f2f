//! Tests of the views, on real indexes in temporary folders.

mod damage;
mod documents;
mod progress;
mod searching;
mod writing;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::position::Position;

/// Enough for every test, and below what tantivy takes as the least.
const MEMORY_BYTES: usize = 1 << 20;

fn schema() -> ViewSchema {
    let field = |name: &str, kind| Field { name: name.to_owned(), kind };
    let source = |topic: &str, reach| ViewSource { topic: topic.to_owned(), reach };
    ViewSchema {
        name: "logins".to_owned(),
        fields: vec![
            field("line", FieldKind::Text),
            field("host", FieldKind::Keyword),
            field("count", FieldKind::I64),
            field("bytes", FieldKind::U64),
            field("share", FieldKind::F64),
            field("open", FieldKind::Bool),
            field("at", FieldKind::Timestamp),
            field("attributes", FieldKind::Json),
        ],
        sources: vec![source("auth", Reach::All), source("hosts", Reach::Same)],
        partitions: 2,
    }
}

fn open(dir: &Path) -> Opened {
    ViewWriter::open(dir, schema(), MEMORY_BYTES).unwrap()
}

/// A folder, its writer and its view, from the start.
fn fresh() -> (tempfile::TempDir, ViewWriter, Arc<View>) {
    let dir = tempfile::tempdir().unwrap();
    let Opened { writer, view, .. } = open(dir.path());
    (dir, writer, view)
}

/// A progress that differs for each number.
fn progress(offset: u64) -> Progress {
    let position = Position::new(offset, 1);
    let heard = SourceProgress { position, clock_ms: 1_000, idle: false };
    let auth = SourcePartition { topic: "auth".to_owned(), partition: 0 };
    let partition = PartitionProgress { position, sources: [(auth, heard)].into() };
    Progress { log: None, partitions: [(0, partition)].into() }
}

fn put(writer: &mut ViewWriter, key: &str, document: &serde_json::Value) {
    writer.upsert(key, 1_000, document.to_string().as_bytes()).unwrap();
}

fn count(number: i64) -> serde_json::Value {
    json!({ "count": number })
}

fn request(query: &str) -> SearchRequest {
    SearchRequest {
        query: query.to_owned(),
        sort: Vec::new(),
        limit: 100,
        offset: 0,
        bytes_max: 1 << 20,
    }
}

fn keys(view: &View, query: &str) -> Vec<String> {
    let found = view.snapshot().search(&request(query)).unwrap();
    assert_eq!(found.total, found.hits.len() as u64, "all hits are on the page");
    found.hits.into_iter().map(|hit| hit.key).collect()
}

fn source_of(view: &View, key: &str) -> Option<serde_json::Value> {
    let document = view.snapshot().document(key).unwrap()?;
    assert_eq!(document.key, key);
    Some(serde_json::from_str(document.source.get()).unwrap())
}
