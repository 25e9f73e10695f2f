//! Dead letters: listed, counted, shown, sent again, dropped.
//!
//! ```text
//! GET  /v1/admin/dlq              a page of letters     ?owner= &defect= &node= &topic= &state=
//! GET  /v1/admin/dlq/counts       how many of each      &from_ms= &to_ms= &after= &limit=
//! GET  /v1/admin/dlq/{id}         one, whole
//! POST /v1/admin/dlq/replay       {"ids": [...]}, or {"filter": {...}}
//! POST /v1/admin/dlq/drop         the same
//! ```
//! A page or a step is bounded; an answer with `next` wants to be asked again with `after`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use pipeline::dead_letters::{
    self, DeadLetter, DeadLetterError, Filter, Handled, Handler, LetterId, LetterState,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::records::{text, value};
use super::{Refusal, blocking, log_problem, problem};
use crate::roles::{Overview, Shared};

/// The most letters of a page, and of one step of a replay.
const LIMIT_MAX: usize = 1_000;
/// The most bytes of a value that a list shows.
const SHOWN_BYTES_MAX: usize = 512;

/// Which letters, and from where on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// A topology, or the source topic whose lines could not be read.
    owner: Option<String>,
    defect: Option<String>,
    node: Option<String>,
    topic: Option<String>,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    state: Option<LetterState>,
    after: Option<String>,
    limit: Option<usize>,
}

/// A dead letter as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: String,
    state: LetterState,
    defect: String,
    message: String,
    node: String,
    task: Option<String>,
    /// Where the record was read; a file or a peer for lines that never were one.
    topic: String,
    partition: Option<u32>,
    offset: Option<u64>,
    /// Behind a repartition, the source record that it was made from.
    source: Option<String>,
    set_aside_ms: i64,
    timestamp_ms: i64,
    key: Value,
    value: Box<RawValue>,
    value_bytes: usize,
    /// The record's own headers; of one letter alone, the others too.
    headers: Map<String, Value>,
}

/// A page.
#[derive(Serialize)]
pub(super) struct Page {
    letters: Vec<Shown>,
    next: Option<String>,
}

/// How many letters have something in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadLetterCount {
    /// The topic that they lie in.
    pub(crate) letters: String,
    pub(crate) defect: String,
    pub(crate) node: String,
    pub(crate) topic: String,
    pub(crate) state: LetterState,
    pub(crate) count: u64,
}

/// Counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadLetterCounts {
    pub(crate) counts: Vec<DeadLetterCount>,
    pub(crate) next: Option<String>,
}

/// Which letters are to be dealt with.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Order {
    ids: Vec<String>,
    filter: Option<Wanted>,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DeadLettersHandled {
    /// Dealt with now.
    pub(crate) done: u64,
    /// Dealt with before: nothing was done.
    pub(crate) before: u64,
    /// Not dealt with: id and reason.
    pub(crate) refused: BTreeMap<String, String>,
    pub(crate) next: Option<String>,
}

/// A page of letters.
pub(super) async fn list(
    State(shared): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Page>, Refusal> {
    let Query(wanted) = wanted.map_err(|error| bad_request(error.body_text()))?;
    let page = move |shared: &Shared| {
        let (filter, after, limit) = wanted.read()?;
        let listed = dead_letters::list(&*shared.overview.log, &filter, after.as_ref(), limit);
        let listed = listed.map_err(refused)?;
        let letters = listed.letters.iter().map(|(letter, state)| brief(letter, *state));
        let next = listed.next.map(|id| id.to_string());
        Ok(Json(Page { letters: letters.collect(), next }))
    };
    blocking(shared, page).await
}

/// Counts of letters.
pub(super) async fn counts(
    State(shared): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<DeadLetterCounts>, Refusal> {
    let Query(wanted) = wanted.map_err(|error| bad_request(error.body_text()))?;
    let counts = move |shared: &Shared| {
        let (filter, after, _) = wanted.read()?;
        let counted = dead_letters::count(&*shared.overview.log, &filter, after.as_ref());
        let counted = counted.map_err(refused)?;
        let groups = counted.groups.into_iter().map(|(group, count)| {
            let dead_letters::Group { letters, defect, node, topic, state } = group;
            DeadLetterCount { letters, defect, node, topic, state, count }
        });
        let next = counted.next.map(|id| id.to_string());
        Ok(Json(DeadLetterCounts { counts: groups.collect(), next }))
    };
    blocking(shared, counts).await
}

/// One letter.
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Refusal> {
    let one = move |shared: &Shared| {
        let id = parse_id(&id)?;
        let (letter, state) = dead_letters::read(&*shared.overview.log, &id).map_err(refused)?;
        Ok(Json(whole(&letter, state)))
    };
    blocking(shared, one).await
}

/// Sends letters again.
pub(super) async fn replay(
    State(shared): State<Shared>,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<Json<DeadLettersHandled>, Refusal> {
    handle(shared, order, |handler, ids, now_ms| handler.replay(ids, now_ms)).await
}

/// Notes that nothing is to be done about letters.
pub(super) async fn drop(
    State(shared): State<Shared>,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<Json<DeadLettersHandled>, Refusal> {
    handle(shared, order, |handler, ids, now_ms| handler.drop(ids, now_ms)).await
}

type Verb = fn(&mut Handler<'_>, &[LetterId], i64) -> Result<Handled, DeadLetterError>;

async fn handle(
    shared: Shared,
    order: Result<Json<Order>, JsonRejection>,
    verb: Verb,
) -> Result<Json<DeadLettersHandled>, Refusal> {
    let Json(order) = order.map_err(|error| bad_request(error.body_text()))?;
    blocking(shared, move |shared| carry_out(&shared.overview, &order, verb).map(Json)).await
}

fn carry_out(
    overview: &Overview,
    order: &Order,
    verb: Verb,
) -> Result<DeadLettersHandled, Refusal> {
    let (ids, next) = match (&order.filter, order.ids.as_slice()) {
        (None, ids) if !ids.is_empty() && ids.len() <= LIMIT_MAX => {
            (ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>, _>>()?, None)
        }
        (Some(wanted), []) => {
            let (mut filter, after, limit) = wanted.read()?;
            filter.state = Some(LetterState::Open);
            let listed = dead_letters::list(&*overview.log, &filter, after.as_ref(), limit);
            let listed = listed.map_err(refused)?;
            let ids = listed.letters.into_iter().map(|(letter, _)| letter.id).collect();
            (ids, listed.next)
        }
        _ => {
            return Err(bad_request(format!(
                "name 1 to {LIMIT_MAX} letters in `ids`, or give a `filter`"
            )));
        }
    };
    let mut by_topic: BTreeMap<String, Vec<LetterId>> = BTreeMap::new();
    for id in ids {
        by_topic.entry(id.at.topic.to_string()).or_default().push(id);
    }
    let next = next.map(|id| id.to_string());
    let mut handled = DeadLettersHandled { next, ..DeadLettersHandled::default() };
    for (topic, ids) in by_topic {
        if !topic.ends_with("-dlq") {
            return Err(bad_request(format!("`{topic}` is not a topic of dead letters")));
        }
        let mut handler = Handler::open(&*overview.log, &topic).map_err(refused)?;
        let step = verb(&mut handler, &ids, overview.clock.wall_ms()).map_err(refused)?;
        handled.done += step.done;
        handled.before += step.before;
        handled.refused.extend(step.refused.into_iter().map(|r| (r.id.to_string(), r.reason)));
    }
    Ok(handled)
}

impl Wanted {
    fn read(&self) -> Result<(Filter, Option<LetterId>, usize), Refusal> {
        let limit = self.limit.unwrap_or(100);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(bad_request(format!("`limit` is {limit}, it is 1 to {LIMIT_MAX}")));
        }
        let Self { owner, defect, node, topic, from_ms, to_ms, state, after, .. } = self.clone();
        let after = after.map(|id| parse_id(&id)).transpose()?;
        Ok((Filter { owner, defect, node, topic, from_ms, to_ms, state }, after, limit))
    }
}

/// A letter with as much of its value as a list shows.
fn brief(letter: &DeadLetter, state: LetterState) -> Shown {
    let cut = letter.value.as_deref().filter(|value| value.len() > SHOWN_BYTES_MAX);
    let shown = match cut {
        Some(bytes) => {
            let begin = String::from_utf8_lossy(&bytes[..SHOWN_BYTES_MAX]);
            value(Some(format!("{begin}...").as_bytes()))
        }
        None => value(letter.value.as_deref()),
    };
    let own = letter.own_headers().map(|(name, value)| (name.to_owned(), text(Some(value))));
    shown_with(letter, state, shown, own.collect())
}

/// A letter with everything.
fn whole(letter: &DeadLetter, state: LetterState) -> Shown {
    let all = letter.headers.iter().map(|(name, value)| (name.clone(), readable(value)));
    shown_with(letter, state, value(letter.value.as_deref()), all.collect())
}

/// A stack trace has line ends, and is a text all the same.
fn readable(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(lines) if !lines.contains(|c: char| c.is_control() && c != '\n') => lines.into(),
        _ => text(Some(value)),
    }
}

fn shown_with(
    letter: &DeadLetter,
    state: LetterState,
    value: Box<RawValue>,
    headers: Map<String, Value>,
) -> Shown {
    let record = letter.record();
    let owned = |name: &str| letter.header(name).map(str::to_owned);
    Shown {
        id: letter.id.to_string(),
        state,
        defect: letter.defect().to_owned(),
        message: letter.message().to_owned(),
        node: letter.node().to_owned(),
        task: owned(pipeline::format::dead_letter::TASK),
        topic: letter.topic().to_owned(),
        partition: record.as_ref().map(|(at, _)| at.partition),
        offset: record.map(|(_, offset)| offset),
        source: owned(pipeline::format::dead_letter::SOURCE),
        set_aside_ms: letter.set_aside_ms,
        timestamp_ms: letter.timestamp,
        key: text(letter.key.as_deref()),
        value,
        value_bytes: letter.value.as_ref().map_or(0, Vec::len),
        headers,
    }
}

fn parse_id(id: &str) -> Result<LetterId, Refusal> {
    id.parse().map_err(|error: dead_letters::LetterIdError| bad_request(error.to_string()))
}

fn bad_request(detail: String) -> Refusal {
    problem(StatusCode::BAD_REQUEST, detail)
}

fn refused(error: DeadLetterError) -> Refusal {
    match error {
        DeadLetterError::Unknown(_) => problem(StatusCode::NOT_FOUND, error.to_string()),
        DeadLetterError::Fenced { .. } => problem(StatusCode::CONFLICT, error.to_string()),
        DeadLetterError::Aborted { .. } | DeadLetterError::Indeterminate { .. } => {
            problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        DeadLetterError::Log(error) => log_problem(&error),
    }
}
