//! Records that break things: closures that panic before and after state has changed, results too
//! large to be written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::good::{Good, Sums, agree, good, told};
use super::{PACE, built, spoil};
use crate::aggregates::Sum;
use crate::dsl::{Stream, TimeWindows, TopologyBuilder};
use crate::record::Windowed;
use crate::sim::input::{Input, Inputs, stream};
use crate::sim::shadow::Stored;
use crate::sim::subject::{Facts, Subject};

/// The largest record that may be written, in bytes.
const RECORD_BYTES_MAX: usize = 300;
/// The size of the windows, in milliseconds.
const WINDOW_MS: i64 = 4_000;

/// Panics as a user's closure would, without a word on standard error.
fn break_off(why: &str) -> ! {
    std::panic::resume_unwind(Box::new(why.to_owned()))
}

/// What is remembered of `numbers` in memory: time, windows that have closed, partial aggregates.
fn remembered(numbers: &Stream<String, i64>) {
    numbers
        .group_by_key()
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_millis(
            WINDOW_MS.unsigned_abs(),
        )))
        .emit_final()
        .count("breaking-windows")
        .to_stream()
        .map_values(|of: &Windowed<String>, count| {
            if count % 4 == 3 {
                break_off("behind a window");
            }
            (of.key.clone(), of.window.start, count)
        })
        .to("breaking-closed");
    numbers
        .group_by("breaking-parts-by", |_, n| format!("p{}", n % 3))
        .combined(3)
        .aggregate_by("breaking-parts", Sum::of(|n: &i64| *n))
        .to("breaking-together");
}

/// Breaks at records whose number is a multiple of 10, in one of five ways.
pub(super) fn breaking() -> Subject {
    let builder = TopologyBuilder::new("sim-breaking");
    let numbers = builder.stream::<String, i64>("breaking-in").filter(|_, n| {
        if n % 50 == 0 {
            break_off("in a filter");
        }
        true
    });
    // Before those that break off: what they have done is to be taken back.
    remembered(&numbers);
    let counted = numbers.group_by_key().aggregate(
        "breaking-sum",
        || 0_i64,
        |_, n, sum| {
            if n % 50 == 10 {
                break_off("in an aggregate");
            }
            sum + n
        },
    );
    counted
        .to_stream()
        .map_values(|_, sum| {
            // State has changed already.
            if sum % 11 == 3 {
                break_off("behind an aggregate");
            }
            sum
        })
        .to("breaking-out");
    numbers
        .map_values(
            |_, n| if n % 50 == 20 { "x".repeat(2 * RECORD_BYTES_MAX) } else { n.to_string() },
        )
        .to("breaking-texts");
    numbers
        .select_key(|_, n| format!("m{}", n % 4))
        .repartition("breaking-by")
        .map_values(|_, n| {
            if n % 50 == 30 {
                break_off("behind a repartition");
            }
            n
        })
        .to("breaking-moved");
    Subject::new(built(builder.build()), |dice| {
        let count = 15 + dice.below(40);
        let inputs = stream(dice, (count, PACE), |dice, at| {
            let key = format!("k{}", dice.below(4));
            Input::new("breaking-in", &key, &dice.below(100).to_string(), at)
        });
        Inputs::as_scheduled(spoil(dice, inputs))
    })
    .on_record_time()
    .writing_at_most(RECORD_BYTES_MAX)
    .checked(check_breaking)
}

/// What the records come to of which something is left.
#[derive(Default)]
struct Left {
    good: usize,
    letters: usize,
    sums: BTreeMap<String, i64>,
    /// What the topics have, in any order.
    told: Vec<String>,
    texts: Vec<String>,
    moved: Vec<String>,
    /// By group.
    together: BTreeMap<String, i64>,
    /// Windows that have closed.
    closed: Sums,
}

impl Left {
    /// Takes in the records of one partition: its time is that of those which do not break off.
    fn partition(&mut self, records: Vec<Good>) {
        let (mut clock, mut windows) = (i64::MIN, Sums::new());
        for record in records {
            let (key, n) = (record.key.unwrap_or_default(), record.n);
            let sum = self.sums.get(&key).copied().unwrap_or(0) + n;
            self.good += 1;
            if [0, 10, 20].contains(&(n % 50)) || sum % 11 == 3 {
                self.letters += 1;
                continue;
            }
            clock = clock.max(record.at);
            let start = record.at - record.at.rem_euclid(WINDOW_MS);
            if start + WINDOW_MS > clock {
                *windows.entry((key.clone(), start)).or_default() += 1;
            }
            self.sums.insert(key, sum);
            self.told.push(sum.to_string());
            self.texts.push(format!("\"{n}\""));
            *self.together.entry(format!("p{}", n % 3)).or_default() += n;
            if n % 50 == 30 {
                self.letters += 1;
            } else {
                self.moved.push(n.to_string());
            }
        }
        for (window, count) in windows.into_iter().filter(|((_, at), _)| at + WINDOW_MS <= clock) {
            if count % 4 == 3 {
                self.letters += 1;
            } else {
                self.closed.insert(window, count);
            }
        }
    }
}

/// Of a record that breaks off nothing is left: not in the state, and in none of the topics; and of
/// a window that cannot be told of there is a letter.
fn check_breaking(facts: &Facts<'_>) -> Result<(), String> {
    let mut left = Left::default();
    for records in good(facts, "breaking-in").into_values() {
        left.partition(records);
    }
    let Left { good, mut letters, told: sums, texts, moved, together, closed, .. } = left;
    agree("breaking-closed", &told(facts, "breaking-closed", true)?, &closed, true)?;
    let parts = facts.topic("breaking-together").into_values().flatten();
    let parts: BTreeMap<String, i64> =
        parts.map(|r| (r.key_text(), r.value_text().parse().unwrap_or_default())).collect();
    if parts != together {
        return Err(format!("breaking-together is {parts:?}, not {together:?}"));
    }
    let topics = [("breaking-out", sums), ("breaking-texts", texts), ("breaking-moved", moved)];
    for (topic, mut wanted) in topics {
        let records = facts.topic(topic).into_values().flatten();
        let mut found: Vec<String> = records.map(Stored::value_text).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted {
            return Err(format!("{topic} has {found:?}, not {wanted:?}"));
        }
    }
    // Those that do not decode have letters of their own.
    letters += facts.topic("breaking-in").into_values().flatten().count() - good;
    let found = facts.dead_letters().len();
    if found == letters { Ok(()) } else { Err(format!("{found} dead letters, not {letters}")) }
}
