//! `/metrics`: what the process counts, as Prometheus reads it.
//!
//! Everything here lies in this process's memory: a scrape asks no broker and waits for nothing.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Shared;
use super::overview::{Overview, rss_bytes};

/// Labels of a metric.
type Labels = Vec<(&'static str, String)>;

/// Counts by labels.
type Counts = Family<Labels, Counter>;
/// Levels by labels.
type Levels = Family<Labels, Gauge>;
/// Levels that are no whole numbers.
type Ratios = Family<Labels, Gauge<f64, AtomicU64>>;

/// Answers a scrape.
pub(super) async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let registry = registry(&shared.overview);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}

fn registry(overview: &Overview) -> Registry {
    let mut registry = Registry::with_prefix("millpond");
    process(&mut registry, overview);
    topologies(&mut registry, overview);
    inputs(&mut registry, overview);
    heat(&mut registry, overview);
    standbys(&mut registry, overview);
    views(&mut registry, overview);
    endpoints(&mut registry, overview);
    sources(&mut registry, overview);
    registry
}

fn counts(registry: &mut Registry, name: &str, help: &str) -> Counts {
    let counts = Counts::default();
    registry.register(name, help, counts.clone());
    counts
}

fn levels(registry: &mut Registry, name: &str, help: &str) -> Levels {
    let levels = Levels::default();
    registry.register(name, help, levels.clone());
    levels
}

fn set(levels: &Levels, labels: &Labels, value: u64) {
    levels.get_or_create(labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn add(counts: &Counts, labels: &Labels, value: u64) {
    counts.get_or_create(labels).inc_by(value);
}

fn process(registry: &mut Registry, overview: &Overview) {
    let memory = levels(registry, "resident_bytes", "Memory that the process occupies");
    set(&memory, &Vec::new(), rss_bytes().unwrap_or_default());
    let uptime = levels(registry, "uptime_seconds", "Time since the process started");
    set(&uptime, &Vec::new(), overview.clock.elapsed().saturating_sub(overview.started).as_secs());
    let reachable = levels(registry, "log_reachable", "Whether the log answers: 1 or 0");
    set(&reachable, &Vec::new(), u64::from(overview.open_log.away().is_none()));
}

fn topologies(registry: &mut Registry, overview: &Overview) {
    let records = counts(registry, "records", "Records handled");
    let commits = counts(registry, "commits", "Commits that the log has accepted");
    let restored = counts(registry, "restored_records", "Changelog records read to restore stores");
    let bytes = counts(registry, "restored_bytes", "Bytes of those records");
    let left = levels(registry, "restore_left_records", "Changelog records yet to be restored");
    let restoring = levels(registry, "restoring_tasks", "Tasks that are being restored");
    let restarts = counts(registry, "restarts", "Times that tasks were dropped and made again");
    let assignments = counts(registry, "assignments", "Times that the group gave partitions");
    let running = levels(registry, "running_tasks", "Tasks that run in this process");
    let dropped = counts(registry, "dropped_records", "Records dropped or set aside");
    for planned in &overview.topologies {
        let labels = || vec![("topology", planned.plan.topology().name().to_owned())];
        let sum = |of: fn(&pipeline::worker::WorkerStats) -> u64| -> u64 {
            planned.stats.iter().map(|stats| of(stats)).sum()
        };
        add(&records, &labels(), sum(|stats| stats.records()));
        add(&commits, &labels(), sum(|stats| stats.commits()));
        add(&restored, &labels(), sum(|stats| stats.restored_records()));
        add(&bytes, &labels(), sum(|stats| stats.restored_bytes()));
        set(&left, &labels(), sum(|stats| stats.restore_left()));
        set(&restoring, &labels(), sum(|stats| stats.restoring_tasks() as u64));
        add(&restarts, &labels(), sum(|stats| stats.restarts()));
        add(&assignments, &labels(), sum(|stats| stats.assignments()));
        set(&running, &labels(), planned.running_tasks() as u64);
        for one in planned.dropped() {
            let mut labels = labels();
            labels.extend([("place", one.place), ("reason", one.reason)]);
            add(&dropped, &labels, one.count);
        }
    }
}

fn inputs(registry: &mut Registry, overview: &Overview) {
    let lag = levels(registry, "input_lag_records", "Records that a task has yet to read");
    let handled = counts(registry, "input_records", "Records that a running task has handled");
    for planned in &overview.topologies {
        for input in planned.stats.iter().flat_map(|stats| stats.inputs()) {
            let labels = || {
                vec![
                    ("topology", planned.plan.topology().name().to_owned()),
                    ("topic", input.partition.topic.to_string()),
                    ("partition", input.partition.partition.to_string()),
                ]
            };
            set(&lag, &labels(), input.end.saturating_sub(input.position));
            add(&handled, &labels(), input.records);
        }
    }
}

fn heat(registry: &mut Registry, overview: &Overview) {
    let help = "Records that a task handles in a second, over the last ten";
    let rates = Ratios::default();
    registry.register("input_rate_records", help, rates.clone());
    for one in overview.heat.rates() {
        let labels = vec![
            ("topology", one.topology),
            ("topic", one.topic.to_string()),
            ("partition", one.partition.to_string()),
        ];
        rates.get_or_create(&labels).set(one.rate);
    }
    let help = "The fastest partition of those read here, in times their mean";
    let skews = Ratios::default();
    registry.register("input_skew_ratio", help, skews.clone());
    for one in overview.heat.skews() {
        let labels = vec![("topology", one.topology), ("topic", one.topic.to_string())];
        skews.get_or_create(&labels).set(one.skew);
    }
}

fn standbys(registry: &mut Registry, overview: &Overview) {
    let records = counts(registry, "standby_records", "Changelog records written to warm stores");
    let lag =
        levels(registry, "standby_lag_records", "Records that a warm store has yet to follow");
    for planned in &overview.topologies {
        let topology = planned.plan.topology().name();
        add(&records, &vec![("topology", topology.to_owned())], planned.standby.records());
        for one in planned.standby.places() {
            let labels = vec![
                ("topology", topology.to_owned()),
                ("topic", one.changelog.topic.to_string()),
                ("partition", one.changelog.partition.to_string()),
            ];
            set(&lag, &labels, one.end.saturating_sub(one.position));
        }
    }
}

fn views(registry: &mut Registry, overview: &Overview) {
    let documents = levels(registry, "view_documents", "Documents of a view");
    let lag = levels(registry, "view_lag_records", "Records that a view does not show yet");
    let upserts = counts(registry, "view_upserts", "Documents set or deleted");
    let rejected = counts(registry, "view_rejected", "Documents that did not fit their view");
    for view in overview.view_figures() {
        let labels = || vec![("view", view.name.clone())];
        set(&documents, &labels(), view.documents);
        set(&lag, &labels(), view.lag);
        add(&upserts, &labels(), view.upserts);
        add(&rejected, &labels(), view.rejected);
    }
}

fn endpoints(registry: &mut Registry, overview: &Overview) {
    let delivered = counts(registry, "alerts_delivered", "Alerts that a receiver has taken");
    let failed = counts(registry, "deliveries_failed", "Attempts that failed");
    let undelivered = counts(registry, "alerts_undelivered", "Alerts that were given up");
    let lag = levels(registry, "endpoint_lag_records", "Records that an endpoint has yet to see");
    for endpoint in overview.endpoints() {
        let labels = || vec![("endpoint", endpoint.name.clone())];
        add(&delivered, &labels(), endpoint.delivered);
        add(&failed, &labels(), endpoint.failed);
        add(&undelivered, &labels(), endpoint.undelivered);
        set(&lag, &labels(), endpoint.lag);
    }
}

fn sources(registry: &mut Registry, overview: &Overview) {
    let all = counts(registry, "source", "What a source has counted");
    for one in overview.counters.snapshot() {
        add(&all, &vec![("source", one.source), ("count", one.count.name().to_owned())], one.value);
    }
}
