//! Configuration files: any text is a configuration, or an error that names a place.

use millpond::config::Config;

use super::Target;

#[test]
fn configuration_files() {
    let whole = include_bytes!("../../../docs/millpond.toml").to_vec();
    let small =
        b"memory_mib = 256\n[worker]\ncommit_interval_ms = 50\n[topics.a]\npartitions = 4\n";
    let read = &mut |input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Err(error) = Config::from_text("m.toml", text, std::iter::empty(), &[]) {
            let error = error.to_string();
            assert!(error.contains("m.toml"), "{error}");
            assert!(error.len() < 4_096 + 5 * text.len(), "{error}");
        }
    };
    let seeds = vec![whole, small.to_vec()];
    Target { name: "config", seeds, mutations: 1_500, allocated_max: 4 << 20, read }.run();
}
