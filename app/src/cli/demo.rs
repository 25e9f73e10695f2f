//! `millpond demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{DATA_DIR, duration};
use crate::app::App;
use crate::demo::{self, DemoOptions};
use crate::error::AppError;

const EXAMPLES: &str = "\
Examples:
  millpond demo
  millpond demo --rate 20000 --for 30s --data-dir /tmp/pond
  millpond demo --port 8081 --seed 7";

/// Run everything in one process, on traffic that is made up: payments, orders and system logs go
/// through the shipped topologies into views and alerts.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// Records a second.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// The same seed makes the same traffic.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The port on 127.0.0.1; 0 takes any that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Where the data lies; it survives restarts.
    #[arg(long, default_value = DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,
    /// End after this long: 30s, 5m, 2h.
    #[arg(long = "for", value_parser = duration::parse, value_name = "DURATION")]
    duration: Option<Duration>,
}

impl Demo {
    pub(super) fn run(self, app: &App) -> Result<(), AppError> {
        let Self { rate, seed, port, data_dir, duration } = self;
        let Some(source) = &app.demo else {
            return Err(AppError::Usage("this binary has no demo; `run` runs it".to_owned()));
        };
        demo::run(app, source, &DemoOptions { rate, seed, port, data_dir, duration })
    }
}
