//! Whom a command asks: the process that has the data directory, or one that it starts for itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use pipeline::clock::{Clock, SystemClock};

use super::Place;
use crate::app::App;
use crate::client::Client;
use crate::config::{Config, LogKind};
use crate::error::AppError;
use crate::logs;
use crate::roles::{self, DataDirectory, Found, Process, Roles, Setup};

/// A process to ask.
pub(super) struct Target {
    pub(super) client: Client,
    /// The one that was started for this command.
    own: Option<Process>,
}

/// What a command needs if it has to start a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Data that is there already.
    Data(Roles),
    /// A place for data, made if it is not there.
    Room(Roles),
}

impl Target {
    /// Finds the running process, or starts one.
    ///
    /// # Errors
    /// When there is neither a process nor data, or one of them cannot be used.
    pub(super) fn find(app: &App, place: &Place, need: Need) -> Result<Self, AppError> {
        let config = place.load(app)?;
        match roles::find(&config.data_dir)? {
            Found::Held(holder) => {
                let Some(address) = holder.address else {
                    let pid = holder.pid;
                    let reason = format!("process {pid} is starting: try again in a moment");
                    return Err(AppError::Failed(reason));
                };
                let client = Client::new(&format!("http://{address}"), Some(holder.admin_key))?;
                Ok(Self { client, own: None })
            }
            Found::Nothing if matches!(need, Need::Data(_)) && !is_on_kafka(&config) => {
                Err(AppError::Failed(format!(
                    "there is no data in `{}`: start `millpond demo` or `millpond run`, or name another \
                 directory with --data-dir",
                    config.data_dir.display()
                )))
            }
            Found::Free | Found::Nothing => {
                let (Need::Data(roles) | Need::Room(roles)) = need;
                Self::start(app, config, roles)
            }
        }
    }

    /// A process at `url`, wherever its data lies.
    pub(super) fn at(url: &str) -> Result<Self, AppError> {
        Ok(Self { client: Client::new(url, None)?, own: None })
    }

    /// Whether it was started for this command.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The process that was started, to wait for its views.
    pub(super) fn own(&self) -> Option<&Process> {
        self.own.as_ref()
    }

    /// What the wall clock of this machine shows, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        SystemClock::new().wall_ms()
    }

    /// Ends the process that was started for this command.
    ///
    /// # Errors
    /// When it does not end well.
    pub(super) fn close(self) -> Result<(), AppError> {
        self.own.map_or(Ok(()), Process::stop)
    }

    fn start(app: &App, mut config: Config, roles: Roles) -> Result<Self, AppError> {
        logs::start("warn", None);
        config.http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let directory = DataDirectory::lock(&config.data_dir, clock.wall_ms())?;
        let bound = roles::bind(&config.http)?;
        let url = format!("http://{}", bound.address);
        let place = (directory, bound);
        let setup = Setup { app, config: &config, roles, clock, place, more: Router::new() };
        let process = Process::start(setup)?;
        let client = Client::new(&url, Some(process.holder().admin_key.clone()))?;
        Ok(Self { client, own: Some(process) })
    }
}

/// Whether the records lie elsewhere than in the data directory.
fn is_on_kafka(config: &Config) -> bool {
    config.log.kind == LogKind::Kafka
}
