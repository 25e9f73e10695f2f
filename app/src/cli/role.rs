//! `millpond worker`, `indexer`, `notify`, `gateway`: one role of `run` each, on Kafka.

use clap::Args;

use super::Place;
use super::run::run_as;
use crate::app::App;
use crate::config::LogKind;
use crate::error::AppError;
use crate::roles::Roles;

/// Which configuration, and which data.
#[derive(Args)]
pub(super) struct Role {
    #[command(flatten)]
    place: Place,
}

impl Role {
    /// Runs one role until the process is told to end.
    pub(super) fn run(self, app: &App, roles: Roles) -> Result<(), AppError> {
        let config = self.place.load(app)?;
        if config.log.kind == LogKind::Embedded {
            return Err(AppError::Usage(
                "one role alone needs a log that several processes share: set log.kind to \
                 \"kafka\", or do everything in one process with `millpond run`"
                    .to_owned(),
            ));
        }
        run_as(app, &config, roles)
    }
}
