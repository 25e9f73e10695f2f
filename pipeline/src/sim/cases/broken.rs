//! Records that break things: closures that panic before and after state has changed, results too
//! large to be written.

use super::{PACE, built, spoil};
use crate::dsl::TopologyBuilder;
use crate::sim::input::{Input, Inputs, stream};
use crate::sim::subject::Subject;

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
}
