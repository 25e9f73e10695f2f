//! Links from one document to another file of the repository.

use std::path::{Component, Path, PathBuf};

use super::Finding;

/// Tells the relative links of a Markdown document behind which there is nothing.
pub(super) fn dead_links(path: &str, text: &str, exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(&without_code(line)) {
            let inside = normal(&folder.join(target.split(['#', '?']).next().unwrap_or_default()));
            if !inside.is_some_and(|file| exists(&file)) {
                let message = format!("`{target}` leads nowhere: mend the link or add the file");
                findings.push(Finding::new(path, index + 1, message));
            }
        }
    }
    findings
}

/// The line without `code`.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// What a line links to within the repository: `[text](target)` and `[name]: target`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let named = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .and_then(|(_, target)| target.split_whitespace().next());
    inline
        .chain(named)
        .filter(|target| !target.is_empty() && !target.starts_with('#'))
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// The path without `.` and `..`; none if it leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::Normal(part) => normal.push(part),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let exists = |path: &Path| path == Path::new("docs/a.md") || path == Path::new("README.md");
        dead_links("docs/b.md", text, &exists).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn dead_links_are_found() {
        assert_eq!(lines("x\n[a](c.md)\n[b]: ../no.md\n"), [2, 3]);
        assert_eq!(lines("[a](../../outside.md) [b](/absolute.md)"), [1, 1]);
    }

    #[test]
    fn living_links_and_what_is_no_link_are_left_alone() {
        assert!(lines("[a](a.md#part) [b](../README.md \"title\") [c](#here)").is_empty());
        assert!(lines("[a](https://example.com/x) <mailto:a@b>").is_empty());
        assert!(lines("```\n[a](no.md)\n```\n`[a](no.md)`").is_empty());
    }
}
