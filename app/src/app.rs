//! The application: what a binary puts together, and its `main`.

use std::path::Path;
use std::process::ExitCode;

use crate::cli;
use crate::config::{Config, TopologyDefaults};
use crate::demo::DemoSource;
use crate::error::AppError;
use crate::topology::TopologyDef;

/// A binary's topologies, and its command line.
pub struct App {
    pub(crate) topologies: Vec<TopologyDef>,
    pub(crate) demo: Option<DemoSource>,
}

impl App {
    /// An application that can run `topologies`.
    pub fn new(topologies: Vec<TopologyDef>) -> Self {
        Self { topologies, demo: None }
    }

    /// Gives the command `demo` its traffic; without it there is no such command.
    #[must_use]
    pub fn with_demo(mut self, source: DemoSource) -> Self {
        self.demo = Some(source);
        self
    }

    /// Does what the command line says: 0 if it went well, 1 if it failed, 2 if the command or the
    /// configuration is wrong.
    pub fn main(self) -> ExitCode {
        cli::main(&self)
    }

    /// The configuration in `path`, or the defaults, with what the environment says.
    pub(crate) fn load(&self, path: Option<&Path>) -> Result<Config, AppError> {
        Ok(Config::load(path, environment(), &self.defaults()?)?)
    }

    /// The configuration in `text`, with what the environment says.
    pub(crate) fn load_text(&self, name: &str, text: &str) -> Result<Config, AppError> {
        Ok(Config::from_text(name, text, environment(), &self.defaults()?)?)
    }

    fn defaults(&self) -> Result<Vec<TopologyDefaults>, AppError> {
        self.topologies.iter().map(TopologyDef::defaults).collect()
    }
}

/// The variables that are text; others cannot be settings.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
