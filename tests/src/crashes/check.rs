//! Compares what is there after the kills with the model.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ledger::{ALERTS, LINES_ONCE, Line, PAYMENTS, PAYMENTS_ONCE, Payment, REGIONS, Tally};
use super::model::Model;
use super::process::{Holder, eventually};
use super::receiver::Receiver;
use super::report::Report;
use super::traffic::Sent;

/// Waits until everything that was sent has come through, as far as it ever will, and compares.
pub(super) fn check(
    holder: &Holder,
    receiver: &Receiver,
    (sent, partitions): (&Sent, u32),
    report: &mut Report,
) -> anyhow::Result<()> {
    let model = Model::of(&sent.payments, partitions);
    let documents = holder.documents(REGIONS, &holder.token(PAYMENTS)?)?;
    windows(&model, &documents, report)?;

    let expected: Vec<(u64, &Payment)> = sent.payments.iter().map(|one| (one.id, one)).collect();
    once(PAYMENTS_ONCE, &expected, &holder.records(PAYMENTS_ONCE)?, report)?;
    // The lines come last: a file is looked at four times a second.
    let lines = settled(holder, LINES_ONCE, sent.lines.len())?;
    let expected: Vec<(u64, &Line)> = sent.lines.iter().map(|one| (one.id, one)).collect();
    once(LINES_ONCE, &expected, &lines, report)?;
    alerts(&model, &settled(holder, ALERTS, model.alerts.len())?, receiver, report)?;

    report.records = (sent.payments.len() + sent.lines.len()) as u64;
    report.retries = sent.retries;
    report.windows = model.windows.len() as u64;
    report.alerts = model.alerts.len() as u64;
    let described = holder.get(&format!("/v1/admin/topics/{PAYMENTS}"))?;
    let starts = described["partitions"].as_array().context("no partitions")?;
    report.retired = starts.iter().filter_map(|one| one["start"].as_u64()).sum();
    Ok(())
}

/// The records of `topic`, once there are `count` or no more come for some seconds.
fn settled(holder: &Holder, topic: &str, count: usize) -> anyhow::Result<Vec<Value>> {
    const LOOKS: u32 = 250;
    let (mut looks, mut last) = (0, usize::MAX);
    eventually("records", || {
        let records = holder.records(topic)?;
        looks = if records.len() == last { looks + 1 } else { 0 };
        last = records.len();
        Ok((records.len() >= count || looks > LOOKS).then_some(records))
    })
}

/// Everything that was sent lies in `topic` once, as it was sent, and in order in each partition.
fn once<T: DeserializeOwned + PartialEq + std::fmt::Debug>(
    topic: &str,
    expected: &[(u64, &T)],
    records: &[Value],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for record in records {
        let value = &record["value"];
        let id = value["id"].as_u64().with_context(|| format!("{topic}: {record}"))?;
        let count = seen.entry(id).or_default();
        *count += 1;
        if *count > 1 {
            report.doubled += 1;
            report.complain(format!("{topic}: record {id} is there {count} times"));
        }
        let partition = record["partition"].as_u64().unwrap_or_default();
        if let Some(before) = last.insert(partition, id).filter(|before| *before > id) {
            report.complain(format!("{topic}-{partition}: {id} comes after {before}"));
        }
        match expected.get(usize::try_from(id)?) {
            None => report.complain(format!("{topic}: record {id} was never sent")),
            Some((_, sent)) => {
                let found: T = serde_json::from_value(value.clone())?;
                if found != **sent {
                    report.complain(format!("{topic}: record {id} has changed: {found:?}"));
                }
            }
        }
    }
    for (id, _) in expected.iter().filter(|(id, _)| !seen.contains_key(id)) {
        report.lost += 1;
        report.complain(format!("{topic}: record {id} is lost"));
    }
    Ok(())
}

/// Every window of the model has its document, and there are no others.
fn windows(model: &Model, documents: &[Value], report: &mut Report) -> anyhow::Result<()> {
    let mut found: BTreeMap<(String, i64), Tally> = BTreeMap::new();
    for document in documents {
        let region = document["region"].as_str().context("no region")?.to_owned();
        let start = document["start"].as_i64().context("no start")?;
        let tally: Tally = serde_json::from_value(document.clone())?;
        if found.insert((region, start), tally).is_some() {
            report.doubled += 1;
            report.complain(format!("{REGIONS}: two documents: {document}"));
        }
    }
    for (key, expected) in &model.windows {
        let tally = found.remove(key).unwrap_or_default();
        report.lost += expected.count.saturating_sub(tally.count);
        report.doubled += tally.count.saturating_sub(expected.count);
        if tally != *expected {
            report.complain(format!("{REGIONS}: {key:?} is {tally:?}, not {expected:?}"));
        }
    }
    for (key, tally) in found {
        report.complain(format!("{REGIONS}: {key:?} should not be: {tally:?}"));
    }
    Ok(())
}

/// Every alert of the model lies in the topic once and has come to the receiver; nothing else has.
fn alerts(
    model: &Model,
    records: &[Value],
    receiver: &Receiver,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        *seen.entry(record["value"]["id"].as_str().context("no id")?).or_default() += 1;
    }
    // One that is lost never comes: then the comparison tells.
    let arrived = || Ok((receiver.alerts() >= model.alerts.len()).then_some(()));
    if let Err(error) = eventually("alerts at the receiver", arrived) {
        report.complain(error.to_string());
    }
    let inbox = receiver.inbox();
    for id in &model.alerts {
        if !seen.contains_key(id.as_str()) || !inbox.accepted.contains_key(id) {
            report.lost += 1;
            report.complain(format!("alert {id} is lost"));
        }
    }
    for (id, count) in &seen {
        report.doubled += count - 1;
        if *count > 1 || !model.alerts.contains(*id) {
            report.complain(format!("{ALERTS}: alert {id} is there {count} times"));
        }
    }
    for id in inbox.accepted.keys().filter(|id| !model.alerts.contains(*id)) {
        report.complain(format!("alert {id} should not have been delivered"));
    }
    if inbox.refused > 0 {
        report.complain(format!("{} calls were not signed as they should be", inbox.refused));
    }
    report.calls = inbox.accepted.values().sum();
    report.repeats = report.calls - inbox.accepted.len() as u64;
    Ok(())
}
