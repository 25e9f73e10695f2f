//! `millpond tasks` and `millpond lag`.

use clap::Args;

use super::Place;
use super::print::Printer;
use super::table::Table;
use super::target::{Need, Target};
use crate::admin::{LagReport, TaskReport};
use crate::app::App;
use crate::error::AppError;
use crate::roles::Roles;

/// Which configuration, and which data.
#[derive(Args)]
pub(super) struct Tasks {
    #[command(flatten)]
    place: Place,
}

impl Tasks {
    /// Shows the tasks of the process that has the data directory, and of the others of its groups.
    pub(super) fn tasks(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        let target = Target::find(app, &self.place, Need::Data(Roles::Door))?;
        let all: Vec<TaskReport> = target.client.get(&["v1", "admin", "tasks"], &[])?;
        let answered = printer.answer(&all, |all| running(all));
        answered.and(target.close())
    }

    /// Shows how far each group is.
    pub(super) fn lag(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        let target = Target::find(app, &self.place, Need::Data(Roles::Door))?;
        let all: Vec<LagReport> = target.client.get(&["v1", "admin", "lag"], &[])?;
        let answered = printer.answer(&all, |all| behind(all));
        answered.and(target.close())
    }
}

fn running(all: &[TaskReport]) -> String {
    let columns =
        ["TOPOLOGY", "TASK", "ROLE", "TOPIC", "PARTITION", "POSITION", "LAG", "RECORDS", "PROCESS"];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut table = Table::new(&columns);
    for one in all {
        table.row([
            one.topology.clone(),
            one.task.clone(),
            if one.standby { "standby" } else { "active" }.to_owned(),
            one.topic.clone(),
            one.partition.to_string(),
            one.position.to_string(),
            one.lag.to_string(),
            or_dash(one.records.map(|records| records.to_string())),
            or_dash(one.process.clone()),
        ]);
    }
    table.text()
}

fn behind(all: &[LagReport]) -> String {
    let mut table = Table::new(&["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG"]);
    for one in all {
        table.row([
            one.group.clone(),
            one.topic.clone(),
            one.partition.to_string(),
            one.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            one.end.to_string(),
            one.lag.to_string(),
        ]);
    }
    table.text()
}
