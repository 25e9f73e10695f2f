//! What windows cost, in time of the processor: against how many of them hold a record, and with
//! and without partial aggregates on the sending side.
//!
//! `cargo test --workspace --test main window_costs -- --nocapture --test-threads 1` prints the
//! tables; `docs/results/windows.md` has what it printed. The tests hold the shapes, not times.

mod combiner;
mod curves;

use std::time::Duration;

use pipeline::driver::TopologyDriver;
use stores::clock::{Clock, SystemClock};

/// How long the processor worked for this thread. Where the system does not say (it is Linux that
/// does), how long the clock went on: other work on the machine counts then.
fn processor_time(clock: &SystemClock) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.as_deref().and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| clock.elapsed(), Duration::from_nanos)
}

/// Microseconds of the processor that one commit of what was appended takes.
fn commit_micros(driver: &mut TopologyDriver) -> f64 {
    let clock = SystemClock::new();
    let begun = processor_time(&clock);
    driver.commit();
    (processor_time(&clock) - begun).as_secs_f64() * 1e6
}
