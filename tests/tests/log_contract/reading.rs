//! Readers, ranges, positions that are valid and positions that are not.

use std::thread;

use pipeline::log::{Fetched, LogError, Position, TopicPartition, Validity};

use super::bench::{Bench, Check, WAIT, appends, committed, until};

pub(super) const CHECKS: &[Check] = &[
    ("reading_starts_in_the_middle_of_a_batch", reading_starts_in_the_middle_of_a_batch),
    ("a_reader_waits_and_wakes", a_reader_waits_and_wakes),
    ("a_reader_at_the_end_has_nothing_to_read", a_reader_at_the_end_has_nothing_to_read),
    ("a_reader_moves_and_stops", a_reader_moves_and_stops),
    ("a_reader_serves_all_its_partitions", a_reader_serves_all_its_partitions),
    ("a_range_begins_and_ends_where_records_do", a_range_begins_and_ends_where_records_do),
    ("what_a_commit_answers_is_valid", what_a_commit_answers_is_valid),
    ("a_position_beyond_the_end_is_truncated", a_position_beyond_the_end_is_truncated),
    ("purged_records_are_gone", purged_records_are_gone),
    ("a_partition_purged_to_its_end_goes_on", a_partition_purged_to_its_end_goes_on),
    ("reconnecting_keeps_records", reconnecting_keeps_records),
];

fn reading_starts_in_the_middle_of_a_batch(bench: &Bench<'_>) {
    let at = bench.partition();
    let mut writer = bench.writer("writer");
    committed(writer.as_mut(), appends(&at, &["a", "b", "c", "d"]));
    committed(writer.as_mut(), appends(&at, &["e"]));
    let offset = bench.read(&at, 0, 5)[2].offset;
    assert_eq!(bench.values(&at, offset, 3), ["c", "d", "e"]);
}

fn a_reader_waits_and_wakes(bench: &Bench<'_>) {
    let at = bench.partition();
    let mut reader = bench.reader(&at, 0);
    let mut writer = bench.writer("writer");
    thread::scope(|scope| {
        let reading =
            scope.spawn(|| until("the record", || reader.poll(WAIT).unwrap().into_iter().next()));
        committed(writer.as_mut(), appends(&at, &["a"]));
        let fetched = reading.join().unwrap();
        assert_eq!(fetched.records().next().unwrap().value, Some(&b"a"[..]));
        assert_eq!(fetched.partition, at);
    });
}

fn a_reader_at_the_end_has_nothing_to_read(bench: &Bench<'_>) {
    let at = bench.partition();
    bench.append_each(&at, &["a"]);
    let mut reader = bench.reader(&at, bench.log.range(&at).unwrap().end.offset);
    for _ in 0..3 {
        assert_eq!(reader.poll(WAIT).unwrap().iter().flat_map(Fetched::records).count(), 0);
    }
    bench.append_each(&at, &["b"]);
    let fetched = until("the new record", || {
        let mut all = reader.poll(WAIT).unwrap().into_iter();
        all.find(|fetched| fetched.records().count() > 0)
    });
    assert_eq!(fetched.records().next().unwrap().value, Some(&b"b"[..]));
    assert_eq!(fetched.cursor().peek(&fetched.batch), fetched.records().next());
}

fn a_reader_moves_and_stops(bench: &Bench<'_>) {
    let at = bench.partition();
    bench.append_each(&at, &["a", "b"]);
    let mut reader = bench.reader(&at, 0);
    assert_eq!(reader.position(&at), Some(0));
    let end = bench.log.range(&at).unwrap().end.offset;
    until("the end", || {
        reader.poll(WAIT).unwrap();
        (reader.position(&at).unwrap() >= end).then_some(())
    });
    reader.assign(&at, 0).unwrap();
    let again = until("the first record again", || reader.poll(WAIT).unwrap().into_iter().next());
    assert_eq!(again.records().next().unwrap().value, Some(&b"a"[..]));
    reader.unassign(&at);
    assert_eq!(reader.position(&at), None);
    bench.append_each(&at, &["c"]);
    assert!(reader.poll(WAIT).unwrap().is_empty(), "nothing of a partition that is not read");
}

fn a_reader_serves_all_its_partitions(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 4);
    let all: Vec<_> = (0..4).map(|p| TopicPartition::new(topic.as_str(), p)).collect();
    let mut reader = bench.log.reader().unwrap();
    for at in &all {
        bench.append_each(at, &["a", "b", "c"]);
        reader.assign(at, 0).unwrap();
    }
    let mut counts = [0; 4];
    until("three records of each", || {
        for fetched in reader.poll(WAIT).unwrap() {
            counts[fetched.partition.partition as usize] += fetched.records().count();
        }
        (counts == [3; 4]).then_some(())
    });
}

fn a_range_begins_and_ends_where_records_do(bench: &Bench<'_>) {
    let at = bench.partition();
    let empty = bench.log.range(&at).unwrap();
    assert_eq!((empty.start, empty.end.offset), (0, 0));
    let appended = bench.append_each(&at, &["a", "b"]);
    let range = bench.log.range(&at).unwrap();
    assert_eq!(range.start, 0);
    assert!(range.end.offset >= appended[1].next.offset, "a control record may come after it");
    assert_eq!(range.end.epoch, appended[1].next.epoch);
}

fn what_a_commit_answers_is_valid(bench: &Bench<'_>) {
    let at = bench.partition();
    assert_eq!(bench.log.validate(&at, Position::default()).unwrap(), Validity::Valid);
    for appended in bench.append_each(&at, &["a", "b"]) {
        assert_eq!(bench.log.validate(&at, appended.next).unwrap(), Validity::Valid);
    }
    let end = bench.log.range(&at).unwrap().end;
    assert_eq!(bench.log.validate(&at, end).unwrap(), Validity::Valid);
}

fn a_position_beyond_the_end_is_truncated(bench: &Bench<'_>) {
    let at = bench.partition();
    bench.append_each(&at, &["a"]);
    let mut beyond = bench.log.range(&at).unwrap().end;
    // The mark of a transaction's end may take the next place a moment later.
    beyond.offset += 10;
    let validity = bench.log.validate(&at, beyond).unwrap();
    assert!(matches!(validity, Validity::Truncated { .. }), "{validity:?}");
}

fn purged_records_are_gone(bench: &Bench<'_>) {
    let at = bench.partition();
    let appended = bench.append_each(&at, &["a", "b", "c"]);
    let kept = appended[1].next;
    bench.log.purge(&at, kept.offset).unwrap();
    assert_eq!(bench.log.range(&at).unwrap().start, kept.offset);
    assert_eq!(bench.values(&at, kept.offset, 1), ["c"]);
    let mut reader = bench.reader(&at, 0);
    let error = until("an error", || reader.poll(WAIT).err());
    assert!(matches!(error, LogError::OutOfRange { offset: 0, .. }), "{error}");
    let start = kept.offset;
    let before = Position::new(start - 1, kept.epoch);
    assert_eq!(bench.log.validate(&at, before).unwrap(), Validity::Expired { start });
    assert_eq!(bench.log.validate(&at, kept).unwrap(), Validity::Valid);
    bench.log.purge(&at, 0).unwrap();
    assert_eq!(bench.log.range(&at).unwrap().start, start, "nothing comes back");
}

fn a_partition_purged_to_its_end_goes_on(bench: &Bench<'_>) {
    let at = bench.partition();
    bench.append_each(&at, &["a", "b"]);
    let end = bench.log.range(&at).unwrap().end.offset;
    bench.log.purge(&at, end).unwrap();
    let range = bench.log.range(&at).unwrap();
    assert_eq!(range.start, end);
    assert!(range.end.offset >= end, "a control record may come after it");
    let appended = bench.append_each(&at, &["c"]);
    assert!(appended[0].base_offset >= end);
    assert_eq!(bench.values(&at, end, 1), ["c"]);
}

fn reconnecting_keeps_records(bench: &Bench<'_>) {
    let at = bench.partition();
    let before = bench.append_each(&at, &["a"])[0];
    let mut reader = bench.reader(&at, 0);
    bench.log.reconnect().unwrap();
    assert_eq!(bench.log.validate(&at, before.next).unwrap(), Validity::Valid);
    let after = bench.append_each(&at, &["b"])[0];
    assert!(after.base_offset >= before.next.offset);
    assert!(after.next.epoch >= before.next.epoch);
    assert_eq!(bench.values(&at, 0, 2), ["a", "b"]);
    let mut count = 0;
    until("both records from the older reader", || {
        count += reader.poll(WAIT).unwrap().iter().flat_map(|f| f.records()).count();
        (count == 2).then_some(())
    });
}
