//! Scripts of lines, and lines in any order.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use pipeline::Topology;
use pipeline::driver::Script;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Settings, build};
use crate::tests::script::{drive, parse, run};

/// Four attempts are an attack here.
fn topology() -> Topology {
    build(&Settings { alert_attempts_min: 4, ..Settings::default() }).unwrap()
}

/// Reads lines of seconds, host, program and message.
fn lines(text: &str) -> Script {
    let record = |line: &str| {
        let (seconds, rest) = line.trim().split_once(' ').unwrap();
        let (host, rest) = rest.trim().split_once(' ').unwrap();
        let (app, message) = rest.trim().split_once(' ').unwrap();
        let value = match app {
            "!" => message.to_owned(),
            _ => json!({ "host": host, "app": app, "pid": 7, "message": message }).to_string(),
        };
        format!("syslog {host} {seconds} {value}\n")
    };
    parse(&text.lines().filter(|line| !line.trim().is_empty()).map(record).collect::<String>())
}

fn check(script: &str, expected: &Expect) {
    let outputs = [
        "logins-g1-failed-logins-view",
        "logins-g1-failed-logins-by-host-view",
        "logins-alerts",
        "logins-dlq",
    ];
    expected.assert_eq(&run(&topology, &lines(script), &outputs));
}

#[test]
fn attempts_are_counted_per_source_and_per_host() {
    check(
        "
        0 web-01 sshd Failed password for root from 203.0.113.7 port 1 ssh2
        1 web-01 sshd Failed none for invalid user guest from 198.51.100.4 port 2 ssh2
        2 web-02 sshd Failed password for root from 203.0.113.7 port 3 ssh2
        3 web-01 CRON Failed password for root from 203.0.113.7 port 1 ssh2
        301 web-01 sshd Failed publickey for root from 203.0.113.7 port 4 ssh2
        ",
        &expect![[r#"
            logins-g1-failed-logins-view:
              web-01/203.0.113.7@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000100000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01/198.51.100.4@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000101000,"host":"web-01","invalid_user_attempts":1,"last":"Failed none for invalid user guest from 198.51.100.4 port 2 ssh2","last_seen":1700000101000,"methods":["none"],"more_users":false,"source":"198.51.100.4","users":["guest"],"window_end":1700000400000,"window_start":1700000100000}
              web-02/203.0.113.7@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000102000,"host":"web-02","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 3 ssh2","last_seen":1700000102000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01/203.0.113.7@2023-11-14T22:20:00Z {"attempts":1,"first_seen":1700000401000,"host":"web-01","invalid_user_attempts":0,"last":"Failed publickey for root from 203.0.113.7 port 4 ssh2","last_seen":1700000401000,"methods":["publickey"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000700000,"window_start":1700000400000}
            logins-g1-failed-logins-by-host-view:
              web-01@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000100000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01@2023-11-14T22:15:00Z {"attempts":2,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":1,"last":"Failed none for invalid user guest from 198.51.100.4 port 2 ssh2","last_seen":1700000101000,"methods":["none","password"],"more_sources":false,"more_users":false,"source_count":2,"sources":["198.51.100.4","203.0.113.7"],"users":["guest","root"],"window_end":1700000400000,"window_start":1700000100000}
              web-02@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000102000,"host":"web-02","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 3 ssh2","last_seen":1700000102000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01@2023-11-14T22:20:00Z {"attempts":1,"first_seen":1700000401000,"host":"web-01","invalid_user_attempts":0,"last":"Failed publickey for root from 203.0.113.7 port 4 ssh2","last_seen":1700000401000,"methods":["publickey"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000700000,"window_start":1700000400000}
            logins-alerts:
            logins-dlq:
        "#]],
    );
}

#[test]
fn an_attack_is_alerted_once_per_window_though_it_goes_on() {
    check(
        "
        0 web-01 sshd Failed password for root from 203.0.113.7 port 1 ssh2
        1 web-01 sshd message repeated 3 times: [ Failed password for root from 203.0.113.7 port 1 ssh2]
        2 web-01 sshd Failed password for root from 203.0.113.7 port 1 ssh2
        ",
        &expect![[r#"
            logins-g1-failed-logins-view:
              web-01/203.0.113.7@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000100000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01/203.0.113.7@2023-11-14T22:15:00Z {"attempts":4,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"message repeated 3 times: [ Failed password for root from 203.0.113.7 port 1 ssh2]","last_seen":1700000101000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01/203.0.113.7@2023-11-14T22:15:00Z {"attempts":5,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000102000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000400000,"window_start":1700000100000}
            logins-g1-failed-logins-by-host-view:
              web-01@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000100000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01@2023-11-14T22:15:00Z {"attempts":4,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"message repeated 3 times: [ Failed password for root from 203.0.113.7 port 1 ssh2]","last_seen":1700000101000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01@2023-11-14T22:15:00Z {"attempts":5,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000102000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000400000,"window_start":1700000100000}
            logins-alerts:
              brute-force:web-01/203.0.113.7:1700000100000 {"id":"brute-force:web-01/203.0.113.7:1700000100000","rule":"brute-force","key":"web-01/203.0.113.7","kind":"firing","window":{"start":"2023-11-14T22:15:00.000Z","end":"2023-11-14T22:20:00.000Z"},"severity":"warning","text":"web-01: 4 failed logins from 203.0.113.7 within 300 seconds","timestamp":"2023-11-14T22:15:01.000Z","data":{"attempts":4,"first_seen":1700000100000,"host":"web-01","invalid_user_attempts":0,"last":"message repeated 3 times: [ Failed password for root from 203.0.113.7 port 1 ssh2]","last_seen":1700000101000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000400000,"window_start":1700000100000}}
            logins-dlq:
        "#]],
    );
}

#[test]
fn attributes_add_names_and_make_no_document() {
    check(
        "
        0 web-01 sshd Invalid user admin from 203.0.113.7 port 1
        1 web-01 sshd pam_unix(sshd:auth): check pass; user unknown
        2 old-01 sshd(pam_unix) check pass; user (test) unknown
        3 web-01 sshd Failed password for invalid user adm from 203.0.113.7 port 1 ssh2
        ",
        &expect![[r#"
            logins-g1-failed-logins-view:
              web-01/203.0.113.7@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000103000,"host":"web-01","invalid_user_attempts":1,"last":"Failed password for invalid user adm from 203.0.113.7 port 1 ssh2","last_seen":1700000103000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["adm","admin"],"window_end":1700000400000,"window_start":1700000100000}
            logins-g1-failed-logins-by-host-view:
              web-01@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000103000,"host":"web-01","invalid_user_attempts":1,"last":"Failed password for invalid user adm from 203.0.113.7 port 1 ssh2","last_seen":1700000103000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["adm","admin"],"window_end":1700000400000,"window_start":1700000100000}
            logins-alerts:
            logins-dlq:
        "#]],
    );
}

#[test]
fn a_source_that_is_not_said_is_a_dash() {
    check(
        "
        0 old-01 sshd(pam_unix) authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=  user=root
        ",
        &expect![[r#"
            logins-g1-failed-logins-view:
              old-01/-@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000100000,"host":"old-01","invalid_user_attempts":0,"last":"authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=  user=root","last_seen":1700000100000,"methods":["pam"],"more_users":false,"source":"-","users":["root"],"window_end":1700000400000,"window_start":1700000100000}
            logins-g1-failed-logins-by-host-view:
              old-01@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000100000,"host":"old-01","invalid_user_attempts":0,"last":"authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=  user=root","last_seen":1700000100000,"methods":["pam"],"more_sources":false,"more_users":false,"source_count":1,"sources":["-"],"users":["root"],"window_end":1700000400000,"window_start":1700000100000}
            logins-alerts:
            logins-dlq:
        "#]],
    );
}

#[test]
fn late_lines_count_within_grace_and_bad_ones_are_set_aside() {
    check(
        r#"
        299 web-01 sshd Failed password for root from 203.0.113.7 port 1 ssh2
        309 web-01 sshd Failed password for root from 203.0.113.7 port 2 ssh2
        298 web-01 sshd Failed password for eve from 203.0.113.7 port 3 ssh2
        310 web-01 sshd Failed password for root from 203.0.113.7 port 4 ssh2
        297 web-01 sshd Failed password for root from 203.0.113.7 port 5 ssh2
        311 web-01 ! {"event_id":17,"host":false,"ts":"yesterday"}
        312 - sshd Failed password for root from 203.0.113.7 port 6 ssh2
        "#,
        &expect![[r#"
            logins-g1-failed-logins-view:
              web-01/203.0.113.7@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000399000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000399000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01/203.0.113.7@2023-11-14T22:20:00Z {"attempts":1,"first_seen":1700000409000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 2 ssh2","last_seen":1700000409000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000700000,"window_start":1700000400000}
              web-01/203.0.113.7@2023-11-14T22:15:00Z {"attempts":2,"first_seen":1700000398000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000399000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["eve","root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01/203.0.113.7@2023-11-14T22:20:00Z {"attempts":2,"first_seen":1700000409000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 4 ssh2","last_seen":1700000410000,"methods":["password"],"more_users":false,"source":"203.0.113.7","users":["root"],"window_end":1700000700000,"window_start":1700000400000}
            logins-g1-failed-logins-by-host-view:
              web-01@2023-11-14T22:15:00Z {"attempts":1,"first_seen":1700000399000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000399000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01@2023-11-14T22:20:00Z {"attempts":1,"first_seen":1700000409000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 2 ssh2","last_seen":1700000409000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000700000,"window_start":1700000400000}
              web-01@2023-11-14T22:15:00Z {"attempts":2,"first_seen":1700000398000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 1 ssh2","last_seen":1700000399000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["eve","root"],"window_end":1700000400000,"window_start":1700000100000}
              web-01@2023-11-14T22:20:00Z {"attempts":2,"first_seen":1700000409000,"host":"web-01","invalid_user_attempts":0,"last":"Failed password for root from 203.0.113.7 port 4 ssh2","last_seen":1700000410000,"methods":["password"],"more_sources":false,"more_users":false,"source_count":1,"sources":["203.0.113.7"],"users":["root"],"window_end":1700000700000,"window_start":1700000400000}
            logins-alerts:
            logins-dlq:
              web-01 {"event_id":17,"host":false,"ts":"yesterday"}
              - {"app":"sshd","host":"-","message":"Failed password for root from 203.0.113.7 port 6 ssh2","pid":7}
        "#]],
    );
}

/// The last document of each key in both views.
fn documents(topology: Topology, script: &Script) -> BTreeMap<String, Value> {
    let driver = drive(topology, script);
    let views = ["failed-logins", "failed-logins-by-host"].map(|view| driver.read_view(view));
    let records = views.into_iter().flatten();
    records.map(|record| (record.key, record.value.unwrap())).collect()
}

#[test]
fn lines_in_any_order_within_grace_give_the_same_documents() {
    let mut script = Script::new();
    for n in 0..200_u32 {
        let user = ["root", "admin", "eve", "bob", "zoe"][(n % 5) as usize];
        let (source, seconds) = (n % 7, n * 3);
        let line = match n % 11 {
            0 => {
                format!("{seconds} web-01 sshd Invalid user u{n} from 203.0.113.{source} port {n}")
            }
            _ => format!(
                "{seconds} web-01 sshd Failed password for {user} from 203.0.113.{source} port {n} ssh2"
            ),
        };
        script.extend(lines(&line));
    }
    // Less is kept than comes, so that what is kept is put to the test too.
    let settings =
        Settings { users_max: 3, sources_max: 4, grace_ms: 600_000, ..Settings::default() };
    let expected = documents(build(&settings).unwrap(), &script);
    assert_eq!(expected.len(), 2 * (7 + 1), "7 sources and a host in 2 windows");
    let mut dice = ChaCha8Rng::seed_from_u64(1);
    for round in 0..5 {
        script.shuffle(&mut dice);
        assert_eq!(documents(build(&settings).unwrap(), &script), expected, "round {round}");
    }
}

#[test]
fn what_is_kept_of_a_line_is_bounded() {
    let settings =
        Settings { users_max: 1, user_bytes_max: 4, message_bytes_max: 20, ..Settings::default() };
    let source = "x".repeat(256);
    let script = lines(&format!(
        "
        0 web-01 sshd Failed password for mallory from 203.0.113.7 port 1 ssh2
        1 web-01 sshd Failed password for alice from 203.0.113.7 port 1 ssh2
        2 web-01 sshd Failed password for alice from {source} port 1 ssh2
        "
    ));
    let documents = documents(build(&settings).unwrap(), &script);
    let document = &documents["web-01/203.0.113.7@2023-11-14T22:15:00Z"];
    assert_eq!(document["users"], json!(["alic"]));
    assert_eq!(document["more_users"], json!(true));
    assert_eq!(document["last"], json!("Failed password for "));
    assert_eq!(documents["web-01/-@2023-11-14T22:15:00Z"]["attempts"], json!(1));
}
