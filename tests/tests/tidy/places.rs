//! Traces of the machine that a file was written on.

use super::Finding;

/// Where the patterns are put together from pieces, this file does not match itself.
fn machine_roots() -> [String; 2] {
    ["work", "root"].map(|folder| format!("/{folder}/"))
}

fn homes() -> String {
    ["", "home", ""].join("/")
}

/// Ways to name a package registry or a mirror of one.
fn registry_marks() -> [String; 7] {
    [
        ["index", "crates.io"].join("."),
        ["static", "crates.io"].join("."),
        ["replace", "with"].join("-"),
        ["index", "url"].join("-"),
        ["arti", "factory"].concat(),
        ["jfr", "og"].concat(),
        ["registry", "npmjs"].join("."),
    ]
}

/// The only source of packages that a lock file may name.
fn crates_io() -> String {
    ["registry+https://github.com/rust-lang/crates.io", "index"].join("-")
}

/// Tells absolute paths that exist on one machine only.
pub(super) fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let roots = machine_roots();
    let found = |line: &str| {
        roots.iter().any(|root| path_starts(line, root).next().is_some())
            || path_starts(line, &homes()).any(names_somebody)
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| found(line))
        .map(|(index, _)| {
            let message =
                "a path of one machine: take it from an argument, a variable or a setting";
            Finding::new(path, index + 1, message)
        })
        .collect()
}

/// What follows each `root` in `line` that begins a path.
fn path_starts<'l>(line: &'l str, root: &str) -> impl Iterator<Item = &'l str> {
    line.match_indices(root).filter_map(|(index, root)| {
        let goes_on = |c: char| c.is_alphanumeric() || "._-~/}*".contains(c);
        let is_start = !line[..index].chars().next_back().is_some_and(goes_on);
        is_start.then(|| &line[index + root.len()..])
    })
}

fn names_somebody(rest: &str) -> bool {
    rest.split_once('/').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "._-".contains(c))
    })
}

/// Tells package registries and mirrors: which one is used is the business of each machine.
pub(super) fn registries(path: &str, text: &str) -> Vec<Finding> {
    let (marks, crates_io) = (registry_marks(), crates_io());
    let is_lock = path == "Cargo.lock";
    let found = |line: &str| match is_lock {
        true => line.starts_with("source = ") && !line.contains(&crates_io),
        false => marks.iter().any(|mark| line.contains(mark.as_str())),
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| found(line))
        .map(|(index, _)| {
            let message = "names a package registry: leave that to each machine's configuration";
            Finding::new(path, index + 1, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_found(line: &str) -> bool {
        !machine_paths("a.md", line).is_empty()
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        for root in machine_roots() {
            assert!(is_found(&format!("x = \"{root}main\"")), "{root}");
        }
        assert!(is_found(&format!("see {}jo/x", homes())));
        assert_eq!(machine_paths("a", &format!("\n({}x)", machine_roots()[0]))[0].line, 2);
    }

    #[test]
    fn other_paths_are_left_alone() {
        for root in machine_roots() {
            assert!(!is_found(&format!("https://example.com{root}x")), "{root}");
            assert!(!is_found(&format!("target{root}x")), "{root}");
        }
        assert!(!is_found("/var/log/auth.log"));
        assert!(!is_found(&format!("{}<name>/x", homes())));
    }

    #[test]
    fn registries_are_found() {
        for mark in registry_marks() {
            assert_eq!(registries("a.toml", &format!("a\nb {mark} c\n"))[0].line, 2, "{mark}");
        }
        let lock = |source: &str| registries("Cargo.lock", &format!("source = \"{source}\"\n"));
        assert!(lock(&crates_io()).is_empty());
        assert_eq!(lock("registry+https://mirror.example.com/index").len(), 1);
    }
}
