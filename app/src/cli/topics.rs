//! `millpond topics`.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Place;
use super::print::Printer;
use super::table::Table;
use super::target::{Need, Target};
use crate::admin::{PartitionReport, TopicReport};
use crate::app::App;
use crate::client::Client;
use crate::error::AppError;
use crate::roles::Roles;

/// The records that are asked for at once.
const PAGE: u64 = 500;

const EXAMPLES: &str = "\
Examples:
  millpond topics list
  millpond topics describe payments
  millpond topics read orders --limit 3
  millpond topics read fraud-alerts --partition 0 --from 10 --limit 100";

/// Look at topics and their records.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Topics {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List all topics.
    List,
    /// Show the partitions of a topic.
    Describe {
        /// The topic.
        topic: String,
    },
    /// Print records of a topic, one JSON object a line.
    Read(Read),
}

#[derive(Args)]
struct Read {
    /// The topic.
    topic: String,
    /// Only this partition; without it, one after the other.
    #[arg(long)]
    partition: Option<u32>,
    /// The first offset; without it, what is still there.
    #[arg(long, requires = "partition", value_name = "OFFSET")]
    from: Option<u64>,
    /// The most records.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl Topics {
    #[cfg(test)]
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn run(self, app: &App, printer: &Printer) -> Result<(), AppError> {
        let target = Target::find(app, &self.place, Need::Data(Roles::Door))?;
        let client = &target.client;
        let answered = match self.command {
            Command::List => {
                let topics: Vec<TopicReport> = client.get(&["v1", "admin", "topics"], &[])?;
                printer.answer(&topics, |topics| list(topics))
            }
            Command::Describe { topic } => printer.answer(&describe(client, &topic)?, described),
            Command::Read(read) => read.run(client, printer),
        };
        answered.and(target.close())
    }
}

fn describe(client: &Client, topic: &str) -> Result<TopicReport, AppError> {
    client.get(&["v1", "admin", "topics", topic], &[])
}

fn list(topics: &[TopicReport]) -> String {
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "OFFSETS", "BYTES", "CLEANUP"]);
    for topic in topics {
        table.row([
            topic.name.clone(),
            topic.partitions.len().to_string(),
            topic.offsets.to_string(),
            topic.bytes.to_string(),
            topic.cleanup.clone(),
        ]);
    }
    table.text()
}

fn described(topic: &TopicReport) -> String {
    let bound = |bound: Option<u64>, unit: &str| {
        bound.map_or_else(|| "no bound".to_owned(), |bound| format!("{bound} {unit}"))
    };
    let kept = match topic.cleanup.as_str() {
        "compact" => "the last record of each key".to_owned(),
        _ => format!(
            "records for {}, up to {} a partition",
            bound(topic.retention_ms, "ms"),
            bound(topic.retention_bytes, "bytes")
        ),
    };
    let mut table = Table::new(&["PARTITION", "START", "END", "EPOCH", "BYTES"]);
    for PartitionReport { partition, start, end, epoch, bytes } in &topic.partitions {
        let numbers = [u64::from(*partition), *start, *end, u64::from(*epoch), *bytes];
        table.row(numbers.map(|number| number.to_string()));
    }
    format!("{} keeps {kept}\n\n{}", topic.name, table.text())
}

/// A page of records.
#[derive(Deserialize)]
struct Page {
    records: Vec<Box<RawValue>>,
    next: u64,
    end: u64,
}

impl Read {
    fn run(self, client: &Client, printer: &Printer) -> Result<(), AppError> {
        let partitions = match self.partition {
            Some(partition) => vec![partition],
            None => {
                let topic = describe(client, &self.topic)?;
                topic.partitions.iter().map(|one| one.partition).collect()
            }
        };
        let mut left = self.limit;
        for partition in partitions {
            left -= self.partition(client, printer, (partition, left))?;
        }
        Ok(())
    }

    /// Prints at most `most` records of a partition, and says how many it were.
    fn partition(
        &self,
        client: &Client,
        printer: &Printer,
        (partition, most): (u32, u64),
    ) -> Result<u64, AppError> {
        let (mut printed, mut from) = (0, self.from);
        while printed < most {
            let limit = PAGE.min(most - printed).to_string();
            let number = partition.to_string();
            let mut query = vec![("partition", number.as_str()), ("limit", &limit)];
            let offset = from.map(|from| from.to_string());
            if let Some(offset) = &offset {
                query.push(("from", offset));
            }
            let path = ["v1", "admin", "topics", &self.topic, "records"];
            let page: Page = client.get(&path, &query)?;
            for record in &page.records {
                printer.text(record.get())?;
            }
            printed += page.records.len() as u64;
            if page.records.is_empty() || page.next >= page.end {
                break;
            }
            from = Some(page.next);
        }
        Ok(printed)
    }
}
