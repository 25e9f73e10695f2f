//! A dead letter on its way: the record as it was read, and what happened to it in headers.
//!
//! It is written like every other output, in the commit that moves the input past the record.

use crate::bad_record::{AheadBound, TIMESTAMP_AHEAD_MAX, TimeBounds};
use crate::format::dead_letter as header;
use crate::format::origin::Origin;
use crate::log::record::put_header;
use crate::log::{RecordRef, TopicPartition};
use crate::topology::TaskId;

use super::attempt::Broken;

/// The most of a reason, in bytes: a panic may say anything.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// The most of a backtrace, in bytes.
const STACKTRACE_BYTES_MAX: usize = 16 << 10;

/// The record that could not be handled, and where it lies.
#[derive(Clone, Copy)]
pub(super) struct BadRecord<'a> {
    pub(super) at: &'a TopicPartition,
    pub(super) record: RecordRef<'a>,
    /// When the log took it in; 0 if it does not say.
    pub(super) append_ms: i64,
    /// The source record that it was made from, behind a repartition: topic and origin.
    pub(super) origin: Option<(&'a str, Origin)>,
}

/// The parts of a dead letter that are not its key and value.
pub(super) struct Letter<'a> {
    pub(super) timestamp: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> BadRecord<'a> {
    /// Writes the letter's headers to `out`, and says what its record is. What would make it
    /// larger than `bytes_max` is left out, largest part first; the reason stays.
    pub(super) fn letter(
        &self,
        task: TaskId,
        broken: &Broken,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Letter<'a> {
        let Self { record, .. } = self;
        out.clear();
        put_broken(out, task, broken);
        self.put_place(out);
        let mut left = bytes_max.saturating_sub(out.len());
        let mut omitted = Vec::new();
        let key = fit(record.key, &mut left, ("key", &mut omitted));
        let value = fit(record.value, &mut left, ("value", &mut omitted));
        let headers = record.headers.as_bytes();
        if fit(Some(headers), &mut left, ("headers", &mut omitted)).is_some() {
            // What an earlier failure of the same record said does not hold any more.
            for (name, value) in record.headers.iter().filter(|(n, _)| !header::is_error_header(n))
            {
                // Names are texts as far as we write them; others are kept as far as they are.
                put_header(out, &String::from_utf8_lossy(name), value);
            }
        }
        if !omitted.is_empty() {
            put_header(out, header::OMITTED, omitted.join(",").as_bytes());
        }
        Letter { timestamp: self.letter_time(), key, value }
    }

    /// The record's own timestamp, unless it is one that a log may refuse; it stands in a header
    /// in any case.
    fn letter_time(&self) -> i64 {
        let own = self.record.timestamp;
        let bounds = TimeBounds::of(AheadBound::AtMost(TIMESTAMP_AHEAD_MAX), self.append_ms, own);
        if bounds.check(own).is_ok() { own } else { self.append_ms.max(0) }
    }

    fn put_place(&self, out: &mut Vec<u8>) {
        put_header(out, header::TOPIC, self.at.topic.as_bytes());
        put_number(out, header::PARTITION, &self.at.partition);
        put_number(out, header::OFFSET, &self.record.offset);
        put_number(out, header::TIMESTAMP, &self.record.timestamp);
        if let Some((topic, Origin { partition, offset, .. })) = &self.origin {
            put_header(out, header::SOURCE, format!("{topic}-{partition}@{offset}").as_bytes());
        }
    }
}

/// The headers of a letter about something that no record stands for.
pub(super) fn put_broken(out: &mut Vec<u8>, task: TaskId, broken: &Broken) {
    let Broken { defect, node, message, place } = broken;
    put_header(out, header::EXCEPTION, defect.name().as_bytes());
    put_header(out, header::MESSAGE, cut(message, MESSAGE_BYTES_MAX).as_bytes());
    if !place.is_empty() {
        put_header(out, header::STACKTRACE, cut(place, STACKTRACE_BYTES_MAX).as_bytes());
    }
    put_header(out, header::NODE, node.as_bytes());
    put_header(out, header::TASK, task.to_string().as_bytes());
}

fn put_number(out: &mut Vec<u8>, name: &str, number: &dyn ToString) {
    put_header(out, name, number.to_string().as_bytes());
}

/// `part`, if there is room for it; else its name is noted.
fn fit<'a>(
    part: Option<&'a [u8]>,
    left: &mut usize,
    (name, omitted): (&'static str, &mut Vec<&'static str>),
) -> Option<&'a [u8]> {
    let length = part?.len();
    if let Some(rest) = left.checked_sub(length) {
        *left = rest;
        return part;
    }
    omitted.push(name);
    None
}

/// The beginning of `text`, at most `bytes_max` of it.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bad_record::Defect;
    use crate::log::Headers;

    const TASK: TaskId = TaskId { sub: 1, partition: 2 };

    fn broken() -> Broken {
        let text = |text: &str| text.to_owned();
        Broken { defect: Defect::Panic, node: text("N"), message: text("m"), place: text("p") }
    }

    fn bad<'a>(at: &'a TopicPartition, value: &'a [u8], headers: &'a [u8]) -> BadRecord<'a> {
        let headers = Headers::new(headers);
        let record =
            RecordRef { offset: 7, timestamp: 50, key: Some(b"k"), value: Some(value), headers };
        BadRecord { at, record, append_ms: 100, origin: None }
    }

    #[test]
    fn a_letter_has_the_records_bytes_headers_and_place() {
        let (at, mut out) = (TopicPartition::new("in", 3), Vec::new());
        let mut own = Vec::new();
        put_header(&mut own, "traceparent", b"00-1");
        put_header(&mut own, header::MESSAGE, b"what an earlier failure said");
        let letter = bad(&at, b"v", &own).letter(TASK, &broken(), 1 << 20, &mut out);
        assert_eq!((letter.key, letter.value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!(letter.timestamp, 50);
        let headers = Headers::new(&out);
        for (name, value) in [
            ("traceparent", "00-1"),
            (header::EXCEPTION, "panic"),
            (header::MESSAGE, "m"),
            (header::STACKTRACE, "p"),
            (header::TOPIC, "in"),
            (header::PARTITION, "3"),
            (header::OFFSET, "7"),
            (header::TIMESTAMP, "50"),
            (header::NODE, "N"),
            (header::TASK, "1_2"),
        ] {
            assert_eq!(headers.get(name), Some(value.as_bytes()), "{name}");
        }
        assert_eq!(
            headers.iter().filter(|(name, _)| *name == header::MESSAGE.as_bytes()).count(),
            1
        );
        assert_eq!(headers.get(header::OMITTED), None);
    }

    #[test]
    fn what_is_too_large_for_the_topic_is_left_out_and_named() {
        let (at, mut out) = (TopicPartition::new("in", 0), Vec::new());
        let huge = vec![b'x'; 2000];
        let letter = bad(&at, &huge, b"").letter(TASK, &broken(), 1000, &mut out);
        assert_eq!((letter.key, letter.value), (Some(&b"k"[..]), None));
        assert_eq!(Headers::new(&out).get(header::OMITTED), Some(&b"value"[..]));
        let long = Broken { message: "é".repeat(MESSAGE_BYTES_MAX), ..broken() };
        bad(&at, b"v", b"").letter(TASK, &long, 1 << 20, &mut out);
        let message = Headers::new(&out).get(header::MESSAGE).unwrap();
        assert_eq!(message.len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_time_that_the_log_would_refuse_is_kept_in_a_header_alone() {
        let (at, mut out) = (TopicPartition::new("in", 0), Vec::new());
        for (own, append_ms, expected) in [
            (-5, 100, 100),
            (-5, 0, 0),
            (32_503_680_000_000, 100, 100),
            (3_600_100, 100, 3_600_100),
            (99, 0, 99),
        ] {
            let mut bad = bad(&at, b"v", b"");
            bad.record.timestamp = own;
            bad.append_ms = append_ms;
            let letter = bad.letter(TASK, &broken(), 1 << 20, &mut out);
            assert_eq!(letter.timestamp, expected, "{own} appended at {append_ms}");
            let kept = Headers::new(&out).get(header::TIMESTAMP).unwrap();
            assert_eq!(kept, own.to_string().as_bytes());
        }
    }
}
