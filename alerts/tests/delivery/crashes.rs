//! Kills, restarts and rebalances: nothing is lost, and what is repeated has its id.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alerts::{EndpointState, Start};
use pipeline::log::Log;

use crate::support::*;

const KILLS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_arrives_through_kills_and_few_come_twice() {
    let hooks = Hooks::start(|id, number| {
        // One in seven fails at first; all take a moment, so that kills meet calls under way.
        let fails = id.as_bytes()[20].is_multiple_of(7) && number == 1;
        Reply::After(Duration::from_millis(3), if fails { 503 } else { 200 })
    })
    .await;
    let log = log();
    let concurrency_max = 8;
    let all = ids(0..100 * (KILLS + 1));
    for kill in 0..KILLS {
        write_alerts(&*log, 100 * kill..100 * (kill + 1));
        let mut endpoint = endpoint("ops", hooks.url());
        endpoint.concurrency_max = concurrency_max;
        let notifier = start(&log, vec![endpoint]);
        let enough = 60 * (kill + 1);
        eventually("some arrive", || hooks.accepted().len() >= enough).await;
        drop(notifier);
    }
    write_alerts(&*log, 100 * KILLS..100 * (KILLS + 1));
    let notifier = start(&log, vec![endpoint("ops", hooks.url())]);
    hooks.wait_for(&all).await;
    eventually("all is committed", || uncommitted(&*log, "ops") == 0).await;
    stop(notifier).await;
    let repeats: usize = hooks.accepted().values().map(|count| count - 1).sum();
    assert!(repeats <= KILLS * concurrency_max, "{repeats} accepted calls were repeated");
    assert!(undelivered(&*log).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_begins_now_leaves_out_the_past_and_nothing_after() {
    let hooks = Hooks::start(|_, _| Reply::Status(200)).await;
    let log = log();
    write_alerts(&*log, 0..20);
    let begins_now = || {
        let mut endpoint = endpoint("late", hooks.url());
        endpoint.start = Start::Now;
        endpoint
    };
    let first = start(&log, vec![begins_now()]);
    eventually("its place is in the log", || uncommitted(&*log, "late") == 0).await;
    // Killed before it has delivered anything: what comes meanwhile is not the past.
    drop(first);
    write_alerts(&*log, 20..30);
    let second = start(&log, vec![begins_now()]);
    hooks.wait_for(&ids(20..30)).await;
    stop(second).await;
    let accepted = hooks.accepted();
    assert!(ids(0..20).iter().all(|id| !accepted.contains_key(id)), "{accepted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_that_overtook_a_failing_one_are_not_sent_again_after_a_kill() {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let hooks = Hooks::start(move |found, _| {
        let fails = found == id(0) && !is_mended.load(Ordering::SeqCst);
        Reply::Status(if fails { 500 } else { 200 })
    })
    .await;
    let log = log();
    write_alerts(&*log, 0..300);
    let stubborn = || {
        let mut endpoint = endpoint("ops", hooks.url());
        endpoint.concurrency_max = 4;
        endpoint.attempts_max = 1000;
        endpoint.backoff_max_ms = 50;
        endpoint
    };
    let notifier = start(&log, vec![stubborn()]);
    hooks.wait_for(&ids(1..300)).await;
    eventually("they are committed", || stats(&notifier).delivered == 299).await;
    drop(notifier);
    assert!(uncommitted(&*log, "ops") > 50, "the offset waits for the failing one");

    let failed_calls = hooks.calls().len();
    let notifier = start(&log, vec![stubborn()]);
    eventually("it is tried again", || hooks.calls().len() > failed_calls + 2).await;
    drop(notifier);
    mended.store(true, Ordering::SeqCst);
    let notifier = start(&log, vec![stubborn()]);
    hooks.wait_for(&ids(0..300)).await;
    eventually("all is committed", || uncommitted(&*log, "ops") == 0).await;
    stop(notifier).await;
    // A call under way at the last kill may have arrived after the receiver was mended.
    let again: Vec<_> = hooks.accepted().into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(again.iter().all(|(alert, count)| *alert == id(0) && *count == 2), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_calls_under_way_and_abandons_waits() {
    let hooks = Hooks::start(|found, _| match found == id(0) {
        true => Reply::Status(500),
        false => Reply::After(Duration::from_millis(300), 200),
    })
    .await;
    let log = log();
    write_alerts(&*log, 0..5);
    let mut patient = endpoint("ops", hooks.url());
    patient.backoff_first_ms = 3_600_000;
    patient.backoff_max_ms = 3_600_000;
    let notifier = start(&log, vec![patient]);
    eventually("all are begun", || hooks.calls().len() == 5).await;
    stop(notifier).await;
    assert_eq!(hooks.accepted().len(), 4, "calls under way were waited for");
    let notifier = start(&log, vec![endpoint("ops", hooks.url())]);
    eventually("the fifth is kept in the end", || stats(&notifier).undelivered == 1).await;
    stop(notifier).await;
    assert!(hooks.accepted().values().all(|count| *count == 1), "nothing came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_to_a_second_process_and_back() {
    let hooks = Hooks::start(|_, _| Reply::After(Duration::from_millis(1), 200)).await;
    let log = log();
    let both = || vec![endpoint("ops", hooks.url())];
    write_alerts(&*log, 0..400);
    let first = start_as("one", Arc::clone(&log) as Arc<dyn Log>, both());
    eventually("it has begun", || hooks.accepted().len() > 20).await;
    let second = start_as("two", Arc::clone(&log) as Arc<dyn Log>, both());
    hooks.wait_for(&ids(0..400)).await;
    // The second has partitions now: of these alerts some are its.
    write_alerts(&*log, 400..600);
    hooks.wait_for(&ids(0..600)).await;
    eventually("both have worked", || stats(&first).delivered > 0 && stats(&second).delivered > 0)
        .await;
    stop(second).await;
    write_alerts(&*log, 600..700);
    hooks.wait_for(&ids(0..700)).await;
    stop(first).await;
    let repeats: usize = hooks.accepted().values().map(|count| count - 1).sum();
    assert!(repeats <= 2 * 16, "{repeats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_process_of_the_same_name_takes_over() {
    let hooks = Hooks::start(|_, _| Reply::Status(200)).await;
    let log = log();
    let older = start(&log, vec![endpoint("ops", hooks.url())]);
    write_alerts(&*log, 0..10);
    hooks.wait_for(&ids(0..10)).await;
    let newer = start(&log, vec![endpoint("ops", hooks.url())]);
    eventually("the older says so", || stats(&older).state == EndpointState::Failed).await;
    assert!(stats(&older).last_error.unwrap().starts_with("fenced"));
    write_alerts(&*log, 10..20);
    hooks.wait_for(&ids(0..20)).await;
    assert_eq!(stats(&newer).state, EndpointState::Running);
}
