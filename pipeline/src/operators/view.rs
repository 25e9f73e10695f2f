//! `view`: a table's rows as documents that can be searched.

use std::sync::Arc;

use serde::Serialize;
use stores::views::{DocumentCheck, Field, FieldKind, ViewSchema};

use crate::bad_record::Defect;
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Operator};
use crate::record::{Change, Record};
use crate::task::{Context, Outgoing};
use crate::topology::{SinkRef, Target, TopologyError, ViewSpec};

/// The fields of a view's documents, in order.
///
/// ```
/// use pipeline::ViewFields;
///
/// let fields = ViewFields::new()
///     .text("title")
///     .keyword("author")
///     .i64("balance")
///     .u64("pages")
///     .f64("weight")
///     .bool("in-print")
///     .timestamp("published")
///     .json("more");
/// ```
#[derive(Clone, Debug, Default)]
pub struct ViewFields {
    fields: Vec<Field>,
}

impl ViewFields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &str, kind: FieldKind) -> Self {
        self.fields.push(Field { name: name.to_owned(), kind });
        self
    }

    /// A text, searched by its words.
    #[must_use]
    pub fn text(self, name: &str) -> Self {
        self.with(name, FieldKind::Text)
    }

    /// A text that is searched and sorted as a whole.
    #[must_use]
    pub fn keyword(self, name: &str) -> Self {
        self.with(name, FieldKind::Keyword)
    }

    /// A signed number.
    #[must_use]
    pub fn i64(self, name: &str) -> Self {
        self.with(name, FieldKind::I64)
    }

    /// An unsigned number.
    #[must_use]
    pub fn u64(self, name: &str) -> Self {
        self.with(name, FieldKind::U64)
    }

    /// A floating-point number.
    #[must_use]
    pub fn f64(self, name: &str) -> Self {
        self.with(name, FieldKind::F64)
    }

    /// True or false.
    #[must_use]
    pub fn bool(self, name: &str) -> Self {
        self.with(name, FieldKind::Bool)
    }

    /// A moment: milliseconds since 1970-01-01 UTC, or RFC 3339.
    #[must_use]
    pub fn timestamp(self, name: &str) -> Self {
        self.with(name, FieldKind::Timestamp)
    }

    /// Anything, searched by path.
    #[must_use]
    pub fn json(self, name: &str) -> Self {
        self.with(name, FieldKind::Json)
    }
}

/// Writes documents under the text of their key.
struct ViewSink<F> {
    node: String,
    sink: SinkRef,
    document: Arc<F>,
    check: Arc<DocumentCheck>,
    key: String,
    value: Vec<u8>,
}

impl<F> ViewSink<F> {
    fn bad(&self, defect: Defect, reason: String) -> Fault {
        Fault::BadRecord { node: self.node.clone(), defect, reason }
    }
}

impl<K, V, D, F> Operator<K, Change<V>> for ViewSink<F>
where
    K: Key,
    D: Serialize,
    F: Fn(&K, &V) -> D,
{
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.key.clear();
        record.key.write_text(&mut self.key);
        if self.key.is_empty() {
            ctx.count_dropped(&self.node, "empty key");
            return Ok(());
        }
        self.value.clear();
        if let Some(new) = &record.value.new {
            let document = (self.document)(&record.key, new);
            serde_json::to_writer(&mut self.value, &document).map_err(|error| {
                self.bad(Defect::Encoding, format!("the document cannot be JSON: {error}"))
            })?;
            let fits = self.check.check(&self.key, record.timestamp, &self.value);
            fits.map_err(|error| self.bad(Defect::Document, error.to_string()))?;
        }
        let outgoing = Outgoing {
            timestamp: record.timestamp,
            key: Some(self.key.as_bytes()),
            value: record.value.new.is_some().then_some(&self.value[..]),
        };
        ctx.send(&self.node, self.sink, outgoing)
    }
}

impl<K: Key, V: Clone + 'static> Table<K, V> {
    /// Keeps the view `name` of the table: a document for each key, made by `document`, whose
    /// JSON has the fields that are searched (others are kept, not searched). The document's key
    /// is the text of the table's key; a deletion deletes it.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver, ViewFields};
    /// use serde_json::json;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let fields = ViewFields::new().i64("pieces");
    /// builder
    ///     .table::<String, i64>("stock", "stock")
    ///     .view("stock", fields, |_, pieces| json!({ "pieces": pieces }));
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// let rows = driver.read_view("stock");
    /// assert_eq!(rows[0].value, Some(json!({ "pieces": 3 })));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn view<D: Serialize>(
        &self,
        name: &str,
        fields: ViewFields,
        document: impl Fn(&K, &V) -> D + Send + Sync + 'static,
    ) {
        let stream = &self.changes;
        let (node, node_name, sink, check) = {
            let mut graph = stream.graph.borrow_mut();
            graph.check_name("view", name);
            let sink = graph.add_sink(stream.node, Target::View(name.to_owned()), true);
            let schema = ViewSchema {
                name: name.to_owned(),
                fields: fields.fields,
                sources: Vec::new(),
                partitions: 1,
            };
            if let Err(error) = schema.validate() {
                let (view, reason) = (name.to_owned(), error.to_string());
                graph.errors.push(TopologyError::View { view, reason });
                // The topology is refused when it is built: what is added here runs nowhere.
                return;
            }
            let check = Arc::new(DocumentCheck::new(&schema));
            graph.views.push(ViewSpec { name: name.to_owned(), sink, schema });
            let node = graph.sinks[sink.0].node;
            (node, graph.nodes[node].name.clone(), sink, check)
        };
        let document = Arc::new(document);
        stream.end(node, move || ViewSink {
            node: node_name.clone(),
            sink,
            document: Arc::clone(&document),
            check: Arc::clone(&check),
            key: String::new(),
            value: Vec::new(),
        });
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Keeps the view `name` of the stream's latest record of each key: see [`Table::view`].
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver, ViewFields};
    /// use serde_json::json;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let fields = ViewFields::new().i64("pieces");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .view("last-sales", fields, |_, pieces| json!({ "pieces": pieces }));
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let rows = driver.read_view("last-sales");
    /// assert_eq!(rows.last().unwrap().value, Some(json!({ "pieces": 8 })));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn view<D: Serialize>(
        &self,
        name: &str,
        fields: ViewFields,
        document: impl Fn(&K, &V) -> D + Send + Sync + 'static,
    ) {
        self.needs_partitioning();
        self.latest().view(name, fields, document);
    }

    /// The stream as updates of a table that nobody looks into.
    fn latest(&self) -> Table<K, V> {
        let changes = self.map_values(|_, value| Change { new: Some(value), old: None });
        // No join can reach this table: the handle does not leave this method's caller.
        Table::not_kept(changes)
    }
}
