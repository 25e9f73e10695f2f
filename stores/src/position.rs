//! Positions in a log, and tokens made of them.
//!
//! They live here, below every other room, because state, views and answers all carry them. This
//! module does not read a log: whether a position is still valid is for the log to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in one partition: the offset to read next, and the epoch it was learnt in.
///
/// It is valid as long as `offset` is at or below the end of `epoch` in that partition, which is
/// the start of the partition's next epoch. A position that is not valid points at records that
/// the log has lost since: whoever holds it is rebuilt.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Position {
    /// The offset of the next record to read.
    pub offset: u64,
    /// The epoch of the log in which the record before `offset` was written or confirmed.
    pub epoch: u32,
}

impl Position {
    /// Makes a position.
    pub const fn new(offset: u64, epoch: u32) -> Self {
        Self { offset, epoch }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.offset, self.epoch)
    }
}

/// A position in a named source partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourcePosition {
    /// The source topic.
    pub topic: String,
    /// The partition of `topic`.
    pub partition: u32,
    /// The next offset to read there.
    pub position: Position,
}

/// What a writer is given so that it can read its own writes: where its records ended.
///
/// A view contains a write when it has seen every position of the token that feeds it; positions
/// of other topics are ignored. The text form is
/// `v1.<topic>:<partition>:<offset>:<epoch>[,...]`, which needs no escaping in a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// One entry for each partition written.
    pub positions: Vec<SourcePosition>,
}

/// Why a text is not a [`Token`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// The version in front is missing or is one that we do not know.
    #[error("a token starts with `v1.`")]
    Version,
    /// The text is longer than [`Token::LENGTH_MAX`].
    #[error("a token has at most {} bytes", Token::LENGTH_MAX)]
    Length,
    /// An entry is not `topic:partition:offset:epoch`.
    #[error("`{0}` is not <topic>:<partition>:<offset>:<epoch>")]
    Entry(String),
}

impl Token {
    /// The longest text that is read as a token, in bytes.
    pub const LENGTH_MAX: usize = 16 * 1024;
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v1.")?;
        for (index, source) in self.positions.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}:{}", source.topic, source.partition, source.position)?;
        }
        Ok(())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > Self::LENGTH_MAX {
            return Err(TokenError::Length);
        }
        let entries = text.strip_prefix("v1.").ok_or(TokenError::Version)?;
        let positions = entries.split(',').filter(|entry| !entry.is_empty()).map(parse_entry);
        Ok(Self { positions: positions.collect::<Result<_, _>>()? })
    }
}

fn parse_entry(entry: &str) -> Result<SourcePosition, TokenError> {
    let parsed = || {
        let mut parts = entry.split(':');
        let topic = parts.next().filter(|topic| !topic.is_empty())?.to_owned();
        let partition = parts.next()?.parse().ok()?;
        let position = Position::new(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(SourcePosition { topic, partition, position })
    };
    parsed().ok_or_else(|| TokenError::Entry(entry.chars().take(80).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_what_it_wrote() {
        let token = Token {
            positions: vec![
                SourcePosition {
                    topic: "payments".into(),
                    partition: 3,
                    position: Position::new(17, 2),
                },
                SourcePosition {
                    topic: "a.b-c".into(),
                    partition: 0,
                    position: Position::new(u64::MAX, 9),
                },
            ],
        };
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!("v1.".parse(), Ok(Token::default()));
    }

    #[test]
    fn a_text_that_is_no_token_says_why() {
        assert_eq!("payments:1:2:3".parse::<Token>(), Err(TokenError::Version));
        for entry in ["payments", ":1:2:3", "payments:1:2", "payments:1:2:3:4", "p:-1:2:3"] {
            let error = format!("v1.{entry}").parse::<Token>().unwrap_err();
            assert_eq!(error, TokenError::Entry(entry.into()));
        }
    }
}
