//! Real crashes: a process is killed at every fail-point and at random moments, under traffic.
//!
//! A thousand kills: `cargo run -p tests --bin crashes -- campaign`.

use std::path::Path;

use stores::fail_point::FailPoint;
use tests::crashes::Campaign;

/// One at each fail-point, and some at random moments.
const RANDOM_KILLS: u64 = 4;

#[test]
fn kills_at_every_fail_point_lose_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let campaign = Campaign {
        binary: Path::new(env!("CARGO_BIN_EXE_crashes")).to_owned(),
        directory: directory.path().to_owned(),
        seed: 20,
        kills: FailPoint::ALL.len() as u64 + RANDOM_KILLS,
        threads: 2,
    };
    let report = campaign.run().unwrap();
    println!("{report}");
    assert!(report.is_sound(), "{report}");
    assert!(report.kills >= 30, "{report}");
    assert_eq!(report.never_reached(), [], "{report}");
}
