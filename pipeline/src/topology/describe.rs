//! Prints a topology in the form of Kafka Streams' `TopologyDescription`.

use std::fmt::Write;

use super::{Role, Topology};

pub(super) fn describe(topology: &Topology) -> String {
    let mut out = String::from("Topologies:\n");
    for (number, nodes) in topology.subs.iter().enumerate() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "   Sub-topology: {number}");
        for node in nodes {
            describe_node(topology, *node, &mut out);
        }
    }
    for global in &topology.graph.globals {
        let _ = writeln!(out, "   Global table: {} (topic: {})", global.name, global.topic);
    }
    out
}

fn describe_node(topology: &Topology, number: usize, out: &mut String) {
    let graph = &topology.graph;
    let node = &graph.nodes[number];
    let head = match &node.role {
        Role::Source(source) => {
            let topic = topology.topic(&graph.sources[*source].topic);
            format!("Source: {} (topics: [{topic}])", node.name)
        }
        Role::Processor(stores) => {
            let names: Vec<&str> =
                stores.iter().map(|store| graph.stores[store.0].name.as_str()).collect();
            format!("Processor: {} (stores: [{}])", node.name, names.join(", "))
        }
        Role::Sink(sink) => {
            let topic = topology.target(&graph.sinks[sink.0].target);
            format!("Sink: {} (topic: {topic})", node.name)
        }
    };
    let order = if node.arrival_order { " [arrival order]" } else { "" };
    let _ = writeln!(out, "    {head}{order}");
    if !matches!(node.role, Role::Sink(_)) {
        let children: Vec<&str> = graph
            .nodes
            .iter()
            .filter(|child| child.parents.contains(&number))
            .map(|child| child.name.as_str())
            .collect();
        let children = if children.is_empty() { "none".to_owned() } else { children.join(", ") };
        let _ = writeln!(out, "      --> {children}");
    }
    if !node.parents.is_empty() {
        let parents: Vec<&str> =
            node.parents.iter().map(|parent| graph.nodes[*parent].name.as_str()).collect();
        let _ = writeln!(out, "      <-- {}", parents.join(", "));
    }
}
