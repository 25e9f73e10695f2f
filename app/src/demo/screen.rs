//! What the demo shows while it runs: one block of figures on a terminal, a line elsewhere.
//!
//! The text is a pure function of two readings of the figures; drawing is left to `indicatif`.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::roles::{Dropped, Figures, TopologyFigures};

/// How often the block is drawn.
const DRAWN_EVERY: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// Shows figures.
pub(super) struct Screen {
    /// `None` where there is no terminal.
    block: Option<ProgressBar>,
    last: Figures,
}

impl Screen {
    /// A screen on standard error, or lines on it if that is no terminal.
    pub(super) fn new() -> Self {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let block = is_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.with_style(ProgressStyle::with_template("{msg}").expect("a fixed template"))
        });
        Self { block, last: Figures::default() }
    }

    /// What is drawn, so that other lines can be written around it.
    pub(super) fn block(&self) -> Option<ProgressBar> {
        self.block.clone()
    }

    /// How often to call [`Screen::show`].
    pub(super) fn interval(&self) -> Duration {
        if self.block.is_some() { DRAWN_EVERY } else { WRITTEN_EVERY }
    }

    /// Shows `figures`, and rates since the last ones.
    pub(super) fn show(&mut self, figures: Figures) {
        match &self.block {
            Some(bar) => bar.set_message(block(&self.last, &figures)),
            None => tracing::info!(target: LINE_TARGET, "{}", line(&self.last, &figures)),
        }
        self.last = figures;
    }

    /// Takes the block off the terminal.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.block {
            bar.finish_and_clear();
        }
    }
}

/// Lines without a terminal pass whatever the log level.
pub(super) const LINE_TARGET: &str = "millpond_demo";

/// The block.
fn block(last: &Figures, now: &Figures) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "\n{:>9}/s in · {} · up {} · memory {}",
        thousands(rate(last, now, last.records_in, now.records_in)),
        plural(now.records_in, "record"),
        seconds(now.uptime_ms),
        now.rss_bytes.map_or_else(|| "unknown".to_owned(), mebibytes),
    );
    for topology in &now.topologies {
        let before = last.topologies.iter().find(|one| one.name == topology.name);
        let before = before.map_or(0, |one| one.records);
        let per_second = thousands(rate(last, now, before, topology.records));
        let _ = writeln!(
            text,
            "{per_second:>9}/s {:<8} {}{}",
            topology.name,
            watermark(topology),
            dropped(&topology.dropped)
        );
    }
    for view in &now.views {
        let documents = plural(view.documents, "document");
        let name = &view.name;
        let _ = writeln!(text, "{documents:>20} in {name}, {} behind", thousands(view.lag));
    }
    let delivered: u64 = now.endpoints.iter().map(|one| one.delivered).sum();
    let failed: u64 = now.endpoints.iter().map(|one| one.failed).sum();
    let _ = write!(
        text,
        "{} sent, {} delivered, {} · {}",
        plural(now.alerts, "alert"),
        thousands(delivered),
        plural(failed, "failed call"),
        plural(now.dead_letters, "dead letter"),
    );
    text
}

/// One line.
fn line(last: &Figures, now: &Figures) -> String {
    let records: u64 = now.topologies.iter().map(|one| one.records).sum();
    let before: u64 = last.topologies.iter().map(|one| one.records).sum();
    let view_lag: u64 = now.views.iter().map(|view| view.lag).sum();
    let delivered: u64 = now.endpoints.iter().map(|one| one.delivered).sum();
    format!(
        "{}: {}/s in, {}/s processed, views {} behind, {}, {} delivered, {}, memory {}",
        seconds(now.uptime_ms),
        rate(last, now, last.records_in, now.records_in),
        rate(last, now, before, records),
        view_lag,
        plural(now.alerts, "alert"),
        delivered,
        plural(now.dead_letters, "dead letter"),
        now.rss_bytes.map_or_else(|| "unknown".to_owned(), mebibytes),
    )
}

/// What the demo did, in the end.
pub(super) fn summary(now: &Figures) -> String {
    let seconds = (now.uptime_ms / 1000).max(1);
    let documents: u64 = now.views.iter().map(|view| view.documents).sum();
    let delivered: u64 = now.endpoints.iter().map(|one| one.delivered).sum();
    format!(
        "{} in {} s ({}/s), {} in {}, {} sent, {} delivered, {}",
        plural(now.records_in, "record"),
        seconds,
        thousands(now.records_in / seconds),
        plural(documents, "document"),
        plural(now.views.len() as u64, "view"),
        plural(now.alerts, "alert"),
        thousands(delivered),
        plural(now.dead_letters, "dead letter"),
    )
}

fn watermark(topology: &TopologyFigures) -> String {
    match topology.lag_ms {
        _ if topology.running_tasks < topology.tasks => {
            format!("{} of {} tasks run", topology.running_tasks, topology.tasks)
        }
        None => "waits for its first record".to_owned(),
        Some(ms) => format!("watermark {:.1} s behind", ms as f64 / 1000.0),
    }
}

/// What was dropped, by reason.
fn dropped(all: &[Dropped]) -> String {
    let mut by_reason: Vec<(&str, u64)> = Vec::new();
    for one in all {
        match by_reason.iter_mut().find(|(reason, _)| *reason == one.reason) {
            Some((_, count)) => *count += one.count,
            None => by_reason.push((&one.reason, one.count)),
        }
    }
    by_reason.iter().fold(String::new(), |mut text, (reason, count)| {
        let _ = write!(text, " · {} {reason}", thousands(*count));
        text
    })
}

/// How often a second something happened between two readings.
fn rate(last: &Figures, now: &Figures, before: u64, after: u64) -> u64 {
    let ms = now.uptime_ms.saturating_sub(last.uptime_ms).max(1);
    after.saturating_sub(before).saturating_mul(1000) / ms
}

fn plural(count: u64, thing: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {thing}{s}", thousands(count))
}

/// A number in groups of three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn seconds(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(uptime_ms: u64, records: u64) -> Figures {
        let dropped = |place: &str, count| Dropped {
            place: place.to_owned(),
            reason: "late".to_owned(),
            count,
        };
        let topology = TopologyFigures {
            name: "fraud".to_owned(),
            tasks: 2,
            running_tasks: 2,
            records: records / 2,
            lag_ms: Some(1_234),
            dropped: vec![dropped("a", 2), dropped("b", 1)],
            ..TopologyFigures::default()
        };
        Figures { uptime_ms, records_in: records, topologies: vec![topology], ..Figures::default() }
    }

    #[test]
    fn rates_are_those_between_two_readings() {
        let text = block(&figures(1_000, 2_000), &figures(3_000, 10_000));
        assert!(text.contains("4,000/s in · 10,000 records · up 3 s"), "{text}");
        assert!(text.contains("2,000/s fraud    watermark 1.2 s behind · 3 late"), "{text}");
    }

    #[test]
    fn a_line_says_the_same_in_short() {
        let text = line(&figures(1_000, 2_000), &figures(3_000, 10_000));
        assert!(text.starts_with("3 s: 4000/s in, 2000/s processed, views 0 behind"), "{text}");
    }

    #[test]
    fn numbers_are_grouped_and_times_are_short() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([59_999, 61_000, 3_720_000].map(seconds), ["59 s", "1 min 1 s", "1 h 2 min"]);
    }
}
