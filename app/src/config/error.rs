//! What can be wrong with a configuration, and how it is shown.
//!
//! A [`Fault`] is raised where the mistake is found and knows a [`Place`]; [`Origin`], which holds
//! the text, turns it into a [`ConfigError`] that a person can act on.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::nearest::nearest;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself is out of reach.
    #[error("cannot read the configuration `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
}

/// One mistake: where, what, and the way out if it is known.
#[derive(Debug)]
pub struct Diagnostic {
    /// `file:line:column`, or the name of the environment variable; empty when neither applies.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// The line with a mark below the mistake, for a place in a file. Secrets are blanked out.
    pub excerpt: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file: a range of bytes of its text.
    Text(Range<usize>),
    /// In the environment: the variable's name.
    Variable(Arc<str>),
    /// Nowhere: it is a default.
    Default,
}

/// A mistake that still lacks the text it was found in.
#[derive(Debug)]
pub(super) struct Fault {
    place: Place,
    /// The keys that lead to the value, outermost first.
    path: Vec<String>,
    message: String,
    /// The name that may have been meant.
    meant: Option<String>,
}

impl Fault {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, path: Vec::new(), message: message.into(), meant: None }
    }

    /// `name` is none of `known`: a `kind` of thing that does not exist.
    pub(super) fn unknown<'k>(
        kind: &str,
        name: &str,
        place: Place,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Self {
        let meant = nearest(name, known).map(str::to_owned);
        Self { meant, ..Self::new(place, format!("unknown {kind} `{name}`")) }
    }

    /// The same fault, at `place` unless a nearer one is known.
    pub(super) fn at(mut self, place: &Place) -> Self {
        if self.place == Place::Default {
            self.place = place.clone();
        }
        self
    }

    /// The same fault, seen from the table that holds `key`.
    pub(super) fn within(mut self, key: impl Into<String>) -> Self {
        self.path.insert(0, key.into());
        self
    }

    /// The same fault, seen from the root of the tree.
    pub(super) fn within_path(mut self, path: &[String], key: Option<&str>) -> Self {
        self.path = path.iter().cloned().chain(key.map(str::to_owned)).collect();
        self
    }

    /// The same fault, with a reason behind its message.
    pub(super) fn because(mut self, reason: &str) -> Self {
        self.message.push_str(": ");
        self.message.push_str(reason);
        self
    }

    fn help(&self) -> Option<String> {
        let meant = self.meant.as_ref()?;
        let Place::Variable(name) = &self.place else {
            return Some(format!("did you mean `{meant}`?"));
        };
        if self.message.starts_with("unknown value") {
            return Some(format!("did you mean `{name}={meant}`?"));
        }
        // The path leads to the table that lacks the key: the key is the next level.
        let levels = name.trim_start_matches(super::env::PREFIX).split("__").enumerate();
        let corrected: Vec<String> = levels
            .map(|(depth, level)| match depth == self.path.len() {
                true => super::env::segment(meant),
                false => level.to_owned(),
            })
            .collect();
        Some(format!("did you mean `{}{}`?", super::env::PREFIX, corrected.join("__")))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "`{}`: {}", self.path.join("."), self.message),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Place::Default, message.to_string())
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::custom(format_args!("expected {}, found {found}", in_words(&expected.to_string())))
    }

    fn invalid_value(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("value", variant, Place::Default, expected.iter().copied())
            .because(&format!("it is one of {}", quoted(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("`{field}` must be set"))
    }
}

/// Says Rust's type names in words.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "path string" => "a path",
        other if other.starts_with("struct ") || other == "a map" => "a table",
        other => other,
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// The file's name and text.
#[derive(Clone, Default)]
pub(super) struct Origin {
    name: Arc<str>,
    text: Arc<str>,
}

/// Names the file only: its text may hold secrets.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.name)
    }
}

impl Origin {
    /// Reads the file; without a path there is an empty one.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self { name: path.display().to_string().into(), text: text.into() })
    }

    /// A text that is no file's.
    pub(super) fn of_text(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Gives a fault its line, its excerpt and its help.
    pub(super) fn explain(&self, fault: &Fault) -> ConfigError {
        let (place, excerpt) = match &fault.place {
            Place::Default => (self.name.to_string(), None),
            Place::Variable(name) => (name.to_string(), None),
            Place::Text(range) => {
                let spot = Spot::of(&self.text, range);
                let place = format!("{}:{}:{}", self.name, spot.line, spot.column);
                (place, Some(spot.excerpt()))
            }
        };
        let (help, message) = (fault.help(), fault.to_string());
        ConfigError::Invalid(Box::new(Diagnostic { place, message, excerpt, help }))
    }
}

/// A range of a text as people count: lines and columns from 1, columns in characters.
struct Spot<'t> {
    line: usize,
    column: usize,
    width: usize,
    content: &'t str,
}

impl<'t> Spot<'t> {
    fn of(text: &'t str, range: &Range<usize>) -> Self {
        let start = floor_char_boundary(text, range.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
        let end = floor_char_boundary(text, range.end).clamp(start, line_end);
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            content: text[line_start..line_end].trim_end(),
        }
    }

    fn excerpt(&self) -> String {
        let number = self.line.to_string();
        let shown = without_secret(self.content);
        let room = shown.chars().count().saturating_sub(self.column - 1).max(1);
        let mark = "^".repeat(self.width.min(room));
        let gutter = " ".repeat(number.len());
        // A tab is repeated, so that the mark stands below what it marks.
        let lead: String = (self.content.chars().take(self.column - 1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        format!("{number} | {shown}\n{gutter} | {lead}{mark}")
    }
}

/// Blanks out what follows the first key of the line that speaks of a secret itself.
fn without_secret(line: &str) -> String {
    let Some(start) = line.to_ascii_lowercase().find("secret") else { return line.to_owned() };
    let is_path = line[start..].to_ascii_lowercase().starts_with("secret_file");
    match line[start..].find('=') {
        Some(equals) if !is_path => format!("{} ***", &line[..=start + equals]),
        _ => line.to_owned(),
    }
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}
