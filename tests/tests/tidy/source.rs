//! Rust source as the checks want to see it: without comments and literals, and with the tests
//! marked. It is a scanner, not a parser: it knows tokens and braces.

/// A Rust file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// The text with the content of comments, strings and characters replaced by blanks, byte for
    /// byte, so that places in both are the same.
    pub(super) code: String,
    /// The ranges of `code` that are `#[cfg(test)]`.
    tests: Vec<std::ops::Range<usize>>,
}

impl Source {
    pub(super) fn new(path: String, text: String) -> Self {
        let code = blank_out(&text);
        let tests = test_items(&code);
        Self { path, text, code, tests }
    }

    /// Whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        let folders = self.path.split('/').rev().skip(1);
        let file = self.path.rsplit('/').next().unwrap_or_default();
        file == "tests.rs"
            || file.ends_with("_tests.rs")
            || folders.into_iter().any(|f| f == "tests")
    }

    /// Whether the byte at `index` belongs to tests.
    pub(super) fn is_test_at(&self, index: usize) -> bool {
        self.is_test() || self.tests.iter().any(|range| range.contains(&index))
    }

    /// The number of the line, from 1, in which the byte at `index` stands.
    pub(super) fn line_of(&self, index: usize) -> usize {
        self.code[..index].matches('\n').count() + 1
    }

    /// Where `word` stands in the code, not as part of a longer word.
    pub(super) fn words<'s>(&'s self, word: &'s str) -> impl Iterator<Item = usize> + 's {
        self.code.match_indices(word).map(|(index, _)| index).filter(move |index| {
            let before = self.code[..*index].chars().next_back();
            let after = self.code[index + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    }

    /// The name that follows the byte at `index`, after blanks.
    pub(super) fn name_at(&self, index: usize) -> &str {
        let rest = self.code[index..].trim_start();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        &rest[..end]
    }
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The end of the item that starts at `start`: behind its closing brace, or its semicolon if it
/// has no body.
pub(super) fn end_of_item(code: &str, start: usize) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b'{' => braces += 1,
            b'}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 && brackets == 0 {
                    return start + offset + 1;
                }
            }
            b';' if braces == 0 && brackets == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    code.match_indices("#[cfg(test)]")
        .map(|(start, attribute)| start..end_of_item(code, start + attribute.len()))
        .collect()
}

/// Replaces the content of comments and literals by blanks.
fn blank_out(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.chars().next_back().is_some_and(is_word);
        let length = literal_length(rest, after_word);
        match length {
            0 => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
            _ => {
                let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
                code.extend(rest[..length].bytes().map(blank));
                rest = &rest[length..];
            }
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with; 0 if there is none.
fn literal_length(rest: &str, after_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    if rest.starts_with('\'') {
        return character_length(rest);
    }
    if after_word { 0 } else { raw_string_length(rest) }
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut index) = (0, 0);
    while index < rest.len() {
        match &rest.as_bytes()[index..] {
            [b'/', b'*', ..] => (depth, index) = (depth + 1, index + 2),
            [b'*', b'/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    rest.len()
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character in quotes; 0 if the quote begins a lifetime.
fn character_length(rest: &str) -> usize {
    let mut inside = rest.chars().skip(1);
    match (inside.next(), inside.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted_length(rest, '\''),
        _ => 0,
    }
}

/// `r"..."`, `r#"..."#` and so on, with any prefix; 0 if there is none.
fn raw_string_length(rest: &str) -> usize {
    let Some(body) = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix)) else {
        return 0;
    };
    let hashes = body.len() - body.trim_start_matches('#').len();
    if !body[hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - body.len() + hashes + 1;
    rest[start..].find(&close).map_or(rest.len(), |index| start + index + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        blank_out(text)
    }

    #[test]
    fn comments_and_literals_are_blanked_out_and_places_stay() {
        assert_eq!(code("a // {\nb"), "a     \nb");
        assert_eq!(code("a /* { /* } */ { */ b"), format!("a {} b", " ".repeat(17)));
        assert_eq!(code(r#"f("\"{", 'x', '\'', '{')"#), "f(     ,    ,     ,    )");
        assert_eq!(code("x<'a>(r#\"a\" {\"#, b\"{\")"), "x<'a>(         , b   )");
        assert_eq!(code("var\"{\""), "var   ");
        assert_eq!(code("'ä' 'b"), "     'b");
    }

    #[test]
    fn tests_are_told_from_the_rest() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("x/src/y.rs".to_owned(), text.to_owned());
        let at = |name| source.is_test_at(text.find(name).unwrap());
        assert_eq!((at("fn a"), at("fn b"), at("fn c")), (false, true, false));
        assert!(Source::new("x/src/y/tests.rs".to_owned(), String::new()).is_test());
        assert!(Source::new("tests/tests/main.rs".to_owned(), String::new()).is_test());
        assert!(!Source::new("x/src/latests.rs".to_owned(), String::new()).is_test());
    }

    #[test]
    fn a_word_is_not_part_of_a_longer_one() {
        let source = Source::new("x.rs".to_owned(), "fn fnord(f: fn()) {} // fn".to_owned());
        assert_eq!(source.words("fn").collect::<Vec<_>>(), [0, 12]);
        assert_eq!(source.name_at(2), "fnord");
    }

    #[test]
    fn an_item_ends_with_its_brace_or_semicolon() {
        let code = "fn a(x: [u8; 4]) { if b { c } } fn d();";
        assert_eq!(&code[..end_of_item(code, 0)], "fn a(x: [u8; 4]) { if b { c } }");
        assert_eq!(&code[32..end_of_item(code, 32)], "fn d();");
    }
}
