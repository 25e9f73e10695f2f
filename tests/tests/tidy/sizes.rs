//! How long a file and a function may be, and how wide a trait.

use super::Finding;
use super::source::{Source, end_of_item};

/// Lines of a source file, its tests apart.
const FILE_LINES_MAX: usize = 600;
/// Lines of a file of tests.
const TEST_FILE_LINES_MAX: usize = 1000;
/// Lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Methods of a trait.
const TRAIT_METHODS_MAX: usize = 12;

/// Tells a file that is too long to be read in one go.
pub(super) fn long_files(source: &Source) -> Option<Finding> {
    let (count, max) = match source.is_test() {
        true => (source.text.lines().count(), TEST_FILE_LINES_MAX),
        false => (lines_apart_from_tests(source), FILE_LINES_MAX),
    };
    let message =
        || format!("{count} lines, {max} at most: split the file where its subject splits");
    (count > max).then(|| Finding::new(&source.path, 1, message()))
}

fn lines_apart_from_tests(source: &Source) -> usize {
    let mut start = 0;
    source
        .text
        .split_inclusive('\n')
        .filter(|line| {
            let is_test = source.is_test_at(start);
            start += line.len();
            !is_test
        })
        .count()
}

/// Tells the functions that are too long. Tests are left to clippy.
pub(super) fn long_functions(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for start in source.words("fn") {
        let name = source.name_at(start + 2);
        // `fn(` is a type.
        if name.is_empty() || source.is_test_at(start) {
            continue;
        }
        let end = end_of_item(&source.code, start);
        let lines = source.code[start..end].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            let message = format!(
                "`{name}` has {lines} lines, {FUNCTION_LINES_MAX} at most: give its parts names"
            );
            findings.push(Finding::new(&source.path, source.line_of(start), message));
        }
    }
    findings
}

/// Tells the traits that ask too much of who implements them.
pub(super) fn wide_traits(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for start in source.words("trait") {
        let end = end_of_item(&source.code, start);
        let methods = source.words("fn").filter(|at| (start..end).contains(at));
        let methods = methods.filter(|at| depth(&source.code[start..*at]) == 1);
        // A type `fn(...)` among them has no name.
        let count = methods.filter(|at| !source.name_at(at + 2).is_empty()).count();
        if count > TRAIT_METHODS_MAX {
            let message = format!(
                "`{}` has {count} methods, {TRAIT_METHODS_MAX} at most: split it by who calls it",
                source.name_at(start + "trait".len())
            );
            findings.push(Finding::new(&source.path, source.line_of(start), message));
        }
    }
    findings
}

/// How many braces are open at the end of `code`.
fn depth(code: &str) -> usize {
    code.matches('{').count() - code.matches('}').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: impl Into<String>) -> Source {
        Source::new(path.to_owned(), text.into())
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let code = "//\n".repeat(FILE_LINES_MAX);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(300));
        assert_eq!(long_files(&source("a/src/b.rs", &*code)), None);
        assert_eq!(long_files(&source("a/src/b.rs", format!("{code}{tests}"))), None);
        let found = long_files(&source("a/src/b.rs", format!("{code}//\n{tests}"))).unwrap();
        assert!(found.to_string().starts_with("a/src/b.rs:1: 601 lines, 600 at most"), "{found}");
    }

    #[test]
    fn a_file_of_tests_may_be_longer_but_not_endless() {
        let text = |lines| "//\n".repeat(lines);
        assert_eq!(long_files(&source("a/src/b/tests.rs", text(TEST_FILE_LINES_MAX))), None);
        assert!(long_files(&source("a/src/b/tests.rs", text(TEST_FILE_LINES_MAX + 1))).is_some());
    }

    #[test]
    fn a_long_function_is_found_by_its_braces_alone() {
        let body = |lines| format!("\nfn long() {{\n{}}}\n", "    f(\"}\"); // }\n".repeat(lines));
        assert!(long_functions(&source("a.rs", body(FUNCTION_LINES_MAX - 2))).is_empty());
        let found = long_functions(&source("a.rs", body(FUNCTION_LINES_MAX - 1)));
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("a.rs:2: `long` has 71 lines"), "{}", found[0]);
    }

    #[test]
    fn a_type_of_function_is_no_function() {
        let text = format!("struct A {{ f: fn(u8) -> u8,\n{}}}\n", "// a\n".repeat(100));
        assert!(long_functions(&source("a.rs", text)).is_empty());
    }

    #[test]
    fn a_wide_trait_is_found_and_functions_inside_its_methods_do_not_count() {
        let of = |methods| {
            let method = "    fn a(&self) { fn inner(f: fn(u8)) {} }\n";
            format!("pub trait Wide {{\n{}}}\nfn b() {{}}\n", method.repeat(methods))
        };
        assert!(wide_traits(&source("a.rs", of(TRAIT_METHODS_MAX))).is_empty());
        let found = wide_traits(&source("a.rs", of(TRAIT_METHODS_MAX + 1)));
        assert!(found[0].to_string().starts_with("a.rs:1: `Wide` has 13 methods"), "{}", found[0]);
    }
}
