//! Reads one line of a system log: does it say that an ssh login failed, how often, from where?
//!
//! Every failed attempt counts once, though it leaves up to five lines: `docs/logins-forms.md`
//! lists the forms and says which of them counts. This is not a syslog parser (the line is already
//! split into program and message), and it has no memory: a line is judged by itself.

/// What one line of a system log says about logins by ssh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Attempts that failed.
    Attempt(Attempt<'a>),
    /// More about an attempt that another line counts.
    Attribute(Attribute<'a>),
    /// Nothing that concerns us.
    Other,
}

/// One failed attempt, or several equal ones. It borrows from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// How many attempts the line stands for: 1, or N if it says that a message repeated N times.
    pub count: u32,
    /// Address or host name that it came from, as the line writes it; `None` if it does not.
    pub source: Option<&'a str>,
    /// The name that was tried; `None` if the line has none, or an empty one.
    pub user: Option<&'a str>,
    /// How it was tried: `password`, `none`, `publickey`, `keyboard-interactive/pam`, ...; `pam`
    /// where the line is of PAM, which does not know.
    pub method: &'a str,
    /// True if the host has no user of that name.
    pub invalid_user: bool,
}

/// What a line tells about an attempt without being the one that counts it.
///
/// All of them say that the user does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Address or host name that it came from, if the line says.
    pub source: Option<&'a str>,
    /// The name that was tried, if the line says.
    pub user: Option<&'a str>,
}

/// The program that writes a line decides which of its forms count.
#[derive(Clone, Copy, PartialEq)]
enum Program {
    /// OpenSSH itself: its `Failed ...` line counts, the PAM line beside it does not.
    Sshd,
    /// PAM on behalf of sshd, as Linux distributions had it until about 2006: here the PAM line is
    /// all there is.
    OldPam,
}

/// Judges the `message` that the program `app` (without its process id) wrote.
pub fn parse<'a>(app: &str, message: &'a str) -> Line<'a> {
    let program = match app {
        // OpenSSH 9.8 moved the sessions to a program of their own, 10.0 the authentication.
        "sshd" | "sshd-session" | "sshd-auth" => Program::Sshd,
        "sshd(pam_unix)" => Program::OldPam,
        _ => return Line::Other,
    };
    match repeated(message.trim()) {
        Some((0, _)) => Line::Other,
        Some((count, inner)) => single(program, inner, count),
        None => single(program, message.trim(), 1),
    }
}

/// Takes `message repeated N times: [ MESSAGE]` apart, which is rsyslog's.
fn repeated(message: &str) -> Option<(u32, &str)> {
    let (count, inner) = message.strip_prefix("message repeated ")?.split_once(" times: [")?;
    Some((count.parse().ok()?, inner.strip_suffix(']')?.trim()))
}

fn single(program: Program, message: &str, count: u32) -> Line<'_> {
    let attempt = match program {
        Program::Sshd => failed(message, count),
        Program::OldPam => authentication_failure(message, count),
    };
    match attempt {
        Some(attempt) => Line::Attempt(attempt),
        None => attribute(program, message).map_or(Line::Other, Line::Attribute),
    }
}

/// `Failed METHOD for [invalid user ]USER from ADDRESS port PORT[ ssh2]`
fn failed(message: &str, count: u32) -> Option<Attempt<'_>> {
    let (method, rest) = message.strip_prefix("Failed ")?.split_once(" for ")?;
    if method.is_empty() || method.contains(' ') {
        return None;
    }
    let (who, source) = split_source(rest, is_end_of_failed)?;
    let (user, invalid_user) = match strip_unknown(who) {
        Some(user) => (user, true),
        None => (who, false),
    };
    Some(Attempt { count, source: Some(source), user: named(user), method, invalid_user })
}

/// `authentication failure; logname= ... rhost=ADDRESS  user=USER`
fn authentication_failure(message: &str, count: u32) -> Option<Attempt<'_>> {
    let details = message.strip_prefix("authentication failure;")?;
    let (_, rest) = details.split_once(" rhost=")?;
    let (source, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    // PAM leaves the name out if the host does not have it: it may be a password, typed too early.
    let user = rest.trim().strip_prefix("user=").and_then(named);
    Some(Attempt {
        count,
        source: named(source),
        user,
        method: "pam",
        invalid_user: user.is_none(),
    })
}

/// Lines that say that there is no such user.
fn attribute(program: Program, message: &str) -> Option<Attribute<'_>> {
    // Today's PAM names itself in the message, the old one in the program.
    let pam = match program {
        Program::Sshd => message.strip_prefix("pam_unix(sshd:auth): "),
        Program::OldPam => Some(message),
    };
    if let Some(rest) = pam.and_then(|pam| pam.strip_prefix("check pass; user ")) {
        let user = rest.strip_suffix("unknown")?.trim();
        let user = user.strip_prefix('(').and_then(|user| user.strip_suffix(')'));
        return Some(Attribute { source: None, user: user.and_then(named) });
    }
    if program == Program::OldPam {
        return None;
    }
    if let Some(rest) = message.strip_prefix("input_userauth_request: ") {
        let user = strip_unknown(rest)?;
        let user = user.strip_suffix(" [preauth]").unwrap_or(user);
        return Some(Attribute { source: None, user: named(user) });
    }
    let rest = message.strip_prefix("Invalid user ").or(message.strip_prefix("Illegal user "))?;
    let (user, source) = split_source(rest, is_end_of_invalid)?;
    Some(Attribute { source: Some(source), user: named(user) })
}

/// Strips what sshd puts before the name of a user that the host does not have; OpenSSH said
/// `illegal` until 3.8.
fn strip_unknown(who: &str) -> Option<&str> {
    let name = who.strip_prefix("invalid user").or(who.strip_prefix("illegal user"))?;
    // A collector that squeezes spaces leaves none before an empty name.
    if name.is_empty() { Some(name) } else { name.strip_prefix(' ') }
}

/// Splits `USER from ADDRESS...`, if `is_end` accepts what follows the address.
///
/// The last ` from ` that fits decides: the user's name is the guesser's choice and may be
/// `x from 192.0.2.1 port 1 ssh2`, but what follows the true address is sshd's.
fn split_source(text: &str, is_end: fn(&str) -> bool) -> Option<(&str, &str)> {
    // An empty name leaves two spaces, of which one may be all that there is before `from`.
    text.rmatch_indices("from ").find_map(|(at, from)| {
        let user = &text[..at];
        if !user.is_empty() && !user.ends_with(' ') {
            return None;
        }
        let rest = &text[at + from.len()..];
        let (source, end) = rest.split_once(' ').map_or((rest, ""), |(source, end)| (source, end));
        let fits = !source.is_empty() && is_end(end);
        fits.then(|| (user.strip_suffix(' ').unwrap_or(user), source))
    })
}

/// `port PORT`, then perhaps `ssh2`, a key (`: RSA SHA256:...`), `[preauth]`.
fn is_end_of_failed(end: &str) -> bool {
    let Some(rest) = after_port(end) else { return false };
    let rest = rest.strip_prefix(" ssh2").unwrap_or(rest);
    rest.is_empty() || rest == " [preauth]" || rest.starts_with(": ")
}

/// `port PORT`, which older versions leave out; perhaps `[preauth]`.
fn is_end_of_invalid(end: &str) -> bool {
    matches!(after_port(end).unwrap_or(end).trim(), "" | "[preauth]")
}

fn after_port(end: &str) -> Option<&str> {
    let rest = end.strip_prefix("port ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| &rest[digits..])
}

fn named(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
