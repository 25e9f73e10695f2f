//! Holds the parser to the table in the documentation.

use super::{Attempt, Attribute, Line, parse};

const FORMS: &str = include_str!("../../../../docs/logins-forms.md");

/// One row of the table; `None` stands for the dash.
struct Form<'a> {
    app: &'a str,
    message: &'a str,
    count: u32,
    adds: &'a str,
    source: Option<&'a str>,
    user: Option<&'a str>,
    method: Option<&'a str>,
}

fn cell(text: &str) -> Option<&str> {
    // One space belongs to the table; those inside the backticks belong to the message.
    let text = text.trim();
    (text != "–").then(|| text.strip_prefix('`').and_then(|t| t.strip_suffix('`')).unwrap_or(text))
}

fn forms() -> Vec<Form<'static>> {
    let rows = FORMS.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 7, "seven columns in {row}");
        Form {
            app: cell(cells[0]).unwrap(),
            message: cell(cells[1]).unwrap(),
            count: cells[2].trim().parse().unwrap(),
            adds: cell(cells[3]).unwrap_or("nothing"),
            source: cell(cells[4]),
            user: cell(cells[5]),
            method: cell(cells[6]),
        }
    })
    .collect()
}

#[test]
fn the_documented_forms_are_what_the_parser_reads() {
    for form in forms() {
        let got = match parse(form.app, form.message) {
            Line::Attempt(Attempt { count, source, user, method, .. }) => {
                (count, "attempt", source, user, Some(method))
            }
            Line::Attribute(Attribute { source, user }) => (0, "attribute", source, user, None),
            Line::Other => (0, "nothing", None, None, None),
        };
        let want = (form.count, form.adds, form.source, form.user, form.method);
        assert_eq!(got, want, "{}: {}", form.app, form.message);
    }
}

#[test]
fn the_table_is_read_as_a_whole() {
    let forms = forms();
    let of = |adds| forms.iter().filter(|form| form.adds == adds).count();
    assert_eq!((of("attempt"), of("attribute")), (23, 9));
    assert!(of("nothing") > 20, "{}", of("nothing"));
}

#[test]
fn an_unknown_user_is_told_from_a_known_one() {
    let invalid = |app, message| match parse(app, message) {
        Line::Attempt(attempt) => attempt.invalid_user,
        Line::Attribute(_) | Line::Other => panic!("no attempt: {message}"),
    };
    assert!(invalid("sshd", "Failed password for invalid user bo from 192.0.2.1 port 9 ssh2"));
    assert!(!invalid("sshd", "Failed password for bo from 192.0.2.1 port 9 ssh2"));
    assert!(invalid("sshd", "Failed password for invalid user from 192.0.2.1 port 9 ssh2"));
    let old = "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=192.0.2.1";
    assert!(invalid("sshd(pam_unix)", old));
    assert!(!invalid("sshd(pam_unix)", &format!("{old}  user=bo")));
}

#[test]
fn a_truncated_or_made_up_line_counts_nothing() {
    for message in [
        "",
        "Failed",
        "Failed password",
        "Failed password for ",
        "Failed password for root",
        "Failed password for root from ",
        "Failed password for root from 192.0.2.1",
        "Failed password for root from 192.0.2.1 port",
        "Failed password for root from 192.0.2.1 port x ssh2",
        "Failed password for root from 192.0.2.1 port 9 ssh2 and so on",
        "Failed to release session for root from 192.0.2.1 port 9 ssh2",
        "message repeated 0 times: [ Failed password for root from 192.0.2.1 port 9 ssh2]",
        "message repeated -1 times: [ Failed password for root from 192.0.2.1 port 9 ssh2]",
        "message repeated 99999999999 times: [ Failed password for root from 192.0.2.1 port 9 ssh2]",
        "message repeated 2 times: [ Failed password for root from 192.0.2.1 port 9 ssh2",
        "message repeated 2 times: [ message repeated 2 times: [ Failed password for a from b port 9]]",
        "authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root",
    ] {
        assert_eq!(parse("sshd", message), Line::Other, "{message}");
    }
    assert_eq!(parse("sshd(pam_unix)", "authentication failure; logname="), Line::Other);
}

#[test]
fn spaces_around_a_message_do_not_matter() {
    let line = " Failed password for root from 192.0.2.1 port 9 ssh2 ";
    assert!(matches!(parse("sshd", line), Line::Attempt(Attempt { count: 1, .. })));
}

#[test]
fn bytes_of_other_scripts_do_not_split_a_character() {
    let line = "Failed password for invalid user ключ from from 192.0.2.1 port 9 ssh2";
    let Line::Attempt(attempt) = parse("sshd", line) else { panic!("an attempt") };
    assert_eq!((attempt.user, attempt.source), (Some("ключ from"), Some("192.0.2.1")));
}
