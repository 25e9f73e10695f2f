//! How a view's schema is laid out in tantivy.
//!
//! Beside the declared fields, every document has three of its own, whose names begin with an
//! underscore: `_key`, `_time` and `_source`, the JSON object that answers are served from. It is
//! stored and not indexed; declared fields are indexed and not stored.

use std::collections::BTreeMap;

use tantivy::DateTime;
use tantivy::schema::{
    DateOptions, DateTimePrecision, Field, INDEXED, IndexRecordOption, JsonObjectOptions,
    NumericOptions, STORED, Schema, SchemaBuilder, TantivyDocument, Term, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::{
    LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer, TokenizerManager,
};

use super::schema::{FieldKind, ViewSchema};

/// The document's key.
pub(super) const KEY: &str = "_key";
/// The event time of the record that the document came from.
pub(super) const TIME: &str = "_time";
/// The document itself.
const SOURCE: &str = "_source";

/// The tokenizer of text fields.
const WORDS: &str = "words";
/// The longest word that is indexed, in bytes. Tantivy's own default of 40 would lose the
/// fingerprints and digests that logs are full of.
const WORD_BYTES_MAX: usize = 256;
const RAW: &str = "raw";

/// A view's fields as tantivy knows them.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) schema: Schema,
    pub(super) key: Field,
    pub(super) time: Field,
    pub(super) source: Field,
    /// What a query can name: the declared fields, `_key` and `_time`.
    named: BTreeMap<String, (Field, FieldKind)>,
    /// What a query that names no field looks into.
    pub(super) default: Vec<Field>,
}

impl Fields {
    /// Lays out a schema that has been validated.
    pub(super) fn new(schema: &ViewSchema) -> Self {
        let mut builder = Schema::builder();
        let key = builder.add_text_field(KEY, keyword().set_stored());
        let time = builder.add_date_field(TIME, timestamp().set_stored());
        let source = builder.add_text_field(SOURCE, STORED);
        let system = [
            (KEY.to_owned(), (key, FieldKind::Keyword)),
            (TIME.to_owned(), (time, FieldKind::Timestamp)),
        ];
        let mut named = BTreeMap::from(system);
        let mut default = Vec::new();
        for field in &schema.fields {
            let handle = add(&mut builder, &field.name, field.kind);
            named.insert(field.name.clone(), (handle, field.kind));
            if matches!(field.kind, FieldKind::Text | FieldKind::Keyword) {
                default.push(handle);
            }
        }
        Self { schema: builder.build(), key, time, source, named, default }
    }

    /// Finds a field that a document may hold or a query may name.
    pub(super) fn get(&self, name: &str) -> Option<(Field, FieldKind)> {
        self.named.get(name).copied()
    }

    /// Lists what [`Fields::get`] finds.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, FieldKind)> {
        self.named.iter().map(|(name, (_, kind))| (name.as_str(), *kind))
    }

    /// The term that stands for a key.
    pub(super) fn key_term(&self, key: &str) -> Term {
        Term::from_field_text(self.key, key)
    }

    /// Begins a document.
    pub(super) fn document(&self, key: &str, time_ms: i64, source: &str) -> TantivyDocument {
        let mut document = TantivyDocument::with_capacity(source.len() + key.len() + 64);
        document.add_text(self.key, key);
        document.add_date(self.time, DateTime::from_timestamp_millis(time_ms));
        document.add_text(self.source, source);
        document
    }
}

/// The tokenizers that the fields name. An index must be given them at every open.
pub(super) fn tokenizers() -> TokenizerManager {
    let tokenizers = TokenizerManager::default();
    let words = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .build();
    tokenizers.register(WORDS, words);
    tokenizers
}

fn add(builder: &mut SchemaBuilder, name: &str, kind: FieldKind) -> Field {
    let number = || NumericOptions::default().set_indexed().set_fast();
    match kind {
        FieldKind::Text => builder.add_text_field(name, words()),
        FieldKind::Keyword => builder.add_text_field(name, keyword()),
        FieldKind::I64 => builder.add_i64_field(name, number()),
        FieldKind::U64 => builder.add_u64_field(name, number()),
        FieldKind::F64 => builder.add_f64_field(name, number()),
        FieldKind::Bool => builder.add_bool_field(name, number()),
        FieldKind::Timestamp => builder.add_date_field(name, timestamp()),
        FieldKind::Json => {
            let options = JsonObjectOptions::default().set_indexing_options(
                TextFieldIndexing::default()
                    .set_tokenizer(WORDS)
                    .set_index_option(IndexRecordOption::WithFreqsAndPositions),
            );
            builder.add_json_field(name, options)
        }
    }
}

fn words() -> TextOptions {
    TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(WORDS)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions),
    )
}

/// Neither frequencies nor lengths: a keyword is there or not.
fn keyword() -> TextOptions {
    TextOptions::default().set_fast(RAW).set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(RAW)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic),
    )
}

fn timestamp() -> DateOptions {
    DateOptions::from(INDEXED).set_fast().set_precision(DateTimePrecision::Milliseconds)
}
