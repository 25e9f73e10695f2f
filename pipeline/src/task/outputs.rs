//! What a task writes: batches by topic and partition, kept until the commit.

use std::sync::Arc;
use std::time::Duration;

use super::TaskSettings;
use super::attempt::Broken;
use super::context::{Current, Outgoing};
use super::dead_letter::{BadRecord, Letter, put_broken};
use super::latest::{Latest, Replaced};
use crate::format::control::{self, Control};
use crate::format::{CONTROL_HEADER, EVENT_ID_HEADER, ORIGIN_HEADER};
use crate::log::batch::BatchMark;
use crate::log::record::put_header;
use crate::log::{BatchBuilder, TopicPartition, partition_for};
use crate::topology::{Plan, SinkRef, Target, TaskId};

/// All outputs of a task.
pub(crate) struct Outputs {
    /// By sink of the graph; `None` for sinks of other sub-topologies.
    sinks: Vec<Option<SinkOutput>>,
    dead_letters: BatchBuilder,
    dead_letter_topic: Arc<str>,
    record_bytes_max: usize,
    progress_interval: Duration,
    task: TaskId,
    headers: Vec<u8>,
    origin: Vec<u8>,
    /// Headers that a processor has added to what the current record becomes.
    added: Vec<u8>,
    /// What was sent since [`Self::begin`].
    sent: Vec<Sent>,
}

struct SinkOutput {
    topic: Arc<str>,
    batches: Vec<BatchBuilder>,
    /// A view's task writes its own partition alone.
    own: Option<u32>,
    /// Control records follow the data; they say what was told before this node.
    controlled: Option<usize>,
    /// What comes by this sink may lie so far behind the clocks of the sources, in milliseconds.
    delay_ms: i64,
    carries_event_id: bool,
    carries_added: bool,
    latest: Option<Latest>,
    /// When each partition got its last control record, and which.
    told: Vec<Option<(Duration, Control)>>,
    /// Partitions that have not been told the last control, for the interval was not over.
    untold: bool,
}

/// What one record has added: taken back in reverse order.
enum Sent {
    /// To a batch, which was at this mark before.
    Batch { sink: usize, partition: usize, before: BatchMark },
    /// To the latest records of a sink, in place of another one.
    Latest { sink: usize, replaced: Option<Replaced> },
}

impl Outputs {
    /// A task that has been there before does not know what it has told: `again` says so.
    pub(crate) fn new(plan: &Plan, id: TaskId, settings: TaskSettings, again: bool) -> Self {
        let graph = &plan.topology.graph;
        let sub = &plan.subs[id.sub];
        let mut sinks: Vec<Option<SinkOutput>> = graph.sinks.iter().map(|_| None).collect();
        for sink in &sub.sinks {
            let spec = &graph.sinks[sink.0];
            let partitions = plan.sink_partitions[sink.0] as usize;
            let is_view = matches!(spec.target, Target::View(_));
            let is_repartition = matches!(spec.target, Target::Repartition(_));
            sinks[sink.0] = Some(SinkOutput {
                topic: plan.topology.target(&spec.target).into(),
                batches: vec![BatchBuilder::new(); partitions],
                own: is_view.then_some(id.partition),
                controlled: match spec.target {
                    Target::Repartition(_) => Some(spec.node),
                    Target::View(_) => Some(usize::MAX),
                    Target::To(_) | Target::Alerts => None,
                },
                delay_ms: graph.delay_ms(spec.node),
                carries_event_id: is_repartition,
                carries_added: matches!(spec.target, Target::To(_)),
                latest: (spec.coalesce && settings.coalesce).then(Latest::default),
                told: vec![None; partitions],
                untold: again && (is_view || is_repartition),
            });
        }
        Self {
            sinks,
            dead_letters: BatchBuilder::new(),
            dead_letter_topic: plan.topology.names.dead_letters().into(),
            record_bytes_max: settings.record_bytes_max,
            progress_interval: settings.progress_interval,
            task: id,
            headers: Vec::new(),
            origin: Vec::new(),
            added: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// What was sent until now stays; what is sent from now on can be taken back.
    pub(super) fn begin(&mut self) {
        self.sent.clear();
    }

    /// How much was sent since [`Self::begin`], for [`Self::undo_to`].
    pub(super) fn mark(&self) -> usize {
        self.sent.len()
    }

    /// Takes back what was sent since `mark` was answered by [`Self::mark`].
    pub(super) fn undo_to(&mut self, mark: usize) {
        for sent in self.sent.drain(mark..).rev() {
            let (Sent::Batch { sink, .. } | Sent::Latest { sink, .. }) = &sent;
            let output = self.sinks[*sink].as_mut().expect("it was sent there");
            match sent {
                Sent::Batch { partition, before, .. } => output.batches[partition].rewind(before),
                Sent::Latest { replaced, .. } => {
                    output.latest.as_mut().expect("it was sent there").take_back(replaced);
                }
            }
        }
    }

    /// Adds a header to what the current record becomes in the topics of `to`.
    pub(crate) fn add_header(&mut self, name: &str, value: &[u8]) {
        put_header(&mut self.added, name, value);
    }

    /// Another record is current: it has no added headers yet.
    pub(crate) fn begin_record(&mut self) {
        self.added.clear();
    }

    /// Writes `record`, made from `current`, with `headers` behind Millpond's own.
    ///
    /// # Errors
    /// A text, if the record is too large.
    pub(crate) fn send(
        &mut self,
        sink: SinkRef,
        record: Outgoing<'_>,
        current: &Current<'_>,
        headers: &[(&str, &[u8])],
    ) -> Result<(), String> {
        let output = self.sinks[sink.0].as_mut().expect("a sink is in its own sub-topology");
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.headers.clear();
        if let Some(origin) = &current.origin {
            self.origin.clear();
            origin.encode(record.timestamp, &mut self.origin);
            put_header(&mut self.headers, ORIGIN_HEADER, &self.origin);
        }
        if output.carries_event_id
            && let Some(id) = current.headers.get(EVENT_ID_HEADER)
        {
            put_header(&mut self.headers, EVENT_ID_HEADER, id);
        }
        if output.carries_added {
            self.headers.extend_from_slice(&self.added);
        }
        for (name, value) in headers {
            put_header(&mut self.headers, name, value);
        }
        let bytes = bytes + self.headers.len();
        if bytes > self.record_bytes_max {
            let (topic, max) = (&output.topic, self.record_bytes_max);
            return Err(format!("a record of {bytes} bytes is too large for {topic}: {max}"));
        }
        let partition = output.partition(record.key, current);
        let sink = sink.0;
        self.sent.push(match (&mut output.latest, record.key) {
            (Some(latest), Some(key)) => {
                let replaced = latest.put(partition, (key, record), &self.headers);
                Sent::Latest { sink, replaced }
            }
            _ => {
                let partition = partition as usize;
                let batch = &mut output.batches[partition];
                let before = batch.mark();
                batch.push(record.timestamp, record.key, record.value, &self.headers);
                Sent::Batch { sink, partition, before }
            }
        });
        Ok(())
    }

    /// Sets a bad record aside: its own bytes, and headers that say what happened.
    pub(super) fn dead_letter(&mut self, bad: &BadRecord<'_>, broken: &Broken) {
        let Letter { timestamp, key, value } =
            bad.letter(self.task, broken, self.record_bytes_max, &mut self.headers);
        self.dead_letters.push(timestamp, key, value, &self.headers);
    }

    /// Notes that a result made by time, that of `key`, could not be handled.
    pub(super) fn dead_result(&mut self, key: &[u8], broken: &Broken) {
        self.headers.clear();
        put_broken(&mut self.headers, self.task, broken);
        self.dead_letters.push(0, (!key.is_empty()).then_some(key), None, &self.headers);
    }

    /// Adds control records: to each partition that has data, and to each that has been told
    /// something else, or nothing, for the progress interval. `said_before` gives what is known
    /// before a node.
    pub(crate) fn control(
        &mut self,
        task: u32,
        said_before: &dyn Fn(usize) -> Control,
        now: Duration,
    ) {
        let key = control::key(task);
        self.headers.clear();
        put_header(&mut self.headers, CONTROL_HEADER, &[]);
        for output in self.sinks.iter_mut().flatten() {
            let Some(node) = output.controlled else { continue };
            let control = &said_before(node);
            if control.entries.is_empty() {
                continue;
            }
            let control = &control.behind(output.delay_ms);
            let value = control.encode();
            output.settle();
            output.untold = false;
            for (partition, batch) in output.batches.iter_mut().enumerate() {
                if output.own.is_some_and(|own| own as usize != partition) {
                    continue;
                }
                let due = match &output.told[partition] {
                    None => true,
                    Some((at, told)) => {
                        told != control && now.saturating_sub(*at) >= self.progress_interval
                    }
                };
                if due || !batch.is_empty() {
                    batch.push(0, Some(&key), Some(&value), &self.headers);
                    output.told[partition] = Some((now, control.clone()));
                } else {
                    output.untold |=
                        output.told[partition].as_ref().is_none_or(|t| t.1 != *control);
                }
            }
        }
    }

    /// Whether a partition is still to be told what the last control records said, and may be by
    /// now: without it, the last record before a silence would never be known everywhere.
    pub(crate) fn owes(&self, now: Duration) -> bool {
        let due = |told: &Option<(Duration, Control)>| {
            told.as_ref().is_none_or(|(at, _)| now.saturating_sub(*at) >= self.progress_interval)
        };
        let mut outputs = self.sinks.iter().flatten().filter(|output| output.untold);
        outputs.any(|output| output.told.iter().any(due))
    }

    /// Takes everything written since the last time.
    pub(crate) fn drain(&mut self) -> Vec<(TopicPartition, BatchBuilder)> {
        let mut appends = Vec::new();
        self.sent.clear();
        for output in self.sinks.iter_mut().flatten() {
            output.settle();
            for (partition, batch) in (0_u32..).zip(&mut output.batches) {
                if !batch.is_empty() {
                    let at = TopicPartition::new(Arc::clone(&output.topic), partition);
                    appends.push((at, std::mem::take(batch)));
                }
            }
        }
        if !self.dead_letters.is_empty() {
            let at = TopicPartition::new(Arc::clone(&self.dead_letter_topic), 0);
            appends.push((at, std::mem::take(&mut self.dead_letters)));
        }
        appends
    }

    /// About how much is waiting, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let of_output = |output: &SinkOutput| {
            output.batches.iter().map(BatchBuilder::bytes).sum::<usize>()
                + output.latest.as_ref().map_or(0, Latest::bytes)
        };
        self.sinks.iter().flatten().map(of_output).sum::<usize>() + self.dead_letters.bytes()
    }
}

impl SinkOutput {
    /// A view's own partition; else that of the key; without a key, that of the source record.
    fn partition(&self, key: Option<&[u8]>, current: &Current<'_>) -> u32 {
        let partitions = u32::try_from(self.batches.len()).expect("partitions are counted in u32");
        match (self.own, key) {
            (Some(own), _) => own,
            (None, Some(key)) => partition_for(key, partitions),
            (None, None) => current.origin.map_or(0, |origin| origin.partition % partitions),
        }
    }

    /// Moves the latest records of all keys into the batches.
    fn settle(&mut self) {
        let Some(latest) = &mut self.latest else { return };
        for (partition, record, headers) in latest.records() {
            let batch = &mut self.batches[partition as usize];
            batch.push(record.timestamp, record.key, record.value, headers);
        }
        latest.clear();
    }
}
