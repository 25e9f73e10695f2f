//! Batches read back, and every damage is noticed.

use proptest::prelude::*;

use super::super::record::put_header;
use super::*;

const AT: Placement = Placement { base_offset: 1_000, epoch: 7, append_time_ms: 1_700_000_000_000 };

fn sample() -> BatchBuilder {
    let mut headers = Vec::new();
    put_header(&mut headers, "h", b"x");
    let mut builder = BatchBuilder::new();
    builder.push(50, Some(b"key"), Some(b"value"), &headers);
    builder.push(20, None, Some(&[7; 300]), &[]);
    builder.push(-5, Some(b""), None, &[]);
    builder
}

#[test]
fn a_batch_reads_back_what_was_pushed() {
    let batch = decode(&sample().seal().encode(AT)).unwrap();
    let records: Vec<_> = batch.records().collect();
    assert_eq!(records.iter().map(|r| r.offset).collect::<Vec<_>>(), [1_000, 1_001, 1_002]);
    assert_eq!(records.iter().map(|r| r.timestamp).collect::<Vec<_>>(), [50, 20, -5]);
    assert_eq!(records[0].headers.get("h"), Some(&b"x"[..]));
    assert_eq!((records[1].key, records[1].value), (None, Some(&[7_u8; 300][..])));
    assert_eq!((records[2].key, records[2].value), (Some(&b""[..]), None));
    assert_eq!((batch.epoch(), batch.max_timestamp()), (7, 50));
    assert_eq!(batch.append_time_ms(), AT.append_time_ms);
}

#[test]
fn a_batch_may_have_gaps() {
    let mut builder = BatchBuilder::new();
    let record = RecordParts { timestamp: 1, key: None, value: None, headers: &[] };
    builder.push_at(3, record);
    builder.push_at(9, record);
    let batch = decode(&builder.seal().encode(AT)).unwrap();
    assert_eq!(batch.records().map(|r| r.offset).collect::<Vec<_>>(), [1_003, 1_009]);
    assert_eq!((batch.base_offset(), batch.last_offset()), (1_000, 1_009));
}

#[test]
fn every_changed_byte_is_noticed() {
    let good = sample().seal().encode(AT);
    for index in 0..good.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[index] ^= flip;
            assert!(decode(&bad).is_err(), "byte {index} of {} changed unnoticed", good.len());
        }
    }
    for length in 0..good.len() {
        assert!(decode(&good[..length]).is_err(), "cut to {length} bytes unnoticed");
    }
}

proptest! {
    #[test]
    fn any_records_read_back(
        records in prop::collection::vec(
            (any::<i64>(), any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>()), 1..40,
        ),
    ) {
        let mut builder = BatchBuilder::new();
        for (timestamp, key, value) in &records {
            builder.push(*timestamp, key.as_deref(), value.as_deref(), &[]);
        }
        let direct = builder.clone().into_batch(AT.base_offset, AT.epoch);
        let batch = decode(&builder.seal().encode(AT)).unwrap();
        prop_assert!(direct.records().eq(batch.records()));
        let read = batch.records().map(|r| {
            (r.timestamp, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec))
        });
        prop_assert_eq!(read.collect::<Vec<_>>(), records);
    }

    #[test]
    fn any_bytes_with_good_checksums_are_refused_or_read(payload: Vec<u8>, count in 0_u32..9) {
        let sealed = Sealed {
            compression: COMPRESSION_NONE,
            payload_crc: crc32c::crc32c(&payload),
            uncompressed: payload.len(),
            payload,
            count,
            last_delta: 8,
            base_timestamp: 0,
            max_timestamp: 0,
        };
        if let Ok(batch) = decode(&sealed.encode(AT)) {
            prop_assert_eq!(batch.records().count(), count as usize);
        }
    }
}
