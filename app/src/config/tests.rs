//! What a wrong configuration is answered with, word for word, and what overrides what.

use serde::{Deserialize, Serialize};

use super::*;

/// Loads `text` with the variables `env`, and the topology `fraud-watch`.
fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millpond.toml");
    std::fs::write(&path, text).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let defaults = toml::Table::try_from(FraudSettings::default()).unwrap();
    let known = [TopologyDefaults { name: "fraud-watch".to_owned(), defaults }];
    Config::load(Some(&path), env, &known)
        .map_err(|error| error.to_string().replace(path.to_str().unwrap(), "millpond.toml"))
}

fn error(text: &str) -> String {
    load(text, &[]).unwrap_err()
}

fn variable_error(name: &str, value: &str) -> String {
    load("", &[(name, value)]).unwrap_err()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FraudSettings {
    window_ms: u64,
    threshold: f64,
    topic: String,
    limits: Limits,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Limits {
    countries: u32,
}

impl Default for FraudSettings {
    fn default() -> Self {
        let limits = Limits { countries: 2 };
        Self { window_ms: 60_000, threshold: 1.5, topic: "payments".to_owned(), limits }
    }
}

#[test]
fn an_empty_file_and_no_file_mean_the_defaults() {
    let none = Config::load(None, std::iter::empty(), &[]).unwrap();
    assert_eq!(none.log, Log::default());
    assert_eq!(load("", &[]).unwrap().http, Http::default());
    assert_eq!(none.memory_bytes(), 256 << 20);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("no/such.toml")), std::iter::empty(), &[]);
    assert_eq!(error.unwrap_err().to_string(), "cannot read the configuration `no/such.toml`");
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_name() {
    assert_eq!(
        error("[log]\n  retension_ms = 5\n"),
        "millpond.toml:2:3: `log`: unknown key `retension_ms`\n\
         2 |   retension_ms = 5\n  \
         |   ^^^^^^^^^^^^\n\
         help: did you mean `retention_ms`?"
    );
}

#[test]
fn an_unknown_section_is_shown_with_the_nearest_name() {
    assert_eq!(
        error("threads = 2\n[wroker]\n"),
        "millpond.toml:2:2: unknown key `wroker`\n\
         2 | [wroker]\n  \
         |  ^^^^^^\n\
         help: did you mean `worker`?"
    );
}

#[test]
fn the_first_unknown_key_of_the_file_is_told_first() {
    let error = error("[http]\nzeta = 1\nalpha = 1\n");
    assert!(error.starts_with("millpond.toml:2:1: `http`: unknown key `zeta`"), "{error}");
}

#[test]
fn a_wrong_type_is_shown_at_the_value() {
    assert_eq!(
        error("[log]\npartitions = \"four\"\n"),
        "millpond.toml:2:14: `log.partitions`: expected a whole number of 0 or more, found \
         string \"four\"\n\
         2 | partitions = \"four\"\n  \
         |              ^^^^^^"
    );
}

#[test]
fn a_number_out_of_range_is_shown_with_the_range() {
    assert_eq!(
        error("[log]\npartitions = 0\n"),
        "millpond.toml:2:14: `log.partitions`: 0 is out of range: it must be 1 to 1024\n\
         2 | partitions = 0\n  \
         |              ^"
    );
    assert!(error("[log]\npartitions = -1\n").contains("expected a whole number of 0 or more"));
    assert!(error("memory_mib = 99999999999999999999\n").contains("out of range"));
    assert!(error("[log]\nretention_ms = 0\n").contains("must be 1 or more, or -1 for unbounded"));
}

#[test]
fn a_wrong_word_is_shown_with_the_words_that_exist() {
    assert_eq!(
        error("[log]\ncommit_durability = \"synk\"\n"),
        "millpond.toml:2:21: `log.commit_durability`: unknown value `synk`: it is one of \"os\", \
         \"sync\"\n\
         2 | commit_durability = \"synk\"\n  \
         |                     ^^^^^^\n\
         help: did you mean `sync`?"
    );
    assert!(error("[log]\ncommit_durability = 1\n").contains("expected one of \"os\", \"sync\""));
}

#[test]
fn text_that_is_not_toml_is_shown_where_it_ends_to_be() {
    let error = error("[log]\npartitions = = 4\n");
    assert!(error.starts_with("millpond.toml:2:"), "{error}");
    assert!(error.contains("not valid TOML") && error.contains('^'), "{error}");
}

#[test]
fn settings_of_items_of_a_list_are_named_by_number() {
    let error = error("[[sources.file]]\npath = 'a'\ntopic = 'a'\n[[sources.file]]\npath = 'b'\n");
    assert!(error.starts_with("millpond.toml:4:"), "{error}");
    assert!(error.contains("`sources.file.1`: `topic` must be set"), "{error}");
}

#[test]
fn values_of_their_own_types_are_read_and_refused() {
    let config = load(
        "[worker]\nidle_timeout_ms = 'never'\n[log]\nretention_bytes = -1\n\
         [[sources.syslog]]\nlisten = 'tcp://[::1]:5514'\ntopic = 'a'\nzone = 'Europe/Paris'\n\
         [[sources.file]]\npath = 'a'\ntopic = 'a'\nyear = 2005",
        &[],
    )
    .unwrap();
    assert_eq!(config.worker.idle_timeout_ms, IdleTimeout::Never);
    assert_eq!(config.log.retention_bytes.bound(), None);
    let syslog = &config.sources.syslog[0];
    assert_eq!(syslog.listen, SyslogListen::Tcp("[::1]:5514".parse().unwrap()));
    assert_eq!(syslog.zone.0.name(), "Europe/Paris");
    assert_eq!(config.sources.file[0].year, Year::Is(2005));
    assert!(error("[worker]\nidle_timeout_ms = 'newer'").contains("or \"never\""));
    let source = "[[sources.syslog]]\ntopic = 'a'\nlisten = ";
    assert!(error(&format!("{source}'127.0.0.1:5514'")).contains("is not a syslog socket"));
    assert!(error(&format!("{source}'udp://0.0.0.0:514'")).contains("other machines"));
    let zone = format!("{source}'udp://127.0.0.1:514'\nzone = 'Europe/Pari'");
    assert!(error(&zone).contains("did you mean `Europe/Paris`?"));
}

#[test]
fn a_listener_beyond_loopback_must_be_asked_for() {
    let refused = error("[http]\nlisten = '0.0.0.0:8080'\n");
    assert!(
        refused.starts_with("millpond.toml:2:10: `http.listen`: this address can"),
        "{refused}"
    );
    assert!(load("[http]\nlisten = '0.0.0.0:8080'\ninsecure = true\n", &[]).is_ok());
    assert!(error("[http]\nlisten = 'localhost'\n").contains("`localhost` is not an IP address"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert!(
        error("[log]\nrecord_bytes_max = 4194304\nappender_queue_max_bytes = 1048576\n")
            .contains("is less than record_bytes_max")
    );
    assert!(
        error("[topics.'a/b']\n").contains("millpond.toml:1:9: `topics.a/b`: not a topic name")
    );
    assert!(error("[topics.a]\nkey_field = 'b..c'\n").contains("not a path to a field"));
    assert!(error("log_level = 'pipeline=loud'").contains("not a level"));
}

#[test]
fn standbys_are_refused_where_nobody_could_tell_what_they_inherit() {
    let worker = "[worker]\nnum_standby_replicas = 1\n";
    let refused = error(worker);
    assert!(refused.contains("worker.num_standby_replicas"), "{refused}");
    assert!(refused.contains("the embedded log is one process's"), "{refused}");
    let kafka = format!("{worker}[log]\nkind = 'kafka'\n[kafka]\nbootstrap.servers = 'a:1'\n");
    assert_eq!(load(&kafka, &[]).unwrap().worker.num_standby_replicas, 1);
    for other in ["group.protocol = 'consumer'", "partition.assignment.strategy = 'roundrobin'"] {
        let refused = error(&format!("{kafka}{other}\n"));
        assert!(refused.contains("with `range`"), "{refused}");
    }
    let too_many = error("[worker]\nnum_standby_replicas = 3\n");
    assert!(too_many.contains("it must be 0 to 2"), "{too_many}");
}

#[test]
fn variables_override_the_file_and_take_the_type_of_the_setting() {
    let env = [
        ("MILLPOND_LOG__COMMIT_DURABILITY", "sync"),
        ("MILLPOND_LOG__PARTITIONS", "12"),
        ("MILLPOND_HTTP__INSECURE", "true"),
        ("MILLPOND_DATA_DIR", "7"),
        ("MILLPOND_WORKER__IDLE_TIMEOUT_MS", "never"),
        ("MILLPOND_LOG__COMPACTION_DIRTY_RATIO", "1"),
        ("MILLPOND_TOPICS__A_B__KEY_FIELD", "x"),
        ("MILLPOND_SOURCES__FILE__0__TOPIC", "z"),
        ("PATH", "/bin"),
        ("MILLPOND_CACHE", "not a setting"),
    ];
    let text = "data_dir = 'x'\nlog.partitions = 3\ntopics.a-b = {}\n\
                [[sources.file]]\npath = 'p'\ntopic = 't'";
    let config = load(text, &env).unwrap();
    assert_eq!(config.log.commit_durability, CommitDurability::Sync);
    assert_eq!((config.log.partitions, config.http.insecure), (12, true));
    assert_eq!(config.data_dir, Path::new("7"));
    assert_eq!(config.worker.idle_timeout_ms, IdleTimeout::Never);
    assert_eq!(config.topics["a-b"].key_field.as_deref(), Some("x"));
    assert_eq!(config.sources.file[0].topic, "z");
}

#[test]
fn a_wrong_variable_is_named_with_the_one_that_was_meant() {
    assert_eq!(
        variable_error("MILLPOND_LOG__COMMIT_DURABILTY", "sync"),
        "MILLPOND_LOG__COMMIT_DURABILTY: `log`: unknown key `commit_durabilty`\n\
         help: did you mean `MILLPOND_LOG__COMMIT_DURABILITY`?"
    );
    assert_eq!(
        variable_error("MILLPOND_MEMORY_MB", "1"),
        "MILLPOND_MEMORY_MB: unknown key `memory_mb`\nhelp: did you mean `MILLPOND_MEMORY_MIB`?"
    );
    assert_eq!(
        variable_error("MILLPOND_LOG", "debug"),
        "MILLPOND_LOG: unknown key `log`\nhelp: did you mean `MILLPOND_LOG_LEVEL`?"
    );
    assert_eq!(
        variable_error("MILLPOND_LOGS__PARTITIONS", "1"),
        "MILLPOND_LOGS__PARTITIONS: unknown key `logs`\nhelp: did you mean \
         `MILLPOND_LOG__PARTITIONS`?"
    );
    assert_eq!(
        variable_error("MILLPOND_LOG__PARTITIONS", "many"),
        "MILLPOND_LOG__PARTITIONS: `log.partitions`: expected a whole number of 0 or more, found \
         string \"many\""
    );
    assert_eq!(
        variable_error("MILLPOND_LOG__COMMIT_DURABILITY", "synk"),
        "MILLPOND_LOG__COMMIT_DURABILITY: `log.commit_durability`: unknown value `synk`: it is one \
         of \"os\", \"sync\"\nhelp: did you mean `MILLPOND_LOG__COMMIT_DURABILITY=sync`?"
    );
    assert!(variable_error("MILLPOND_ENDPOINTS__OPS__SECRET", "x").contains("ENDPOINTS"));
    assert!(variable_error("MILLPOND_TOPICS__A_B__KEY_FIELD", "x").contains("not add to it"));
    assert!(variable_error("MILLPOND_DATA_DIR__X", "x").contains("MILLPOND_DATA_DIR__X"));
    assert!(variable_error("MILLPOND___X", "x").contains("expected MILLPOND_<SECTION>__<KEY>"));
}

const ENDPOINT: &str = "[[endpoints]]\nname = 'ops-team'\nurl = 'https://example.com/'\n";

#[test]
fn a_secret_comes_from_the_file_a_variable_or_a_file_of_its_own() {
    let of = |config: Config| config.endpoints[0].secret.as_ref().unwrap().expose().to_owned();
    assert_eq!(of(load(&format!("{ENDPOINT}secret = 'one'"), &[]).unwrap()), "one");
    let env = [("MILLPOND_ENDPOINTS__OPS_TEAM__SECRET", "12")];
    assert_eq!(of(load(ENDPOINT, &env).unwrap()), "12");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "three\n").unwrap();
    let text = format!("{ENDPOINT}secret_file = '{}'", path.display());
    assert_eq!(of(load(&text, &[]).unwrap()), "three");
    assert!(error(&format!("{text}\nsecret = 'x'")).contains("keep one of them"));
    assert!(error(ENDPOINT).contains("the variable MILLPOND_ENDPOINTS__OPS_TEAM__SECRET"));
    let missing = error(&format!("{ENDPOINT}secret_file = 'no/such'"));
    assert!(missing.starts_with("millpond.toml:4:15: `endpoints.0.secret_file`: cannot read"));
}

#[test]
fn a_secret_is_shown_nowhere() {
    let config = load(&format!("{ENDPOINT}secret = 'hush'"), &[]).unwrap();
    let toml = toml::to_string(&config).unwrap();
    assert!(toml.contains("secret = \"***\""), "{toml}");
    let wrong = error(&format!("{ENDPOINT}secrets = 'hush'"));
    let wrong_type = error(&format!("{ENDPOINT}secret = ['hush']"));
    let unclosed = error(&format!("{ENDPOINT}secret = 'hush"));
    let inline = error("endpoints = [{ name = 'a', url = 'b', sekret = 1, secret = 'hush' }]");
    for shown in [format!("{config:?}"), toml, wrong, wrong_type, unclosed, inline] {
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let text = format!("{ENDPOINT}secret = 'a'\n[topologies.fraud-watch]\nwindow_ms = 5\n");
    let first = toml::to_string(&load(&text, &[]).unwrap()).unwrap();
    assert_eq!(toml::to_string(&load(&first, &[]).unwrap()).unwrap(), first);
}

#[test]
fn a_topology_has_its_own_settings_and_refuses_others() {
    let config =
        load("[topologies.fraud-watch]\nthreshold = 2\nlimits.countries = 3\n", &[]).unwrap();
    let topology = &config.topologies["fraud-watch"];
    assert!(topology.enabled);
    assert_eq!(topology.settings["window_ms"].as_integer(), Some(60_000));
    let settings: FraudSettings = config.settings("fraud-watch").unwrap();
    let limits = Limits { countries: 3 };
    assert_eq!(settings, FraudSettings { threshold: 2.0, limits, ..FraudSettings::default() });
    assert!(
        !load("topologies.fraud-watch.enabled = false", &[]).unwrap().topologies["fraud-watch"]
            .enabled
    );
    let unknown = error("[topologies.fraud-watch]\nwindow_sm = 5\n");
    assert!(unknown.starts_with("millpond.toml:2:1: `topologies.fraud-watch`: unknown key"));
    assert!(unknown.ends_with("help: did you mean `window_ms`?"), "{unknown}");
    let stranger = error("[topologies.fraud_watch]\n");
    assert!(stranger.contains("1:13: `topologies`: unknown topology `fraud_watch`"), "{stranger}");
    assert!(stranger.ends_with("help: did you mean `fraud-watch`?"), "{stranger}");
    let wrong_type = error("[topologies.fraud-watch]\nwindow_ms = 'long'\n");
    assert!(
        wrong_type.contains("2:13: `topologies.fraud-watch.window_ms`: expected a whole number")
    );
}

#[test]
fn variables_reach_the_settings_of_a_topology() {
    let env = [
        ("MILLPOND_TOPOLOGIES__FRAUD_WATCH__WINDOW_MS", "7"),
        ("MILLPOND_TOPOLOGIES__FRAUD_WATCH__TOPIC", "8"),
        ("MILLPOND_TOPOLOGIES__FRAUD_WATCH__LIMITS__COUNTRIES", "9"),
        ("MILLPOND_TOPOLOGIES__FRAUD_WATCH__ENABLED", "false"),
    ];
    let config = load("", &env).unwrap();
    assert!(!config.topologies["fraud-watch"].enabled);
    let settings: FraudSettings = config.settings("fraud-watch").unwrap();
    let limits = Limits { countries: 9 };
    let expected = FraudSettings { window_ms: 7, topic: "8".to_owned(), limits, threshold: 1.5 };
    assert_eq!(settings, expected);
    let stranger = variable_error("MILLPOND_TOPOLOGIES__FRAUD__WINDOW_MS", "7");
    assert!(stranger.contains("unknown topology `fraud`"), "{stranger}");
}

#[test]
fn a_topology_may_refuse_what_its_defaults_let_pass() {
    let config = load("[topologies.fraud-watch]\nlimits.countries = -3\n", &[]).unwrap();
    let error = config.settings::<FraudSettings>("fraud-watch").unwrap_err().to_string();
    assert!(
        error.contains(":2:20: `topologies.fraud-watch.limits.countries`: expected"),
        "{error}"
    );
}
