//! Commits that do not end well.

use std::sync::Arc;

use alerts::{EndpointState, Notifier, NotifierConfig, NotifierError};
use pipeline::clock::SystemClock;
use pipeline::log::Log;
use tokio::runtime::Handle;

use crate::faulty_log::{Ending, FaultyLog};
use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_unknown_and_aborted_it_goes_on_from_what_the_log_says() {
    let hooks = Hooks::start(|_, _| Reply::Status(200)).await;
    let log = log();
    write_alerts(&*log, 0..200);
    let script = [
        Ending::Real,
        Ending::UnknownDone,
        Ending::Real,
        Ending::UnknownLost,
        Ending::Aborted,
        Ending::Real,
        Ending::Aborted,
    ];
    let doubts = 4;
    let faulty = FaultyLog::new(Arc::clone(&log) as Arc<dyn Log>, &script);
    let mut endpoint = endpoint("ops", hooks.url());
    endpoint.concurrency_max = 4;
    let notifier = start_as("one", Arc::clone(&faulty) as Arc<dyn Log>, vec![endpoint]);
    hooks.wait_for(&ids(0..200)).await;
    eventually("all is committed", || uncommitted(&*log, "ops") == 0).await;
    assert_eq!(*faulty.reconnects.lock().unwrap(), 2, "after unknown, and only then");
    stop(notifier).await;
    let repeats: usize = hooks.accepted().values().map(|count| count - 1).sum();
    assert!(repeats <= doubts * 4, "{repeats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_fenced_the_endpoint_stops_and_says_so() {
    let hooks = Hooks::start(|_, _| Reply::Status(200)).await;
    let log = log();
    write_alerts(&*log, 0..1);
    let faulty = FaultyLog::new(Arc::clone(&log) as Arc<dyn Log>, &[Ending::Fenced]);
    let notifier = start_as("one", faulty, vec![endpoint("ops", hooks.url())]);
    eventually("stopped", || stats(&notifier).state == EndpointState::Failed).await;
    assert_eq!(stats(&notifier).last_error.as_deref(), Some("fenced: replaced"));
    assert_eq!(uncommitted(&*log, "ops"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let log = log();
    let start = |names: &[&str], topic: &str| {
        let endpoints = names.iter().map(|name| endpoint(name, "http://127.0.0.1:9/")).collect();
        Notifier::start(NotifierConfig {
            log: Arc::clone(&log) as Arc<dyn Log>,
            endpoints,
            alert_topics: vec![topic.into()],
            instance: "one".into(),
            clock: Arc::new(SystemClock::new()),
            seed: 7,
            runtime: Handle::current(),
        })
    };
    assert!(
        matches!(start(&["a", "b", "a"], TOPIC), Err(NotifierError::Name(name)) if name == "a")
    );
    assert!(matches!(start(&["a"], "none"), Err(NotifierError::Topic(topic)) if topic == "none"));
    assert!(matches!(start(&["a b"], TOPIC), Err(NotifierError::Endpoint(_))));
}
