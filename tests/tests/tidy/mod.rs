//! The house rules that a machine can check, as tests over the files of the repository.
//!
//! Each check is a function from a file's path and text to what is wrong with it, and has tests of
//! its own that show it fails. What rustc, clippy and rustfmt can check is left to them.

mod calls;
mod dsl;
mod links;
mod manifests;
mod names;
mod places;
mod sizes;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::source::Source;

/// A rule that a line breaks.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a folder of the repository").to_owned()
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|e| panic!("cannot run `{program}`: {e}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {}`: {complaint}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("the names of our files are UTF-8")
}

/// Path and text of every text file that is, or is about to be, part of the repository.
fn files() -> Vec<(String, String)> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = output_of("git", &list);
    let files: Vec<_> = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        // A file that is deleted but not yet committed is still listed; a picture is no text.
        .filter_map(|path| {
            Some((path.to_owned(), std::fs::read_to_string(root().join(path)).ok()?))
        })
        .collect();
    assert!(files.iter().any(|(path, _)| path == "Cargo.toml"), "the list of files is not ours");
    files
}

fn sources() -> Vec<Source> {
    files()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| Source::new(path, text))
        .collect()
}

fn assert_tidy(findings: impl IntoIterator<Item = Finding>) {
    let mut lines: Vec<String> = findings.into_iter().map(|f| f.to_string()).collect();
    lines.sort();
    assert!(lines.is_empty(), "{} to mend:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn files_functions_and_traits_are_small() {
    let sources = sources();
    assert_tidy(sources.iter().flat_map(sizes::long_files));
    assert_tidy(sources.iter().flat_map(sizes::long_functions));
    assert_tidy(sources.iter().flat_map(sizes::wide_traits));
}

#[test]
fn names_say_what_things_are() {
    let sources = sources();
    assert_tidy(sources.iter().flat_map(names::vague_types));
    assert_tidy(sources.iter().flat_map(names::catch_all_modules));
    assert_tidy(files().iter().filter_map(|(path, _)| names::catch_all_path(path)));
}

#[test]
fn nothing_is_left_undone_and_no_test_is_switched_off() {
    let sources = sources();
    assert_tidy(sources.iter().flat_map(calls::forbidden_calls));
    assert_tidy(sources.iter().flat_map(calls::forbidden_attributes));
}

#[test]
fn unsafe_code_has_one_place() {
    assert_tidy(sources().iter().flat_map(calls::unsafe_exceptions));
}

#[test]
fn every_module_says_what_it_is() {
    assert_tidy(sources().iter().filter_map(calls::missing_module_doc));
}

#[test]
fn rooms_know_only_the_rooms_they_may() {
    let metadata =
        output_of(env!("CARGO"), &["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata = serde_json::from_str(&metadata).unwrap();
    assert_tidy(manifests::forbidden_arrows(&metadata));
}

#[test]
fn versions_stand_in_the_root_manifest_alone() {
    let files = files();
    let members = files.iter().filter(|(path, _)| path.ends_with("/Cargo.toml"));
    assert_tidy(members.flat_map(|(path, text)| manifests::own_versions(path, text)));
}

#[test]
fn the_dsl_is_shown_and_stands_in_its_table() {
    let files = files();
    let page = files.iter().find(|(path, _)| path == "docs/dsl.md");
    let (_, page) = page.expect("the DSL has a page");
    let methods = files.iter().filter(|(path, _)| dsl::is_dsl(path));
    assert_tidy(methods.clone().flat_map(|(path, text)| dsl::without_example(path, text)));
    assert_tidy(methods.flat_map(|(path, text)| dsl::without_row(path, text, page)));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let files = files();
    let documents = files.iter().filter(|(path, _)| path.ends_with(".md"));
    let exists = |path: &Path| root().join(path).exists();
    assert_tidy(documents.flat_map(|(path, text)| links::dead_links(path, text, &exists)));
}

#[test]
fn no_file_depends_on_the_machine_it_was_written_on() {
    let files = files();
    assert_tidy(files.iter().flat_map(|(path, text)| places::machine_paths(path, text)));
    assert_tidy(files.iter().flat_map(|(path, text)| places::registries(path, text)));
}
