//! The forms that are read, and any bytes.

use chrono::{DateTime, Datelike};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

const UTC: Tz = Tz::UTC;

fn ms(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn auto() -> Calendar {
    Calendar::new(UTC, Year::Auto)
}

fn at(reference: &str, line: &str) -> Result<SyslogLine<'static>, SyslogError> {
    parse(line.to_owned().leak(), &mut auto(), ms(reference))
}

fn read(line: &str) -> SyslogLine<'static> {
    at("2026-11-22T00:00:00Z", line).unwrap()
}

/// `host app pid message` of a line whose text after the time is `text`.
fn parts(text: &str) -> (Option<&'static str>, Option<&'static str>, Option<u32>, &'static str) {
    let line = read(&format!("Nov 21 13:34:37 {text}"));
    (line.host, line.app, line.pid, line.message)
}

fn utc(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[test]
fn every_form_of_time_is_read() {
    for (stamp, expected) in [
        ("Nov 21 13:34:37", "2026-11-21T13:34:37.000Z"),
        ("Nov  1 13:34:37", "2026-11-01T13:34:37.000Z"),
        ("Nov 1 13:34:37", "2026-11-01T13:34:37.000Z"),
        ("Nov 21 13:34:37.123456", "2026-11-21T13:34:37.123Z"),
        ("Nov 21 2019 13:34:37", "2019-11-21T13:34:37.000Z"),
        ("Nov 20 23:59:60", "2026-11-21T00:00:00.000Z"),
        ("2026-11-21T13:34:37.999999+00:00", "2026-11-21T13:34:37.999Z"),
        ("2026-11-21T13:34:37.5+01:30", "2026-11-21T12:04:37.500Z"),
        ("2026-11-21T13:34:37-0800", "2026-11-21T21:34:37.000Z"),
        ("2026-11-21T13:34:37+01", "2026-11-21T12:34:37.000Z"),
        ("2026-11-21T13:34:37Z", "2026-11-21T13:34:37.000Z"),
        ("2026-11-21T13:34:37", "2026-11-21T13:34:37.000Z"),
        ("Sat 2026-11-21 13:34:37 UTC", "2026-11-21T13:34:37.000Z"),
        ("Sat 2026-11-21 13:34:37 +03", "2026-11-21T10:34:37.000Z"),
        ("1795268077.123456", "2026-11-21T13:34:37.123Z"),
    ] {
        let line = read(&format!("{stamp} host app[1]: text"));
        assert_eq!(utc(line.timestamp_ms), expected, "{stamp}");
        assert_eq!((line.host, line.app, line.message), (Some("host"), Some("app"), "text"));
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for line in [
        "",
        "hello",
        "Nov",
        "Nov 21",
        "Nov 21 13:34 host x",
        "Nov 21 24:00:00 host x",
        "Nov 21 13:34:61 host x",
        "Nov 213:34:37 host x",
        "Nov 21 13:34:37host x",
        "Nov 21 13:34:37. host x",
        "Nox 21 13:34:37 host x",
        "2026-11-21 13:34:37 host x",
        "2026-11-21T13:34:37+1 host x",
        "2026-13-21T13:34:37Z host x",
        "Sat 2026-11-21 13:34:37 host-x y",
        "[   12.345678] host kernel: x",
        "N\u{f6}v 21 13:34:37 host x",
    ] {
        let error = at("2026-11-22T00:00:00Z", line).unwrap_err();
        assert_eq!(error, SyslogError::Time, "{line}");
    }
    assert_eq!(at("2026-11-22T00:00:00Z", "Nov 21 13:34:37 ").unwrap_err(), SyslogError::Empty);
}

#[test]
fn priorities_have_names() {
    let line = read("<34>Oct 11 22:14:15 mymachine su: 'su root' failed");
    assert_eq!((line.facility, line.severity), (Some("auth"), Some("crit")));
    let line = read("<191>Oct 11 22:14:15 mymachine su: x");
    assert_eq!((line.facility, line.severity), (Some("local7"), Some("debug")));
    for line in ["<>Oct 11 22:14:15 h x", "<192>Oct 11 22:14:15 h x", "<0034>Oct 11", "<3", "<a>"] {
        assert_eq!(at("2026-11-22T00:00:00Z", line).unwrap_err(), SyslogError::Priority, "{line}");
    }
}

/// The examples of RFC 5424, section 6.5, and what senders write.
#[test]
fn rfc_5424_says_what_is_what() {
    let line = read(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed",
    );
    assert_eq!(utc(line.timestamp_ms), "2003-10-11T22:14:15.003Z");
    assert_eq!((line.host, line.app, line.pid), (Some("mymachine.example.com"), Some("su"), None));
    assert_eq!((line.message_id, line.message), (Some("ID47"), "'su root' failed"));
    assert_eq!((line.facility, line.severity), (Some("auth"), Some("crit")));
    assert!(line.data.is_empty());

    let line = read("<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's");
    assert_eq!(utc(line.timestamp_ms), "2003-08-24T12:14:15.000Z");
    assert_eq!((line.pid, line.process, line.message), (Some(8710), None, "%% It's"));

    let line = read(
        "<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [exampleSDID@32473 iut=\"3\" \
         eventSource=\"Appl\\\"ica\\]tion\\n\"][origin ip=\"192.0.2.1\" ip=\"192.0.2.9\"]",
    );
    assert_eq!(line.data.values("exampleSDID@32473", "iut"), ["3"]);
    assert_eq!(line.data.values("exampleSDID@32473", "eventSource"), ["Appl\"ica]tion\\n"]);
    assert_eq!(line.data.values("origin", "ip"), ["192.0.2.1", "192.0.2.9"]);
    assert_eq!(line.message, "");
    let data = serde_json::to_string(&line.data).unwrap();
    let expected = r#"{"exampleSDID@32473":{"iut":"3","eventSource":"Appl\"ica]tion\\n"},"origin":{"ip":["192.0.2.1","192.0.2.9"]}}"#;
    assert_eq!(data, expected);

    let line = at("2026-11-22T00:00:00Z", "<13>1 - - - worker-3 - - nothing is known").unwrap();
    assert_eq!(utc(line.timestamp_ms), "2026-11-22T00:00:00.000Z", "it has the time it arrived");
    assert_eq!((line.host, line.app, line.process), (None, None, Some("worker-3")));
    assert_eq!(line.message, "nothing is known");
}

#[test]
fn rfc_5424_that_breaks_off_is_refused_by_the_part() {
    let time = "2003-10-11T22:14:15Z";
    for (line, expected) in [
        ("<34>1 ", SyslogError::Header("time")),
        ("<34>1 yesterday h a - - - x", SyslogError::Header("time")),
        ("<34>1 2003-10-11T22:14:15 h a - - - x", SyslogError::Header("time")),
        ("<34>1 2003-10-11T22:14:15Zx h a - - - x", SyslogError::Header("time")),
        ("<34>1 1795268077.123456 h a - - - x", SyslogError::Header("time")),
        (&format!("<34>1 {time} h"), SyslogError::Header("host")),
        (&format!("<34>1 {time}  a - - - x"), SyslogError::Header("host")),
        (&format!("<34>1 {time} h a - "), SyslogError::Header("message id")),
        (&format!("<34>1 {time} h a - - "), SyslogError::StructuredData),
        (&format!("<34>1 {time} h a - - x"), SyslogError::StructuredData),
        (&format!("<34>1 {time} h a - - -x"), SyslogError::StructuredData),
        (&format!("<34>1 {time} h a - - []"), SyslogError::StructuredData),
        (&format!("<34>1 {time} h a - - [a b]"), SyslogError::StructuredData),
        (&format!("<34>1 {time} h a - - [a b=\"]\"]"), SyslogError::StructuredData),
        (&format!("<34>1 {time} h a - - [a b=\"\\\"]"), SyslogError::StructuredData),
        (&format!("<34>1 {time} h a - - [a][b] [c"), SyslogError::Time),
    ] {
        let read = at("2026-11-22T00:00:00Z", line);
        // The last one is good: what follows the elements is the message.
        match expected {
            SyslogError::Time => assert_eq!(read.unwrap().message, "[c", "{line}"),
            expected => assert_eq!(read.unwrap_err(), expected, "{line}"),
        }
    }
}

proptest! {
    /// Whatever is written as the form says is read as it was.
    #[test]
    fn rfc_5424_comes_back(
        host in "[!-~]{1,20}",
        id in "[!-~&&[^=\\]\"]]{1,20}",
        values in proptest::collection::vec(any::<String>(), 1..4),
        message in "[^\u{0}\u{feff}\r\n]{0,40}",
    ) {
        prop_assume!(host != "-");
        let escape = |text: &String| {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
            format!(" n=\"{escaped}\"")
        };
        let data: String = values.iter().map(escape).collect();
        let line = format!("<0>1 2003-10-11T22:14:15Z {host} - - - [{id}{data}] {message}");
        let read = parse(&line, &mut auto(), 0);
        let read = read.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read.host, Some(host.as_str()));
        prop_assert_eq!(read.message, message.as_str());
        prop_assert_eq!(read.data.values(&id, "n"), &values[..]);
    }

    #[test]
    fn any_text_behind_a_version_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&format!("<9>1 {text}"), &mut auto(), 0);
        let _ = parse(&format!("<9>1 - - - - - [{text}"), &mut auto(), 0);
    }
}

#[test]
fn tags_of_real_programs_are_told_from_messages() {
    let h = Some("h");
    for (text, expected) in [
        ("h sshd[7]: a: b", (h, Some("sshd"), Some(7), "a: b")),
        ("h sshd(pam_unix)[7]: x", (h, Some("sshd(pam_unix)"), Some(7), "x")),
        ("h systemd-logind[1]: x", (h, Some("systemd-logind"), Some(1), "x")),
        ("h CRON[3]: (root) CMD (x)", (h, Some("CRON"), Some(3), "(root) CMD (x)")),
        ("h /usr/sbin/cron[12]: x", (h, Some("/usr/sbin/cron"), Some(12), "x")),
        ("h postfix/smtpd[12]: x", (h, Some("postfix/smtpd"), Some(12), "x")),
        ("h kernel: [    1.2] usb 1-1: x", (h, Some("kernel"), None, "[    1.2] usb 1-1: x")),
        ("h sudo:   bob : TTY=pts/0", (h, Some("sudo"), None, "  bob : TTY=pts/0")),
        ("h  -- root[2421]: ROOT LOGIN", (h, Some("-- root"), Some(2421), "ROOT LOGIN")),
        ("h Web Content[5]: x", (h, Some("Web Content"), Some(5), "x")),
        ("h syslogd 1.4.1: restart.", (h, Some("syslogd 1.4.1"), None, "restart.")),
        ("h (sd-pam)[9]: x", (h, Some("(sd-pam)"), Some(9), "x")),
        ("h a[b][9]: x", (h, Some("a[b]"), Some(9), "x")),
        ("h snmpd[9]:x", (h, Some("snmpd"), Some(9), "x")),
        ("h snmpd[9] x", (h, Some("snmpd"), Some(9), "x")),
        ("h app:", (h, Some("app"), None, "")),
        ("h no tag at all", (h, None, None, "no tag at all")),
        ("h see http://x/ [7]: y", (h, None, None, "see http://x/ [7]: y")),
        ("h : x", (h, None, None, ": x")),
        ("h [7]: x", (h, None, None, "[7]: x")),
        ("h app[99999999999]: x", (h, Some("app[99999999999]"), None, "x")),
        ("h last message repeated 3 times", (h, None, None, "last message repeated 3 times")),
        ("last message repeated 3 times", (None, None, None, "last message repeated 3 times")),
        ("su: no host", (None, Some("su"), None, "no host")),
        ("su[7]: no host", (None, Some("su"), Some(7), "no host")),
        ("h", (h, None, None, "")),
        ("fe80::1 su: x", (Some("fe80::1"), Some("su"), None, "x")),
    ] {
        assert_eq!(parts(text), expected, "{text}");
    }
}

#[test]
fn line_ends_are_no_part_of_a_message() {
    assert_eq!(read("Nov 21 13:34:37 h app: x \r\n\0").message, "x ");
}

#[test]
fn remarks_of_journalctl_are_markers() {
    for line in [
        "-- Boot 8a7c0d3e9bd24a0f8d0e5a3e5a2e51cf --",
        "-- Logs begin at Sat 2026-11-21 09:00:00 UTC, end at Sat 2026-11-21 10:00:00 UTC. --",
        "-- Reboot --",
        "-- No entries --\r",
    ] {
        assert!(is_marker(line), "{line}");
    }
    for line in ["-- --", "-- root[1]: x", "Nov 21 13:34:37 h  -- root[1]: x --"] {
        assert!(!is_marker(line), "{line}");
    }
}

#[test]
fn auto_finds_the_year_around_new_year() {
    let line = |stamp: &str| format!("{stamp} h x");
    for (reference, stamp, expected) in [
        ("2026-01-01T00:00:05Z", "Dec 31 23:59:59", 2025),
        ("2025-12-31T23:59:59Z", "Jan  1 00:00:05", 2026),
        ("2026-11-21T00:00:00Z", "Mar  1 00:00:00", 2026),
        ("2026-11-21T00:00:00Z", "Nov 27 00:00:00", 2026),
        ("2026-11-21T00:00:00Z", "Nov 29 00:00:00", 2025),
        ("2026-11-21T00:00:00Z", "Feb 29 00:00:00", 2024),
        ("2104-01-01T00:00:00Z", "Feb 29 00:00:00", 2096),
    ] {
        let read = at(reference, &line(stamp)).unwrap();
        let year = DateTime::from_timestamp_millis(read.timestamp_ms).unwrap().year();
        assert_eq!(year, expected, "{stamp} at {reference}");
    }
    let error = at("2026-11-21T00:00:00Z", "Feb 30 00:00:00 h x").unwrap_err();
    assert_eq!(error, SyslogError::Date { year: 2026, month: 2, day: 30 });
}

/// The times of lines that begin with `stamps`, in a file whose first line is of 2005.
fn followed(stamps: &[&str]) -> Vec<String> {
    let mut calendar = Calendar::new(UTC, "2005".parse().unwrap());
    let read = |stamp: &&str| {
        let line = format!("{stamp} 12:00:00 h x");
        utc(parse(&line, &mut calendar, 0).unwrap().timestamp_ms)[..10].to_owned()
    };
    stamps.iter().map(read).collect()
}

#[test]
fn a_fixed_year_rolls_over_in_january() {
    let days = followed(&["Nov  5", "Dec 31", "Jan  1", "Dec 31", "Jan  2", "Aug  1", "Jan  1"]);
    let expected = [
        "2005-11-05",
        "2005-12-31",
        "2006-01-01",
        "2005-12-31",
        "2006-01-02",
        "2006-08-01",
        "2007-01-01",
    ];
    assert_eq!(days, expected);
}

#[test]
fn lines_out_of_order_do_not_roll_over() {
    let days = followed(&["Jul  1", "Jun 30", "Jul  1", "Dec  1", "Nov 30", "Jan  1"]);
    let expected =
        ["2005-07-01", "2005-06-30", "2005-07-01", "2005-12-01", "2005-11-30", "2006-01-01"];
    assert_eq!(days, expected);
}

#[test]
fn a_year_goes_on_from_its_text() {
    let mut calendar = Calendar::new(UTC, "2005-12".parse().unwrap());
    parse("Jan  1 00:00:00 h x", &mut calendar, 0).unwrap();
    assert_eq!(calendar.year().to_string(), "2006-01");
    assert_eq!("auto".parse(), Ok(Year::Auto));
    for text in ["", "5", "2005-", "2005-13", "2005-0", "20055", "1969", "auto "] {
        assert!(text.parse::<Year>().is_err(), "{text}");
    }
}

#[test]
fn a_bad_date_does_not_move_the_year() {
    let mut calendar = Calendar::new(UTC, "2005-12".parse().unwrap());
    let error = parse("Feb 29 00:00:00 h x", &mut calendar, 0).unwrap_err();
    assert_eq!(error, SyslogError::Date { year: 2006, month: 2, day: 29 });
    assert_eq!(calendar.year().to_string(), "2005-12");
}

fn in_berlin(line: &str) -> Result<String, SyslogError> {
    let mut calendar = Calendar::new(Tz::Europe__Berlin, Year::Auto);
    parse(line, &mut calendar, ms("2026-11-21T00:00:00Z")).map(|line| utc(line.timestamp_ms))
}

#[test]
fn clocks_that_change_are_read_as_documented() {
    for (line, expected) in [
        ("Jul  1 12:00:00 h x", "2026-07-01T10:00:00.000Z"),
        // 02:30 comes twice: the earlier one, unless the zone is named.
        ("Oct 25 02:30:00 h x", "2026-10-25T00:30:00.000Z"),
        ("Sun 2026-10-25 02:30:00 CEST h x", "2026-10-25T00:30:00.000Z"),
        ("Sun 2026-10-25 02:30:00 CET h x", "2026-10-25T01:30:00.000Z"),
        // 02:30 is left out: it is 03:30 in summer.
        ("Mar 29 02:30:00 h x", "2026-03-29T01:30:00.000Z"),
        ("Mar 29 03:00:00 h x", "2026-03-29T01:00:00.000Z"),
        ("2026-07-01T12:00:00 h x", "2026-07-01T10:00:00.000Z"),
    ] {
        assert_eq!(in_berlin(line).as_deref(), Ok(expected), "{line}");
    }
    let error = in_berlin("Sat 2026-11-21 12:00:00 EST h x").unwrap_err();
    assert_eq!(error, SyslogError::Zone { found: "EST".into(), zone: "Europe/Berlin".into() });
}

#[test]
fn a_day_that_was_left_out_lies_after_the_gap() {
    let mut calendar = Calendar::new(Tz::Pacific__Apia, Year::Auto);
    let line = parse("2011-12-30T12:00:00 h x", &mut calendar, 0).unwrap();
    assert_eq!(utc(line.timestamp_ms), "2011-12-30T22:00:00.000Z");
}

/// Each row of the table in the documentation: a line, and what becomes of it.
#[test]
fn the_examples_of_the_documentation_are_true() {
    let text = include_str!("../../../docs/syslog.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')))
        .map(Iterator::collect)
        .collect();
    assert!(rows.len() >= 20, "the table has rows");
    for row in rows {
        let [line, host, app, pid, time] = row[..] else { panic!("five cells: {row:?}") };
        let read = read(line);
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        assert_eq!(or_dash(read.host), host, "{line}");
        assert_eq!(or_dash(read.app), app, "{line}");
        assert_eq!(or_dash(read.pid.map(|pid| pid.to_string()).as_deref()), pid, "{line}");
        assert_eq!(utc(read.timestamp_ms).replace(".000Z", "Z"), time, "{line}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_line_or_an_error(text: String, reference: i64) {
        let _ = parse(&text, &mut auto(), reference);
    }

    #[test]
    fn any_text_after_a_time_is_a_line(text in r"[^\r\n\x00 ][^\r\n\x00]{0,80}") {
        let line = format!("Nov 21 13:34:37 {text}");
        let read = parse(&line, &mut auto(), 0).unwrap();
        prop_assert!(text.ends_with(read.message));
    }

    #[test]
    fn near_misses_of_times_do_not_panic(
        text in r"(<[0-9]{0,4}>)?[JFMASOND2-][a-z0-9-]{0,4}[ 0-9T:.+Z-]{0,30}( [a-z:\[\]0-9]{0,9})?",
        year in 1970..9999_i32,
    ) {
        let mut calendar = Calendar::new(Tz::America__Sao_Paulo, Year::Fixed { year, month: None });
        let _ = parse(&text, &mut calendar, 0);
    }

    /// What is written in a form is read back from it.
    #[test]
    fn times_read_back(seconds in 0..4_102_444_800_i64) {
        let time = DateTime::from_timestamp(seconds, 0).unwrap();
        let reference = (seconds + 3600) * 1000;
        for form in ["%b %e %H:%M:%S", "%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%dT%H:%M:%S%z",
            "%a %Y-%m-%d %H:%M:%S UTC"] {
            let line = format!("{} h app[1]: x", time.format(form));
            let read = parse(&line, &mut auto(), reference).unwrap();
            prop_assert_eq!(read.timestamp_ms, seconds * 1000, "{}", line);
        }
    }
}
