//! A topology on a log: numbers of partitions, internal topics, tasks, and which source
//! partitions reach what.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use stores::views::{Reach, ViewSchema, ViewSource};

use super::{Graph, Role, SinkRef, StoreRef, Target, TopicName, Topology};
use crate::log::{Cleanup, Log, LogError, TopicSpec};

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
        "sub-topology {sub} of `{app}` reads topics that must have equally many partitions: \
         {topics}; make a topic with the right number and copy, or repartition one of the inputs"
    )]
    NotCoPartitioned {
        /// The application.
        app: String,
        /// The sub-topology.
        sub: usize,
        /// Topics with their numbers of partitions.
        topics: String,
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
    /// Whether its inputs are repartition topics, so that clocks travel with the records.
    pub(crate) repartitioned: bool,
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
        let mut planner = Planner { topology: &topology, counts, subs: BTreeMap::new() };
        let order = planner.order();
        for sub in order {
            let plan = planner.plan_sub(sub)?;
            planner.subs.insert(sub, plan);
        }
        let Planner { counts, subs, .. } = planner;
        let sink_partitions = sink_partitions(&topology, &counts, &subs);
        let views = views(&topology, &subs);
        let plan = Self {
            subs: subs.into_values().collect(),
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
        for (name, partitions, cleanup) in topics {
            log.create_topic(&TopicSpec { name, partitions, cleanup })?;
        }
        Ok(())
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
    subs: BTreeMap<usize, SubPlan>,
}

impl Planner<'_> {
    fn graph(&self) -> &Graph {
        &self.topology.graph
    }

    fn sub_of(&self, node: usize) -> usize {
        let holds = |nodes: &Vec<usize>| nodes.contains(&node);
        self.topology.subs.iter().position(holds).expect("every node is in a sub-topology")
    }

    /// The sub-topology that writes a repartition topic.
    fn writer_of(&self, repartition: &str) -> usize {
        let writes = |target: &Target| matches!(target, Target::Repartition(n) if n == repartition);
        let sink = self.graph().sinks.iter().find(|sink| writes(&sink.target));
        self.sub_of(sink.expect("made together with its source").node)
    }

    /// Sub-topologies, those that write before those that read.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        let mut left: Vec<usize> = (0..self.topology.subs.len()).collect();
        while !left.is_empty() {
            let ready = left.iter().position(|sub| {
                self.upstream(*sub).iter().all(|upstream| order.contains(upstream))
            });
            // A repartition's source is made after its sink: there is always one that is ready.
            order.push(left.remove(ready.unwrap_or(0)));
        }
        order
    }

    fn upstream(&self, sub: usize) -> Vec<usize> {
        let names =
            self.sources_of(sub).filter_map(|source| match &self.graph().sources[source].topic {
                TopicName::Repartition(name) => Some(self.writer_of(name)),
                TopicName::External(_) => None,
            });
        names.collect()
    }

    fn sources_of(&self, sub: usize) -> impl Iterator<Item = usize> {
        self.topology.subs[sub].iter().filter_map(|node| match self.graph().nodes[*node].role {
            Role::Source(source) => Some(source),
            Role::Processor(_) | Role::Sink(_) => None,
        })
    }

    fn plan_sub(&self, sub: usize) -> Result<SubPlan, PlanError> {
        let mut inputs = Vec::new();
        let mut external = Vec::new();
        let mut upstream: Vec<usize> = Vec::new();
        for source in self.sources_of(sub) {
            let name = &self.graph().sources[source].topic;
            let topic = self.topology.topic(name);
            match name {
                TopicName::External(_) => external.push((topic.clone(), self.counts[&topic])),
                TopicName::Repartition(name) => upstream.push(self.writer_of(name)),
            }
            inputs.push((Arc::from(topic.as_str()), source));
        }
        let partitions = self.partitions(sub, &external, &upstream)?;
        let sources = self.reaching(&external, &upstream);
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
        let repartitioned = !upstream.is_empty();
        Ok(SubPlan { partitions, inputs, stores, sinks, sources, repartitioned })
    }

    fn partitions(
        &self,
        sub: usize,
        external: &[(String, u32)],
        upstream: &[usize],
    ) -> Result<u32, PlanError> {
        let Some((_, first)) = external.first() else {
            // Only repartition topics: as many as the widest sub-topology before.
            let widest = upstream.iter().map(|sub| self.subs[sub].partitions).max();
            return Ok(widest.unwrap_or(1));
        };
        if external.iter().all(|(_, count)| count == first) {
            return Ok(*first);
        }
        let topics: Vec<String> =
            external.iter().map(|(topic, count)| format!("`{topic}` has {count}")).collect();
        let app = self.topology.name().to_owned();
        Err(PlanError::NotCoPartitioned { app, sub, topics: topics.join(", ") })
    }

    fn reaching(&self, external: &[(String, u32)], upstream: &[usize]) -> Vec<SourceRange> {
        let numbers = self.topology.source_topics();
        let mut ranges: Vec<SourceRange> = Vec::new();
        for (topic, partitions) in external {
            let number = numbers.iter().position(|name| name == topic);
            let number = number.expect("external inputs are source topics");
            let source = u16::try_from(number).expect("a topology has far fewer sources");
            ranges.push(SourceRange { source, partitions: *partitions, reach: Reach::Same });
        }
        for range in upstream.iter().flat_map(|sub| &self.subs[sub].sources) {
            match ranges.iter_mut().find(|known| known.source == range.source) {
                Some(known) => known.reach = Reach::All,
                None => ranges.push(SourceRange { reach: Reach::All, ..range.clone() }),
            }
        }
        ranges.sort_by_key(|range| range.source);
        ranges
    }
}

fn sink_partitions(
    topology: &Topology,
    counts: &BTreeMap<String, u32>,
    subs: &BTreeMap<usize, SubPlan>,
) -> Vec<u32> {
    let graph = &topology.graph;
    let of_sub = |node: usize| {
        let sub = topology.subs.iter().position(|nodes| nodes.contains(&node));
        subs[&sub.expect("every node is in a sub-topology")].partitions
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

fn views(topology: &Topology, subs: &BTreeMap<usize, SubPlan>) -> Vec<ViewPlan> {
    let names = topology.source_topics();
    let plan = |view: &super::ViewSpec| {
        let node = topology.graph.sinks[view.sink.0].node;
        let sub = topology.subs.iter().position(|nodes| nodes.contains(&node));
        let sub = &subs[&sub.expect("every node is in a sub-topology")];
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
