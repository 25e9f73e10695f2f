//! `millpond version`.

use clap::Args;
use serde::Serialize;

use super::print::Printer;
use crate::error::AppError;

/// Print the version.
#[derive(Args)]
pub(super) struct Version {}

#[derive(Serialize)]
struct Answer {
    name: &'static str,
    version: &'static str,
}

impl Version {
    pub(super) fn run(self, printer: &Printer) -> Result<(), AppError> {
        let answer = Answer { name: "millpond", version: env!("CARGO_PKG_VERSION") };
        printer.answer(&answer, |answer| format!("{} {}", answer.name, answer.version))
    }
}
