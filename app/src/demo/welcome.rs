//! What the demo says first: what to open, and what to type next.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::{DemoOptions, DemoSource, RECEIVER};
use crate::cli;
use crate::error::AppError;

/// Prints it.
pub(super) fn print(
    source: &DemoSource,
    options: &DemoOptions,
    address: SocketAddr,
) -> Result<(), AppError> {
    say(&text(source, options, address))
}

/// Writes `text` to standard output. Nobody reading it is no reason to stop.
pub(super) fn say(text: &str) -> Result<(), AppError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(AppError::Output),
    }
}

fn text(source: &DemoSource, options: &DemoOptions, address: SocketAddr) -> String {
    let DemoOptions { rate, seed, data_dir, .. } = options;
    let data = data_dir.display();
    let mut text = format!(
        "millpond demo: {rate} records/s of seed {seed}, data in {data}\n\n\
         open   http://{address}{RECEIVER}   the alerts, as a webhook gets them\n       \
         http://{address}/v1/views        the views\n       \
         http://{address}/openapi.json    the API\n\n\
         type, in another terminal\n"
    );
    let directory = match data_dir == Path::new(cli::DATA_DIR) {
        true => String::new(),
        false => format!(" --data-dir {}", quoted(&data.to_string())),
    };
    for search in source.searches {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "       # {}", search.about);
        let sort = match search.sort {
            "" => String::new(),
            sort => format!(" --sort={}", quoted(sort)),
        };
        let query = quoted(search.query);
        let _ = writeln!(text, "       millpond search{directory} {} {query}{sort}", search.view);
    }
    if let Some(search) = source.searches.first() {
        let sort = match search.sort {
            "" => String::new(),
            sort => format!(" --data-urlencode {}", quoted(&format!("sort={sort}"))),
        };
        let query = quoted(&format!("q={}", search.query));
        let _ = writeln!(
            text,
            "       # the same by HTTP\n       curl -sG http://{address}/v1/views/{}/search \
             --data-urlencode {query}{sort}",
            search.view
        );
    }
    text.push_str("\nCtrl-C stops it; the next start goes on where it stopped.\n");
    text
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_a_shell_unchanged() {
        assert_eq!(quoted("-count,_key"), "-count,_key");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_first_search_is_shown_both_ways() {
        static SEARCHES: [DemoSearch; 1] =
            [DemoSearch { about: "the worst", view: "v", query: "a AND b", sort: "-count" }];
        let traffic = |_, _| super::super::DemoTraffic {
            first: Vec::new(),
            next: Box::new(|_| unreachable!("no record is asked for")),
        };
        let source = DemoSource { traffic, searches: &SEARCHES };
        let options =
            DemoOptions { rate: 1, seed: 2, port: 0, data_dir: "x y".into(), duration: None };
        let text = text(&source, &options, "127.0.0.1:9".parse().unwrap());
        let search = "millpond search --data-dir 'x y' v 'a AND b' --sort=-count\n";
        assert!(text.contains(search), "{text}");
        let curl = "curl -sG http://127.0.0.1:9/v1/views/v/search --data-urlencode 'q=a AND b' \
                    --data-urlencode sort=-count\n";
        assert!(text.contains(curl), "{text}");
    }

    use super::super::DemoSearch;
}
