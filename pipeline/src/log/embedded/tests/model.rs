//! Compaction, closings and power failures against a model that keeps everything.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Keys, and whether each gets a value or a tombstone.
    Append(Vec<(u8, bool)>),
    Clean,
    Pass(u32),
    Reopen,
    LosePower(usize),
    /// One poll of that follower.
    Follow(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0..12_u8, prop::bool::weighted(0.7)), 1..6)
            .prop_map(Step::Append),
        3 => Just(Step::Clean),
        2 => (1..2000_u32).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
        1 => (0..6_usize).prop_map(Step::LosePower),
        4 => (0..FOLLOWERS).prop_map(Step::Follow),
    ]
}

const FOLLOWERS: usize = 3;

/// The last value of each key, as somebody has it who reads from the beginning.
type Table = BTreeMap<String, String>;

/// Somebody who reads, keeps a table, and is rebuilt when the log says so.
#[derive(Default)]
struct Follower {
    table: Table,
    position: Position,
}

struct World {
    bench: Bench,
    log: Option<Arc<EmbeddedLog>>,
    at: TopicPartition,
    /// All that was appended and not lost.
    truth: Vec<Row>,
    followers: [Follower; FOLLOWERS],
    values: u32,
}

fn apply(table: &mut Table, (_, key, value): &Row) {
    match value {
        Some(value) => table.insert(key.clone(), value.clone()),
        None => table.remove(key),
    };
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::new();
        // Small, so that little work meets every bound.
        bench.settings.fetch_bytes_max = 60;
        bench.settings.clean_bytes_max = 400;
        bench.settings.dirty_ratio_min = 0.2;
        bench.settings.tombstone_retention_ms = 1000;
        let log = bench.open();
        let at = topic(&log, "topic", Cleanup::Compact);
        Self {
            bench,
            log: Some(log),
            at,
            truth: Vec::new(),
            followers: Default::default(),
            values: 0,
        }
    }

    fn log(&self) -> Arc<EmbeddedLog> {
        Arc::clone(self.log.as_ref().unwrap())
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(records) => self.append(&records),
            Step::Clean => self.log().clean().unwrap(),
            Step::Pass(ms) => self.bench.clock.advance(ms),
            Step::Reopen => self.reopen(None),
            Step::LosePower(kept) => self.reopen(Some(kept)),
            Step::Follow(index) => self.follow(index),
        }
    }

    fn append(&mut self, records: &[(u8, bool)]) {
        let mut rows = Vec::new();
        for (key, is_put) in records {
            self.values += 1;
            rows.push((key.to_string(), is_put.then(|| self.values.to_string())));
        }
        let pairs: Vec<Pair<'_>> = rows.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        let base = append(&self.log(), &self.at, &pairs).base_offset;
        self.truth.extend((base..).zip(rows).map(|(offset, (key, value))| (offset, key, value)));
    }

    fn reopen(&mut self, kept: Option<usize>) {
        self.log = None;
        if let Some(kept) = kept {
            self.bench.storage.lose_power(kept);
        }
        let log = self.bench.open();
        let end = log.range(&self.at).unwrap().end.offset;
        self.truth.retain(|row| row.0 < end);
        self.log = Some(log);
    }

    fn follow(&mut self, index: usize) {
        let log = self.log();
        let follower = &mut self.followers[index];
        if log.validate(&self.at, follower.position).unwrap() != Validity::Valid {
            *follower = Follower::default();
        }
        let mut reader = log.reader().unwrap();
        reader.assign(&self.at, follower.position.offset).unwrap();
        for fetched in reader.poll(Duration::ZERO).unwrap() {
            for row in rows_of(&fetched) {
                apply(&mut follower.table, &row);
            }
            follower.position =
                Position::new(fetched.batch.last_offset() + 1, fetched.batch.epoch());
        }
    }

    /// What is read is the truth with gaps, and gives the same table.
    fn check(&self) {
        let log = self.log();
        let rows = read(&log, &self.at, 0);
        let mut truth = self.truth.iter();
        for row in &rows {
            assert!(truth.any(|true_row| true_row == row), "{row:?} was never appended there");
        }
        let (mut expected, mut found) = (Table::new(), Table::new());
        self.truth.iter().for_each(|row| apply(&mut expected, row));
        rows.iter().for_each(|row| apply(&mut found, row));
        assert_eq!(found, expected);
        let stored: usize = self.bench.stored().iter().map(|(_, value)| value.len()).sum();
        assert_eq!(log.partition_bytes(&self.at).unwrap(), stored as u64);
    }

    fn check_followers(&mut self) {
        let mut expected = Table::new();
        self.truth.iter().for_each(|row| apply(&mut expected, row));
        let end = self.log().range(&self.at).unwrap().end.offset;
        for index in 0..FOLLOWERS {
            self.follow(index);
            while self.followers[index].position.offset < end {
                self.follow(index);
            }
            assert_eq!(self.followers[index].table, expected, "follower {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn compaction_changes_no_table(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        world.check_followers();
    }
}
