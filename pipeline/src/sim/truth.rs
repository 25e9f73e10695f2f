//! What a view's topic says up to a place: its documents, and how far the sources are contained.
//!
//! It is written anew here, from the formats alone, so that it is not what it checks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stores::views::{PartitionProgress, Progress, SourcePartition, SourceProgress};

use super::shadow::{Shadow, Stored};
use crate::format::control::Control;
use crate::log::TopicPartition;
use crate::topology::ViewPlan;

/// How far each view partition is looked at.
pub(super) type Reaches<'a> = &'a dyn Fn(u32) -> u64;

/// The documents of a view by key, with their times.
pub(super) fn documents(
    shadow: &Shadow,
    plan: &ViewPlan,
    reaches: Reaches<'_>,
) -> BTreeMap<String, (i64, Value)> {
    let mut documents = BTreeMap::new();
    visit(shadow, plan, reaches, &mut |_, record| {
        if record.is_control() {
            return;
        }
        let key = record.key_text();
        let value = record.value.as_deref().map(serde_json::from_slice::<Value>);
        match value {
            None => drop(documents.remove(&key)),
            // A document that does not fit is left out, and the one before stays.
            Some(Ok(value)) if value.is_object() => {
                documents.insert(key, (record.timestamp, value));
            }
            Some(_) => {}
        }
    });
    documents
}

/// The keys that have records behind that place.
pub(super) fn keys_behind(
    shadow: &Shadow,
    plan: &ViewPlan,
    reaches: Reaches<'_>,
) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    visit(shadow, plan, &|_| u64::MAX, &mut |partition, record| {
        if record.offset >= reaches(partition) && !record.is_control() {
            keys.insert(record.key_text());
        }
    });
    keys
}

/// What the control records of a view say.
pub(super) fn progress_of(shadow: &Shadow, plan: &ViewPlan, reaches: Reaches<'_>) -> Progress {
    let mut progress = Progress::default();
    visit(shadow, plan, reaches, &mut |partition, record| {
        let of: &mut PartitionProgress = progress.partitions.entry(partition).or_default();
        of.position.offset = record.offset + 1;
        if !record.is_control() {
            return;
        }
        let told = record.value.as_deref().and_then(Control::decode).unwrap_or_default();
        for entry in told.entries {
            let Some(topic) = plan.source_topics.get(usize::from(entry.source)) else { continue };
            let source = SourcePartition { topic: topic.clone(), partition: entry.partition };
            let told = SourceProgress {
                position: entry.position,
                clock_ms: entry.clock,
                idle: entry.idle,
            };
            of.sources.insert(source, told);
        }
    });
    progress
}

fn visit(
    shadow: &Shadow,
    plan: &ViewPlan,
    reaches: Reaches<'_>,
    show: &mut dyn FnMut(u32, &Stored),
) {
    for partition in 0..plan.schema.partitions {
        let at = TopicPartition::new(plan.topic.as_str(), partition);
        for record in shadow.records(&at).iter().filter(|r| r.offset < reaches(partition)) {
            show(partition, record);
        }
    }
}
