//! Names of the topics that a topology makes. **Format.**
//!
//! `<app>-g<generation>` is in front of everything that belongs to one generation of a topology:
//! its changelogs, repartition and view topics, and its consumer group. `to` topics, alerts and
//! dead letters belong to the application.

/// An application in one of its generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    app: String,
    generation: u32,
}

impl Names {
    /// Names for generation `generation` of `app`.
    pub fn new(app: &str, generation: u32) -> Self {
        Self { app: app.to_owned(), generation }
    }

    /// The consumer group, and the prefix of the generation's topics.
    pub fn group(&self) -> String {
        format!("{}-g{}", self.app, self.generation)
    }

    /// The topic of a store's changelog.
    pub fn changelog(&self, store: &str) -> String {
        format!("{}-{store}-changelog", self.group())
    }

    /// The topic between two sub-topologies.
    pub fn repartition(&self, name: &str) -> String {
        format!("{}-{name}-repartition", self.group())
    }

    /// The topic of a view's documents.
    pub fn view(&self, view: &str) -> String {
        format!("{}-{view}-view", self.group())
    }

    /// The topic of the application's alerts.
    pub fn alerts(&self) -> String {
        format!("{}-alerts", self.app)
    }

    /// The topic of records that could not be handled.
    pub fn dead_letters(&self) -> String {
        format!("{}-dlq", self.app)
    }
}
