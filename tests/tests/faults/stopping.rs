//! A process that stands still for a while, that is copied while it runs, and that ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use stores::clock::{Clock as _, SystemClock};
use tests::crashes::process::eventually;

use super::{Quiet, send, survive};

/// How long it stands still here; `crashes pause` takes a minute.
const STILL: Duration = Duration::from_secs(10);

#[test]
fn a_process_that_stood_still_goes_on() {
    let report = survive(|stage| {
        stage.flow(500)?;
        stage.process.signal("STOP")?;
        let ended = stage.process.ended_within(STILL)?;
        assert_eq!(ended, None);
        stage.process.signal("CONT")?;
        stage.flow(500)
    });
    println!("{report}");
    assert_eq!(report.repeats, 0, "{report}");
}

#[test]
fn a_copy_of_one_moment_is_whole() {
    let quiet = Quiet::new("");
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    assert_eq!(send(&holder, 0..100), [200; 100]);
    // As a snapshot of the file system would have it: nothing is written during the copy.
    process.signal("STOP").unwrap();
    let copy = tempfile::tempdir().unwrap();
    let data_dir = copy.path().join("data");
    let copied = Command::new("cp").arg("-r").arg(&quiet.start.data_dir).arg(&data_dir).status();
    assert!(copied.unwrap().success());
    process.signal("CONT").unwrap();
    assert_eq!(send(&holder, 100..120), [200; 20]);
    process.stop().unwrap();

    let mut start = quiet.start.clone();
    let config = std::fs::read_to_string(&start.config).unwrap();
    let old = start.data_dir.display().to_string();
    start.config = copy.path().join("millpond.toml");
    start.messages = copy.path().join("messages.txt");
    std::fs::write(&start.config, config.replace(&old, &data_dir.display().to_string())).unwrap();
    start.data_dir = data_dir;
    let mut copied = start.process(None).unwrap();
    let holder = copied.holder_or_end().unwrap();
    let documents = holder.documents("regions", &holder.token("payments").unwrap()).unwrap();
    assert_eq!(documents[0]["count"], 100, "{documents:?}");
    copied.stop().unwrap();
}

#[test]
fn a_second_signal_ends_the_process_at_once_and_loses_nothing() {
    let quiet = Quiet::new("");
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    assert_eq!(send(&holder, 0..50), [200; 50]);
    // A question that is not answered for half a minute: a clean stop waits a second for it.
    let mut slow = TcpStream::connect(holder.address).unwrap();
    let token = "v1.payments:0:1000000:1";
    write!(
        slow,
        "GET /v1/views/regions/search?after={token}&after_timeout_ms=30000 HTTP/1.1\r\n\
         host: {}\r\n\r\n",
        holder.address
    )
    .unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(slow.read(&mut [0]).is_err(), "it waits");

    process.signal("TERM").unwrap();
    eventually("the stop", || Ok(quiet.start.messages().contains("stopping").then_some(())))
        .unwrap();
    process.signal("INT").unwrap();
    let clock = SystemClock::new();
    let status = process.ended_within(Duration::from_secs(10)).unwrap().unwrap();
    assert_eq!(status.code(), Some(130), "{}", quiet.start.messages());
    assert!(clock.elapsed() < Duration::from_millis(900), "{:?}", clock.elapsed());
    let said = quiet.start.messages();
    assert!(said.contains("a second signal: ending without a last commit"), "{said}");

    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    let documents = holder.documents("regions", &holder.token("payments").unwrap()).unwrap();
    assert_eq!(documents[0]["count"], 50, "{documents:?}");
    process.stop().unwrap();
}

#[test]
fn a_worker_that_fails_ends_the_process_with_its_reason() {
    let quiet = Quiet::new("[worker]\nbad_record_policy = \"fail\"");
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    // 503 as long as the tasks are being opened.
    let ready = eventually("a process that is ready", || Ok(holder.get("/readyz").ok())).unwrap();
    assert_eq!(ready["ready"], true);
    let headers = [("content-type", "application/json"), ("millpond-key", "k")];
    let request = tests::crashes::http::Request {
        line: "POST /v1/topics/lines",
        headers: &headers,
        body: b"{\"id\":\"not a number\"}",
    };
    tests::crashes::http::ask(holder.address, request).unwrap();
    let status = process.ended_within(Duration::from_secs(20)).unwrap().unwrap();
    let said = quiet.start.messages();
    assert_eq!(status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains("record 0 of lines-") && last.contains("policy is to fail"), "{last}");
}
