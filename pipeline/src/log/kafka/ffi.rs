//! What rdkafka's safe interface leaves out: which partition an error or an end belongs to, leader
//! epochs, and the ends that fetches have told.
//!
//! The only place in the workspace with `unsafe`; decision record 0007 says why. Nothing here
//! decides anything.

mod receipts;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, TopicPartitionList};

use super::super::record::put_header;
use super::context::Context;
pub(super) use receipts::hear;

/// A consumer, and the queue of everything that it hears.
pub(super) struct Feed {
    queue: NonNull<c::rd_kafka_queue_t>,
    consumer: Arc<BaseConsumer<Context>>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Feed {}

/// One thing that a consumer hears.
pub(super) enum Polled<'a> {
    /// A record.
    Record(Record<'a>),
    /// A partition was read to its end.
    End { topic: &'a str, partition: u32, next: u64 },
    /// The group gives these partitions, as topic and partition.
    Assign(Vec<(String, u32)>),
    /// The group takes these partitions.
    Revoke(Vec<(String, u32)>),
    /// Something failed; `at` if it concerns one partition.
    Failed { at: Option<(&'a str, u32)>, code: RDKafkaErrorCode, reason: String, fatal: bool },
}

/// A record in librdkafka's memory.
pub(super) struct Record<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
    pub(super) offset: u64,
    /// Negative if the broker did not say.
    pub(super) epoch: i32,
    pub(super) timestamp: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    message: &'a c::rd_kafka_message_t,
}

impl Record<'_> {
    /// Appends the record's headers, as [`put_header`] encodes them.
    pub(super) fn put_headers(&self, out: &mut Vec<u8>) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message lives as long as `self`; the headers belong to it.
        let code = unsafe { c::rd_kafka_message_headers(self.message, &raw mut headers) };
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: as above; an index past the last header is answered with an error.
            let code = unsafe {
                c::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut size,
                )
            };
            if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            // SAFETY: name and value lie in the message; a name ends with a zero.
            let (name, value) = unsafe { (text(name), bytes(value, size)) };
            put_header(out, &name, value.unwrap_or_default());
        }
    }
}

impl Feed {
    /// Takes over what `consumer`, which has a group, hears.
    pub(super) fn new(consumer: Arc<BaseConsumer<Context>>) -> Self {
        // SAFETY: the consumer is alive; the queue is given back in `drop`, before the consumer.
        let queue = unsafe { c::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("a consumer with a group has a queue");
        Self { queue, consumer }
    }

    /// The consumer itself.
    pub(super) fn consumer(&self) -> &Arc<BaseConsumer<Context>> {
        &self.consumer
    }

    /// Waits up to `wait` for the next event and tells it. Answers whether there was one.
    pub(super) fn poll(&self, wait: Duration, heard: &mut dyn FnMut(Polled<'_>)) -> bool {
        // SAFETY: the queue is alive; the event is destroyed when `event` is dropped.
        let event = unsafe { c::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds(wait)) };
        let Some(event) = NonNull::new(event).map(Event) else { return false };
        event.tell(self.consumer.context(), heard);
        true
    }

    /// The end of a partition as the last fetch told it: before transactions are looked at.
    pub(super) fn cached_end(&self, topic: &str, partition: u32) -> Option<u64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, and the call copies two numbers.
        let code = unsafe {
            c::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                i32::try_from(partition).ok()?,
                &raw mut low,
                &raw mut high,
            )
        };
        let told = code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        told.then(|| u64::try_from(high).ok()).flatten()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // SAFETY: it was taken in `new`, and nobody else has it.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// An event that is destroyed when it has been told.
struct Event(NonNull<c::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: this is its only owner.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

impl Event {
    fn tell(&self, context: &Context, heard: &mut dyn FnMut(Polled<'_>)) {
        // SAFETY: the event is alive.
        let kind = unsafe { c::rd_kafka_event_type(self.0.as_ptr()) };
        match kind {
            c::RD_KAFKA_EVENT_FETCH => self.messages(heard),
            c::RD_KAFKA_EVENT_REBALANCE => self.rebalance(heard),
            c::RD_KAFKA_EVENT_ERROR => self.failure(heard),
            c::RD_KAFKA_EVENT_LOG => self.log(context),
            // Offset commits and statistics: nobody asked for them.
            _ => {}
        }
    }

    fn messages(&self, heard: &mut dyn FnMut(Polled<'_>)) {
        loop {
            // SAFETY: the event is alive, and so are its messages while it is.
            let message = unsafe { c::rd_kafka_event_message_next(self.0.as_ptr()).as_ref() };
            let Some(message) = message else { return };
            heard(polled(message));
        }
    }

    fn rebalance(&self, heard: &mut dyn FnMut(Polled<'_>)) {
        // SAFETY: the event is alive, and the list belongs to it.
        let (code, list) = unsafe {
            let list = c::rd_kafka_event_topic_partition_list(self.0.as_ptr());
            (c::rd_kafka_event_error(self.0.as_ptr()), elements(list))
        };
        let partitions = list
            .iter()
            .map(|element| {
                // SAFETY: an element's topic ends with a zero.
                let topic = unsafe { text(element.topic) };
                (topic, u32::try_from(element.partition).unwrap_or_default())
            })
            .collect();
        if code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            heard(Polled::Assign(partitions));
        } else {
            heard(Polled::Revoke(partitions));
        }
    }

    /// Tells an error, or that a partition was read to its end, which librdkafka takes for one.
    fn failure(&self, heard: &mut dyn FnMut(Polled<'_>)) {
        // SAFETY: the event is alive; its text ends with a zero.
        let (code, reason, fatal) = unsafe {
            (
                c::rd_kafka_event_error(self.0.as_ptr()),
                text(c::rd_kafka_event_error_string(self.0.as_ptr())),
                c::rd_kafka_event_error_is_fatal(self.0.as_ptr()) != 0,
            )
        };
        // SAFETY: the event is alive; what is answered is ours, and given back below.
        let place = unsafe { c::rd_kafka_event_topic_partition(self.0.as_ptr()) };
        // SAFETY: it is null or ours.
        let Some(at) = (unsafe { place.as_ref() }) else {
            return heard(Polled::Failed { at: None, code: code.into(), reason, fatal });
        };
        // SAFETY: its topic ends with a zero.
        let topic = unsafe { text(at.topic) };
        let partition = u32::try_from(at.partition).unwrap_or_default();
        if code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
            if let Ok(next) = u64::try_from(at.offset) {
                heard(Polled::End { topic: &topic, partition, next });
            }
        } else {
            let at = Some((topic.as_str(), partition));
            heard(Polled::Failed { at, code: code.into(), reason, fatal });
        }
        // SAFETY: nobody else has it, and it is not used any more.
        unsafe { c::rd_kafka_topic_partition_destroy(place) };
    }

    fn log(&self, context: &impl ClientContext) {
        let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is alive, and so are its texts while it is.
        unsafe {
            let code = c::rd_kafka_event_log(
                self.0.as_ptr(),
                &raw mut facility,
                &raw mut message,
                &raw mut level,
            );
            if code == 0 {
                let level = log_level(level);
                context.log(level, &text(facility), &text(message));
            }
        }
    }
}

fn polled(message: &c::rd_kafka_message_t) -> Polled<'_> {
    // SAFETY: a message of a consumer has a topic, whose name lives with the client.
    let topic = unsafe { CStr::from_ptr(c::rd_kafka_topic_name(message.rkt)) };
    let topic = topic.to_str().unwrap_or_default();
    let partition = u32::try_from(message.partition).unwrap_or_default();
    let offset = u64::try_from(message.offset).unwrap_or_default();
    match message.err {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
            // SAFETY: the message is alive; key and value have the lengths it says.
            unsafe {
                let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
                Polled::Record(Record {
                    topic,
                    partition,
                    offset,
                    epoch: c::rd_kafka_message_leader_epoch(message),
                    timestamp: c::rd_kafka_message_timestamp(message, &raw mut kind),
                    key: bytes(message.key, message.key_len),
                    value: bytes(message.payload, message.len),
                    message,
                })
            }
        }
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            Polled::End { topic, partition, next: offset }
        }
        code => {
            // SAFETY: the message is alive, and so is its text while it is.
            let reason = unsafe { text(c::rd_kafka_message_errstr(message)) };
            Polled::Failed { at: Some((topic, partition)), code: code.into(), reason, fatal: false }
        }
    }
}

/// The leader epoch of each element of `list`; `None` where there is none.
pub(super) fn leader_epochs(list: &TopicPartitionList) -> Vec<Option<u32>> {
    // SAFETY: the list is borrowed while its elements are.
    let elements = unsafe { elements(list.ptr()) };
    let epoch = |element: &c::rd_kafka_topic_partition_t| {
        // SAFETY: the element is alive.
        u32::try_from(unsafe { c::rd_kafka_topic_partition_get_leader_epoch(element) }).ok()
    };
    elements.iter().map(epoch).collect()
}

/// Sets the leader epochs of the elements of `list`, in their order.
pub(super) fn set_leader_epochs(list: &mut TopicPartitionList, epochs: &[u32]) {
    // SAFETY: the list is borrowed for writing, and the pointers stay inside its elements.
    unsafe {
        let list = &mut *list.ptr();
        let count = usize::try_from(list.cnt).unwrap_or_default();
        for (index, epoch) in epochs.iter().take(count).enumerate() {
            let epoch = i32::try_from(*epoch).unwrap_or(-1);
            c::rd_kafka_topic_partition_set_leader_epoch(list.elems.add(index), epoch);
        }
    }
}

/// A wait as librdkafka takes it.
fn milliseconds(wait: Duration) -> c_int {
    c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `list` is null, or a list that outlives the answer.
unsafe fn elements<'a>(
    list: *const c::rd_kafka_topic_partition_list_t,
) -> &'a [c::rd_kafka_topic_partition_t] {
    // SAFETY: a list has `cnt` elements one after another.
    unsafe {
        match list.as_ref() {
            Some(list) if list.cnt > 0 && !list.elems.is_null() => {
                std::slice::from_raw_parts(list.elems, list.cnt.unsigned_abs() as usize)
            }
            _ => &[],
        }
    }
}

/// # Safety
/// `data` is null, or has `length` bytes that outlive the answer.
unsafe fn bytes<'a>(data: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast(), length) })
}

/// # Safety
/// `text` is null, or ends with a zero.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Syslog's levels.
fn log_level(level: c_int) -> RDKafkaLogLevel {
    match level {
        i32::MIN..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 | 6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}
