//! Documents and queries, at the view itself: JSON of any shape, queries of any text.

use std::sync::Arc;

use stores::position::Position;
use stores::views::{
    Field, FieldKind, Opened, PartitionProgress, Progress, Reach, SearchRequest, SourcePartition,
    SourceProgress, View, ViewSchema, ViewSource, ViewWriter,
};

use super::{Target, texts};

/// A view with a field of each kind.
pub(super) struct Fixture {
    pub(super) view: Arc<View>,
    writer: ViewWriter,
    _folder: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn open() -> Self {
        let kinds = [
            ("line", FieldKind::Text),
            ("host", FieldKind::Keyword),
            ("count", FieldKind::I64),
            ("size", FieldKind::U64),
            ("rate", FieldKind::F64),
            ("root", FieldKind::Bool),
            ("at", FieldKind::Timestamp),
            ("extra", FieldKind::Json),
        ];
        let fields = kinds.map(|(name, kind)| Field { name: name.to_owned(), kind }).to_vec();
        let schema = ViewSchema {
            name: "logins".to_owned(),
            fields,
            sources: vec![ViewSource { topic: "auth".to_owned(), reach: Reach::Same }],
            partitions: 1,
        };
        let folder = tempfile::tempdir().unwrap();
        let Opened { writer, view, .. } = ViewWriter::open(folder.path(), schema, 1 << 20).unwrap();
        Self { view, writer, _folder: folder }
    }

    pub(super) fn fill(&mut self) {
        for key in ["a/1", "b", "c ä"] {
            self.writer.upsert(key, 1_714_521_600_000, DOCUMENT.as_bytes()).unwrap();
        }
        self.commit(4);
    }

    fn commit(&mut self, offset: u64) {
        let position = Position::new(offset, 1);
        let heard = SourceProgress { position, clock_ms: 1_700_000_000_000, idle: false };
        let auth = SourcePartition { topic: "auth".to_owned(), partition: 0 };
        let partition = PartitionProgress { position, sources: [(auth, heard)].into() };
        let partitions = [(0, partition)].into();
        self.writer.commit(&Progress { partitions, ..Progress::default() }).unwrap();
    }

    fn search(&self, query: &str) {
        let request = SearchRequest {
            query: query.to_owned(),
            sort: Vec::new(),
            limit: 10,
            offset: 0,
            bytes_max: 65_536,
        };
        if let Err(error) = self.view.snapshot().search(&request) {
            let error = error.to_string();
            assert!(error.len() < 2_000 + 2 * query.len(), "{error}");
        }
    }
}

const DOCUMENT: &str = r#"{"line":"failed password for root","host":"h1","count":-3,"size":7,"rate":0.5,"root":true,"at":"2023-11-14T22:15:09Z","extra":{"a":[1,{"b":"c"}],"d.e":null}}"#;

#[test]
fn documents() {
    let mut fixture = Fixture::open();
    let (mut tried, mut refused) = (0, 0);
    let read = &mut |input: &[u8]| {
        tried += 1;
        let key = String::from_utf8_lossy(&input[..input.len().min(40)]).into_owned();
        refused += u64::from(fixture.writer.upsert(&key, 1_714_521_600_000, input).is_err());
        if tried % 500 == 0 {
            fixture.commit(tried);
        }
    };
    let seeds = texts(&[DOCUMENT, "{}", r#"{"extra":{"a":1e308,"b":-0.0,"c":"\u0000"},"at":0}"#]);
    Target { name: "document", seeds, mutations: 4_000, allocated_max: 16 << 20, read }.run();
    fixture.commit(tried);
    assert!(refused < tried, "not one of {tried} documents was taken");
    fixture.search("*");
}

#[test]
fn searches() {
    let mut fixture = Fixture::open();
    fixture.fill();
    let read = &mut |input: &[u8]| fixture.search(&String::from_utf8_lossy(input));
    let seeds = texts(&[
        "line:failed AND count:[-5 TO 5} OR NOT at:>2023-11-14T22:15:09Z",
        "+line:\"failed password\"~2 -host:h* ((size:7^3.5)) extra.a.b:c",
        "root:true rate:[0.1 TO *] host: IN [h1 h2]",
        "*",
    ]);
    Target { name: "search", seeds, mutations: 3_000, allocated_max: 8 << 20, read }.run();
}
