//! The log on Kafka keeps the contract that the embedded one keeps.

use std::sync::Arc;

use pipeline::clock::SystemClock;
use pipeline::log::Log;
use pipeline::log::kafka::{KafkaLog, KafkaSettings};

use super::broker;
use crate::log_contract::assert_log_contract;

/// Settings with which members that are gone are missed soon.
pub(super) fn settings(instance: &str) -> KafkaSettings {
    let mut settings = KafkaSettings::new(broker::shared().bootstrap(), instance);
    for (name, value) in [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "300")] {
        settings.client.insert(name.to_owned(), value.to_owned());
    }
    settings
}

fn log(settings: KafkaSettings) -> Arc<dyn Log> {
    KafkaLog::open(settings, Arc::new(SystemClock::new())).unwrap()
}

#[test]
fn the_log_on_kafka_keeps_the_contract() {
    assert_log_contract(&|| log(settings("contract")));
}
