//! The real router on a real socket, over real views.

mod http;
mod problems;
mod routes;
mod waiting;

use std::sync::Arc;

use serde_json::{Value, json};
use stores::position::Position;
use stores::views::{
    Field, FieldKind, Opened, PartitionProgress, Progress, Reach, SourcePartition, SourceProgress,
    View, ViewSchema, ViewSource, ViewWriter, Views,
};

use self::http::Server;
use crate::QuerySettings;
use crate::api::Api;

fn schema(name: &str) -> ViewSchema {
    let field = |name: &str, kind| Field { name: name.to_owned(), kind };
    ViewSchema {
        name: name.to_owned(),
        fields: vec![
            field("line", FieldKind::Text),
            field("count", FieldKind::I64),
            field("at", FieldKind::Timestamp),
        ],
        sources: vec![ViewSource { topic: "auth".to_owned(), reach: Reach::Same }],
        partitions: 1,
    }
}

/// Everything up to `offset` of the source's only partition.
fn progress(offset: u64) -> Progress {
    let position = Position::new(offset, 3);
    let heard = SourceProgress { position, clock_ms: 1_700_000_000_000, idle: false };
    let auth = SourcePartition { topic: "auth".to_owned(), partition: 0 };
    let partition = PartitionProgress { position, sources: [(auth, heard)].into() };
    Progress { log: None, partitions: [(0, partition)].into() }
}

/// A server with the view `logins` of four documents, which reflects offset 4.
struct Fixture {
    server: Server,
    api: Arc<Api>,
    writer: ViewWriter,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn start(settings: QuerySettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, view) = open(dir.path(), "logins");
        for (key, line, count) in [
            ("a/1", "failed password", 2),
            ("b", "accepted password", 10),
            ("c ä", "failed", -1),
            ("d", "nothing", 7),
        ] {
            let document = json!({ "line": line, "count": count, "at": 1_714_521_600_003_i64 });
            writer.upsert(key, 1_714_521_600_000, document.to_string().as_bytes()).unwrap();
        }
        writer.commit(&progress(4)).unwrap();
        let views = Arc::new(Views::new());
        views.add(view);
        let api = Arc::new(Api::new(views, settings));
        let server = Server::start(crate::router::routes(Arc::clone(&api))).await;
        Self { server, api, writer, _dir: dir }
    }

    /// Gets `path`, expects 200 and gives the body.
    #[track_caller]
    fn get(&self, path: &str) -> impl Future<Output = Value> {
        let (caller, answer) = (std::panic::Location::caller(), self.server.get(path));
        async move {
            let answer = answer.await;
            assert_eq!(answer.status, 200, "{caller}: {}", answer.body);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            answer.body
        }
    }
}

fn open(dir: &std::path::Path, name: &str) -> (ViewWriter, Arc<View>) {
    let Opened { writer, view, .. } = ViewWriter::open(dir, schema(name), 1 << 20).unwrap();
    (writer, view)
}
