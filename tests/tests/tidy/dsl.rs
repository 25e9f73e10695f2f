//! The DSL's public methods: each has a runnable example, and a row in the table of `docs/dsl.md`.

use super::Finding;

/// Where the methods are.
const ROOMS: [&str; 3] =
    ["pipeline/src/dsl/", "pipeline/src/operators/", "pipeline/src/processor.rs"];

/// What the table is about, and not what stands in it.
const NOT_IN_THE_TABLE: [&str; 3] = ["TopologyBuilder::new", "TopologyBuilder::build", "Self::id"];

/// Before the place of an example.
const ELSEWHERE: &str = "example at [`";

/// A public method, and what is said of it and of its type.
#[derive(Debug, PartialEq, Eq)]
struct Method {
    line: usize,
    of: String,
    name: String,
    docs: String,
}

pub(super) fn is_dsl(path: &str) -> bool {
    ROOMS.iter().any(|room| path.starts_with(room)) && !path.contains("/tests")
}

/// The methods without an example in their documentation, nor in that of their type with their
/// name in it, nor the place of one in either.
pub(super) fn without_example(path: &str, text: &str) -> Vec<Finding> {
    let types = types(text);
    let shown = |method: &Method| {
        let call = format!("{}(", method.name);
        let of_type = types.iter().find(|(name, _)| *name == method.of);
        method.docs.contains("```")
            || method.docs.contains(ELSEWHERE)
            || of_type.is_some_and(|(_, docs)| docs.contains(ELSEWHERE))
            || of_type.is_some_and(|(_, docs)| docs.contains("```") && docs.contains(&call))
    };
    let missing = methods(text).into_iter().filter(|method| !shown(method));
    let finding = |method: Method| {
        let message = format!("`{}::{}` has no runnable example", method.of, method.name);
        Finding::new(path, method.line, message)
    };
    missing.map(finding).collect()
}

/// The methods that no row of a table in `page` begins with.
pub(super) fn without_row(path: &str, text: &str, page: &str) -> Vec<Finding> {
    let rows: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let is_named = |method: &Method| {
        let exempt = NOT_IN_THE_TABLE.map(|name| name.replace("Self", &method.of));
        exempt.contains(&format!("{}::{}", method.of, method.name))
            || rows.iter().any(|row| names(row).any(|name| name == method.name))
    };
    let missing = methods(text).into_iter().filter(|method| !is_named(method));
    let finding = |method: Method| {
        let message = format!("`{}::{}` has no row in docs/dsl.md", method.of, method.name);
        Finding::new(path, method.line, message)
    };
    missing.map(finding).collect()
}

/// The methods that the first cell of a row names: what stands in backquotes, without the type
/// before it and the arguments after it.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).map(|code| {
        let call = code.split('(').next().unwrap_or(code);
        call.rsplit("::").next().unwrap_or(call)
    })
}

/// The lines of `text` that are not its tests, each with the documentation before it.
fn documented(text: &str) -> Vec<(usize, &str, String)> {
    let (mut lines, mut docs) = (Vec::new(), String::new());
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if line == "#[cfg(test)]" {
            break;
        }
        if let Some(doc) = code.strip_prefix("///") {
            docs.push_str(doc);
            docs.push('\n');
        } else if !code.starts_with("#[") {
            lines.push((number + 1, line, std::mem::take(&mut docs)));
        }
    }
    lines
}

/// The public types of `text` and their documentation.
fn types(text: &str) -> Vec<(String, String)> {
    let name = |line: &str| {
        let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))?;
        Some(word(rest))
    };
    documented(text).into_iter().filter_map(|(_, line, docs)| Some((name(line)?, docs))).collect()
}

fn methods(text: &str) -> Vec<Method> {
    let (mut methods, mut of) = (Vec::new(), String::new());
    for (line, code, docs) in documented(text) {
        if let Some(implemented) = code.strip_prefix("impl") {
            of = word(after_generics(implemented).trim_start());
        } else if let Some(rest) = code.strip_prefix("    pub fn ") {
            methods.push(Method { line, of: of.clone(), name: word(rest), docs });
        }
    }
    methods
}

/// What follows the parameters of a type, if it has any.
fn after_generics(text: &str) -> &str {
    let mut open = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => open += 1,
            '>' if !text[..at].ends_with('-') => open -= 1,
            _ => {}
        }
        if open == 0 {
            return text[at..].trim_start_matches('>');
        }
    }
    text
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
/// A thing.
///
/// ```
/// Thing::made();
/// ```
pub struct Thing<K> {}

impl<K: Key<'a>, F: Fn(K) -> V> Thing<K> {
    /// Makes one.
    pub fn made() -> Self {}

    /// Shows it.
    #[must_use]
    pub fn shown(&self) {}

    /// Says it.
    ///
    /// ```
    /// thing.said();
    /// ```
    pub fn said(&self) {}
}
";

    #[test]
    fn a_method_without_example_is_found() {
        let found = without_example("a.rs", TEXT);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["a.rs:14: `Thing::shown` has no runnable example"]);
    }

    #[test]
    fn a_method_without_row_is_found() {
        let page = "| `Thing::made`, `shown(how)` | `x` | said |\n";
        let found = without_row("a.rs", TEXT, page);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["a.rs:21: `Thing::said` has no row in docs/dsl.md"]);
    }
}
