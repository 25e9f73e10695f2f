//! Prints answers: as text for people, as JSON for programs.

use std::io::{self, Write as _};

use serde::Serialize;

use super::Output;
use crate::error::AppError;

/// Prints to standard output.
pub(super) struct Printer {
    output: Output,
}

impl Printer {
    /// A printer of one form.
    pub(super) fn new(output: Output) -> Self {
        Self { output }
    }

    /// Whether programs read it.
    pub(super) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints `value` for programs, `text` for people.
    pub(super) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), AppError> {
        match self.output {
            Output::Text => self.text(&text(value)),
            Output::Json => {
                let json = serde_json::to_string_pretty(value);
                self.text(&json.map_err(|error| AppError::Output(error.into()))?)
            }
        }
    }

    /// Prints `text`, and a line end if it has none.
    pub(super) fn text(&self, text: &str) -> Result<(), AppError> {
        let mut out = io::stdout().lock();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(end.as_bytes()))
            .and_then(|()| out.flush());
        match written {
            // Whoever read has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => written.map_err(AppError::Output),
        }
    }
}
