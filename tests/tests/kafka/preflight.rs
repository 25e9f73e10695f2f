//! What does not fit is told when a process starts, by name and with what mends it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use pipeline::clock::SystemClock;
use pipeline::log::kafka::{KafkaLog, KafkaSettings};
use pipeline::log::{Cleanup, Log as _, TopicSpec};
use pipeline::{Plan, TopologyBuilder};

use super::broker;
use crate::demo::binary;

const FOREVER: Cleanup = Cleanup::Delete { retention_ms: None, retention_bytes: None };

/// A name of this run's own: the broker is everybody's.
fn own(name: &str) -> String {
    format!("{name}-preflight-{}", std::process::id())
}

fn log() -> Arc<KafkaLog> {
    let settings = KafkaSettings::new(broker::shared().bootstrap(), &own("test"));
    KafkaLog::open(settings, Arc::new(SystemClock::new())).unwrap()
}

fn make(name: &str, partitions: u32, cleanup: Cleanup) {
    log().create_topic(&TopicSpec { name: name.to_owned(), partitions, cleanup }).unwrap();
}

/// Starts the binary with the topology `orders` alone; it must refuse. Answers what it says.
fn refused(more_log: &str, more_kafka: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[log]\nkind = \"kafka\"\npartitions = 2\n{more_log}\n\
         [kafka]\nbootstrap.servers = \"{}\"\n{more_kafka}\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [topologies.fraud]\nenabled = false\n[topologies.logins]\nenabled = false\n\
         [topologies.orders]\norders_topic = \"{}\"\ncustomers_topic = \"{}\"\n\
         rejections_topic = \"{}\"\n",
        broker::shared().bootstrap(),
        own("orders"),
        own("customers"),
        own("rejections"),
    );
    let config = folder.path().join("millpond.toml");
    std::fs::write(&config, text).unwrap();
    let output = run(&config, folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it started: {said}");
    said
}

fn run(config: &Path, folder: &Path) -> std::process::Output {
    let mut command = Command::new(binary());
    command.args(["run", "--data-dir"]).arg(folder.join("data")).arg("--config").arg(config);
    command.output().unwrap()
}

fn assert_says(said: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(said.contains(wanted), "`{wanted}` is not in: {said}");
    }
}

/// One fault after another is mended, as an operator would; each is told before it is.
#[test]
fn a_start_names_what_does_not_fit_and_what_mends_it() {
    let (orders, customers, rejections) = (own("orders"), own("customers"), own("rejections"));
    let missing = refused("", "");
    assert_says(&missing, &["3 things are wrong", "kafka-topics.sh --create --topic"]);
    assert_says(&missing, &[&orders, &customers, &rejections]);

    make(&orders, 2, FOREVER);
    make(&rejections, 2, FOREVER);
    make(&customers, 2, FOREVER);
    let unfit = refused("record_bytes_max = 2000000", "");
    let deleted = format!("topic `{customers}` is the source of a global table");
    let small = format!("topic `{rejections}` takes 1048576 bytes at most (max.message.bytes)");
    assert_says(&unfit, &[&deleted, "cleanup.policy=compact", &small, "max.message.bytes=2001024"]);
}

#[test]
fn a_transaction_timeout_above_the_brokers_is_told() {
    let described = format!(
        "[topics.{}]\n[topics.{}]\n[topics.{}]\n",
        own("orders2"),
        own("customers2"),
        own("rejections2")
    );
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{described}[log]\nkind = \"kafka\"\npartitions = 1\n\
         [kafka]\nbootstrap.servers = \"{}\"\ntransaction.timeout.ms = 3600000\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [topologies.fraud]\nenabled = false\n[topologies.logins]\nenabled = false\n\
         [topologies.orders]\nenabled = false\n",
        broker::shared().bootstrap(),
    );
    let config = folder.path().join("millpond.toml");
    std::fs::write(&config, text).unwrap();
    let output = run(&config, folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it started: {said}");
    assert_says(&said, &["transaction.timeout.ms is 3600000", "transaction.max.timeout.ms"]);
}

/// All of the topology's own topics that do not fit are told together.
#[test]
fn topics_of_the_topology_itself_that_do_not_fit_are_told() {
    let app = own("unfit");
    let input = own("unfit-input");
    make(&input, 2, FOREVER);
    let changelog = format!("{app}-g1-counts-changelog");
    let repartition = format!("{app}-g1-again-repartition");
    make(&changelog, 2, FOREVER);
    make(&repartition, 3, Cleanup::Compact);
    let builder = TopologyBuilder::new(&app);
    let words = builder.stream::<String, String>(&input);
    words.group_by("again", |_, word| word.clone()).count("counts").to(&output_of(&app));
    let topology = Arc::new(builder.build().unwrap());
    let refused = Plan::make(topology, log().as_ref(), (2, FOREVER));
    let said = refused.err().expect("it does not fit").to_string();
    assert_says(&said, &[&changelog, "cleanup.policy=compact", &repartition, "has 3 partitions"]);
}

fn output_of(app: &str) -> String {
    let output = format!("{app}-output");
    make(&output, 2, FOREVER);
    output
}

#[test]
fn joined_inputs_with_different_numbers_of_partitions_are_told() {
    let (left, right) = (own("left"), own("right"));
    make(&left, 2, FOREVER);
    make(&right, 3, FOREVER);
    let app = own("joined");
    let builder = TopologyBuilder::new(&app);
    let table = builder.table::<String, String>(&right, "table");
    let stream = builder.stream::<String, String>(&left);
    stream.join(&table, |_, left, right| format!("{left}{right}")).to(&output_of(&app));
    let topology = builder.build().map(Arc::new);
    let topology = topology.expect("only the log knows the numbers");
    let refused = Plan::make(topology, log().as_ref(), (2, FOREVER));
    let said = refused.err().expect("it does not fit").to_string();
    assert_says(&said, &[&left, &right, "equally many partitions", ".repartition("]);
}
