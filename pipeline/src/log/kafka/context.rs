//! What clients say by themselves: log lines, errors that they recover from, deliveries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;

/// What was heard of the brokers as a whole.
#[derive(Debug, Default)]
pub(super) struct Contact {
    /// Why no broker is in reach, while that is so.
    away: Mutex<Option<String>>,
}

impl Contact {
    /// Why no broker is in reach, if none is.
    pub(super) fn away(&self) -> Option<String> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A broker has answered.
    pub(super) fn answered(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// No broker is in reach.
    pub(super) fn lost(&self, reason: &str) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.is_none() {
            tracing::warn!(reason, "no kafka broker in reach");
        }
        *away = Some(reason.to_owned());
    }
}

/// The context of consumers and of the admin client.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) contact: Arc<Contact>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => tracing::warn!(target: "kafka", facility, "{message}"),
            RDKafkaLogLevel::Warning => tracing::info!(target: "kafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "kafka", facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.contact.lost(reason);
        } else {
            tracing::debug!(target: "kafka", %error, reason, "a client's error");
        }
    }
}

impl ConsumerContext for Context {}

/// Where the records of each batch of a commit landed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Landed {
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
}

/// What has been delivered of the commit under way.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// By place in the commit.
    pub(super) landed: Vec<Landed>,
    /// The first failure.
    pub(super) failure: Option<String>,
}

impl Deliveries {
    /// A record of the batch at `place` lies at `offset`.
    pub(super) fn landed(&mut self, place: usize, offset: i64) {
        let offset = u64::try_from(offset).ok();
        let Some(landed) = self.landed.get_mut(place) else { return };
        landed.first = landed.first.or(offset);
        landed.last = landed.last.max(offset);
    }

    /// A record for this partition was not written.
    pub(super) fn failed(&mut self, topic: &str, partition: i32, error: &KafkaError) {
        self.failure.get_or_insert_with(|| format!("{topic}-{partition}: {error}"));
    }
}

/// The context of producers.
#[derive(Debug)]
pub(super) struct ProducerSide {
    context: Context,
    deliveries: Mutex<Deliveries>,
}

impl ProducerSide {
    pub(super) fn new(context: Context) -> Self {
        Self { context, deliveries: Mutex::default() }
    }

    /// Begins a commit of `batches`; deliveries of an earlier one are forgotten.
    pub(super) fn begin(&self, batches: usize) {
        let landed = vec![Landed::default(); batches];
        *self.deliveries() = Deliveries { landed, failure: None };
    }

    /// What was delivered since [`Self::begin`].
    pub(super) fn end(&self) -> Deliveries {
        std::mem::take(&mut self.deliveries())
    }

    /// For whoever hears what was delivered.
    pub(super) fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for ProducerSide {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for ProducerSide {
    /// The place of the record's batch in its commit.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let mut deliveries = self.deliveries();
        match result {
            Ok(message) => deliveries.landed(place, message.offset()),
            Err((error, message)) => {
                deliveries.failed(message.topic(), message.partition(), error);
            }
        }
    }
}
