//! Two programs in one: a Millpond with the topologies that it is compared with others on, and
//! `bench harness`, the tools of the comparison, which `bench/run.py` calls.
//!
//! It measures nothing itself but latency: processor time and memory are told by the system, and
//! `run.py` asks for them.

mod data;
mod digest;
mod kafka;
mod latency;
mod load;
mod read;
mod reset;
mod topologies;
mod wait;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millpond::{App, TopologyDef};
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The tools of the comparison. Each prints one JSON object.
#[derive(Parser)]
#[command(name = "bench harness")]
struct Harness {
    /// The brokers.
    #[arg(long, global = true, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Subcommand)]
enum Tool {
    /// Makes a topology's input topics, anew, and fills them.
    Load(load::Arguments),
    /// Deletes all topics but some, and all groups, and makes the topic of the results.
    Reset(reset::Arguments),
    /// Waits until a group has committed all records of its inputs.
    Wait(wait::Arguments),
    /// Reads topics to their ends and does nothing with the records.
    Read(read::Arguments),
    /// Tells the last value of each key of a topic, as a number of keys and a digest.
    Digest(digest::Arguments),
    /// Sends payments at a rate and takes the time until their results are committed.
    Latency(latency::Arguments),
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("harness") {
        let topologies = vec![
            TopologyDef::new("fraud", "payments per card and minute", topologies::fraud),
            TopologyDef::new("totals", "totals of orders, joined", topologies::totals),
            TopologyDef::new("logins", "failed logins per host", topologies::logins),
        ];
        return App::new(topologies).main();
    }
    match run(Harness::parse_from(std::env::args().skip(1))) {
        // Nobody is left to tell if even that cannot be printed.
        Ok(answer) => {
            let _ = writeln!(std::io::stdout(), "{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(harness: Harness) -> anyhow::Result<Value> {
    let Harness { bootstrap, tool } = harness;
    match tool {
        Tool::Load(arguments) => load::run(&bootstrap, &arguments),
        Tool::Reset(arguments) => reset::run(&bootstrap, &arguments),
        Tool::Wait(arguments) => wait::run(&bootstrap, &arguments),
        Tool::Read(arguments) => read::run(&bootstrap, &arguments),
        Tool::Digest(arguments) => digest::run(&bootstrap, &arguments),
        Tool::Latency(arguments) => latency::run(&bootstrap, &arguments),
    }
}
