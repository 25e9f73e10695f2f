//! A topology on a log: numbers of partitions, internal topics, tasks, and which source
//! partitions reach what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use stores::views::{Reach, ViewSchema, ViewSource};

use super::{Graph, Role, SinkRef, SourceSpec, StoreRef, Target, TopicName, Topology};
use crate::log::{Cleanup, Log, LogError, TopicPartition, TopicSpec};
use crate::task::Task;

/// One task: a sub-topology on one partition of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The sub-topology's number.
    pub sub: usize,
    /// The partition of its inputs.
    pub partition: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.sub, self.partition)
    }
}

/// The topology does not fit the topics that are there.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Inputs that are joined have different numbers of partitions.
    #[error(
        "{node} in sub-topology {sub} of `{app}` puts together topics that must have equally many \
         partitions, but {topics}; make a topic with the right number and copy, or put \
         `.repartition(\"name\")` behind one of them"
    )]
    NotCoPartitioned {
        /// The application.
        app: String,
        /// The sub-topology.
        sub: usize,
        /// The node that needs it.
        node: String,
        /// Topics with their numbers of partitions.
        topics: String,
    },
    /// Topics of the topology's own are there, and are not as it needs them.
    #[error(
        "topics of `{app}` itself are there and do not fit: {faults}; set them back, or, if the \
         partitions of an input have changed, set those back or delete what is named here with \
         what it holds"
    )]
    Internal {
        /// The application.
        app: String,
        /// What is wrong with which.
        faults: String,
    },
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// All source partitions of one source topic that reach something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceRange {
    /// The number of the source topic.
    pub(crate) source: u16,
    pub(crate) partitions: u32,
    pub(crate) reach: Reach,
}

/// A sub-topology with what its tasks need to know.
pub(crate) struct SubPlan {
    pub(crate) partitions: u32,
    /// Input topics with the place of their source in the graph.
    pub(crate) inputs: Vec<(Arc<str>, usize)>,
    pub(crate) stores: Vec<StoreRef>,
    pub(crate) sinks: Vec<SinkRef>,
    /// The source partitions that reach its tasks.
    pub(crate) sources: Vec<SourceRange>,
    /// Those of its inputs that are repartition topics: with them, clocks travel with the records.
    pub(crate) upstreams: Vec<Upstream>,
}

/// A repartition topic as its reader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    /// Its place among the reader's inputs.
    pub(crate) input: usize,
    /// The node that reads it.
    pub(crate) node: usize,
    /// The tasks that write it.
    pub(crate) tasks: u32,
    /// The source partitions that reach those tasks, and through them this topic.
    pub(crate) sources: Vec<SourceRange>,
}

/// A view, ready to be followed.
#[derive(Clone, Debug)]
pub struct ViewPlan {
    /// The topic of its documents.
    pub topic: String,
    /// Its schema, with sources and partitions filled in.
    pub schema: ViewSchema,
    /// The topology's source topics by number, as control records name them.
    pub source_topics: Vec<String>,
}

/// A topology on a log.
pub struct Plan {
    pub(crate) topology: Arc<Topology>,
    pub(crate) subs: Vec<SubPlan>,
    /// The partitions of each sink's topic.
    pub(crate) sink_partitions: Vec<u32>,
    /// The source topics by number.
    pub(crate) source_topics: Vec<Arc<str>>,
    /// The views.
    pub views: Vec<ViewPlan>,
}

impl Plan {
    /// Plans `topology` and makes the topics that are missing; external ones get
    /// `default_partitions` and `cleanup`.
    ///
    /// # Errors
    /// When inputs that are joined differ in their numbers of partitions, or the log refuses.
    pub fn make(
        topology: Arc<Topology>,
        log: &dyn Log,
        (default_partitions, cleanup): (u32, Cleanup),
    ) -> Result<Self, PlanError> {
        let external = Topics { log, default_partitions, cleanup };
        let source_topics = topology.source_topics();
        let mut counts = BTreeMap::new();
        for topic in source_topics.iter().chain(&topology.output_topics()) {
            counts.insert(topic.clone(), external.ensure(topic, cleanup)?);
        }
        for topic in topology.global_topics() {
            external.ensure(&topic, Cleanup::Compact)?;
        }
        let planner = Planner { topology: &topology, counts };
        let subs = planner.plan()?;
        let counts = planner.counts;
        let sink_partitions = sink_partitions(&topology, &counts, &subs);
        let views = views(&topology, &subs);
        let plan = Self {
            subs,
            sink_partitions,
            source_topics: source_topics.iter().map(|topic| topic.as_str().into()).collect(),
            views,
            topology,
        };
        plan.make_internal_topics(log, cleanup)?;
        Ok(plan)
    }

    /// The topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// All topics that its tasks read, by name: what the group subscribes to.
    pub fn input_topics(&self) -> Vec<String> {
        let inputs = self.subs.iter().flat_map(|sub| &sub.inputs);
        let mut topics: Vec<String> = inputs.map(|(topic, _)| topic.to_string()).collect();
        topics.sort();
        topics
    }

    /// All tasks.
    pub fn tasks(&self) -> Vec<TaskId> {
        let tasks = |(sub, plan): (usize, &SubPlan)| {
            (0..plan.partitions).map(move |partition| TaskId { sub, partition })
        };
        self.subs.iter().enumerate().flat_map(tasks).collect()
    }

    /// What a task reads.
    pub fn inputs_of(&self, task: TaskId) -> Vec<TopicPartition> {
        Task::inputs_of(self, task)
    }

    /// Whether a topic lies between two sub-topologies, so that nobody else reads it.
    pub(crate) fn is_repartition(&self, topic: &str) -> bool {
        let sinks = &self.topology.graph.sinks;
        sinks.iter().any(|sink| {
            matches!(sink.target, Target::Repartition(_))
                && self.topology.target(&sink.target) == topic
        })
    }

    fn make_internal_topics(&self, log: &dyn Log, external: Cleanup) -> Result<(), PlanError> {
        let graph = &self.topology.graph;
        let names = &self.topology.names;
        let unbounded = Cleanup::Delete { retention_ms: None, retention_bytes: None };
        let mut topics = Vec::new();
        for (sink, partitions) in graph.sinks.iter().zip(&self.sink_partitions) {
            let cleanup = match sink.target {
                Target::To(_) => continue,
                Target::Repartition(_) => unbounded,
                Target::View(_) => Cleanup::Compact,
                Target::Alerts => external,
            };
            topics.push((self.topology.target(&sink.target), *partitions, cleanup));
        }
        for (number, sub) in self.subs.iter().enumerate() {
            for store in self.store_names(number) {
                topics.push((names.changelog(&store), sub.partitions, Cleanup::Compact));
            }
        }
        topics.push((names.dead_letters(), 1, external));
        let mut faults = Vec::new();
        for (name, partitions, cleanup) in topics {
            match log.create_topic(&TopicSpec { name, partitions, cleanup }) {
                Ok(()) => {}
                Err(fault @ LogError::TopicDiffers { .. }) => faults.push(fault.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let (app, faults) = (self.topology.name().to_owned(), faults.join("; "));
        Err(PlanError::Internal { app, faults })
    }

    /// The stores of a sub-topology. The first one keeps what the task itself must remember; a
    /// sub-topology without a store has one for that alone.
    pub(crate) fn store_names(&self, sub: usize) -> Vec<String> {
        let stores = &self.subs[sub].stores;
        if stores.is_empty() {
            return vec![format!("sub{sub}-meta")];
        }
        let graph = &self.topology.graph;
        stores.iter().map(|store| graph.stores[store.0].name.clone()).collect()
    }
}

struct Topics<'a> {
    log: &'a dyn Log,
    default_partitions: u32,
    cleanup: Cleanup,
}

impl Topics<'_> {
    /// The number of partitions of a topic, which is made if it is not there.
    fn ensure(&self, topic: &str, cleanup: Cleanup) -> Result<u32, LogError> {
        if let Some(found) = self.log.topics()?.get(topic) {
            return Ok(found.partitions);
        }
        let compact = cleanup == Cleanup::Compact;
        let cleanup = if compact { cleanup } else { self.cleanup };
        let partitions = self.default_partitions;
        self.log.create_topic(&TopicSpec { name: topic.to_owned(), partitions, cleanup })?;
        Ok(partitions)
    }
}

struct Planner<'a> {
    topology: &'a Topology,
    /// The partitions of external topics.
    counts: BTreeMap<String, u32>,
}

/// Source topics by their numbers.
type Reached = BTreeMap<u16, SourceRange>;

impl Planner<'_> {
    fn plan(&self) -> Result<Vec<SubPlan>, PlanError> {
        let mut known = BTreeMap::new();
        let subs = 0..self.topology.subs.len();
        let partitions =
            subs.map(|sub| self.partitions(sub, &mut known)).collect::<Result<Vec<u32>, _>>()?;
        let mut written = BTreeMap::new();
        let subs = 0..partitions.len();
        Ok(subs.map(|sub| self.plan_sub(sub, &partitions, &mut written)).collect())
    }

    fn graph(&self) -> &Graph {
        &self.topology.graph
    }

    fn sub_of(&self, node: usize) -> usize {
        let holds = |nodes: &Vec<usize>| nodes.contains(&node);
        self.topology.subs.iter().position(holds).expect("every node is in a sub-topology")
    }

    /// The sink that writes a repartition topic.
    fn writer_of(&self, repartition: &str) -> usize {
        let writes = |target: &Target| matches!(target, Target::Repartition(n) if n == repartition);
        let sink = self.graph().sinks.iter().find(|sink| writes(&sink.target));
        sink.expect("made together with its source").node
    }

    fn sources_of(&self, sub: usize) -> impl Iterator<Item = usize> {
        self.topology.subs[sub].iter().filter_map(|node| match self.graph().nodes[*node].role {
            Role::Source(source) => Some(source),
            Role::Processor(_) | Role::Sink(_) => None,
        })
    }

    /// The external topics that a sub-topology reads.
    fn externals_of(&self, sub: usize) -> Vec<String> {
        let topic = |source: usize| self.graph().sources[source].topic.external();
        self.sources_of(sub).filter_map(topic).collect()
    }

    /// The repartition topics that a sub-topology reads: their sources and the sinks that write
    /// them.
    fn repartitions_of(&self, sub: usize) -> Vec<(&SourceSpec, usize)> {
        let read = |source: usize| {
            let source = &self.graph().sources[source];
            match &source.topic {
                TopicName::Repartition(name) => Some((source, self.writer_of(name))),
                TopicName::External(_) => None,
            }
        };
        self.sources_of(sub).filter_map(read).collect()
    }

    fn plan_sub(
        &self,
        sub: usize,
        partitions: &[u32],
        written: &mut BTreeMap<usize, Reached>,
    ) -> SubPlan {
        let mut stores: Vec<StoreRef> = Vec::new();
        let mut sinks = Vec::new();
        for node in &self.topology.subs[sub] {
            let of_node = self.graph().stores_of(*node).iter();
            let fresh: Vec<StoreRef> = of_node.filter(|s| !stores.contains(s)).copied().collect();
            stores.extend(fresh);
            if let Role::Sink(sink) = self.graph().nodes[*node].role {
                sinks.push(sink);
            }
        }
        let upstreams = self.upstreams(sub, partitions, written);
        let mut sources = self.externals(sub);
        for range in upstreams.iter().flat_map(|upstream| &upstream.sources) {
            sources.insert(range.source, SourceRange { reach: Reach::All, ..range.clone() });
        }
        let place = |source: usize| {
            let spec = &self.graph().sources[source];
            (Arc::from(self.topology.topic(&spec.topic)), source)
        };
        SubPlan {
            partitions: partitions[sub],
            inputs: self.sources_of(sub).map(place).collect(),
            stores,
            sinks,
            sources: sources.into_values().collect(),
            upstreams,
        }
    }

    fn upstreams(
        &self,
        sub: usize,
        partitions: &[u32],
        written: &mut BTreeMap<usize, Reached>,
    ) -> Vec<Upstream> {
        let mut upstreams = Vec::new();
        for (input, source) in self.sources_of(sub).enumerate() {
            let TopicName::Repartition(name) = &self.graph().sources[source].topic else {
                continue;
            };
            let (node, writer) = (self.graph().sources[source].node, self.writer_of(name));
            let sources = self.written_by(writer, written).into_values().collect();
            let tasks = partitions[self.sub_of(writer)];
            upstreams.push(Upstream { input, node, tasks, sources });
        }
        upstreams
    }

    /// The number of its tasks: the partitions of its external topics, else as many as the widest
    /// sub-topology before has.
    fn partitions(&self, sub: usize, known: &mut BTreeMap<usize, u32>) -> Result<u32, PlanError> {
        if let Some(partitions) = known.get(&sub) {
            return Ok(*partitions);
        }
        let externals = self.externals_of(sub);
        let Some(first) = externals.first() else {
            // A sub-topology that reads what it writes is no wider for it.
            known.insert(sub, 1);
            let mut widest = 1;
            for (source, writer) in self.repartitions_of(sub) {
                if !source.beside {
                    widest = widest.max(self.partitions(self.sub_of(writer), known)?);
                }
            }
            known.insert(sub, widest);
            return Ok(widest);
        };
        let count = self.counts[first];
        if externals.iter().any(|topic| self.counts[topic] != count) {
            return Err(self.not_co_partitioned(sub, &externals));
        }
        known.insert(sub, count);
        Ok(count)
    }

    fn not_co_partitioned(&self, sub: usize, externals: &[String]) -> PlanError {
        let topic = |topic: &String| format!("`{topic}` has {}", self.counts[topic]);
        let topics = externals.iter().map(topic).collect::<Vec<_>>().join(", ");
        // A node that several of them reach is why they are read together.
        let graph = self.graph();
        let joins = |node: &&usize| {
            let stores = graph.stores_of(**node);
            let shares = |other: &usize| graph.stores_of(*other).iter().any(|s| stores.contains(s));
            let others = (0..graph.nodes.len()).filter(|other| *other < **node && shares(other));
            let sources = others.chain([**node]).flat_map(|node| graph.sources_above(node));
            let external = sources.filter_map(|at| graph.sources[at].topic.external());
            let counts: BTreeSet<u32> = external.map(|topic| self.counts[&topic]).collect();
            counts.len() > 1
        };
        let node = self.topology.subs[sub].iter().find(joins);
        let node = node.map_or("a shared store", |node| graph.nodes[*node].name.as_str());
        let (app, node) = (self.topology.name().to_owned(), node.to_owned());
        PlanError::NotCoPartitioned { app, sub, node, topics }
    }

    /// The sources from which records reach a repartition topic through its sink. What is read
    /// from topics whose sources come after the sink cannot: that is how a loop ends.
    fn written_by(&self, sink: usize, written: &mut BTreeMap<usize, Reached>) -> Reached {
        if let Some(reached) = written.get(&sink) {
            return reached.clone();
        }
        let sub = self.sub_of(sink);
        let mut reached = self.externals(sub);
        for (source, writer) in self.repartitions_of(sub) {
            if source.node < sink {
                for (number, range) in self.written_by(writer, written) {
                    reached.insert(number, SourceRange { reach: Reach::All, ..range });
                }
            }
        }
        written.insert(sink, reached.clone());
        reached
    }

    /// The topics that a sub-topology reads directly.
    fn externals(&self, sub: usize) -> Reached {
        let numbers = self.topology.source_topics();
        let range = |topic: &String| {
            let number = numbers.iter().position(|name| name == topic);
            let number = number.expect("external inputs are source topics");
            let source = u16::try_from(number).expect("a topology has far fewer sources");
            let partitions = self.counts[topic];
            (source, SourceRange { source, partitions, reach: Reach::Same })
        };
        self.externals_of(sub).iter().map(range).collect()
    }
}

fn sink_partitions(
    topology: &Topology,
    counts: &BTreeMap<String, u32>,
    subs: &[SubPlan],
) -> Vec<u32> {
    let graph = &topology.graph;
    let of_sub = |node: usize| {
        let sub = topology.subs.iter().position(|nodes| nodes.contains(&node));
        subs[sub.expect("every node is in a sub-topology")].partitions
    };
    let reader = |name: &str| {
        let reads = |topic: &TopicName| matches!(topic, TopicName::Repartition(n) if n == name);
        let source = graph.sources.iter().find(|source| reads(&source.topic));
        of_sub(source.expect("made together with its sink").node)
    };
    let partitions = |target: &Target, node: usize| match target {
        Target::To(topic) => counts[topic],
        Target::Repartition(name) => reader(name),
        Target::View(_) => of_sub(node),
        Target::Alerts => 1,
    };
    graph.sinks.iter().map(|sink| partitions(&sink.target, sink.node)).collect()
}

fn views(topology: &Topology, subs: &[SubPlan]) -> Vec<ViewPlan> {
    let names = topology.source_topics();
    let plan = |view: &super::ViewSpec| {
        let node = topology.graph.sinks[view.sink.0].node;
        let sub = topology.subs.iter().position(|nodes| nodes.contains(&node));
        let sub = &subs[sub.expect("every node is in a sub-topology")];
        let sources = sub.sources.iter().map(|range| ViewSource {
            topic: names[usize::from(range.source)].clone(),
            reach: range.reach,
        });
        let mut schema = view.schema.clone();
        schema.sources = sources.collect();
        schema.partitions = sub.partitions;
        ViewPlan { topic: topology.names.view(&view.name), schema, source_topics: names.clone() }
    };
    topology.graph.views.iter().map(plan).collect()
}

#[cfg(test)]
mod tests;
