//! Brokers that want to know who comes: TLS with an authority of the test's own, SCRAM, PLAIN,
//! OAUTHBEARER, and certificates of clients.
//!
//! Everything is asked of clients through their settings, under Kafka's names, as `[kafka]` has them.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::{Clock as _, SystemClock};
use pipeline::log::kafka::{KafkaLog, KafkaSettings};
use pipeline::log::{Log, LogError};

use super::authority::{Authority, Identity};
use super::broker::CLUSTER;
use super::node::{Node, NodeSettings, free_ports};
use crate::demo::binary;
use crate::log_contract::assert_one_check;

const USER: &str = "ann";
const PASSWORD: &str = "correct-horse-7";
const WRONG: &str = "battery-staple-3";
/// A refusal comes at once, not when a request has timed out (30 s).
const AT_ONCE: Duration = Duration::from_secs(20);

/// A broker with one door for passwords and one for certificates.
struct Guarded {
    authority: Authority,
    client: Identity,
    passwords: String,
    certificates: String,
    _node: Node,
}

impl Guarded {
    fn start() -> Self {
        let authority = Authority::new();
        let broker = authority.sign("broker");
        let [port, controller, passwords, certificates] = free_ports();
        let node = NodeSettings {
            id: 1,
            port,
            controller: (1, controller),
            extra: properties(&authority, &broker, [port, controller, passwords, certificates]),
            format: scram_users(),
            kept: None,
        };
        Self {
            client: authority.sign(USER),
            authority,
            passwords: format!("127.0.0.1:{passwords}"),
            certificates: format!("127.0.0.1:{certificates}"),
            _node: Node::new(node, CLUSTER).unwrap(),
        }
    }

    /// Settings of a client that trusts `authority` and comes with a password.
    fn with_password(
        &self,
        authority: &Authority,
        mechanism: &str,
        password: &str,
    ) -> KafkaSettings {
        let authority = authority.certificate();
        let more = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", path(&authority)),
            ("sasl.mechanism", mechanism),
            ("sasl.username", USER),
            ("sasl.password", password),
        ];
        settings(&self.passwords, &more)
    }
}

fn settings(bootstrap: &str, more: &[(&str, &str)]) -> KafkaSettings {
    let mut settings = KafkaSettings::new(bootstrap, "guarded");
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    settings.client.extend(more);
    settings
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn scram_users() -> Vec<String> {
    let user = |mechanism: &str| {
        let user = format!("SCRAM-{mechanism}=[name={USER},password={PASSWORD}]");
        ["--add-scram".to_owned(), user]
    };
    ["SHA-256", "SHA-512"].into_iter().flat_map(user).collect()
}

/// What makes the broker ask. Its plain listener stays: the harness looks there whether it lives.
fn properties(
    authority: &Authority,
    broker: &Identity,
    [port, controller, passwords, certificates]: [u16; 4],
) -> String {
    const MODULES: &str = "org.apache.kafka.common.security";
    let listeners = format!(
        "PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{passwords},SSL://127.0.0.1:{certificates}"
    );
    let (keys, trusted) = (broker.both.display(), authority.certificate());
    let trusted = trusted.display();
    format!(
        "listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners={listeners}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
         SASL_SSL:SASL_SSL,SSL:SSL\n\
         ssl.keystore.type=PEM\nssl.keystore.location={keys}\n\
         ssl.truststore.type=PEM\nssl.truststore.location={trusted}\n\
         listener.name.ssl.ssl.client.auth=required\n\
         sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER\n\
         listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
         {MODULES}.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
         {MODULES}.scram.ScramLoginModule required;\n\
         listener.name.sasl_ssl.plain.sasl.jaas.config=\
         {MODULES}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
         listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=\
         {MODULES}.oauthbearer.OAuthBearerLoginModule required \
         unsecuredLoginStringClaim_sub=\"broker\";\n"
    )
}

/// Topics, a member of a group, records and offsets in one transaction, and reading them back.
fn assert_it_works(settings: &KafkaSettings, label: &str) {
    let make = || -> Arc<dyn Log> {
        KafkaLog::open(settings.clone(), Arc::new(SystemClock::new())).unwrap()
    };
    assert_one_check(&make, "records_and_offsets_are_one_commit", label);
}

/// Why a client with these settings is not let in: it says so at once, and tells no secret.
fn refused(settings: KafkaSettings) -> String {
    let clock = SystemClock::new();
    let log = KafkaLog::open(settings, Arc::new(SystemClock::new())).unwrap();
    let Err(LogError::Unavailable(reason)) = log.topics() else { panic!("it was let in") };
    assert!(clock.elapsed() < AT_ONCE, "it took {:?} to say: {reason}", clock.elapsed());
    assert!(log.away().is_some(), "readiness knows it");
    for secret in [PASSWORD, WRONG] {
        assert!(!reason.contains(secret), "a secret was told: {reason}");
    }
    reason
}

#[test]
fn clients_are_let_in_by_password_or_certificate() {
    let guarded = Guarded::start();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] {
        let settings = guarded.with_password(&guarded.authority, mechanism, PASSWORD);
        assert_it_works(&settings, mechanism);
    }
    let authority = guarded.authority.certificate();
    let trust = ("ssl.ca.location", path(&authority));
    let token = [
        ("security.protocol", "SASL_SSL"),
        trust,
        ("sasl.mechanism", "OAUTHBEARER"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", "principal=ann"),
    ];
    assert_it_works(&settings(&guarded.passwords, &token), "OAUTHBEARER");
    let certificate = [
        ("security.protocol", "SSL"),
        trust,
        ("ssl.certificate.location", path(&guarded.client.certificate)),
        ("ssl.key.location", path(&guarded.client.key)),
    ];
    assert_it_works(&settings(&guarded.certificates, &certificate), "certificate");
}

#[test]
fn whoever_is_not_let_in_is_told_which_setting_is_wrong() {
    let guarded = Guarded::start();
    let mechanism = "SCRAM-SHA-512";
    let wrong = refused(guarded.with_password(&guarded.authority, mechanism, WRONG));
    assert!(wrong.contains("`sasl.password`"), "{wrong}");

    let stranger = Authority::new();
    let untrusted = refused(guarded.with_password(&stranger, mechanism, PASSWORD));
    assert!(untrusted.contains("`ssl.ca.location`"), "{untrusted}");

    let authority = guarded.authority.certificate();
    let nobody = [("security.protocol", "SSL"), ("ssl.ca.location", path(&authority))];
    let nobody = refused(settings(&guarded.certificates, &nobody));
    assert!(nobody.contains("`ssl.certificate.location`"), "{nobody}");

    // This one the broker does not answer at all.
    let request_timeout = Duration::from_secs(5);
    let plain = KafkaSettings { request_timeout, ..settings(&guarded.passwords, &[]) };
    let plain = refused(plain);
    assert!(plain.contains("`security.protocol`"), "{plain}");

    println!("{wrong}\n{untrusted}\n{nobody}\n{plain}");
}

/// The shipped binary, with its password from a variable.
fn topics(guarded: &Guarded, folder: &Path, password: &str) -> Output {
    let authority = guarded.authority.certificate();
    let text = format!(
        "[log]\nkind = \"kafka\"\n\
         [kafka]\nbootstrap.servers = \"{}\"\nsecurity.protocol = \"SASL_SSL\"\n\
         ssl.ca.location = \"{}\"\nsasl.mechanism = \"SCRAM-SHA-256\"\nsasl.username = \"{USER}\"\n\
         [topics.seen]\n\
         [topologies.fraud]\nenabled = false\n[topologies.orders]\nenabled = false\n\
         [topologies.logins]\nenabled = false\n",
        guarded.passwords,
        authority.display()
    );
    let config = folder.join("millpond.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(binary());
    command.args(["topics", "list", "--data-dir"]).arg(folder.join("data"));
    command.arg("--config").arg(config).env("MILLPOND_KAFKA__SASL_PASSWORD", password);
    command.output().unwrap()
}

#[test]
fn the_binary_takes_its_password_from_a_variable_and_never_tells_it() {
    let guarded = Guarded::start();
    let folder = tempfile::tempdir().unwrap();
    let said = |output: &Output| {
        let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        String::from_utf8_lossy(&both).into_owned()
    };
    let wrong = topics(&guarded, folder.path(), WRONG);
    let text = said(&wrong);
    assert!(!wrong.status.success() && text.contains("`sasl.password`"), "{text}");
    assert!(!text.contains(WRONG), "a secret was told: {text}");
    let right = topics(&guarded, folder.path(), PASSWORD);
    let text = said(&right);
    assert!(right.status.success() && text.contains("seen"), "{text}");
    assert!(!text.contains(PASSWORD), "a secret was told: {text}");
}
