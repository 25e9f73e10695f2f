//! The query language: tantivy's, checked against the view's fields.
//!
//! Tantivy parses the text into a tree; this module walks the tree before tantivy makes a query of
//! it, for three reasons: an error can name the field and the value, a timestamp may also be
//! integer milliseconds and is compared to the millisecond (tantivy's date terms stop at seconds),
//! and what would only fail in the middle of a search fails before it.

use tantivy::query::{AllQuery, Query, QueryParser, QueryParserError};
use tantivy::query_grammar::{
    self, Occur, UserInputAst, UserInputBound, UserInputLeaf, UserInputLiteral,
};
use tantivy::{Searcher, TantivyError};

use super::fields::Fields;
use super::schema::FieldKind;
use super::search::SORT_FIELDS_MAX;
use super::timestamp;

/// How deeply groups and exclusions may be nested: the parser is recursive.
const NESTING_MAX: usize = 20;

/// Why a search gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is not of the query language.
    #[error("syntax error at byte {at}: {reason}")]
    Syntax {
        /// Where, from the start of the text.
        at: usize,
        /// What was expected.
        reason: String,
    },
    /// Groups lie too deep in each other.
    #[error("more than {NESTING_MAX} parentheses and `NOT`s are open at byte {at}")]
    Nesting {
        /// Where, from the start of the text.
        at: usize,
    },
    /// The view has no such field.
    #[error(
        "the view has no field `{field}`; its fields are {}; to search for a text with a colon, \
         quote it", known.join(", ")
    )]
    UnknownField {
        /// What the query names.
        field: String,
        /// What it could name.
        known: Vec<String>,
    },
    /// A field is asked something that its kind does not answer, or a value does not fit it.
    #[error("field `{field}`: {reason}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// Hits cannot be sorted by such a field.
    #[error(
        "hits cannot be sorted by `{field}`; they can by {}", sortable.join(", ")
    )]
    NotSortable {
        /// The field.
        field: String,
        /// The fields that hits can be sorted by.
        sortable: Vec<String>,
    },
    /// More sort fields than are supported.
    #[error("hits can be sorted by at most {SORT_FIELDS_MAX} fields")]
    SortFields,
    /// The language allows it, this house does not.
    #[error("{0}")]
    Unsupported(String),
    /// The hits would not fit into an answer.
    #[error("the hits have more than {bytes_max} bytes; ask for fewer")]
    TooLarge {
        /// The most that an answer may have.
        bytes_max: usize,
    },
    /// Whoever asked has given up.
    #[error("the search was given up")]
    Cancelled,
    /// The index cannot be read.
    #[error("cannot read the index")]
    Index(#[from] TantivyError),
}

impl QueryError {
    /// Tells whether the request is to blame, and not the index or the time that it took.
    pub fn is_request(&self) -> bool {
        !matches!(self, Self::Index(_) | Self::Cancelled)
    }
}

/// Turns the text of a query into a query over `fields`.
pub(super) fn parse(
    fields: &Fields,
    searcher: &Searcher,
    text: &str,
) -> Result<Box<dyn Query>, QueryError> {
    if text.trim().is_empty() {
        return Ok(Box::new(AllQuery));
    }
    check_nesting(text)?;
    let tree = query_grammar::parse_query(text).map_err(|_| syntax_error(text))?;
    let tree = check(fields, tree)?;
    QueryParser::for_index(searcher.index(), fields.default.clone())
        .build_query_from_user_input_ast(tree)
        .map_err(refused)
}

/// Counts every parenthesis and every `NOT` that waits for its operand, quoted or not, so that no
/// reading of the text nests deeper.
fn check_nesting(text: &str) -> Result<(), QueryError> {
    // For each open parenthesis the `NOT`s before it, then those that wait now.
    let (mut outer, mut waiting) = (Vec::new(), 0_usize);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let word = rest.split(|c: char| c.is_whitespace() || "()".contains(c)).next();
        let word = word.unwrap_or_default();
        rest = &rest[word.len().max(first.len_utf8())..];
        match (first, word) {
            ('(', _) => outer.push(std::mem::take(&mut waiting)),
            (')', _) => {
                outer.pop();
                waiting = 0;
            }
            (_, "NOT") => waiting += 1,
            (_, "") => {}
            _ => waiting = 0,
        }
        if outer.len() + outer.iter().sum::<usize>() + waiting > NESTING_MAX {
            return Err(QueryError::Nesting { at });
        }
    }
    Ok(())
}

/// The strict parser does not say where it stopped; the lenient one does.
fn syntax_error(text: &str) -> QueryError {
    let (_, errors) = query_grammar::parse_query_lenient(text);
    let first = errors.into_iter().min_by_key(|error| error.pos);
    match first {
        Some(error) => QueryError::Syntax { at: error.pos, reason: error.message },
        None => QueryError::Syntax { at: 0, reason: "not a query".to_owned() },
    }
}

fn check(fields: &Fields, tree: UserInputAst) -> Result<UserInputAst, QueryError> {
    match tree {
        UserInputAst::Clause(clauses) => {
            let checked =
                clauses.into_iter().map(|(occur, tree)| Ok((occur, check(fields, tree)?)));
            Ok(UserInputAst::Clause(checked.collect::<Result<_, QueryError>>()?))
        }
        UserInputAst::Boost(tree, boost) => {
            Ok(UserInputAst::Boost(Box::new(check(fields, *tree)?), boost))
        }
        UserInputAst::Leaf(leaf) => check_leaf(fields, *leaf),
    }
}

fn check_leaf(fields: &Fields, leaf: UserInputLeaf) -> Result<UserInputAst, QueryError> {
    match leaf {
        UserInputLeaf::All => Ok(leaf.into()),
        UserInputLeaf::Literal(UserInputLiteral { field_name: None, .. }) => Ok(leaf.into()),
        UserInputLeaf::Literal(UserInputLiteral {
            field_name: Some(ref name), ref phrase, ..
        }) => {
            let kind = kind_of(fields, name)?;
            check_value(name, kind, phrase)?;
            if kind == FieldKind::Timestamp {
                return Ok(moment(name, phrase));
            }
            Ok(leaf.into())
        }
        UserInputLeaf::Range { field: Some(name), lower, upper } => {
            let kind = kind_of(fields, &name)?;
            if kind == FieldKind::Json {
                return Err(unfit(&name, "a json field cannot be searched by range"));
            }
            let lower = check_bound(&name, kind, lower)?;
            let upper = check_bound(&name, kind, upper)?;
            Ok(UserInputLeaf::Range { field: Some(name), lower, upper }.into())
        }
        UserInputLeaf::Set { field: Some(name), elements } => {
            let kind = kind_of(fields, &name)?;
            for element in &elements {
                check_value(&name, kind, element)?;
            }
            if kind == FieldKind::Timestamp {
                let moments =
                    elements.iter().map(|text| (Some(Occur::Should), moment(&name, text)));
                return Ok(UserInputAst::Clause(moments.collect()));
            }
            Ok(UserInputLeaf::Set { field: Some(name), elements }.into())
        }
        UserInputLeaf::Exists { field } => {
            if !kind_of(fields, &field)?.is_sortable() {
                return Err(unfit(&field, "text and json fields cannot be asked for existence"));
            }
            Ok(UserInputLeaf::Exists { field }.into())
        }
        UserInputLeaf::Range { field: None, .. } | UserInputLeaf::Set { field: None, .. } => {
            Err(QueryError::Unsupported("a range or a set needs a field before it".to_owned()))
        }
        UserInputLeaf::Regex { .. } => {
            Err(QueryError::Unsupported("regular expressions are not supported".to_owned()))
        }
    }
}

/// The kind of the field that a query names, perhaps with a path into a JSON object behind it.
fn kind_of(fields: &Fields, name: &str) -> Result<FieldKind, QueryError> {
    let (base, path) = name.split_once('.').map_or((name, None), |(base, path)| (base, Some(path)));
    match fields.get(base) {
        Some((_, kind)) if path.is_none() || kind == FieldKind::Json => Ok(kind),
        _ => {
            let known = fields.names().map(|(name, _)| name.to_owned()).collect();
            Err(QueryError::UnknownField { field: name.to_owned(), known })
        }
    }
}

fn check_value(name: &str, kind: FieldKind, text: &str) -> Result<(), QueryError> {
    let (fits, wanted) = match kind {
        FieldKind::Text | FieldKind::Keyword | FieldKind::Json => return Ok(()),
        FieldKind::I64 => (text.parse::<i64>().is_ok(), "a signed integer"),
        FieldKind::U64 => (text.parse::<u64>().is_ok(), "an unsigned integer"),
        FieldKind::F64 => (text.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
        FieldKind::Bool => (text.parse::<bool>().is_ok(), "true or false"),
        FieldKind::Timestamp => {
            (timestamp::parse(text).is_some(), "RFC 3339 text or integer milliseconds")
        }
    };
    if fits { Ok(()) } else { Err(unfit(name, &format!("`{text}` is not {wanted}"))) }
}

fn check_bound(
    name: &str,
    kind: FieldKind,
    bound: UserInputBound,
) -> Result<UserInputBound, QueryError> {
    if matches!(bound, UserInputBound::Unbounded) || bound.term_str() == "*" {
        return Ok(UserInputBound::Unbounded);
    }
    check_value(name, kind, bound.term_str())?;
    let Some(ms) = timestamp::parse(bound.term_str()).filter(|_| kind == FieldKind::Timestamp)
    else {
        return Ok(bound);
    };
    Ok(match bound {
        UserInputBound::Exclusive(_) => UserInputBound::Exclusive(timestamp::rfc3339(ms)),
        UserInputBound::Inclusive(_) => UserInputBound::Inclusive(timestamp::rfc3339(ms)),
        UserInputBound::Unbounded => bound,
    })
}

/// The range of one millisecond, for a text that is known to be a timestamp.
fn moment(name: &str, text: &str) -> UserInputAst {
    let bound = || {
        let ms = timestamp::parse(text).expect("the value has been checked");
        UserInputBound::Inclusive(timestamp::rfc3339(ms))
    };
    UserInputLeaf::Range { field: Some(name.to_owned()), lower: bound(), upper: bound() }.into()
}

fn unfit(field: &str, reason: &str) -> QueryError {
    QueryError::Field { field: field.to_owned(), reason: reason.to_owned() }
}

/// What is left for tantivy to refuse.
fn refused(error: QueryParserError) -> QueryError {
    let reason = match error {
        QueryParserError::AllButQueryForbidden => {
            "a query that only excludes finds nothing; put `*` before it".to_owned()
        }
        QueryParserError::NoDefaultFieldDeclared => {
            "the view has no text or keyword field to look into; name a field".to_owned()
        }
        QueryParserError::PhrasePrefixRequiresAtLeastTwoTerms { phrase, .. } => {
            format!("`{phrase}` is one word; a prefix needs a word before it")
        }
        error => error.to_string(),
    };
    QueryError::Unsupported(reason)
}
