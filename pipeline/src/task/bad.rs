//! What a task does with records that broke off: the rules of each input, and setting aside.

use std::sync::Arc;

use super::attempt::Broken;
use super::dead_letter::BadRecord;
use super::inputs::Taken;
use super::{Context, Task, TaskError, TaskSettings, origin_of};
use crate::bad_record::{AheadBound, BadRecordPolicy, TimeBounds};
use crate::format::origin::Origin;
use crate::log::RecordRef;
use crate::operator::{Fault, Timed};
use crate::topology::Plan;

/// The rules of a task's inputs, with nothing left open.
pub(super) struct InputRules {
    inputs: Vec<Rules>,
    /// The source topics by number, and what is done with records made from theirs.
    sources: Vec<(Arc<str>, BadRecordPolicy)>,
    default: BadRecordPolicy,
}

struct Rules {
    node: usize,
    /// `None` behind a repartition: the source that a record was made from decides.
    source: Option<(BadRecordPolicy, AheadBound)>,
}

impl InputRules {
    pub(super) fn new(plan: &Plan, sub: usize, settings: TaskSettings) -> Self {
        let default = settings.bad_records;
        let graph = &plan.topology.graph;
        let rules = |(_, source): &(Arc<str>, usize)| {
            let spec = &graph.sources[*source];
            let bad_records = spec.rules.bad_records.unwrap_or(default);
            let ahead = spec.rules.timestamp_ahead_max.unwrap_or(settings.timestamp_ahead_max);
            let source = spec.topic.external().map(|_| (bad_records, ahead));
            Rules { node: spec.node, source }
        };
        let policy_of = |topic: &Arc<str>| {
            let named = |name: Option<String>| name.as_deref() == Some(&**topic);
            let spec = graph.sources.iter().find(|spec| named(spec.topic.external()));
            spec.and_then(|spec| spec.rules.bad_records).unwrap_or(default)
        };
        let source = |topic: &Arc<str>| (Arc::clone(topic), policy_of(topic));
        Self {
            inputs: plan.subs[sub].inputs.iter().map(rules).collect(),
            sources: plan.source_topics.iter().map(source).collect(),
            default,
        }
    }

    /// The node that reads `input`.
    pub(super) fn node(&self, input: usize) -> usize {
        self.inputs[input].node
    }

    /// The event times that the record may have.
    pub(super) fn time_bounds(&self, input: usize, taken: &Taken, own_ms: i64) -> TimeBounds {
        match self.inputs[input].source {
            Some((_, ahead)) => TimeBounds::of(ahead, taken.append_ms(), own_ms),
            // Its source record was looked at when it was read.
            None => TimeBounds::CALENDAR,
        }
    }

    /// What is done with a record of `input` that was made from `origin`.
    fn policy(&self, input: usize, origin: Option<Origin>) -> BadRecordPolicy {
        if let Some((policy, _)) = self.inputs[input].source {
            return policy;
        }
        let source = origin.and_then(|origin| self.sources.get(usize::from(origin.source)));
        source.map_or(self.default, |(_, policy)| *policy)
    }

    /// The source record of `origin`, behind a repartition.
    fn source(&self, input: usize, origin: Option<Origin>) -> Option<(&str, Origin)> {
        if self.inputs[input].source.is_some() {
            return None;
        }
        let origin = origin?;
        let (topic, _) = self.sources.get(usize::from(origin.source))?;
        Some((topic, origin))
    }
}

impl Task {
    /// Does what the rules say with a record that broke off, of which nothing is left.
    pub(super) fn bad_record(
        &mut self,
        input: usize,
        taken: &Taken,
        broken: &Broken,
    ) -> Result<(), TaskError> {
        let record: RecordRef<'_> = taken.record().0;
        let (at, offset) = (&taken.partition, record.offset);
        let origin = origin_of(&record);
        let Broken { defect, node, message, .. } = broken;
        tracing::debug!(partition = %at, offset, node, reason = message, "bad record");
        self.counters.add(node, defect.name());
        match self.rules.policy(input, origin) {
            BadRecordPolicy::Fail => {
                return Err(TaskError::BadRecord {
                    partition: at.clone(),
                    offset,
                    node: node.clone(),
                    reason: message.clone(),
                });
            }
            BadRecordPolicy::Skip => self.counters.add(&at.topic, "bad record skipped"),
            BadRecordPolicy::Dlq => {
                self.counters.add(&at.topic, "bad record to dead letters");
                let origin = self.rules.source(input, origin);
                let bad = BadRecord { at, record, append_ms: taken.append_ms(), origin };
                self.outputs.dead_letter(&bad, broken);
            }
        }
        Ok(())
    }

    /// Does what the policy says with the results of time that broke off.
    pub(super) fn set_results_aside(&mut self) {
        for (key, broken) in std::mem::take(&mut self.effects.isolated) {
            let Broken { defect, node, message, .. } = &broken;
            tracing::debug!(node, reason = message, "bad result of time");
            self.counters.add(node, defect.name());
            if self.settings.bad_records == BadRecordPolicy::Dlq {
                self.outputs.dead_result(&key, &broken);
            }
        }
    }
}

impl Context<'_> {
    /// Tells `timed`, the operator of `node`, that time has passed. What breaks off over a single
    /// result is set aside by [`Context::isolated`]; what breaks off here cannot be laid at the
    /// door of one, and would break off again.
    pub(super) fn pass_time(
        &mut self,
        timed: &mut dyn Timed,
        node: usize,
    ) -> Result<(), TaskError> {
        self.node = node;
        match super::caught::catch(|| timed.advance(self)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Fault::State(error))) => Err(error.into()),
            Ok(Err(Fault::BadRecord { node, reason, .. })) => Err(TaskError::Time { node, reason }),
            Err(panicked) => {
                let node = self.graph.nodes[self.node].name.clone();
                let reason = format!("{} at {}", panicked.text, panicked.place);
                Err(TaskError::Time { node, reason })
            }
        }
    }
}
