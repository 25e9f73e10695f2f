//! What a view is made of: its fields, its partitions and the topics that feed it.
//!
//! This is the house's own description. How a field is laid out in tantivy stands in `fields`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The longest name of a view or a field, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A view's name, fields and sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewSchema {
    /// The name under which the view is searched. It is also the name of its folder.
    pub name: String,
    /// The fields that are indexed. What else a document holds is kept, but not indexed.
    pub fields: Vec<Field>,
    /// The topics whose records find their way into the view.
    pub sources: Vec<ViewSource>,
    /// The number of partitions of the view's own topic.
    pub partitions: u32,
}

/// A field of a view's documents.
///
/// A document may leave it out, or give `null`, or give an array of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The key in the document's JSON object.
    pub name: String,
    /// What the values are, and so how they can be searched.
    pub kind: FieldKind,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Prose: split into lower-case words, searched by word and by phrase. Cannot be sorted by.
    Text,
    /// An identifier or a label: searched as a whole, exactly as it is written.
    Keyword,
    /// A signed integer.
    I64,
    /// An unsigned integer.
    U64,
    /// A floating point number.
    F64,
    /// True or false.
    Bool,
    /// A moment, to the millisecond: integer milliseconds since the epoch, or RFC 3339 text.
    ///
    /// Answers give it as RFC 3339 text in UTC, whichever way it came.
    Timestamp,
    /// An object whose values are searched by path, `field.path.to.it:value`.
    Json,
}

impl FieldKind {
    /// Tells whether hits can be sorted by such a field.
    pub fn is_sortable(self) -> bool {
        match self {
            Self::Text | Self::Json => false,
            Self::Keyword | Self::I64 | Self::U64 | Self::F64 | Self::Bool | Self::Timestamp => {
                true
            }
        }
    }
}

/// A topic that feeds a view, and how its partitions reach the view's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewSource {
    /// The topic's name.
    pub topic: String,
    /// Which partitions of the view a partition of the topic reaches.
    pub reach: Reach,
}

/// Which partitions of a view a partition of its source reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Partition *p* of the source reaches partition *p* of the view only: nothing in between
    /// changes the key.
    Same,
    /// Each partition of the source may reach every partition of the view: there is a repartition
    /// in between.
    All,
}

/// Why a schema cannot be a view's.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SchemaError {
    /// The view's name cannot be a folder's.
    #[error(
        "`{0}` cannot name a view: use 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, `-`, `_` and `.`, \
         not `.` first"
    )]
    ViewName(String),
    /// A field's name is not usable in a query, or reserved.
    #[error(
        "view `{view}`: `{field}` cannot name a field: use 1 to {NAME_BYTES_MAX} of a-z, A-Z, \
         0-9, `-` and `_`, a letter first"
    )]
    FieldName {
        /// The view.
        view: String,
        /// The name that is refused.
        field: String,
    },
    /// Two fields, or two sources, have one name.
    #[error("view `{view}`: `{name}` is declared twice")]
    Twice {
        /// The view.
        view: String,
        /// The field or the topic.
        name: String,
    },
    /// A view has at least one partition.
    #[error("view `{0}` has no partition")]
    NoPartition(String),
}

impl ViewSchema {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn validate(&self) -> Result<(), SchemaError> {
        if !is_view_name(&self.name) {
            return Err(SchemaError::ViewName(self.name.clone()));
        }
        if self.partitions == 0 {
            return Err(SchemaError::NoPartition(self.name.clone()));
        }
        let view = || self.name.clone();
        let mut names = BTreeSet::new();
        for Field { name, .. } in &self.fields {
            if !is_field_name(name) {
                return Err(SchemaError::FieldName { view: view(), field: name.clone() });
            }
            if !names.insert(name) {
                return Err(SchemaError::Twice { view: view(), name: name.clone() });
            }
        }
        let mut topics = BTreeSet::new();
        for ViewSource { topic, .. } in &self.sources {
            if !topics.insert(topic) {
                return Err(SchemaError::Twice { view: view(), name: topic.clone() });
            }
        }
        Ok(())
    }

    /// Tells how the partitions of `topic` reach the view's, if it feeds the view at all.
    pub fn reach(&self, topic: &str) -> Option<Reach> {
        self.sources.iter().find(|source| source.topic == topic).map(|source| source.reach)
    }

    /// Lists the view partitions that a partition of a source reaches.
    pub(super) fn reached(&self, reach: Reach, partition: u32) -> std::ops::Range<u32> {
        match reach {
            Reach::Same => partition..partition.saturating_add(1),
            Reach::All => 0..self.partitions,
        }
    }
}

fn is_view_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(allowed)
}

/// A dot would be read as a path into a JSON field, a leading underscore is reserved, a leading
/// dash means `not` in a query.
fn is_field_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(allowed)
}
