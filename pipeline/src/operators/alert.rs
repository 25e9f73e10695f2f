//! `alert`: one message for each rule, key and window, with an id that no crash or replay
//! changes.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::dedup::{Seen, period_ms};
use crate::bad_record::Defect;
use crate::dsl::Stream;
use crate::key::Key;
use crate::operator::{Fault, Operator, Timed};
use crate::record::{Record, Window};
use crate::task::{Context, Outgoing};
use crate::topology::{Role, SinkRef, Target};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody must act now.
    Critical,
    /// Somebody should look.
    Warning,
    /// Good to know.
    Info,
}

/// A rule: its name is part of the ids of its alerts and names its store.
///
/// ```
/// use std::time::Duration;
/// use pipeline::{AlertRule, Severity};
///
/// let week = Duration::from_secs(7 * 86_400);
/// let rule = AlertRule::new("large-sale", Severity::Info).remember(week);
/// ```
#[derive(Clone, Debug)]
pub struct AlertRule {
    name: String,
    severity: Severity,
    within: Duration,
}

impl AlertRule {
    /// A rule that fires once for each key, or for each key and window, within 24 hours of event
    /// time.
    pub fn new(name: &str, severity: Severity) -> Self {
        Self { name: name.to_owned(), severity, within: Duration::from_secs(86_400) }
    }

    /// For how long, in event time, the rule remembers that it has fired. It must be longer than
    /// a window and its grace.
    #[must_use]
    pub fn remember(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

/// The value of an alert's record. **Format**, described in `docs/webhooks.md`.
#[derive(Serialize)]
struct Message<'a, D> {
    id: &'a str,
    rule: &'a str,
    key: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Span>,
    severity: Severity,
    text: String,
    timestamp: String,
    data: D,
}

#[derive(Serialize)]
struct Span {
    start: String,
    end: String,
}

/// Sends an alert for the first record of each id.
struct Alert<F> {
    node: String,
    sink: SinkRef,
    rule: AlertRule,
    describe: Arc<F>,
    fired: Seen,
    key: String,
    id: String,
    value: Vec<u8>,
}

impl<K, V, D, F> Operator<K, V> for Alert<F>
where
    K: Key,
    D: Serialize,
    F: Fn(&K, &V) -> (String, D),
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let window = record.key.window();
        self.set_id(&record.key, window);
        // An id with a window belongs to the window's time, however late its record is.
        let time = window.map_or(record.timestamp, |window| window.start);
        if !self.fired.is_first(self.id.as_bytes(), time, ctx)? {
            return Ok(());
        }
        let (text, data) = (self.describe)(&record.key, &record.value);
        let message = Message {
            id: &self.id,
            rule: &self.rule.name,
            key: &self.key,
            kind: "firing",
            window: window.map(|w| Span { start: rfc3339(w.start), end: rfc3339(w.end) }),
            severity: self.rule.severity,
            text,
            timestamp: rfc3339(record.timestamp),
            data,
        };
        self.value.clear();
        serde_json::to_writer(&mut self.value, &message).map_err(|error| {
            let reason = format!("the alert cannot be JSON: {error}");
            Fault::BadRecord { node: self.node.clone(), defect: Defect::Encoding, reason }
        })?;
        let outgoing = Outgoing {
            timestamp: record.timestamp,
            key: Some(self.id.as_bytes()),
            value: Some(&self.value),
        };
        ctx.send(&self.node, self.sink, outgoing)
    }
}

impl<F> Alert<F> {
    /// `rule:key`, and `:window start` in milliseconds if the key has a window.
    fn set_id(&mut self, key: &impl Key, window: Option<Window>) {
        self.key.clear();
        key.write_base_text(&mut self.key);
        self.id.clear();
        self.id.push_str(&self.rule.name);
        self.id.push(':');
        self.id.push_str(&self.key);
        if let Some(window) = window {
            self.id.push(':');
            window.start.write_text(&mut self.id);
        }
    }
}

impl<F> Timed for Alert<F> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.fired.advance(ctx)
    }
}

/// A moment in RFC 3339, or the bare number if it is beyond the calendar.
fn rfc3339(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms);
    time.map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Pushes an alert for each key, or for each key and window, that has a record here: the
    /// first one decides, later ones within the rule's memory do not. `describe` gives the text
    /// for people and the data for programs. Delivery to webhooks is at least once, always with
    /// the alert's id.
    ///
    /// ```
    /// use pipeline::{AlertRule, Severity, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let rule = AlertRule::new("large-sale", Severity::Info);
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .filter(|_, pieces| *pieces > 5)
    ///     .alert(rule, |item, pieces| (format!("{pieces} of {item} sold"), *pieces));
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let alerts = driver.read_alerts();
    /// assert_eq!(alerts[0]["text"], "8 of lamp sold");
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn alert<D: Serialize>(
        &self,
        rule: AlertRule,
        describe: impl Fn(&K, &V) -> (String, D) + Send + Sync + 'static,
    ) {
        self.needs_partitioning();
        let store = self.graph.borrow_mut().add_store(&format!("{}-fired", rule.name));
        let (node, sink) = {
            let mut graph = self.graph.borrow_mut();
            let role = Role::Processor(vec![store]);
            let node = graph.add("KSTREAM-ALERT", role, vec![self.node]);
            (node, graph.add_sink(node, Target::Alerts, false))
        };
        let name = self.graph.borrow().nodes[node].name.clone();
        let within_ms = period_ms(rule.within);
        let describe = Arc::new(describe);
        self.end_timed(node, move || Alert {
            node: name.clone(),
            sink,
            rule: rule.clone(),
            describe: Arc::clone(&describe),
            fired: Seen::new(store, within_ms),
            key: String::new(),
            id: String::new(),
            value: Vec::new(),
        });
    }
}
