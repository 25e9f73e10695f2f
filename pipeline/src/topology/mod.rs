//! Topologies: what the DSL builds, checked, and how it becomes tasks.
//!
//! [`Topology`] is the checked graph; [`Plan`] adds what only the log knows (numbers of
//! partitions). Operators are in [`crate::operators`], running them is [`crate::task`]'s job.

mod check;
mod describe;
mod graph;
mod plan;

pub use check::TopologyError;
pub(crate) use check::check as check_graph;
pub(crate) use graph::{
    Closes, GlobalSpec, Graph, Role, SinkRef, SinkSpec, SourceSpec, StoreRef, Target, TopicName,
    ViewSpec,
};
pub use plan::{Plan, PlanError, TaskId, ViewPlan};
pub(crate) use plan::{SourceRange, Upstream};

use crate::bad_record::SourceRules;
use crate::format::names::Names;

/// A checked topology: immutable, shared by all workers.
pub struct Topology {
    pub(crate) graph: Graph,
    pub(crate) names: Names,
    /// For each sub-topology its nodes, in order.
    pub(crate) subs: Vec<Vec<usize>>,
}

impl Topology {
    /// The application's name.
    pub fn name(&self) -> &str {
        &self.graph.name
    }

    /// The external topics that the topology reads, sorted. A source's place in this list is its
    /// number in origins and control records.
    pub fn source_topics(&self) -> Vec<String> {
        let mut topics: Vec<String> =
            self.graph.sources.iter().filter_map(|source| source.topic.external()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The external topics that global tables read, sorted.
    pub fn global_topics(&self) -> Vec<String> {
        let mut topics: Vec<String> =
            self.graph.globals.iter().map(|global| global.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The topic that the topology's alerts go to, if it has any.
    pub fn alert_topic(&self) -> Option<String> {
        let alerts = |sink: &SinkSpec| matches!(sink.target, Target::Alerts);
        self.graph.sinks.iter().any(alerts).then(|| self.names.alerts())
    }

    /// The topics that the topology writes for others: those of `to`.
    pub fn output_topics(&self) -> Vec<String> {
        let to = |sink: &SinkSpec| match &sink.target {
            Target::To(topic) => Some(topic.clone()),
            Target::Repartition(_) | Target::View(_) | Target::Alerts => None,
        };
        let mut topics: Vec<String> = self.graph.sinks.iter().filter_map(to).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The consumer group of its workers.
    pub fn group(&self) -> String {
        self.names.group()
    }

    /// The names of its views.
    pub fn view_names(&self) -> Vec<String> {
        self.graph.views.iter().map(|view| view.name.clone()).collect()
    }

    /// Gives the source `topic` rules that go before those of its [`crate::Consumed`]: what the
    /// configuration says. A topic that is not a source is left alone.
    pub fn set_source_rules(&mut self, topic: &str, rules: SourceRules) {
        for source in &mut self.graph.sources {
            if source.topic.external().as_deref() == Some(topic) {
                source.rules = rules.or(source.rules);
            }
        }
    }

    /// The topology as Kafka Streams' `TopologyDescription` prints it.
    pub fn describe(&self) -> String {
        describe::describe(self)
    }

    pub(crate) fn topic(&self, name: &TopicName) -> String {
        match name {
            TopicName::External(topic) => topic.clone(),
            TopicName::Repartition(name) => self.names.repartition(name),
        }
    }

    pub(crate) fn target(&self, target: &Target) -> String {
        match target {
            Target::To(topic) => topic.clone(),
            Target::Repartition(name) => self.names.repartition(name),
            Target::View(view) => self.names.view(view),
            Target::Alerts => self.names.alerts(),
        }
    }
}
