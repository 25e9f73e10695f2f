//! What one line says about failed logins.

use serde::{Deserialize, Serialize};

use super::Limits;
use super::attempt::{Line, parse};
use crate::distinct::cut;

/// The source of attempts whose line does not say where they come from.
const UNKNOWN: &str = "-";

/// The longest source, in bytes: a name in the DNS has at most 253. What is longer is no address.
const SOURCE_BYTES_MAX: usize = 255;

/// How much of a method is kept, in bytes: the longest one has half of it.
const METHOD_BYTES_MAX: usize = 64;

/// A line of a system log, under its host as the record's key. What else its JSON holds is left
/// alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyslogLine {
    /// The program, without its process id; empty if the line names none.
    #[serde(default)]
    pub app: String,
    /// What it says.
    pub message: String,
}

/// Failed attempts, or more about some that another line counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How many attempts the line stands for: 0 if another line counts them.
    pub attempts: u32,
    /// Address or host name that they came from; `-` if the line does not say.
    pub source: String,
    /// The name that was tried, if the line says.
    pub user: Option<String>,
    /// How it was tried, if the line counts.
    pub method: Option<String>,
    /// Whether the host has no such user.
    pub invalid_user: bool,
    /// When, milliseconds since 1970-01-01 UTC.
    pub at: i64,
    /// The line itself.
    pub message: String,
}

impl Failure {
    /// Reads a line that was written at `at`; `None` if it concerns something else.
    pub fn read(line: &SyslogLine, at: i64, limits: Limits) -> Option<Self> {
        let (attempts, source, user, method, invalid_user) = match parse(&line.app, &line.message) {
            Line::Attempt(a) => (a.count, a.source, a.user, Some(a.method), a.invalid_user),
            Line::Attribute(a) => (0, a.source, a.user, None, true),
            Line::Other => return None,
        };
        let source = source.filter(|source| source.len() <= SOURCE_BYTES_MAX);
        Some(Self {
            attempts,
            source: source.unwrap_or(UNKNOWN).to_owned(),
            user: user.map(|user| cut(user, limits.user_bytes_max).to_owned()),
            method: method.map(|method| cut(method, METHOD_BYTES_MAX).to_owned()),
            invalid_user,
            at,
            message: cut(&line.message, limits.message_bytes_max).to_owned(),
        })
    }
}
