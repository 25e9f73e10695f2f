//! Where the records of a simulated topology of the binary come from.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pipeline::sim::{BASE_MS, Dice, Input, Inputs, Subject};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Place;
use crate::app::App;
use crate::demo::{DemoRecord, DemoSource};
use crate::error::AppError;

/// Records of one run.
const RECORDS_MAX: usize = 250;
/// Rows of tables that are there before.
const ROWS_MAX: usize = 100;
/// Between two records of the demo's traffic, in milliseconds.
const STEP_MS: i64 = 400;
/// Records of the demo's traffic that are looked at for those that the topology reads.
const DRAWN_MAX: usize = 5_000;

/// The topology `name` of `app`, with records of a file or of the demo.
pub(super) fn subject(
    app: &App,
    place: &Place,
    (name, records): (&str, Option<PathBuf>),
) -> Result<Subject, AppError> {
    let known = app.topologies.iter().find(|known| known.name() == name);
    let Some(known) = known else {
        let names: Vec<&str> = app.topologies.iter().map(|known| known.name()).collect();
        let names = names.join(", ");
        return Err(AppError::Usage(format!("there is no topology `{name}`; there are: {names}")));
    };
    let topology = known.build(&place.load(app)?)?;
    let mut topics: BTreeSet<String> = topology.source_topics().into_iter().collect();
    topics.extend(topology.global_topics());
    if let Some(path) = records {
        let all = read(&path)?;
        if let Some(stray) = all.iter().find(|input| !topics.contains(&input.topic)) {
            let topics = topics.into_iter().collect::<Vec<_>>().join(", ");
            return Err(AppError::Usage(format!(
                "{} has a record for `{}`, which `{name}` does not read; it reads: {topics}",
                path.display(),
                stray.topic
            )));
        }
        return Ok(Subject::new(topology, move |dice| excerpt(&all, dice)));
    }
    let Some(source) = app.demo else {
        let needed = format!("give the records of `{name}` with --records FILE");
        return Err(AppError::Usage(needed));
    };
    let drawn = draw(source, &topics, &mut Dice::new(0));
    if drawn.first.is_empty() && drawn.rest.is_empty() {
        let topics: Vec<String> = topics.into_iter().collect();
        let topics = topics.join(", ");
        return Err(AppError::Usage(format!(
            "the demo has no records for {topics}: give some with --records FILE"
        )));
    }
    Ok(Subject::new(topology, move |dice| draw(source, &topics, dice)))
}

/// The demo's traffic of a seed, as far as the topology reads it.
fn draw(source: DemoSource, topics: &BTreeSet<String>, dice: &mut Dice) -> Inputs {
    let mut now_ms = BASE_MS;
    let mut traffic = (source.traffic)(dice.roll(), now_ms);
    let reads = |record: &DemoRecord| topics.contains(record.topic);
    let first = traffic.first.into_iter().filter(reads).take(ROWS_MAX).map(input).collect();
    let wanted = 50 + dice.below(RECORDS_MAX - 50);
    let mut rest = Vec::with_capacity(wanted);
    for _ in 0..DRAWN_MAX {
        if rest.len() == wanted {
            break;
        }
        now_ms += dice.between(0, 2 * STEP_MS);
        rest.extend(Some((traffic.next)(now_ms)).filter(reads).map(input));
    }
    Inputs { first, rest, ..Inputs::default() }
}

fn input(record: DemoRecord) -> Input {
    let DemoRecord { topic, key, value, timestamp_ms } = record;
    Input {
        topic: topic.to_owned(),
        key: Some(key),
        value: Some(value),
        timestamp_ms,
        event_id: None,
    }
}

/// A stretch of a file's records.
fn excerpt(all: &[Input], dice: &mut Dice) -> Inputs {
    let count = all.len().min(RECORDS_MAX);
    let from = dice.below(all.len() - count + 1);
    Inputs::as_scheduled(all[from..from + count].to_vec())
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    key: Option<String>,
    value: Option<Box<RawValue>>,
    timestamp_ms: i64,
}

fn read(path: &std::path::Path) -> Result<Vec<Input>, AppError> {
    let at = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| AppError::Usage(format!("cannot read the records in {at}: {error}")))?;
    let mut inputs = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            AppError::Usage(format!("line {} of {at} is no record: {error}", number + 1))
        })?;
        let value = line.value.filter(|value| value.get() != "null");
        inputs.push(Input {
            topic: line.topic,
            key: line.key.map(String::into_bytes),
            value: value.map(|value| value.get().as_bytes().to_vec()),
            timestamp_ms: line.timestamp_ms,
            event_id: None,
        });
    }
    if inputs.is_empty() {
        return Err(AppError::Usage(format!("{at} has no records")));
    }
    Ok(inputs)
}
