//! `millpond config`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Place;
use super::print::Printer;
use crate::app::App;
use crate::error::AppError;

const EXAMPLES: &str = "\
Examples:
  millpond config check --config millpond.toml
  millpond config show --output json
  MILLPOND_MEMORY_MIB=512 millpond config show";

/// Look at the configuration, or check it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigCommand {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print every setting in force, without secrets.
    Show,
    /// Check the configuration, and build the topologies with it.
    Check,
    /// Print which file is read.
    Path,
}

impl ConfigCommand {
    pub(super) fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        match self.command {
            Command::Show => {
                let config = self.place.load(app)?;
                let text = toml::to_string(&config).map_err(|error| {
                    AppError::Failed(format!("the configuration cannot be written: {error}"))
                })?;
                printer.answer(&config, |_| text)
            }
            Command::Check => {
                let config = self.place.load(app)?;
                crate::roles::check(app, &config)?;
                let path = self.place.file().map(|path| path.display().to_string());
                let answer = json!({ "valid": true, "path": path });
                printer.answer(&answer, |_| match path {
                    Some(path) => format!("{path} is valid"),
                    None => "no file: the defaults and the environment are valid".to_owned(),
                })
            }
            Command::Path => {
                let path = self.place.file().map(|path| path.display().to_string());
                let answer = json!({ "path": path });
                printer.answer(&answer, |_| {
                    path.unwrap_or_else(|| {
                        "none: there is no ./millpond.toml, and no --config was given".to_owned()
                    })
                })
            }
        }
    }
}
