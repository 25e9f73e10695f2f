//! A view as its readers see it: one snapshot after the other.
//!
//! Nothing here changes an index; the writer publishes, readers look.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::value::RawValue;
use tantivy::schema::{IndexRecordOption, TantivyDocument, Value};
use tantivy::{DocAddress, DocSet, Searcher, TERMINATED, TantivyError};
use tokio::sync::watch;

use super::document::Document;
use super::fields::Fields;
use super::progress::Progress;
use super::query::QueryError;
use super::schema::ViewSchema;
use super::search::{self, SearchRequest, SearchResponse};

/// A view: its schema, and what it shows at present.
///
/// It outlives its writer: when that stops or fails, the last commit stays visible.
#[derive(Debug)]
pub struct View {
    schema: ViewSchema,
    current: watch::Sender<Snapshot>,
}

impl View {
    pub(super) fn new(schema: ViewSchema, snapshot: Snapshot) -> Self {
        Self { schema, current: watch::Sender::new(snapshot) }
    }

    /// The schema of the view's documents.
    pub fn schema(&self) -> &ViewSchema {
        &self.schema
    }

    /// What the last commit made visible.
    pub fn snapshot(&self) -> Snapshot {
        self.current.borrow().clone()
    }

    /// Hears of each later snapshot, or of the last of several.
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.current.subscribe()
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.current.send_replace(snapshot);
    }
}

/// The documents of one commit and the progress that they reflect. Cheap to clone; it never
/// changes, and it holds the files that it reads until it is dropped.
#[derive(Clone, Debug)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

struct Inner {
    view: String,
    fields: Arc<Fields>,
    searcher: Searcher,
    progress: Progress,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("view", &self.view)
            .field("documents", &self.searcher.num_docs())
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn new(
        schema: &ViewSchema,
        fields: &Arc<Fields>,
        searcher: Searcher,
        progress: Progress,
    ) -> Self {
        let (view, fields) = (schema.name.clone(), Arc::clone(fields));
        Self { inner: Arc::new(Inner { view, fields, searcher, progress }) }
    }

    /// The positions that the documents reflect.
    pub fn progress(&self) -> &Progress {
        &self.inner.progress
    }

    /// The number of documents.
    pub fn documents(&self) -> u64 {
        self.inner.searcher.num_docs()
    }

    /// Finds the document of `key`.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn document(&self, key: &str) -> Result<Option<Document>, QueryError> {
        let Inner { fields, searcher, .. } = &*self.inner;
        let term = fields.key_term(key);
        for (segment_ord, segment) in (0..).zip(searcher.segment_readers()) {
            let inverted = segment.inverted_index(fields.key)?;
            let postings = inverted.read_postings(&term, IndexRecordOption::Basic);
            let Some(mut postings) = postings.map_err(TantivyError::from)? else { continue };
            let mut doc = postings.doc();
            while doc != TERMINATED {
                if !segment.is_deleted(doc) {
                    return self.read(DocAddress::new(segment_ord, doc)).map(Some);
                }
                doc = postings.advance();
            }
        }
        Ok(None)
    }

    /// Searches the documents.
    ///
    /// # Errors
    /// If the request is wrong, which [`QueryError::is_request`] tells, or the index cannot be
    /// read.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, QueryError> {
        self.search_until(request, &Arc::default())
    }

    /// Searches the documents, and gives up soon after `cancelled` has become true.
    ///
    /// # Errors
    /// As [`Snapshot::search`], and [`QueryError::Cancelled`].
    pub fn search_until(
        &self,
        request: &SearchRequest,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<SearchResponse, QueryError> {
        search::run(self, request, cancelled)
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.inner.fields
    }

    pub(super) fn searcher(&self) -> &Searcher {
        &self.inner.searcher
    }

    /// Reads a document that the index holds.
    pub(super) fn read(&self, address: DocAddress) -> Result<Document, QueryError> {
        let Inner { fields, searcher, .. } = &*self.inner;
        let stored: TantivyDocument = searcher.doc(address)?;
        let text = |field| stored.get_first(field).and_then(|value| value.as_str());
        let time = stored.get_first(fields.time).and_then(|value| value.as_datetime());
        let (Some(key), Some(source), Some(time)) = (text(fields.key), text(fields.source), time)
        else {
            return Err(TantivyError::InternalError("a document is incomplete".to_owned()).into());
        };
        let source = RawValue::from_string(source.to_owned())
            .map_err(|error| TantivyError::InternalError(error.to_string()))?;
        Ok(Document { key: key.to_owned(), time_ms: time.into_timestamp_millis(), source })
    }
}
