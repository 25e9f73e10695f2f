//! The shipped binary: the three topologies, and the traffic that shows them.

use std::process::ExitCode;

use millpond::{App, DemoRecord, DemoSearch, DemoSource, DemoTraffic, TopologyDef};
use topologies::traffic::{Generated, Mix, Traffic};
use topologies::{fraud, logins, orders};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DEMO: DemoSource = DemoSource {
    traffic,
    searches: &[
        DemoSearch {
            about: "cards that are being tested, the worst first",
            view: "suspicious-cards",
            query: "country_count:[3 TO *]",
            sort: "-count",
        },
        DemoSearch {
            about: "who guesses root's password",
            view: "failed-logins",
            query: "users:root AND attempts:[5 TO *]",
            sort: "-attempts",
        },
        DemoSearch {
            about: "the largest orders of gold customers that were cancelled",
            view: "order-totals",
            query: "status:cancelled AND tier:gold",
            sort: "-total_cents",
        },
    ],
};

fn main() -> ExitCode {
    let topologies = vec![
        TopologyDef::new("fraud", "cards that are being tested", fraud::build),
        TopologyDef::new("orders", "totals of orders, and what they rejected", orders::build),
        TopologyDef::new("logins", "failed ssh logins, and who guesses", logins::build),
    ];
    App::new(topologies).with_demo(DEMO).main()
}

fn traffic(seed: u64, now_ms: i64) -> DemoTraffic {
    let mut traffic = Traffic::new(seed, Mix::default());
    let first = traffic.customers(now_ms).map(record).collect();
    DemoTraffic { first, next: Box::new(move |now_ms| record(traffic.next(now_ms))) }
}

fn record(generated: Generated) -> DemoRecord {
    let Generated { topic, key, value, timestamp_ms } = generated;
    DemoRecord { topic, key, value, timestamp_ms }
}
