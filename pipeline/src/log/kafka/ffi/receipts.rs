//! What a producer hears: what became of its records, and how it is.
//!
//! rdkafka's own `BaseProducer::poll` rounds what is left of its time down to whole milliseconds:
//! in the last one it does not sleep, but asks again and again. Waits of a millisecond, which
//! commits in a few milliseconds need, would keep a core busy.

use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::ClientContext as _;
use rdkafka::bindings as c;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::super::context::ProducerSide;
use super::{Event, milliseconds, text};

/// Waits up to `wait` for what the producer hears next, and tells its context. Answers whether
/// there was something.
pub(in super::super) fn hear(producer: &BaseProducer<ProducerSide>, wait: Duration) -> bool {
    // SAFETY: the producer is alive, and the queue is given back before this returns.
    let event = unsafe {
        let queue = c::rd_kafka_queue_get_main(producer.client().native_ptr());
        let event = c::rd_kafka_queue_poll(queue, milliseconds(wait));
        c::rd_kafka_queue_destroy(queue);
        event
    };
    let Some(event) = NonNull::new(event).map(Event) else { return false };
    let context = producer.context().as_ref();
    // SAFETY: the event is alive.
    match unsafe { c::rd_kafka_event_type(event.0.as_ptr()) } {
        c::RD_KAFKA_EVENT_DR => receipts(&event, context),
        c::RD_KAFKA_EVENT_ERROR => failure(&event, context),
        c::RD_KAFKA_EVENT_LOG => event.log(context),
        // Statistics: nobody asked for them.
        _ => {}
    }
    true
}

/// What became of records.
fn receipts(event: &Event, context: &ProducerSide) {
    let mut deliveries = context.deliveries();
    loop {
        // SAFETY: the event is alive, and so are its messages while it is.
        let message = unsafe { c::rd_kafka_event_message_next(event.0.as_ptr()).as_ref() };
        let Some(message) = message else { return };
        // What was given with the record: a number, which was never a pointer.
        let place = message._private.addr();
        if message.err == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            deliveries.landed(place, message.offset);
            continue;
        }
        // SAFETY: a message of a producer has a topic, whose name lives with the client.
        let topic = unsafe { text(c::rd_kafka_topic_name(message.rkt)) };
        let error = KafkaError::MessageProduction(message.err.into());
        deliveries.failed(&topic, message.partition, &error);
    }
}

fn failure(event: &Event, context: &ProducerSide) {
    // SAFETY: the event is alive; its text ends with a zero.
    let (code, reason) = unsafe {
        let reason = text(c::rd_kafka_event_error_string(event.0.as_ptr()));
        (c::rd_kafka_event_error(event.0.as_ptr()), reason)
    };
    context.error(KafkaError::Global(code.into()), &reason);
}
