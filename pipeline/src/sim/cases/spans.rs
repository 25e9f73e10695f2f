//! Windows of every kind, told of at each change and once at their end, read from a source's own
//! partitions and behind a repartition; what comes too late goes to a topic.

use std::time::Duration;

use serde_json::json;

use super::good::{Good, Hops, Sums, agree, told};
use super::windows::numbers as open_ended;
use super::{PACE, built};
use crate::aggregates::{Aggregator, Collect, Fold, Sum};
use crate::dsl::{
    CalendarWindows, SessionWindows, SlidingWindows, Stream, Table, TimeWindows, TopologyBuilder,
};
use crate::operators::ViewFields;
use crate::record::Windowed;
use crate::sim::dice::Dice;
use crate::sim::expect::Agreement;
use crate::sim::input::{BASE_MS, Input, Inputs, Pace};
use crate::sim::subject::{Facts, Subject};

/// Later than anything else: such a record in each partition closes all windows before it.
const LAST_MS: i64 = BASE_MS + 10_000_000_000;

/// Numbers; in half of the worlds time goes on far beyond them in the end.
fn numbers(topic: &'static str, pace: Pace) -> impl Fn(&mut Dice) -> Inputs {
    let make = open_ended(topic, pace);
    move |dice| {
        let last = |n: i64| Input::new(topic, &format!("last{n}"), "0", LAST_MS + n);
        let closes = dice.chance(50);
        Inputs { last: (0..if closes { 40 } else { 0 }).map(last).collect(), ..make(dice) }
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A sum that cannot be merged, so that no window is put together from others.
fn plain_sum() -> impl Aggregator<String, i64, Output = i64> {
    Fold::json(|| 0_i64, |_: &String, n: &i64, sum: i64| sum + n)
}

/// A sum that merges.
fn sum() -> impl Aggregator<String, i64, Output = i64> {
    Sum::of(|n: &i64| *n)
}

fn moved(stream: &Stream<String, i64>, name: &str) -> Stream<String, i64> {
    stream.select_key(|_, n| format!("m{}", n % 4)).repartition(name)
}

/// Windows that overlap: at each change; final, from panes and without.
pub(super) fn hopping() -> Subject {
    let windows = TimeWindows::of_size_and_grace(ms(9_000), ms(4_000)).advance_by(ms(3_000));
    let placed = |of: &Windowed<String>, sum: i64| (of.key.clone(), of.window.start, sum);
    let builder = TopologyBuilder::new("sim-hopping");
    let here = builder.stream::<String, i64>("hopping-in");
    here.group_by_key().windowed_by(windows).count("hopping-count").to_stream().to("hopping-all");
    let held = here.group_by_key().windowed_by(windows).emit_final().late_to("hopping-late");
    let sums = held.aggregate_by("hopping-panes", sum()).to_stream();
    sums.map_values(placed).to("hopping-final");
    let there = moved(&here, "hopping-by");
    let held = there.group_by_key().windowed_by(windows).emit_final().late_to("hopping-late-there");
    let sums = held.aggregate_by("hopping-panes-there", sum()).to_stream();
    sums.map_values(placed).to("hopping-final-there");
    let plain = there.group_by_key().windowed_by(windows).emit_final();
    let sums = plain.aggregate_by("hopping-plain", plain_sum()).to_stream();
    sums.map_values(placed).to("hopping-plain-there");
    Subject::new(built(builder.build()), numbers("hopping-in", PACE))
        .on_record_time()
        .promising("hopping-final-there", Agreement::Values)
        .promising("hopping-plain-there", Agreement::Values)
        .promising("hopping-late-there", Agreement::Values)
        .keeping_notes_in("hopping-panes")
        .keeping_notes_in("hopping-panes-there")
        .checked(check_hopping)
}

/// Each window that has closed is told of once, with the sum of what was in time; all close if
/// there are last records in all partitions.
fn check_hopping(facts: &Facts<'_>) -> Result<(), String> {
    let hops = Hops { size_ms: 9_000, advance_ms: 3_000, grace_ms: 4_000 };
    let here =
        hops.sums(facts, "hopping-in", (|r: &Good| r.key.clone().unwrap_or_default(), |n| n));
    let there = hops.sums(facts, "hopping-in", (|r: &Good| format!("m{}", r.n % 4), |n| n));
    let before_last = |sums: &Sums| -> Sums {
        let sums = sums.iter().filter(|((_, start), _)| *start < LAST_MS - 20_000);
        sums.map(|(window, sum)| (window.clone(), *sum)).collect()
    };
    let mut inputs = facts.topic("hopping-in").into_values();
    let closes = inputs.all(|records| records.iter().any(|record| record.timestamp >= LAST_MS));
    for (topic, wanted) in
        [("hopping-final", &here), ("hopping-final-there", &there), ("hopping-plain-there", &there)]
    {
        let found = told(facts, topic, true)?;
        agree(topic, &found, wanted, false)?;
        agree(topic, &before_last(&found), &before_last(wanted), closes && !facts.idle)?;
    }
    Ok(())
}

/// Windows from record to record: at each change; final, from a tree and without.
pub(super) fn sliding() -> Subject {
    let windows = SlidingWindows::of_time_difference_and_grace(ms(6_000), ms(4_000));
    let builder = TopologyBuilder::new("sim-sliding");
    let here = builder.stream::<String, i64>("sliding-in");
    let all = here.group_by_key().windowed_by(windows).late_to("sliding-late");
    all.count("sliding-count").to_stream().to("sliding-all");
    let held = here.group_by_key().windowed_by(windows).emit_final();
    held.aggregate_by("sliding-tree", sum()).to_stream().to("sliding-final");
    let there = moved(&here, "sliding-by");
    let all = there.group_by_key().windowed_by(windows);
    all.count("sliding-count-there").view(
        "sliding",
        ViewFields::new().i64("count"),
        |_: &Windowed<String>, count| json!({ "count": count }),
    );
    let held = there.group_by_key().windowed_by(windows).emit_final().late_to("sliding-late-there");
    held.aggregate_by("sliding-tree-there", sum()).to_stream().to("sliding-final-there");
    let plain = here.group_by_key().windowed_by(windows).emit_final();
    plain.aggregate_by("sliding-plain", plain_sum()).to_stream().to("sliding-plain-final");
    Subject::new(built(builder.build()), numbers("sliding-in", PACE))
        .on_record_time()
        .promising("sliding-final-there", Agreement::Values)
        .promising("sliding-late-there", Agreement::Values)
        .keeping_notes_in("sliding-tree")
        .keeping_notes_in("sliding-tree-there")
}

/// Sessions, which grow together and are deleted where they do.
pub(super) fn sessions() -> Subject {
    let windows = SessionWindows::of_inactivity_gap_and_grace(ms(2_000), ms(5_000));
    let builder = TopologyBuilder::new("sim-sessions");
    let here = builder.stream::<String, i64>("sessions-in");
    let all = here.group_by_key().windowed_by(windows).late_to("sessions-late");
    all.count("sessions-count").to_stream().to("sessions-all");
    let held = here.group_by_key().windowed_by(windows).emit_final();
    held.aggregate_by("sessions-held", sum()).to_stream().to("sessions-final");
    let there = moved(&here, "sessions-by");
    view_of(&there.group_by_key().windowed_by(windows).count("sessions-there"));
    let held = there.group_by_key().windowed_by(windows).emit_final();
    let held = held.late_to("sessions-late-there").aggregate_by("sessions-held-there", sum());
    held.to_stream().to("sessions-final-there");
    Subject::new(built(builder.build()), numbers("sessions-in", PACE)).on_record_time()
}

fn view_of(sessions: &Table<Windowed<String>, i64>) {
    sessions.view(
        "sessions",
        ViewFields::new().i64("count"),
        |_: &Windowed<String>, count| json!({ "count": count }),
    );
}

/// Hours and days of a zone, over the day on which its clocks are changed.
pub(super) fn calendar() -> Subject {
    let zone = crate::Tz::Europe__Berlin;
    let hours = CalendarWindows::hours(zone).with_grace(ms(1_800_000));
    let builder = TopologyBuilder::new("sim-calendar");
    let here = builder.stream::<String, i64>("calendar-in");
    here.group_by_key().windowed_by(hours).count("calendar-hours").to_stream().to("calendar-all");
    let days = here.group_by_key().windowed_by(CalendarWindows::days(zone)).emit_final();
    days.aggregate_by("calendar-days", sum()).to_stream().to("calendar-final");
    let there = moved(&here, "calendar-by");
    let hours = there.group_by_key().windowed_by(hours).emit_final().late_to("calendar-late-there");
    let values = Collect::earliest(20, |n: &i64| *n);
    hours.aggregate_by("calendar-there", values).to_stream().to("calendar-final-there");
    let pace = Pace { step_ms: 2_400_000, jitter_ms: 3_600_000, outlier_ms: 40_000_000 };
    Subject::new(built(builder.build()), numbers("calendar-in", pace))
        .on_record_time()
        .promising("calendar-final-there", Agreement::Values)
        .promising("calendar-late-there", Agreement::Values)
}
