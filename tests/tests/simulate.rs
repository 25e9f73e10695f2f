//! `millpond simulate` with the topologies of a binary, as the documents show it. What a simulation
//! does and finds is tested where it lies.

use std::process::Output;

use serde_json::json;

use crate::demo::millpond;

fn simulate(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<&str> = ["simulate"].iter().chain(arguments).copied().collect();
    millpond(folder.path(), &arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// On the demo's traffic; some of these seeds keep indexes.
#[test]
fn the_topologies_of_the_binary_hold() {
    for topology in ["fraud", "logins", "orders"] {
        let output = simulate(&["--topology", topology, "--seeds", "20"]);
        let said = text(&output.stdout);
        println!("{topology}: {}", said.lines().last().unwrap_or_default());
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        assert!(said.contains("20 seeds (0 to 19)") && said.contains(": 0 violations"), "{said}");
    }
}

#[test]
fn records_of_a_file_are_simulated_and_strays_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.jsonl");
    let payment = |n: i64| {
        let ts = 1_600_000_000_000_i64 + 1_000 * n;
        let country = ["CZ", "NL", "US"][usize::try_from(n % 3).unwrap()];
        let amount_cents = 60_000 + n;
        let value = json!({ "event_id": format!("p{n}"), "amount_cents": amount_cents, "country": country, "ts": ts });
        json!({ "topic": "payments", "key": "c1", "value": value, "timestamp_ms": ts })
    };
    let lines: Vec<String> = (0..40).map(|n| payment(n).to_string()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let path = file.to_str().unwrap();
    let output = simulate(&["--topology", "fraud", "--records", path, "--seed", "7"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("40 records"), "{}", text(&output.stdout));
    let stray = lines[0].replace("payments", "elsewhere");
    std::fs::write(&file, stray).unwrap();
    let output = simulate(&["--topology", "fraud", "--records", path]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("a record for `elsewhere`, which `fraud` does not read"), "{said}");
}
