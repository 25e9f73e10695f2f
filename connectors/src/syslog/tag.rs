//! What follows the time: host, program, process id, message. Cannot fail: a text in which no host
//! or tag can be told apart is a message.

/// The longest tag whose name contains spaces (`Web Content[123]:`), in bytes; RFC 3164's bound.
const SPACED_TAG_BYTES_MAX: usize = 32;

/// Splits off the host. Programs that write to the local socket leave it out, so that the tag
/// follows at once.
pub(super) fn take_host(text: &str) -> (Option<&str>, &str) {
    let (first, rest) = word(text);
    let is_tag = first.ends_with(':') || process_id(first).is_some();
    let is_message = is_repetition(text);
    if is_tag || is_message {
        return (None, text);
    }
    (Some(first), rest.trim_start_matches(' '))
}

/// Splits off program and process id: `(app, pid, message)`.
pub(super) fn take_tag(text: &str) -> (Option<&str>, Option<u32>, &str) {
    let (first, rest) = word(text);
    if is_repetition(text) {
        return (None, None, text);
    }
    if let Some((app, pid, length)) = process_id(first) {
        return (Some(app), Some(pid), message(&text[length..]));
    }
    if let Some(app) =
        first.strip_suffix(':').filter(|app| !app.is_empty() && !app.starts_with('['))
    {
        return (Some(app), None, message(rest));
    }
    let (second, after) = word(rest.strip_prefix(' ').unwrap_or(rest));
    let is_version = second.starts_with(|first: char| first.is_ascii_digit());
    if is_version && second.ends_with(':') {
        // `syslogd 1.4.1: restart.`
        let length = text.len() - after.len();
        return (Some(&text[..length - 1]), None, message(after));
    }
    match process_id(prefix(text, SPACED_TAG_BYTES_MAX)) {
        Some((app, pid, length)) if text[..length].ends_with(':') => {
            (Some(app), Some(pid), message(&text[length..]))
        }
        _ => (None, None, text),
    }
}

/// `name[123]` and a colon, if there is one: the name, the number, the length of it all.
fn process_id(text: &str) -> Option<(&str, u32, usize)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('[')?;
        let digits = text[open + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let close = open + 1 + digits;
        from = open + 1;
        let Some(after) = text[close..].strip_prefix(']') else { continue };
        let Ok(pid) = text[open + 1..close].parse() else { continue };
        let app = &text[..open];
        let is_tag = after.is_empty() || after.starts_with(':');
        if app.is_empty() || app.ends_with(' ') || app.contains(": ") || !is_tag {
            continue;
        }
        return Some((app, pid, close + 1 + usize::from(after.starts_with(':'))));
    }
}

/// Old daemons write this without a tag, some also without a host.
fn is_repetition(text: &str) -> bool {
    text.starts_with("last message repeated ")
}

/// One space after the tag belongs to the form; further ones are the writer's.
fn message(text: &str) -> &str {
    text.strip_prefix(' ').unwrap_or(text)
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(' ').unwrap_or(text.len()))
}

/// The first bytes of `text`, at most `length`, and no half character.
fn prefix(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
