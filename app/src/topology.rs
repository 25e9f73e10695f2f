//! A topology as the binary knows it: a name, its settings with their defaults, how to build it.

use pipeline::{Topology, TopologyError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Config, TopologyDefaults};
use crate::error::AppError;

type Build = dyn Fn(&Config) -> Result<Topology, AppError> + Send + Sync;

/// A topology that can be run.
pub struct TopologyDef {
    name: String,
    about: String,
    /// Its settings as TOML; a text says why they cannot be.
    defaults: Result<toml::Table, String>,
    build: Box<Build>,
}

impl TopologyDef {
    /// The topology `name`, the same that `build` gives to its builder, with the settings `S` of
    /// `[topologies.<name>]`. `about` is one line for people.
    pub fn new<S>(name: &str, about: &str, build: fn(&S) -> Result<Topology, TopologyError>) -> Self
    where
        S: Default + Serialize + DeserializeOwned + 'static,
    {
        let called = name.to_owned();
        let build = move |config: &Config| {
            let settings = config.settings::<S>(&called)?;
            build(&settings).map_err(|error| AppError::Topology { name: called.clone(), error })
        };
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            defaults: toml::Table::try_from(S::default()).map_err(|error| error.to_string()),
            build: Box::new(build),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, in one line.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Its name and settings, for the configuration.
    pub(crate) fn defaults(&self) -> Result<TopologyDefaults, AppError> {
        let defaults = self.defaults.clone().map_err(|reason| {
            AppError::Usage(format!(
                "the settings of topology `{}` cannot be written as TOML: {reason}",
                self.name
            ))
        })?;
        Ok(TopologyDefaults { name: self.name.clone(), defaults })
    }

    /// Builds it with the settings in force.
    pub(crate) fn build(&self, config: &Config) -> Result<Topology, AppError> {
        let topology = (self.build)(config)?;
        if topology.name() == self.name {
            return Ok(topology);
        }
        Err(AppError::Usage(format!(
            "topology `{}` builds one that is named `{}`: its topics and its settings must have \
             one name",
            self.name,
            topology.name()
        )))
    }
}
