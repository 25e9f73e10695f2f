//! `millpond dlq`.

use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Place;
use super::print::Printer;
use super::table::Table;
use super::target::{Need, Target};
use crate::admin::{DeadLetterCount, DeadLetterCounts, DeadLettersHandled};
use crate::app::App;
use crate::client::{Answer, Client};
use crate::error::AppError;
use crate::roles::Roles;

/// The letters that are asked for at once.
const PAGE: u64 = 500;

const EXAMPLES: &str = "\
Examples:
  millpond dlq counts
  millpond dlq list --topology fraud --reason panic --since 2h
  millpond dlq show fraud-dlq-0@17
  millpond dlq replay fraud-dlq-0@17 fraud-dlq-0@18
  millpond dlq replay --topology fraud --reason panic
  millpond dlq drop --topic payments --until 2026-11-21T10:00:00Z

Reasons: bad-key, bad-value, bad-timestamp, panic, too-large, bad-document, cannot-encode, bad-state,
refused, bad-line. A letter is sent again once, ever, also if the command is interrupted and given again.";

/// Look at records that could not be handled, send them again, or drop them.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DeadLetters {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List dead letters, oldest first.
    List {
        #[command(flatten)]
        which: Which,
        /// Open ones alone, or those that were dealt with.
        #[arg(long, value_enum, default_value_t = State::Open)]
        state: State,
        /// The most letters.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
    /// Count dead letters by topology, reason, node, topic and state.
    Counts(Which),
    /// Show one dead letter whole.
    Show {
        /// Its id, such as fraud-dlq-0@17.
        id: String,
    },
    /// Send records again to the topics that they were read from.
    Replay(Chosen),
    /// Note that nothing is to be done about them.
    Drop(Chosen),
}

/// Which letters; what is not given is not looked at.
#[derive(Args, Clone, Default)]
struct Which {
    /// Of this topology; or of this topic, for lines that a source could not read.
    #[arg(long, value_name = "NAME")]
    topology: Option<String>,
    /// With this reason.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Not handled by this node.
    #[arg(long)]
    node: Option<String>,
    /// Read from this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Set aside since then: 2h ago, or a moment such as 2026-11-21T10:00:00Z.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<When>,
    /// Set aside before then.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<When>,
}

#[derive(Args)]
struct Chosen {
    /// Their ids; without one, all open letters of the filter.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// All open letters there are.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// What has become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Open,
    Replayed,
    Dropped,
    All,
}

/// A moment, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Milliseconds since 1970.
    At(i64),
    /// So many milliseconds before now.
    Ago(i64),
}

fn when(text: &str) -> Result<When, String> {
    if let Ok(ago) = super::duration::parse(text) {
        let ms = i64::try_from(ago.as_millis()).map_err(|_| "that is too long ago".to_owned())?;
        return Ok(When::Ago(ms));
    }
    let at = DateTime::parse_from_rfc3339(text).map_err(|_| {
        "write how long ago, such as 2h, or a moment such as 2026-11-21T10:00:00Z".to_owned()
    })?;
    Ok(When::At(at.timestamp_millis()))
}

impl When {
    fn ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ms) => now_ms.saturating_sub(ms),
        }
    }
}

/// A page of letters, each as it was answered.
#[derive(Deserialize)]
struct Page {
    letters: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// What a list shows of a letter.
#[derive(Deserialize)]
struct Line {
    id: String,
    state: String,
    defect: String,
    message: String,
    node: String,
    topic: String,
    partition: Option<u32>,
    offset: Option<u64>,
    set_aside_ms: i64,
}

/// A letter whole.
#[derive(Deserialize)]
struct Letter {
    #[serde(flatten)]
    line: Line,
    task: Option<String>,
    source: Option<String>,
    timestamp_ms: i64,
    key: Value,
    value: Box<RawValue>,
    headers: Map<String, Value>,
}

impl DeadLetters {
    pub(super) fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        let target = Target::find(app, &self.place, Need::Data(Roles::Gateway))?;
        let asked = Asked { client: &target.client, now_ms: target.now_ms(), printer };
        let answered = match self.command {
            Command::List { which, state, limit } => asked.list(&which, state, limit),
            Command::Counts(which) => asked.counts(&which),
            Command::Show { id } => asked.show(&id),
            Command::Replay(chosen) => asked.handle("replay", &chosen),
            Command::Drop(chosen) => asked.handle("drop", &chosen),
        };
        answered.and(target.close())
    }
}

/// A process that is asked, and whom to tell.
struct Asked<'a> {
    client: &'a Client,
    now_ms: i64,
    printer: &'a Printer,
}

impl Asked<'_> {
    fn list(&self, which: &Which, state: State, limit: u64) -> Result<(), AppError> {
        let mut table = Table::new(&["ID", "SET ASIDE", "REASON", "NODE", "FROM", "MESSAGE"]);
        let (mut left, mut after) = (limit, None);
        loop {
            let page: Page = self.page(which, state, (left.min(PAGE), after))?;
            left -= page.letters.len() as u64;
            for letter in &page.letters {
                if self.printer.is_json() {
                    self.printer.text(letter.get())?;
                } else {
                    table.row(row(&parsed(letter.get())?));
                }
            }
            after = page.next;
            if left == 0 || after.is_none() {
                break;
            }
        }
        if self.printer.is_json() { Ok(()) } else { self.printer.text(&table.text()) }
    }

    fn page(
        &self,
        which: &Which,
        state: State,
        (limit, after): (u64, Option<String>),
    ) -> Result<Page, AppError> {
        let mut query = which.query(self.now_ms);
        query.push(("limit", limit.to_string()));
        query.extend(state.name().map(|name| ("state", name.to_owned())));
        query.extend(after.map(|after| ("after", after)));
        self.get(&["v1", "admin", "dlq"], &query)
    }

    fn counts(&self, which: &Which) -> Result<(), AppError> {
        let mut all: Vec<DeadLetterCount> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = which.query(self.now_ms);
            query.extend(after.map(|after| ("after", after)));
            let some: DeadLetterCounts = self.get(&["v1", "admin", "dlq", "counts"], &query)?;
            for count in some.counts {
                add(&mut all, count);
            }
            after = some.next;
            if after.is_none() {
                break;
            }
        }
        self.printer.answer(&all, |all| counted(all))
    }

    fn show(&self, id: &str) -> Result<(), AppError> {
        let body = self.client.get_text(&["v1", "admin", "dlq", id], &[])?;
        if self.printer.is_json() {
            return self.printer.text(&body);
        }
        self.printer.text(&shown(&parsed(&body)?))
    }

    fn handle(&self, verb: &str, chosen: &Chosen) -> Result<(), AppError> {
        let mut sum = DeadLettersHandled::default();
        if !chosen.ids.is_empty() {
            for ids in chosen.ids.chunks(PAGE as usize) {
                self.step(verb, &json!({ "ids": ids }), &mut sum)?;
            }
        } else if chosen.which.is_empty() && !chosen.all {
            let reason = format!("say which letters to {verb}: ids, a filter, or --all");
            return Err(AppError::Usage(reason));
        } else {
            // What is sent again may come back as a new letter: that one is not meant.
            let until = chosen.which.until.or(Some(When::At(self.now_ms)));
            let which = Which { until, ..chosen.which.clone() };
            let mut filter = Map::new();
            for (name, value) in which.query(self.now_ms) {
                let is_number = name.ends_with("_ms");
                let number = || value.parse::<i64>().map_or(Value::Null, Value::from);
                filter.insert(name.to_owned(), if is_number { number() } else { json!(value) });
            }
            filter.insert("limit".to_owned(), PAGE.into());
            loop {
                self.step(verb, &json!({ "filter": filter }), &mut sum)?;
                match sum.next.take() {
                    Some(after) => filter.insert("after".to_owned(), after.into()),
                    None => break,
                };
            }
        }
        self.printer.answer(&sum, |sum| done(verb, sum))
    }

    fn step(
        &self,
        verb: &str,
        order: &Value,
        sum: &mut DeadLettersHandled,
    ) -> Result<(), AppError> {
        let request = self.client.request(Method::POST, &["v1", "admin", "dlq", verb], &[])?;
        let request = request
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(order.to_string());
        match self.client.send(request)? {
            Answer::Refused { status, problem, .. } => {
                Err(AppError::Refused { status: status.as_u16(), detail: problem.detail })
            }
            Answer::Body(body) => {
                let step: DeadLettersHandled = parsed(&body)?;
                sum.done += step.done;
                sum.before += step.before;
                sum.refused.extend(step.refused);
                sum.next = step.next;
                Ok(())
            }
        }
    }

    fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, AppError> {
        let query: Vec<(&str, &str)> =
            query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.client.get(path, &query)
    }
}

impl Which {
    fn query(&self, now_ms: i64) -> Vec<(&'static str, String)> {
        let Self { topology, reason, node, topic, since, until } = self.clone();
        let texts = [("owner", topology), ("defect", reason), ("node", node), ("topic", topic)];
        let moment = |when: Option<When>| when.map(|when| when.ms(now_ms).to_string());
        let moments = [("from_ms", moment(since)), ("to_ms", moment(until))];
        let all = texts.into_iter().chain(moments);
        all.filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn is_empty(&self) -> bool {
        self.query(0).is_empty()
    }
}

impl State {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Open => Some("open"),
            Self::Replayed => Some("replayed"),
            Self::Dropped => Some("dropped"),
            Self::All => None,
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, AppError> {
    serde_json::from_str(body)
        .map_err(|error| AppError::Failed(format!("the answer is not one of this API: {error}")))
}

fn add(all: &mut Vec<DeadLetterCount>, one: DeadLetterCount) {
    let same = |other: &&mut DeadLetterCount| {
        (&other.letters, &other.defect, &other.node) == (&one.letters, &one.defect, &one.node)
            && (&other.topic, other.state) == (&one.topic, one.state)
    };
    match all.iter_mut().find(same) {
        Some(known) => known.count += one.count,
        None => all.push(one),
    }
}

fn counted(all: &[DeadLetterCount]) -> String {
    let mut table = Table::new(&["LETTERS", "REASON", "NODE", "FROM", "STATE", "COUNT"]);
    for one in all {
        let state = format!("{:?}", one.state).to_lowercase();
        let DeadLetterCount { letters, defect, node, topic, count, .. } = one.clone();
        table.row([letters, defect, node, topic, state, count.to_string()]);
    }
    table.text()
}

fn row(line: &Line) -> [String; 6] {
    [
        line.id.clone(),
        moment(line.set_aside_ms),
        line.defect.clone(),
        line.node.clone(),
        place(line),
        line.message.lines().next().unwrap_or_default().chars().take(80).collect(),
    ]
}

fn place(line: &Line) -> String {
    match (line.partition, line.offset) {
        (Some(partition), Some(offset)) => format!("{}-{partition}@{offset}", line.topic),
        _ => line.topic.clone(),
    }
}

fn shown(letter: &Letter) -> String {
    let Letter { line, task, source, timestamp_ms, key, value, headers } = letter;
    let mut text =
        format!("{} ({})\n\nreason     {}: {}\n", line.id, line.state, line.defect, line.message);
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("{name:<9}  {value}\n"));
        }
    };
    put("node", &line.node);
    put("task", task.as_deref().unwrap_or_default());
    put("from", &place(line));
    put("source", source.as_deref().unwrap_or_default());
    put("set aside", &moment(line.set_aside_ms));
    put("time", &moment(*timestamp_ms));
    put("key", &plain(key));
    put("value", value.get());
    text.push_str("\nheaders\n");
    for (name, value) in headers {
        let shown = plain(value).replace('\n', "\n    ");
        text.push_str(&format!("  {name}: {shown}\n"));
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn moment(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms);
    time.map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn done(verb: &str, sum: &DeadLettersHandled) -> String {
    let did = match verb {
        "replay" => "sent again",
        _ => "dropped",
    };
    let mut text = format!("{} {did}", sum.done);
    if sum.before > 0 {
        text.push_str(&format!(", {} dealt with before", sum.before));
    }
    for (id, reason) in &sum.refused {
        text.push_str(&format!("\nnot {did}: {id}: {reason}"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ago_or_given() {
        assert_eq!(when("2h"), Ok(When::Ago(7_200_000)));
        assert_eq!(when("2h").unwrap().ms(10_000_000), 2_800_000);
        assert_eq!(when("1970-01-01T00:00:01Z"), Ok(When::At(1_000)));
        assert!(when("yesterday").unwrap_err().contains("2h"));
    }

    #[test]
    fn counts_of_several_answers_are_added() {
        let one = |defect: &str, count| DeadLetterCount {
            letters: "a-dlq".to_owned(),
            defect: defect.to_owned(),
            node: "N".to_owned(),
            topic: "in".to_owned(),
            state: pipeline::dead_letters::LetterState::Open,
            count,
        };
        let mut all = Vec::new();
        for (defect, count) in [("panic", 1), ("bad-value", 2), ("panic", 3)] {
            add(&mut all, one(defect, count));
        }
        assert_eq!(all.iter().map(|one| one.count).collect::<Vec<_>>(), [4, 2]);
        assert!(
            counted(&all).contains("a-dlq    panic      N     in    open       4"),
            "{}",
            counted(&all)
        );
    }
}
