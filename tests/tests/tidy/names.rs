//! Names that say nothing about the thing.

use super::Finding;
use super::source::Source;

/// Words that a type's name may not have: each could stand for anything.
const VAGUE_WORDS: [&str; 8] =
    ["Manager", "Helper", "Helpers", "Util", "Utils", "Impl", "Internal", "Base"];

/// Modules and crates in which anything would find its place.
const CATCH_ALLS: [&str; 7] = ["common", "types", "util", "utils", "helper", "helpers", "misc"];

/// Tells the types with a vague word in their name.
pub(super) fn vague_types(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for keyword in ["struct", "enum", "trait", "union", "type"] {
        for start in source.words(keyword) {
            let name = source.name_at(start + keyword.len());
            if let Some(word) = words_of(name).into_iter().find(|word| VAGUE_WORDS.contains(word)) {
                let message = format!("`{word}` in `{name}` says nothing: name what it is or does");
                findings.push(Finding::new(&source.path, source.line_of(start), message));
            }
        }
    }
    findings
}

/// The words of a name in camel case.
fn words_of(name: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = name.match_indices(char::is_uppercase).map(|(i, _)| i).collect();
    starts.push(name.len());
    starts.windows(2).map(|pair| &name[pair[0]..pair[1]]).collect()
}

/// Tells the modules that would take anything in, where they are declared.
pub(super) fn catch_all_modules(source: &Source) -> Vec<Finding> {
    source
        .words("mod")
        .map(|start| (start, source.name_at(start + "mod".len())))
        .filter(|(_, name)| CATCH_ALLS.contains(name))
        .map(|(start, name)| Finding::new(&source.path, source.line_of(start), catch_all(name)))
        .collect()
}

/// Tells a folder or Rust file that would take anything in.
pub(super) fn catch_all_path(path: &str) -> Option<Finding> {
    let name = path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    let name = name.into_iter().find(|name| CATCH_ALLS.contains(name))?;
    Some(Finding::new(path, 1, catch_all(name)))
}

fn catch_all(name: &str) -> String {
    format!("`{name}` takes anything in: put each thing with what uses it, under its own name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("a.rs".to_owned(), text.to_owned())
    }

    #[test]
    fn vague_types_are_found() {
        let found = vague_types(&source("\nstruct TaskManager;\nenum Base {}\ntrait StoreImpl {}"));
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert!(found[0].message.contains("`Manager` in `TaskManager`"));
    }

    #[test]
    fn a_vague_word_inside_another_or_in_a_use_is_none() {
        let text = "struct Database; struct Implicit; use a::Manager; // struct Helper";
        assert!(vague_types(&source(text)).is_empty());
    }

    #[test]
    fn modules_for_anything_are_found() {
        assert_eq!(catch_all_modules(&source("mod a;\npub mod utils;"))[0].line, 2);
        assert!(catch_all_modules(&source("mod utilities_of_x;")).is_empty());
        assert!(catch_all_path("app/src/common/mod.rs").is_some());
        assert!(catch_all_path("app/src/types.rs").is_some());
        assert!(catch_all_path("app/src/prototypes.rs").is_none());
    }
}
