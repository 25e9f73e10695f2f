//! Leaderboards against sorting everything.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::driver::{Script, TopologyDriver, check_four_ways};
use crate::{Topology, TopologyBuilder};

/// The best three players of each team; a row is team and points.
fn topology() -> Topology {
    let builder = TopologyBuilder::new("app");
    builder
        .table::<String, (String, i64)>("players", "players")
        .top("best", 3, |player, (team, points)| (team.clone(), *points, player.clone()))
        .to_stream_with_tombstones()
        .map_values(|_, best| {
            let rows = best.unwrap_or_default().into_iter();
            rows.map(|row| (row.rank, row.item)).collect::<Vec<(i64, String)>>()
        })
        .to("out");
    builder.build().unwrap()
}

/// For each team the points and players of its board.
type Boards = BTreeMap<String, Vec<(i64, String)>>;

type Step = (u8, Option<(u8, i64)>);

fn script(steps: &[Step]) -> Script {
    let step = |(player, row): &Step| {
        let row = row.map(|(team, points)| format!("[\"t{team}\",{points}]"));
        ("players".to_owned(), Some(format!("p{player}")), row, 0)
    };
    steps.iter().map(step).collect()
}

/// The last board of each team, and what it should be.
fn boards(driver: &TopologyDriver, steps: &[Step]) -> (Boards, Boards) {
    let said = driver.read::<String, Vec<(i64, String)>>("out");
    let said = said.into_iter().map(|record| (record.key, record.value.unwrap())).collect();
    let players: BTreeMap<u8, Option<(u8, i64)>> = steps.iter().copied().collect();
    let mut teams: Boards = BTreeMap::new();
    for (player, (team, points)) in players.iter().filter_map(|(p, row)| Some((p, (*row)?))) {
        teams.entry(format!("t{team}")).or_default().push((points, format!("p{player}")));
    }
    for board in teams.values_mut() {
        board.sort_by_key(|(points, player)| (std::cmp::Reverse(*points), player.clone()));
        board.truncate(3);
    }
    // A team that has lost its last player has an empty board.
    for (_, row) in steps {
        if let Some((team, _)) = row {
            teams.entry(format!("t{team}")).or_default();
        }
    }
    (said, teams)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_best_rows_are_those_that_sorting_gives(
        steps in prop::collection::vec(
            (0..12_u8, prop::option::weighted(0.85, (0..2_u8, -3..6_i64))), 1..50,
        ),
        partitions in 1..4_u32,
    ) {
        let mut driver = TopologyDriver::with_partitions(topology(), partitions);
        for (topic, key, value, timestamp) in script(&steps) {
            let (key, value) = (key.as_deref(), value.as_deref());
            driver.pipe_bytes(&topic, key.map(str::as_bytes), value.map(str::as_bytes), timestamp);
        }
        let (said, expected) = boards(&driver, &steps);
        prop_assert_eq!(said, expected);
    }
}

#[test]
fn a_leaderboard_is_the_same_in_four_ways() {
    let row = |player, team, points| (player, Some((team, points)));
    let steps = [
        row(1, 0, 5),
        row(2, 0, 5),
        row(3, 0, 9),
        row(4, 0, 1),
        row(3, 1, 9),
        (1, None),
        row(4, 0, i64::MIN),
        row(5, 0, i64::MAX),
    ];
    check_four_ways(&topology, &script(&steps), &["out"]);
}
