//! `millpond run`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Args;
use pipeline::clock::{Clock, SystemClock};
use pipeline::fail_point;

use super::Place;
use crate::app::App;
use crate::config::Config;
use crate::error::AppError;
use crate::logs;
use crate::roles::{self, DataDirectory, Ending, Process, Roles, Setup};

/// Nothing is drawn: waking up is only for signals.
const IDLE: Duration = Duration::from_secs(3600);

const EXAMPLES: &str = "\
Examples:
  millpond run --config millpond.toml
  MILLPOND_HTTP__LISTEN=127.0.0.1:9000 millpond run

`millpond config show` prints what is in force. SIGTERM and Ctrl-C commit, close and end; a second
one ends at once.";

/// Run what the configuration says: sources, topologies, views, alerts and the HTTP API in one
/// process.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    #[command(flatten)]
    place: Place,
}

impl Run {
    pub(super) fn run(self, app: &App) -> Result<(), AppError> {
        run_as(app, &self.place.load(app)?, Roles::All)
    }
}

/// Does `roles` until the process is told to end, or a part fails.
pub(super) fn run_as(app: &App, config: &Config, roles: Roles) -> Result<(), AppError> {
    logs::start(&config.log_level, None);
    arm_fail_point()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let directory = DataDirectory::lock(&config.data_dir, clock.wall_ms())?;
    let bound = roles::bind(&config.http)?;
    let address = bound.address;
    let place = (directory, bound);
    let process = Process::start(Setup { app, config, roles, clock, place, more: Router::new() })?;
    let data_dir = config.data_dir.display();
    tracing::info!(%address, %data_dir, ?roles, pid = process.holder().pid, "running");
    let ending = process.wait(None, IDLE, |_| {});
    tracing::info!("stopping");
    let stopped = process.stop();
    match ending {
        Ending::Failed(reason) => Err(AppError::Failed(reason)),
        Ending::Asked => stopped,
    }
}

/// Has the process kill itself where the environment says so: for tests of crashes.
fn arm_fail_point() -> Result<(), AppError> {
    let Ok(text) = std::env::var(fail_point::VARIABLE) else { return Ok(()) };
    let armed = text.parse::<fail_point::Armed>();
    let armed = armed.map_err(|error| AppError::Usage(error.to_string()))?;
    tracing::warn!(point = %armed.point, count = armed.count, "a fail-point is armed");
    fail_point::arm(armed);
    Ok(())
}
