//! What may not be called, which tests may not be switched off, and how a file opens.

use super::Finding;
use super::source::Source;

/// What is not left in code that ships, and what to do.
const FORBIDDEN_CALLS: [(&str, &str); 4] = [
    ("todo!", "finish it, or leave the feature out"),
    ("unimplemented!", "finish it, or leave the feature out"),
    ("dbg!", "log it with tracing, or take it out"),
    (".unwrap()", "return the error, or `expect` with the reason why it cannot fail"),
];

/// What hides a test's outcome, and what to do.
const FORBIDDEN_ATTRIBUTES: [(&str, &str); 2] = [
    ("#[ignore", "a test that does not run proves nothing: mend it or delete it"),
    ("#[should_panic", "assert on the error that is returned, or on what the panic would say"),
];

/// Tells calls that do not belong outside tests.
pub(super) fn forbidden_calls(source: &Source) -> Vec<Finding> {
    matches(source, &FORBIDDEN_CALLS, |index| !source.is_test_at(index))
}

/// Tells tests that are switched off or pass for any panic.
pub(super) fn forbidden_attributes(source: &Source) -> Vec<Finding> {
    matches(source, &FORBIDDEN_ATTRIBUTES, |_| true)
}

fn matches(
    source: &Source,
    forbidden: &[(&str, &str)],
    applies: impl Fn(usize) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (call, remedy) in forbidden {
        for (index, _) in source.code.match_indices(call).filter(|(index, _)| applies(*index)) {
            let message = format!("`{call}`: {remedy}");
            findings.push(Finding::new(&source.path, source.line_of(index), message));
        }
    }
    findings
}

/// The only place that may switch the lint against unsafe code off; decision record 0007.
const UNSAFE_PLACE: &str = "pipeline/src/log/kafka/mod.rs";

/// Tells exceptions from the lint against unsafe code, but for the one that there is.
pub(super) fn unsafe_exceptions(source: &Source) -> Vec<Finding> {
    if source.path == UNSAFE_PLACE {
        return Vec::new();
    }
    let why = "there is one place for unsafe code: `pipeline/src/log/kafka/ffi.rs`";
    matches(source, &[("(unsafe_code", why)], |_| true)
}

/// Tells a file that does not open by saying what it is.
pub(super) fn missing_module_doc(source: &Source) -> Option<Finding> {
    if source.text.starts_with("//! ") {
        return None;
    }
    let message = "open the file with `//!`: what this module is, and what it is not";
    Some(Finding::new(&source.path, 1, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("a.rs".to_owned(), text.to_owned())
    }

    #[test]
    fn forbidden_calls_are_found_outside_tests_alone() {
        let text = "fn a() {\n    b().unwrap();\n    todo!()\n}\n\
                    #[cfg(test)]\nmod tests { fn c() { d().unwrap() } }\n";
        let lines: Vec<usize> =
            forbidden_calls(&source(text)).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [3, 2]);
        assert!(forbidden_calls(&source("a.unwrap_or(1); // .unwrap()")).is_empty());
    }

    #[test]
    fn switched_off_tests_are_found_in_tests_too() {
        let text = "#[cfg(test)]\nmod tests {\n#[ignore = \"slow\"]\n#[should_panic]\nfn a() {} }";
        assert_eq!(forbidden_attributes(&source(text)).len(), 2);
        assert!(forbidden_attributes(&source("//! #[ignore]\n")).is_empty());
    }

    #[test]
    fn a_second_exception_for_unsafe_code_is_found() {
        let text = "#[allow(unsafe_code)]\nmod a;\n";
        assert_eq!(unsafe_exceptions(&source(text)).len(), 1);
        let one = Source::new(UNSAFE_PLACE.to_owned(), text.to_owned());
        assert!(unsafe_exceptions(&one).is_empty());
    }

    #[test]
    fn a_file_without_a_word_about_itself_is_found() {
        assert!(missing_module_doc(&source("use a;\n//! late\n")).is_some());
        assert!(missing_module_doc(&source("//!\n")).is_some());
        assert_eq!(missing_module_doc(&source("//! It is.\n")), None);
    }
}
