//! The command line: what was asked, and how it ended.
//!
//! Every command is a file. A command asks a running process over HTTP; where none runs, it opens
//! the data directory as a process of its own and asks that (see `target`), so that there is one
//! way to every answer.

mod config;
mod demo;
mod dlq;
mod duration;
mod ingest;
mod lines;
mod print;
mod role;
mod run;
mod search;
mod simulate;
mod table;
mod target;
mod tasks;
mod topics;
mod topology;
mod version;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::App;
use crate::config::Config;
use crate::error::{AppError, chain};
use crate::roles::Roles;

use print::Printer;

/// Where the data lies if nothing else is said.
pub(crate) const DATA_DIR: &str = "millpond-data";
/// The configuration that is read if no other is named.
const CONFIG_FILE: &str = "millpond.toml";

const EXAMPLES: &str = "\
Examples:
  millpond demo                                      everything at once, on made-up traffic
  millpond run --config millpond.toml                the same, on your own input
  millpond ingest auth.log --topic syslog --format syslog --year 2026
  millpond search failed-logins 'last:root' --sort=-attempts
  millpond topics read payments --limit 5

Exit codes: 0 done, 1 failed, 2 the command or the configuration is wrong.";

/// Turns streams of events into views that can be searched, and alerts that reach people.
#[derive(Parser)]
#[command(name = "millpond", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one JSON value, or one a line.
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process, on traffic that is made up.
    Demo(demo::Demo),
    /// Run what the configuration says, on your own input.
    Run(run::Run),
    /// Run topologies, and nothing else: one of several processes on Kafka.
    Worker(role::Role),
    /// Keep views up to date and serve them, and nothing else: one of several processes on Kafka.
    Indexer(role::Role),
    /// Deliver alerts, and nothing else: one of several processes on Kafka.
    Notify(role::Role),
    /// Take records, and nothing else: one of several processes on Kafka.
    Gateway(role::Role),
    /// Send the lines of a file, or of standard input, to a topic.
    Ingest(ingest::IngestFile),
    /// Look at topics and their records.
    Topics(topics::Topics),
    /// Show the tasks that run in the process of this data directory, and how far they are.
    Tasks(tasks::Tasks),
    /// Show how far the topologies' consumer groups are, wherever they run.
    Lag(tasks::Tasks),
    /// Look at dead letters, send them again, or drop them.
    Dlq(dlq::DeadLetters),
    /// Look at topologies.
    Topology(topology::Topologies),
    /// Search a view.
    Search(search::Search),
    /// Run topologies in a simulated world where everything goes wrong.
    Simulate(simulate::Simulate),
    /// Look at the configuration, or check it.
    Config(config::ConfigCommand),
    /// Print the version.
    Version(version::Version),
}

/// Which configuration, and which data.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// The configuration; without it, ./millpond.toml if there is one, else the defaults.
    #[arg(long, global = true, env = "MILLPOND_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory, in place of the configuration's.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    /// The file that is read, if there is one.
    fn file(&self) -> Option<PathBuf> {
        let usual = || Some(PathBuf::from(CONFIG_FILE)).filter(|path| path.is_file());
        self.config.clone().or_else(usual)
    }

    /// The configuration in force.
    fn load(&self, app: &App) -> Result<Config, AppError> {
        let mut config = app.load(self.file().as_deref())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir = data_dir.clone();
        }
        Ok(config)
    }
}

/// Does what the arguments of the process say.
pub(crate) fn main(app: &App) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell if even that cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command.run(app, &Printer::new(cli.output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", chain(&error));
            error.exit_code()
        }
    }
}

impl Command {
    fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        match self {
            Self::Demo(demo) => demo.run(app),
            Self::Run(run) => run.run(app),
            Self::Worker(role) => role.run(app, Roles::Worker),
            Self::Indexer(role) => role.run(app, Roles::Indexer),
            Self::Notify(role) => role.run(app, Roles::Notify),
            Self::Gateway(role) => role.run(app, Roles::Gateway),
            Self::Ingest(ingest) => ingest.run(app, printer),
            Self::Topics(topics) => topics.run(app, printer),
            Self::Tasks(tasks) => tasks.tasks(app, printer),
            Self::Lag(tasks) => tasks.lag(app, printer),
            Self::Dlq(letters) => letters.run(app, printer),
            Self::Topology(topology) => topology.run(app, printer),
            Self::Search(search) => search.run(app, printer),
            Self::Simulate(simulate) => simulate.run(app, printer),
            Self::Config(config) => config.run(app, printer),
            Self::Version(version) => version.run(printer),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_explained() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{} says what it does", sub.get_name());
        }
    }

    #[test]
    fn the_place_may_stand_before_and_behind_a_nested_command() {
        for line in ["topics --data-dir d list", "topics list --data-dir d"] {
            let words = std::iter::once("millpond").chain(line.split(' '));
            let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
            let Command::Topics(topics) = cli.command else { panic!("it is about topics") };
            assert_eq!(topics.place().data_dir, Some(PathBuf::from("d")), "{line}");
        }
    }

    #[test]
    fn a_wrong_command_is_a_usage_error() {
        let error = Cli::try_parse_from(["millpond", "serch"]).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("search"), "{error}");
    }
}
