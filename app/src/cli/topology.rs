//! `millpond topology`.

use clap::{Args, Subcommand};

use super::Place;
use super::print::Printer;
use super::table::Table;
use super::target::{Need, Target};
use crate::admin::TopologyReport;
use crate::app::App;
use crate::error::AppError;
use crate::roles::Roles;

const EXAMPLES: &str = "\
Examples:
  millpond topology list
  millpond topology describe fraud";

/// Look at topologies: what they read and write, how they are made, what they have done.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Topologies {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the topologies.
    List,
    /// Show a topology as Kafka Streams prints it, and what it has done.
    Describe {
        /// The topology.
        name: String,
    },
}

impl Topologies {
    pub(super) fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        let target = Target::find(app, &self.place, Need::Data(Roles::Door))?;
        let path = ["v1", "admin", "topologies"];
        let answered = match self.command {
            Command::List => {
                let all: Vec<TopologyReport> = target.client.get(&path, &[])?;
                printer.answer(&all, |all| list(all))
            }
            Command::Describe { name } => {
                let path = [path[0], path[1], path[2], name.as_str()];
                let one: TopologyReport = target.client.get(&path, &[])?;
                printer.answer(&one, described)
            }
        };
        answered.and(target.close())
    }
}

fn list(all: &[TopologyReport]) -> String {
    let mut table = Table::new(&["TOPOLOGY", "TASKS", "RUNNING", "RECORDS", "VIEWS", "ABOUT"]);
    for one in all {
        table.row([
            one.figures.name.clone(),
            one.figures.tasks.to_string(),
            one.figures.running_tasks.to_string(),
            one.figures.records.to_string(),
            one.views.join(","),
            one.about.clone(),
        ]);
    }
    table.text()
}

fn described(one: &TopologyReport) -> String {
    let figures = &one.figures;
    let mut text = format!(
        "{}: {}\n\nreads    {}\nviews    {}\nalerts   {}\n\
         tasks    {} of {} run, {} records, {} commits, {} restarts\n",
        figures.name,
        one.about,
        one.sources.join(", "),
        one.views.join(", "),
        one.alerts.as_deref().unwrap_or("none"),
        figures.running_tasks,
        figures.tasks,
        figures.records,
        figures.commits,
        figures.restarts
    );
    for dropped in &figures.dropped {
        text.push_str(&format!(
            "dropped  {} {} at {}\n",
            dropped.count, dropped.reason, dropped.place
        ));
    }
    text.push('\n');
    text.push_str(one.description.as_deref().unwrap_or_default());
    text
}
