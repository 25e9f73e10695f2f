//! Three programs in one: a Millpond with the topology of the crash tests; `crashes campaign`, which
//! kills it many times; and `crashes pause`, which stops it for a minute with SIGSTOP.
//!
//! `cargo run -p tests --bin crashes -- campaign --help` says how.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use millpond::{App, TopologyDef};
use tests::crashes::{Campaign, Progress, ledger};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kills a Millpond under traffic, again and again, and compares what is left with a model.
#[derive(Parser)]
#[command(name = "crashes campaign")]
struct Arguments {
    /// How many processes are killed in all, those of interrupted runs included.
    #[arg(long, default_value_t = 1000)]
    kills: u64,
    /// How many of them on one data directory, before it is compared.
    #[arg(long, default_value_t = 50)]
    kills_per_campaign: u64,
    /// Where the campaigns that are done are noted. The command goes on from there.
    #[arg(long, default_value = "crashes.progress")]
    progress: PathBuf,
    /// Where the data directories are made; one that shows a fault is left there.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The seed of the first campaign; the others count on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("campaign") => campaigns(&Arguments::parse_from(std::env::args().skip(1))),
        Some("pause") => pause(),
        _ => {
            let about = "what the crash tests kill";
            return App::new(vec![TopologyDef::new("ledger", about, ledger::build)]).main();
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell if even that cannot be printed.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Lets a process under traffic stand still for a minute, and compares.
fn pause() -> anyhow::Result<bool> {
    const STILL: Duration = Duration::from_secs(60);
    let binary = std::env::current_exe().context("where this program lies")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_owned();
    let campaign = Campaign { binary, directory: path, seed: 1, kills: 0, threads: 2 };
    let report = campaign.disturbed(|stage| {
        stage.flow(1_000)?;
        stage.process.signal("STOP")?;
        let ended = stage.process.ended_within(STILL)?;
        anyhow::ensure!(ended.is_none(), "the process has ended: {ended:?}");
        stage.process.signal("CONT")?;
        stage.flow(1_000)
    })?;
    writeln!(std::io::stdout(), "{report}")?;
    Ok(report.is_sound())
}

/// Whether all of them found all in order, and every fail-point was reached.
fn campaigns(arguments: &Arguments) -> anyhow::Result<bool> {
    let binary = std::env::current_exe().context("where this program lies")?;
    let mut progress = Progress::open(&arguments.progress)?;
    let mut out = std::io::stdout();
    for seed in arguments.seed.. {
        if progress.total().kills >= arguments.kills {
            break;
        }
        if progress.has(seed) {
            continue;
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix("millpond-crashes-");
        let directory = match &arguments.directory {
            Some(parent) => builder.tempdir_in(parent)?,
            None => builder.tempdir()?,
        };
        let kills = arguments.kills_per_campaign.min(arguments.kills - progress.total().kills);
        let threads = 1 + u32::from(seed.is_multiple_of(2));
        let (binary, path) = (binary.clone(), directory.path().to_owned());
        let campaign = Campaign { binary, directory: path, seed, kills, threads };
        let report = campaign.run().map(|report| (report.is_sound(), report));
        if !matches!(report, Ok((true, _))) {
            let kept = directory.keep();
            writeln!(out, "campaign {seed}: its remains are in {}", kept.display())?;
        }
        let (_, report) = report.with_context(|| format!("campaign {seed}"))?;
        writeln!(out, "campaign {seed}: {report}")?;
        progress.note(seed, report)?;
    }
    let total = progress.total();
    writeln!(out, "{total}")?;
    for (point, kills) in &total.at {
        writeln!(out, "  {kills:4} at {point}")?;
    }
    let missed = total.never_reached();
    for point in &missed {
        writeln!(out, "  never reached: {point}")?;
    }
    Ok(total.is_sound() && missed.is_empty())
}
