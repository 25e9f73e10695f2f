//! Environment variables: `MILLPOND_<SECTION>__<KEY>`, with `__` between levels.
//!
//! A variable is laid over the tree as text; whether the setting exists and what type it has is
//! found out when the tree is read, as for the file. In names `-` and `.` are written `_`. An item
//! of a list is addressed by its `name`, or by its number from 0.
//!
//! One without `__` is ours only if it is, or nearly is, a top-level setting: others may use the
//! prefix too.

use std::sync::Arc;

use super::error::{Fault, Place};
use super::nearest::nearest;
use super::topologies::TopologyDefaults;
use super::tree::{Entry, Node, Table, Value};

/// What the names of all our variables begin with.
pub(super) const PREFIX: &str = "MILLPOND_";

/// How a name is written in a variable.
pub(super) fn segment(name: &str) -> String {
    name.replace(['-', '.'], "_").to_uppercase()
}

/// Lays every variable that is a setting over `root`.
pub(super) fn overlay(
    root: &mut Node,
    env: impl Iterator<Item = (String, String)>,
    top_level: &[&str],
    topologies: &[TopologyDefaults],
) -> Result<(), Fault> {
    let mut variables: Vec<(String, String)> =
        env.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    // The environment has no order: without one, which mistake is told would be chance.
    variables.sort();
    for (name, value) in variables {
        let keys: Vec<&str> = name[PREFIX.len()..].split("__").collect();
        let place = Place::Variable(Arc::from(name.as_str()));
        if keys.iter().any(|key| key.is_empty()) {
            return Err(Fault::new(place, "expected MILLPOND_<SECTION>__<KEY>"));
        }
        if let [key] = keys[..] {
            let key = key.to_lowercase();
            let top_level = top_level.iter().copied();
            if !top_level.clone().any(|known| known == key) {
                match nearest(&key, top_level.clone()) {
                    Some(_) => return Err(Fault::unknown("key", &key, place, top_level)),
                    None => continue,
                }
            }
        }
        if keys[0] == "TOPOLOGIES" && keys.len() > 2 {
            prepare_topology(root, keys[1], &place, topologies);
        }
        set(root, &keys, &place, value)?;
    }
    Ok(())
}

/// Puts an empty table for the topology that `key` names, so that its real name is kept.
fn prepare_topology(root: &mut Node, key: &str, place: &Place, known: &[TopologyDefaults]) {
    let Some(topology) = known.iter().find(|t| segment(&t.name) == segment(key)) else { return };
    let Value::Table(sections) = &mut root.value else { return };
    let empty = || Node::new(place.clone(), Value::Table(Table::new()));
    let section = sections
        .entry("topologies".to_owned())
        .or_insert_with(|| Entry { key: place.clone(), node: empty() });
    if let Value::Table(topologies) = &mut section.node.value {
        topologies
            .entry(topology.name.clone())
            .or_insert_with(|| Entry { key: place.clone(), node: empty() });
    }
}

fn set(root: &mut Node, keys: &[&str], place: &Place, value: String) -> Result<(), Fault> {
    let (last, parents) = keys.split_last().expect("split gives one key at least");
    let mut node = root;
    for (depth, key) in parents.iter().enumerate() {
        // Topics are named by the user alone: a variable cannot tell `a-b` from `a_b`.
        let may_create = !(depth == 1 && keys[0] == "TOPICS");
        node = child(node, key, place, may_create)?;
    }
    let Value::Table(table) = &mut node.value else {
        return Err(Fault::new(place.clone(), format!("`{last}` is not inside a table")));
    };
    let key = spelled(table, last).unwrap_or_else(|| last.to_lowercase());
    let node = Node::new(place.clone(), Value::Raw(value));
    table.insert(key, Entry { key: place.clone(), node });
    Ok(())
}

fn child<'n>(
    node: &'n mut Node,
    key: &str,
    place: &Place,
    may_create: bool,
) -> Result<&'n mut Node, Fault> {
    match &mut node.value {
        Value::Table(table) => {
            let name = match spelled(table, key) {
                Some(name) => name,
                None if may_create => key.to_lowercase(),
                None => return Err(not_in_file(key, place, table.keys().map(String::as_str))),
            };
            let empty = || Node::new(place.clone(), Value::Table(Table::new()));
            let entry = || Entry { key: place.clone(), node: empty() };
            Ok(&mut table.entry(name).or_insert_with(entry).node)
        }
        Value::List(items) => {
            let names: Vec<String> = items.iter().filter_map(name_of).collect();
            let index = items
                .iter()
                .position(|item| name_of(item).is_some_and(|name| segment(&name) == segment(key)))
                .or_else(|| key.parse().ok())
                .filter(|index| *index < items.len());
            match index {
                Some(index) => Ok(&mut items[index]),
                None => Err(not_in_file(key, place, names.iter().map(String::as_str))),
            }
        }
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::String(_) | Value::Raw(_) => {
            Err(Fault::new(place.clone(), format!("`{}` is not a table", key.to_lowercase())))
        }
    }
}

fn not_in_file<'k>(key: &str, place: &Place, known: impl Iterator<Item = &'k str>) -> Fault {
    Fault::unknown("name", &key.to_lowercase(), place.clone(), known)
        .because("a variable can change what the file has, not add to it")
}

/// The key of `table` that a variable writes as `key`.
fn spelled(table: &Table, key: &str) -> Option<String> {
    table.keys().find(|name| segment(name) == segment(key)).cloned()
}

fn name_of(item: &Node) -> Option<String> {
    match &item.get("name")?.value {
        Value::String(name) | Value::Raw(name) => Some(name.clone()),
        _ => None,
    }
}
