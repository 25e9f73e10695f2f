//! `millpond search`.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Place;
use super::print::Printer;
use super::target::{Need, Target};
use crate::app::App;
use crate::error::AppError;
use crate::roles::Roles;

/// How long a process that was just started may take to bring its views up to date.
const CATCH_UP: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

const EXAMPLES: &str = "\
Examples:
  millpond search suspicious-cards
  millpond search failed-logins 'host:web-1 AND last:\"failed password\"' --sort=-attempts
  millpond search order-totals 'total_cents:[100000 TO *]' --sort=-total_cents --limit 5
  millpond search order-totals order_id:o-17 --after v1.orders:3:120:1

Without a query, or with '*', all documents match. A sort field with a leading - has the largest
first: write --sort=-field. `--after` takes the token that ingest has answered with and waits until
the view contains it.";

/// Search a view.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Search {
    #[command(flatten)]
    place: Place,
    /// Ask the process at this URL, wherever its data lies.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The view.
    view: String,
    /// What to find, in tantivy's query language.
    #[arg(default_value = "*")]
    query: String,
    /// Fields to sort by, with commas between them.
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    /// The most documents.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Leave out so many before the first.
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Wait until the view contains what this token stands for.
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
}

/// What the API answers, as far as people want it.
#[derive(Deserialize)]
struct Found {
    total: u64,
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    key: String,
    time: String,
    document: Map<String, Value>,
}

impl Search {
    pub(super) fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        let target = match &self.url {
            Some(url) => Target::at(url)?,
            None => Target::find(app, &self.place, Need::Data(Roles::Views))?,
        };
        let answered = self.ask(&target).and_then(|body| show(&body, printer));
        answered.and(target.close())
    }

    fn ask(&self, target: &Target) -> Result<String, AppError> {
        catch_up(target)?;
        let (limit, offset) = (self.limit.to_string(), self.offset.to_string());
        let mut query = vec![("q", self.query.as_str()), ("limit", &limit), ("offset", &offset)];
        query.extend(self.sort.as_deref().map(|sort| ("sort", sort)));
        query.extend(self.after.as_deref().map(|token| ("after", token)));
        let path = ["v1", "views", &self.view, "search"];
        target.client.get_text(&path, &query).map_err(|error| self.explained(error, target))
    }

    /// Says which views there are, where the one that was asked for is not among them.
    fn explained(&self, error: AppError, target: &Target) -> AppError {
        #[derive(Deserialize)]
        struct Views {
            views: Vec<View>,
        }
        #[derive(Deserialize)]
        struct View {
            name: String,
        }
        let AppError::Refused { status: status @ 404, detail } = error else { return error };
        let listed: Result<Views, AppError> = target.client.get(&["v1", "views"], &[]);
        let names = listed.map(|all| all.views.into_iter().map(|view| view.name));
        let names: Vec<String> = names.map(Iterator::collect).unwrap_or_default();
        let near = crate::config::nearest(&self.view, names.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", names.join(", ")),
        };
        AppError::Refused { status, detail: format!("{detail}; {hint}") }
    }
}

/// A process of one's own shows what the last one has indexed, and then what is behind it in the
/// log: waits for the latter.
fn catch_up(target: &Target) -> Result<(), AppError> {
    let Some(process) = target.own() else { return Ok(()) };
    let mut waited = Duration::ZERO;
    while !process.overview.is_caught_up()? {
        if waited >= CATCH_UP {
            tracing::warn!("the views have not caught up with the log: what is shown is older");
            break;
        }
        target.client.pause(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
    Ok(())
}

fn show(body: &str, printer: &Printer) -> Result<(), AppError> {
    if printer.is_json() {
        return printer.text(body);
    }
    let found: Found = serde_json::from_str(body)
        .map_err(|error| AppError::Failed(format!("the answer is not one of this API: {error}")))?;
    printer.text(&text(&found))
}

fn text(found: &Found) -> String {
    let mut text = String::new();
    for Hit { key, time, document } in &found.hits {
        text.push_str(&format!("{key}  ({time})\n"));
        let width = document.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, value) in document.iter().filter(|(_, value)| !value.is_null()) {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!("  {name:<width$}  {shown}\n"));
        }
    }
    let shown = found.hits.len();
    text.push_str(&match (found.total, shown) {
        (0, _) => "no document matches\n".to_owned(),
        (1, 1) => "1 document\n".to_owned(),
        (total, shown) if total == shown as u64 => format!("{total} documents\n"),
        (total, shown) => {
            format!("{shown} of {total} documents; --limit and --offset show others\n")
        }
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_shown_field_by_field() {
        let body = r#"{"view":"v","total":3,"positions":{},"hits":[{"key":"a","time":"2026-01-01T00:00:00Z",
            "document":{"count":7,"name":"x","none":null}}]}"#;
        let found: Found = serde_json::from_str(body).unwrap();
        assert_eq!(
            text(&found),
            "a  (2026-01-01T00:00:00Z)\n  count  7\n  name   x\n\
             1 of 3 documents; --limit and --offset show others\n"
        );
    }

    #[test]
    fn nothing_found_is_said() {
        assert_eq!(text(&Found { total: 0, hits: Vec::new() }), "no document matches\n");
    }
}
