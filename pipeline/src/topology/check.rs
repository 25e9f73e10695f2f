//! Checks a topology when it is built, and finds its sub-topologies.

use super::graph::{Graph, Role, StoreRef, Target};

/// A topology cannot work: which node, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// Two things of a kind have one name.
    #[error("there are two {what}s called `{name}`: give one of them another name")]
    NameTwice {
        /// `store`, `view`, `repartition` or `topology`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that no topic could have.
    #[error("`{name}` cannot name a {what}: use 1 to 100 letters, digits, `.`, `_` and `-`")]
    Name {
        /// What it would name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that no topic can have.
    #[error(
        "`{topic}` cannot be a {what}: a topic has 1 to 249 letters, digits, `.`, `_` and `-`, and \
         is not `.` or `..`"
    )]
    Topic {
        /// What it would be.
        what: &'static str,
        /// The name.
        topic: String,
    },
    /// A join whose sides may lie in different partitions.
    #[error(
        "{node} needs its records where their keys are, but the key was changed before: put \
         `.repartition(\"name\")` between"
    )]
    NotPartitioned {
        /// The node.
        node: String,
    },
    /// Streams or tables of two builders.
    #[error("{node} puts together parts of two topologies: build both with one builder")]
    TwoTopologies {
        /// The node.
        node: String,
    },
    /// A topic is a source twice in different sub-topologies or as different types.
    #[error("topic `{topic}` is read twice: read it once and use the stream twice")]
    SourceTwice {
        /// The topic.
        topic: String,
    },
    /// A topic that the topology itself reads is written by it.
    #[error("topic `{topic}` is read and written by {node}: that would never end")]
    Cycle {
        /// The topic.
        topic: String,
        /// The sink.
        node: String,
    },
    /// A window without length, with a negative grace, or further from the next one than it is
    /// long.
    #[error(
        "a window has a size above 0, an advance above 0 and up to the size, and a grace of 0 or \
         more, not {size_ms}, {advance_ms} and {grace_ms} ms"
    )]
    Window {
        /// The size, in milliseconds.
        size_ms: i64,
        /// From the start of one to the start of the next, in milliseconds.
        advance_ms: i64,
        /// The grace, in milliseconds.
        grace_ms: i64,
    },
    /// An aggregate that cannot merge, where partial ones must be put together.
    #[error(
        "{node} puts partial aggregates together, but its aggregate cannot merge: give it a merge \
         (`Fold::with_merge`, `Aggregator::merge`), or another aggregate"
    )]
    NeedsMerge {
        /// The node.
        node: String,
    },
    /// Records wait for updates of a versioned table for longer than it remembers.
    #[error(
        "{node} waits {grace_ms} ms for late updates, but `{store}` remembers {history_ms} ms: \
         give the table a longer history or the join a shorter grace"
    )]
    GraceBeyondHistory {
        /// The join.
        node: String,
        /// Its grace, in milliseconds.
        grace_ms: i64,
        /// The table's store.
        store: String,
        /// The table's history, in milliseconds.
        history_ms: i64,
    },
    /// Partial aggregates before windows whose bounds depend on each record.
    #[error(
        "{node} is `combined` before sliding windows or sessions, which begin and end with records: \
         leave `combined` out, or group by `TimeWindows` or `CalendarWindows`"
    )]
    CombinedWindows {
        /// The node whose records are grouped.
        node: String,
    },
    /// Rows that expire, before windows.
    #[error(
        "{node} expires rows before windows, which end by themselves: leave `expire_after` out, or \
         put it behind the windows' table"
    )]
    ExpiringWindows {
        /// The node whose records are grouped.
        node: String,
    },
    /// A stream of several that are aggregated together asks for what only one alone can do.
    #[error(
        "{node} is one of the streams of a `cogroup`, which takes neither `combined` nor \
         `expire_after`: leave them out, or `merge` the streams as one type before they are grouped"
    )]
    CogroupedOptions {
        /// The node whose records are grouped.
        node: String,
    },
    /// An aggregate that cannot take a value out, over rows of a table, which change.
    #[error(
        "{node} aggregates rows of a table, which change, but its aggregate cannot take a row out: \
         give it a retraction (`Fold::with_retract`, `Aggregator::retract`), or another aggregate"
    )]
    NeedsRetract {
        /// The node.
        node: String,
    },
    /// Sliding windows that are too long to calculate with.
    #[error(
        "sliding windows have a time difference and a grace of less than a million years, not \
         {size_ms} and {grace_ms} ms"
    )]
    SlidingWindow {
        /// The time difference, in milliseconds.
        size_ms: i64,
        /// The grace, in milliseconds.
        grace_ms: i64,
    },
    /// Sessions without a gap.
    #[error(
        "sessions have an inactivity gap above 0 and a grace of 0 or more, not {gap_ms} and \
         {grace_ms} ms"
    )]
    SessionWindow {
        /// The inactivity gap, in milliseconds.
        gap_ms: i64,
        /// The grace, in milliseconds.
        grace_ms: i64,
    },
    /// Suppression until windows close, of a table without windows.
    #[error(
        "{node} waits until windows close, but the keys of its table have no windows: put \
         `.windowed_by(..)` before, or suppress with a time limit"
    )]
    NoWindows {
        /// The node.
        node: String,
    },
    /// A look-up in a table that keeps no values.
    #[error(
        "{node} looks into a table that keeps no values (final results of hopping windows): put \
         `.to_stream().to_table(\"name\")` between"
    )]
    NotKept {
        /// The node.
        node: String,
    },
    /// A view whose fields cannot be.
    #[error("view `{view}`: {reason}")]
    View {
        /// The view.
        view: String,
        /// The rule it breaks.
        reason: String,
    },
    /// Nothing is read.
    #[error("topology `{0}` reads nothing: begin with `stream`, `table` or `global_table`")]
    Empty(String),
}

/// The first thing that is wrong, if any; and the sub-topologies.
pub(crate) fn check(graph: &Graph) -> Result<Vec<Vec<usize>>, TopologyError> {
    if let Some(error) = graph.errors.first() {
        return Err(error.clone());
    }
    if graph.sources.is_empty() {
        return Err(TopologyError::Empty(graph.name.clone()));
    }
    tables_kept(graph)?;
    names_once(graph)?;
    sources_once(graph)?;
    no_cycles(graph)?;
    Ok(sub_topologies(graph))
}

fn tables_kept(graph: &Graph) -> Result<(), TopologyError> {
    let looks = |(index, _): &(usize, _)| graph.stores_of(*index).contains(&StoreRef::NONE);
    match graph.nodes.iter().enumerate().find(looks) {
        Some((_, node)) => Err(TopologyError::NotKept { node: node.name.clone() }),
        None => Ok(()),
    }
}

fn names_once(graph: &Graph) -> Result<(), TopologyError> {
    let mut repartitions: Vec<&str> = Vec::new();
    for sink in &graph.sinks {
        if let Target::Repartition(name) = &sink.target {
            if repartitions.contains(&name.as_str()) {
                return Err(TopologyError::NameTwice { what: "repartition", name: name.clone() });
            }
            repartitions.push(name);
        }
    }
    for (index, view) in graph.views.iter().enumerate() {
        if graph.views[..index].iter().any(|other| other.name == view.name) {
            return Err(TopologyError::NameTwice { what: "view", name: view.name.clone() });
        }
    }
    Ok(())
}

fn sources_once(graph: &Graph) -> Result<(), TopologyError> {
    for (index, source) in graph.sources.iter().enumerate() {
        let Some(topic) = source.topic.external() else { continue };
        let twice = graph.sources[..index].iter().any(|other| other.topic == source.topic)
            || graph.globals.iter().any(|global| global.topic == topic);
        if twice {
            return Err(TopologyError::SourceTwice { topic });
        }
    }
    Ok(())
}

fn no_cycles(graph: &Graph) -> Result<(), TopologyError> {
    for sink in &graph.sinks {
        let Target::To(topic) = &sink.target else { continue };
        let is_read =
            graph.sources.iter().any(|source| source.topic.external().as_ref() == Some(topic))
                || graph.globals.iter().any(|global| global.topic == *topic);
        if is_read {
            let node = graph.nodes[sink.node].name.clone();
            return Err(TopologyError::Cycle { topic: topic.clone(), node });
        }
    }
    Ok(())
}

/// Nodes that are linked, or share a store, are in one sub-topology; a repartition topic is
/// between two. They are numbered by their first node.
fn sub_topologies(graph: &Graph) -> Vec<Vec<usize>> {
    let mut group: Vec<usize> = (0..graph.nodes.len()).collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        for parent in &node.parents {
            unite(&mut group, *parent, index);
        }
        if let Role::Processor(stores) = &node.role {
            for store in stores {
                let other = (0..index).find(|other| graph.stores_of(*other).contains(store));
                if let Some(other) = other {
                    unite(&mut group, other, index);
                }
            }
        }
    }
    let mut subs: Vec<(usize, Vec<usize>)> = Vec::new();
    for (index, root) in group.iter().enumerate() {
        match subs.iter_mut().find(|(found, _)| found == root) {
            Some((_, nodes)) => nodes.push(index),
            None => subs.push((*root, vec![index])),
        }
    }
    subs.into_iter().map(|(_, nodes)| nodes).collect()
}

fn unite(group: &mut [usize], a: usize, b: usize) {
    let (a, b) = (group[a], group[b]);
    for root in group.iter_mut() {
        if *root == b {
            *root = a;
        }
    }
}

#[cfg(test)]
mod tests;
