//! Lines of text that machines write: syslog, JSON with fields to find, sshd's messages.

use connectors::syslog::{Calendar, Year, is_marker};
use connectors::{Arrival, FieldPath, Format, Parsed, Parser, ParserSettings};
use topologies::logins::attempt;

use super::{Target, texts};

const SYSLOG: [&str; 9] = [
    "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
    "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=218.188.2.4 ",
    "Feb 29 00:00:00 host kernel: [    0.000000] Linux version",
    "Dec 31 23:59:60 host app[12]: leap",
    "2026-11-21T10:00:00.123456+01:00 host sshd[1]: Failed password for root from 1.2.3.4 port 22 ssh2",
    "Nov 21 10:00:00 CET host sshd[1]: message repeated 5 times: [ Failed password for root from ::1 port 22 ssh2]",
    "-- Boot 3c5a --",
    "<1>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - BOM'su root' failed",
    "<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [a@32473 n=\"3\" s=\"\\\"x\\]\\\\\"][b c=\"\"] text",
];

#[test]
fn lines_of_syslog() {
    let read = &mut |input: &[u8]| {
        let Ok(line) = std::str::from_utf8(input) else { return };
        let _ = is_marker(line);
        for year in [Year::Auto, "2024".parse().unwrap(), "9999".parse().unwrap()] {
            for zone in [chrono_tz::UTC, chrono_tz::Europe::Berlin, chrono_tz::Pacific::Apia] {
                let mut calendar = Calendar::new(zone, year);
                for reference_ms in [0, 1_700_000_000_000, i64::MAX, i64::MIN] {
                    let _ = connectors::syslog::parse(line, &mut calendar, reference_ms);
                }
            }
        }
    };
    let seeds = texts(&SYSLOG);
    Target { name: "syslog", seeds, mutations: 4_000, allocated_max: 65_536, read }.run();
}

#[test]
fn lines_with_fields() {
    let path = |text: &str| text.parse::<FieldPath>().unwrap();
    let settings = |format| ParserSettings {
        format,
        key_field: Some(path("card.id")),
        timestamp_field: Some(path("ts")),
        line_bytes_max: 4096,
    };
    let syslog = Format::Syslog { year: Year::Auto, zone: chrono_tz::UTC };
    let formats = [Format::Json, Format::Lines, syslog];
    let read = &mut |input: &[u8]| {
        for format in &formats {
            let mut parser = Parser::new(settings(*format));
            for line in connectors::lines(input) {
                let arrival = Arrival { reference_ms: 1_700_000_000_000, host: Some("h") };
                match parser.parse(line, &arrival) {
                    Ok(Parsed::Record(record)) => assert!(record.value.len() < 65_536),
                    Ok(Parsed::Skipped(_)) => {}
                    Err(error) => assert!(error.to_string().len() < 2_000, "{error}"),
                }
            }
        }
    };
    let seeds = texts(&[
        "{\"card\":{\"id\":\"a\"},\"ts\":1700000000000}\n{\"card\":{\"id\":7},\"ts\":\"2023-11-14T22:15:09Z\"}\r\n",
        "{\"card\":{\"id\":\"a\\u0000b\"},\"ts\":1.7e12,\"x\":[[[[{}]]]]}",
        SYSLOG[0],
    ]);
    Target { name: "lines", seeds, mutations: 10_000, allocated_max: 65_536, read }.run();
}

#[test]
fn messages_of_sshd() {
    let read = &mut |input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        for app in ["sshd", "sshd(pam_unix)"] {
            let _ = attempt::parse(app, text);
        }
    };
    let seeds = texts(&[
        "Failed password for invalid user a from 1.2.3.4 port 22 ssh2",
        "message repeated 5 times: [ Failed none for root from ::1 port 22 ssh2]",
        "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=218.188.2.4  user=root",
        "Failed publickey for git from 10.0.0.1 port 5 ssh2: RSA SHA256:abc",
    ]);
    Target { name: "sshd", seeds, mutations: 10_000, allocated_max: 65_536, read }.run();
}
