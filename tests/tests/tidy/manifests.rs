//! Which room may know which, and where versions stand.

use serde_json::Value;

use super::Finding;

/// What each room may depend on among the rooms. The tests may know them all.
const ARROWS: [(&str, &[&str]); 8] = [
    ("stores", &[]),
    ("pipeline", &["stores"]),
    ("query-api", &["stores"]),
    ("alerts", &["pipeline"]),
    ("connectors", &["pipeline"]),
    ("millpond", &["stores", "pipeline", "query-api", "alerts", "connectors"]),
    ("topologies", &["millpond", "pipeline", "stores"]),
    ("bench", &["millpond", "pipeline"]),
];

/// The room that may know all others.
const TESTS: &str = "tests";

/// Tells the dependencies between rooms, from `cargo metadata`, that the plan does not have.
pub(super) fn forbidden_arrows(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().expect("cargo lists the packages") {
        let room = package["name"].as_str().expect("a package has a name");
        let manifest = format!("{room}/Cargo.toml");
        if room == TESTS {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            let message = format!(
                "`{room}` is no room of the plan: a new crate needs a decision record and its \
                 arrows in tests/tests/tidy/manifests.rs"
            );
            findings.push(Finding::new(&manifest, 1, message));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = dependency["name"].as_str().expect("a dependency has a name");
            // What lies in the repository has a path; what comes from elsewhere has none.
            if !dependency["path"].is_null() && !allowed.contains(&name) {
                let message = format!(
                    "`{room}` may not know `{name}`: see the rooms and arrows in docs/ARCHITECTURE.md"
                );
                findings.push(Finding::new(&manifest, 1, message));
            }
        }
    }
    findings
}

/// Tells the dependencies of a member that do not take version and features from the root.
pub(super) fn own_versions(path: &str, text: &str) -> Vec<Finding> {
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(e) => return vec![Finding::new(path, 1, format!("not a manifest: {e}"))],
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flatten().filter_map(|(_, target)| target.as_table());
    std::iter::once(&manifest)
        .chain(tables)
        .flat_map(|table| {
            ["dependencies", "dev-dependencies", "build-dependencies"].map(|k| table.get(k))
        })
        .flatten()
        .filter_map(toml::Value::as_table)
        .flatten()
        .filter(|(_, dependency)| !is_from_the_root(dependency))
        .map(|(name, _)| {
            let message = format!(
                "write `{name}.workspace = true`; its version and features stand in \
                 [workspace.dependencies], so that every native crate is built once"
            );
            Finding::new(path, line_of(text, name), message)
        })
        .collect()
}

fn is_from_the_root(dependency: &toml::Value) -> bool {
    dependency.as_table().is_some_and(|table| {
        table.get("workspace").and_then(toml::Value::as_bool) == Some(true)
            && table.keys().all(|key| key == "workspace" || key == "optional")
    })
}

fn line_of(text: &str, name: &str) -> usize {
    let is_entry = |line: &str| line.trim_start_matches('"').starts_with(name);
    text.lines().position(is_entry).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependency: &str) -> Value {
        json!({ "packages": [{ "name": name, "dependencies": [
            { "name": dependency, "path": format!("/{dependency}") },
            { "name": "serde" },
        ]}]})
    }

    #[test]
    fn an_arrow_that_the_plan_does_not_have_is_found() {
        assert!(forbidden_arrows(&package("pipeline", "stores")).is_empty());
        assert!(forbidden_arrows(&package("tests", "alerts")).is_empty());
        let found = forbidden_arrows(&package("stores", "pipeline"));
        assert!(found[0].to_string().contains("`stores` may not know `pipeline`"), "{}", found[0]);
        assert_eq!(forbidden_arrows(&package("query-api", "pipeline")).len(), 1);
    }

    #[test]
    fn a_crate_that_the_plan_does_not_have_is_found() {
        assert!(forbidden_arrows(&package("common", "stores"))[0].message.contains("no room"));
    }

    #[test]
    fn a_version_or_features_in_a_member_are_found() {
        let text = "[dependencies]\nserde.workspace = true\ntoml = \"1\"\n\
                    a = { workspace = true, features = [\"x\"] }\n\
                    [target.'cfg(unix)'.dev-dependencies]\nb = { version = \"2\" }\n";
        let lines: Vec<usize> =
            own_versions("x/Cargo.toml", text).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [4, 3, 6]);
        assert!(
            own_versions("x", "[dependencies]\na = { workspace = true, optional = true }")
                .is_empty()
        );
    }
}
