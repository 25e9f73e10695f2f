//! What stops a command, and the exit code that it has then.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use alerts::{EndpointError, NotifierError, StopError};
use connectors::file::FileError;
use connectors::listen::ListenError;
use pipeline::follow::FollowError;
use pipeline::log::LogError;
use pipeline::worker::WorkerError;
use pipeline::{PlanError, TopologyError};
use stores::state::StateError;

use crate::config::{ConfigError, MemoryError};
use crate::roles::DirectoryError;

/// A command has failed. [`AppError::exit_code`] says whose mistake it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The command cannot be done as it was given.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration grants too little memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A topology is wrong.
    #[error("topology `{name}`: {error}")]
    Topology {
        /// The topology.
        name: String,
        /// What is wrong.
        error: TopologyError,
    },
    /// A topology does not fit the topics that are there.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An endpoint cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The port is taken.
    #[error(
        "port {} is in use: another millpond? try --port {}",
        address.port(),
        address.port().checked_add(1).unwrap_or(8080)
    )]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The indexer failed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The notifier did not start.
    #[error(transparent)]
    Notifier(#[from] NotifierError),
    /// The notifier did not end well.
    #[error(transparent)]
    NotifierStop(#[from] StopError),
    /// A file cannot be followed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A socket cannot take syslog.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A file of the user's, or standard input, cannot be read.
    #[error("cannot read `{path}`: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer cannot be printed.
    #[error("cannot write the answer: {0}")]
    Output(#[source] io::Error),
    /// A running process could not be asked.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// A running process has refused.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// Something else, said whole.
    #[error("{0}")]
    Failed(String),
}

impl AppError {
    /// 2 if what the user wrote is wrong, 1 otherwise.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Memory(_) | Self::Endpoint(_) => {
                ExitCode::from(2)
            }
            Self::Topology { .. }
            | Self::Plan(_)
            | Self::Directory(_)
            | Self::Bind { .. }
            | Self::PortInUse { .. }
            | Self::Log(_)
            | Self::State(_)
            | Self::Worker(_)
            | Self::Follow(_)
            | Self::Notifier(_)
            | Self::NotifierStop(_)
            | Self::File(_)
            | Self::Listen(_)
            | Self::Read { .. }
            | Self::Output(_)
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

/// An error with everything behind it, as one text. What is said already is not said again.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {said}");
        }
        source = cause.source();
    }
    text
}
