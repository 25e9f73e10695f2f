//! Records that break things: closures that panic before and after state has changed, results too
//! large to be written.

use std::collections::BTreeMap;

use super::good::good;
use super::{PACE, built, spoil};
use crate::dsl::TopologyBuilder;
use crate::sim::input::{Input, Inputs, stream};
use crate::sim::shadow::Stored;
use crate::sim::subject::{Facts, Subject};

/// The largest record that may be written, in bytes.
const RECORD_BYTES_MAX: usize = 300;

/// Panics as a user's closure would, without a word on standard error.
fn break_off(why: &str) -> ! {
    std::panic::resume_unwind(Box::new(why.to_owned()))
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

/// Of a record that breaks off nothing is left: not in the state, and in none of the topics.
fn check_breaking(facts: &Facts<'_>) -> Result<(), String> {
    let (mut sums, mut all, mut letters) = (BTreeMap::new(), 0, 0);
    let (mut told, mut texts, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for record in good(facts, "breaking-in").into_values().flatten() {
        let (key, n) = (record.key.unwrap_or_default(), record.n);
        let sum = sums.get(&key).copied().unwrap_or(0) + n;
        all += 1;
        if [0, 10, 20].contains(&(n % 50)) || sum % 11 == 3 {
            letters += 1;
            continue;
        }
        sums.insert(key, sum);
        told.push(sum.to_string());
        texts.push(format!("\"{n}\""));
        if n % 50 == 30 {
            letters += 1;
        } else {
            moved.push(n.to_string());
        }
    }
    let topics = [("breaking-out", told), ("breaking-texts", texts), ("breaking-moved", moved)];
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
    letters += facts.topic("breaking-in").into_values().flatten().count() - all;
    let found = facts.dead_letters().len();
    if found == letters { Ok(()) } else { Err(format!("{found} dead letters, not {letters}")) }
}
