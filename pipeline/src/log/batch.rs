//! Batches: how records lie on disk, in memory and between threads. **Format**, version 1.
//!
//! ```text
//!  0 u8  version = 1            32 i64 base timestamp (ms)
//!  1 u8  compression (0, 1=lz4) 40 i64 largest timestamp (ms)
//!  2 u16 zero                   48 i64 append time (ms)
//!  4 u32 CRC32C of the header   56 u64 first serial number (reserved, 0)
//!  8 u64 base offset            64 u32 payload length
//! 16 u32 epoch                  68 u32 CRC32C of the payload as it lies there
//! 20 u32 records                72 payload
//! 24 u32 last offset - base
//! 28 u32 payload length, uncompressed
//! ```
//! All numbers are little-endian. The header's checksum covers its bytes 0..4 and 8..72, so every
//! byte of a batch is covered by one of the two. The payload is, for each record:
//! `varint offset delta, zigzag timestamp delta, varint key length + 1 (0 = no key), key,
//! varint value length + 1, value, varint headers length, headers`; offsets ascend, and may leave
//! gaps after compaction.

use super::record::{
    Headers, RecordRef, put_signed, put_varint, take_signed, take_slice, take_varint,
};

pub(crate) const HEADER_LENGTH: usize = 72;
const VERSION: u8 = 1;
const COMPRESSION_NONE: u8 = 0;
const COMPRESSION_LZ4: u8 = 1;
/// Below this a payload is not worth compressing.
const COMPRESSED_BYTES_MIN: usize = 128;
/// What a batch may decompress to at most: a bound against damaged or hostile lengths.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// Records on their way into one partition of the log.
#[derive(Clone, Debug, Default)]
pub struct BatchBuilder {
    payload: Vec<u8>,
    count: u32,
    last_delta: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a record with the encoded `headers` ([`super::record::put_header`]).
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[u8],
    ) {
        let delta = if self.count == 0 { 0 } else { self.last_delta + 1 };
        self.push_at(delta, RecordParts { timestamp, key, value, headers });
    }

    /// Appends a record that keeps its place: for compaction, which leaves gaps.
    pub(crate) fn push_at(&mut self, delta: u32, record: RecordParts<'_>) {
        let RecordParts { timestamp, key, value, headers } = record;
        assert!(self.count == 0 || delta > self.last_delta, "offsets ascend within a batch");
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        put_varint(&mut self.payload, u64::from(delta));
        put_signed(&mut self.payload, timestamp.wrapping_sub(self.base_timestamp));
        put_bytes(&mut self.payload, key);
        put_bytes(&mut self.payload, value);
        put_varint(&mut self.payload, headers.len() as u64);
        self.payload.extend_from_slice(headers);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_delta = delta;
        self.count += 1;
    }

    /// This place, to come back to with [`Self::rewind`].
    pub(crate) fn mark(&self) -> BatchMark {
        let Self { count, last_delta, max_timestamp, .. } = *self;
        BatchMark { bytes: self.payload.len(), count, last_delta, max_timestamp }
    }

    /// Takes back the records pushed since `mark`.
    pub(crate) fn rewind(&mut self, mark: BatchMark) {
        assert!(mark.bytes <= self.payload.len(), "a mark lies behind nothing that was taken back");
        self.payload.truncate(mark.bytes);
        self.count = mark.count;
        self.last_delta = mark.last_delta;
        self.max_timestamp = mark.max_timestamp;
    }

    /// The number of records.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of the records, in bytes, before compression.
    pub fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// Compresses the payload: the work that needs no knowledge of offsets.
    pub(crate) fn seal(self) -> Sealed {
        let uncompressed = self.payload.len();
        let compressed = (uncompressed >= COMPRESSED_BYTES_MIN)
            .then(|| lz4_flex::block::compress(&self.payload))
            .filter(|compressed| compressed.len() < uncompressed);
        let compression = if compressed.is_some() { COMPRESSION_LZ4 } else { COMPRESSION_NONE };
        let payload = compressed.unwrap_or(self.payload);
        Sealed {
            compression,
            payload_crc: crc32c::crc32c(&payload),
            payload,
            uncompressed,
            count: self.count,
            last_delta: self.last_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
        }
    }

    /// Hands each record to `take`, in order, at offsets from 0; ends at the first error.
    pub(crate) fn each<E>(
        &self,
        mut take: impl FnMut(RecordRef<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = self.payload.as_slice();
        for _ in 0..self.count {
            let record = parse(&mut bytes, (0, self.base_timestamp));
            take(record.expect("the builder wrote it"))?;
        }
        Ok(())
    }

    /// The batch as a reader would see it at `base_offset`, without a way through bytes.
    pub fn into_batch(self, base_offset: u64, epoch: u32) -> Batch {
        Batch {
            base_offset,
            last_offset: base_offset + u64::from(self.last_delta),
            epoch,
            count: self.count,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            append_time_ms: 0,
            payload: self.payload,
        }
    }
}

/// A place in a [`BatchBuilder`], between two records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchMark {
    bytes: usize,
    count: u32,
    last_delta: u32,
    max_timestamp: i64,
}

/// The parts of a record that do not depend on where it lies.
#[derive(Clone, Copy)]
pub(crate) struct RecordParts<'a> {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [u8],
}

/// A compressed batch that waits for its offset.
pub(crate) struct Sealed {
    compression: u8,
    payload: Vec<u8>,
    payload_crc: u32,
    uncompressed: usize,
    pub(crate) count: u32,
    pub(crate) last_delta: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// What only the appender knows of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) base_offset: u64,
    pub(crate) epoch: u32,
    pub(crate) append_time_ms: i64,
}

impl Sealed {
    /// The size on disk, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        HEADER_LENGTH + self.payload.len()
    }

    /// How many offsets it takes.
    pub(crate) fn span(&self) -> u64 {
        if self.count == 0 { 0 } else { u64::from(self.last_delta) + 1 }
    }

    /// The uncompressed size, in bytes.
    pub(crate) fn uncompressed(&self) -> usize {
        self.uncompressed
    }

    /// The bytes to store.
    pub(crate) fn encode(&self, at: Placement) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.extend_from_slice(&[VERSION, self.compression, 0, 0]);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&at.base_offset.to_le_bytes());
        out.extend_from_slice(&at.epoch.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.last_delta.to_le_bytes());
        out.extend_from_slice(&length_u32(self.uncompressed));
        out.extend_from_slice(&self.base_timestamp.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp.to_le_bytes());
        out.extend_from_slice(&at.append_time_ms.to_le_bytes());
        out.extend_from_slice(&0_u64.to_le_bytes());
        out.extend_from_slice(&length_u32(self.payload.len()));
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        assert_eq!(out.len(), HEADER_LENGTH, "the header is as long as the format says");
        let crc = header_crc(&out);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.payload);
        out
    }
}

fn length_u32(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a batch is bounded far below 4 GiB").to_le_bytes()
}

fn header_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[8..HEADER_LENGTH])
}

/// Records of one partition, decompressed and checked: reading them cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    base_offset: u64,
    last_offset: u64,
    epoch: u32,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
    append_time_ms: i64,
    payload: Vec<u8>,
}

impl Batch {
    /// The offset that the batch begins at; its record may be gone.
    pub fn base_offset(&self) -> u64 {
        self.base_offset
    }

    /// The offset of the last place in the batch; its record may be gone too.
    pub fn last_offset(&self) -> u64 {
        self.last_offset
    }

    /// The epoch it was written in.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The number of records in it.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether compaction has left nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The largest event time in it.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// When it was appended, by the log's wall clock.
    pub fn append_time_ms(&self) -> i64 {
        self.append_time_ms
    }

    /// The size of its records in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        let mut cursor = BatchCursor::default();
        std::iter::from_fn(move || {
            let record = cursor.peek(self)?;
            cursor.advance(self);
            Some(record)
        })
    }

    /// The same records, and offsets up to `last_offset` that hold none any more, or never did.
    pub(crate) fn reaching(mut self, last_offset: u64) -> Self {
        self.last_offset = self.last_offset.max(last_offset);
        self
    }

    fn parse<'a>(&'a self, bytes: &mut &'a [u8]) -> Option<RecordRef<'a>> {
        parse(bytes, (self.base_offset, self.base_timestamp))
    }

    fn is_well_formed(&self) -> bool {
        let mut bytes = self.payload.as_slice();
        let mut next = self.base_offset;
        for _ in 0..self.count {
            let Some(record) = self.parse(&mut bytes) else { return false };
            let in_order = record.offset >= next && record.offset <= self.last_offset;
            if !in_order || !record.headers.is_well_formed() {
                return false;
            }
            next = record.offset.saturating_add(1);
        }
        bytes.is_empty()
    }
}

/// Takes a record from the front of a payload.
fn parse<'a>(
    bytes: &mut &'a [u8],
    (base_offset, base_timestamp): (u64, i64),
) -> Option<RecordRef<'a>> {
    let delta = take_varint(bytes)?;
    let timestamp = base_timestamp.wrapping_add(take_signed(bytes)?);
    let key = take_bytes(bytes)?;
    let value = take_bytes(bytes)?;
    let headers = Headers::new(take_slice(bytes)?);
    let offset = base_offset.checked_add(delta)?;
    Some(RecordRef { offset, timestamp, key, value, headers })
}

/// A place in a [`Batch`]. Separate from it, so that a queue can own both.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchCursor {
    at: usize,
}

impl BatchCursor {
    /// The record at the cursor; `None` at the end.
    pub fn peek<'a>(&self, batch: &'a Batch) -> Option<RecordRef<'a>> {
        let mut bytes = batch.payload.get(self.at..)?;
        batch.parse(&mut bytes)
    }

    /// The record at the cursor, and the place behind it; `None` at the end.
    pub fn read<'a>(&self, batch: &'a Batch) -> Option<(RecordRef<'a>, Self)> {
        let mut bytes = batch.payload.get(self.at..)?;
        let record = batch.parse(&mut bytes)?;
        Some((record, Self { at: batch.payload.len() - bytes.len() }))
    }

    /// Moves to the next record.
    pub fn advance(&mut self, batch: &Batch) {
        if let Some(mut bytes) = batch.payload.get(self.at..)
            && batch.parse(&mut bytes).is_some()
        {
            self.at = batch.payload.len() - bytes.len();
        }
    }
}

/// The header of a stored batch, checked by its own checksum alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) at: Placement,
    pub(crate) count: u32,
    pub(crate) last_offset: u64,
    pub(crate) max_timestamp: i64,
    base_timestamp: i64,
    uncompressed: usize,
    compression: u8,
    payload_length: usize,
    payload_crc: u32,
}

/// Reads the header of a stored batch.
///
/// # Errors
/// A text that says what does not check.
pub(crate) fn decode_header(bytes: &[u8]) -> Result<Header, String> {
    let header = bytes.get(..HEADER_LENGTH).ok_or("the batch is shorter than its header")?;
    let stored = u32::from_le_bytes(field(header, 4));
    if stored != header_crc(header) {
        return Err("the header's checksum is wrong".into());
    }
    if header[0] != VERSION {
        return Err(format!("batch version {} is not known", header[0]));
    }
    let base_offset = u64::from_le_bytes(field(header, 8));
    let last_delta = u32::from_le_bytes(field(header, 24));
    Ok(Header {
        at: Placement {
            base_offset,
            epoch: u32::from_le_bytes(field(header, 16)),
            append_time_ms: i64::from_le_bytes(field(header, 48)),
        },
        count: u32::from_le_bytes(field(header, 20)),
        last_offset: base_offset.checked_add(last_delta.into()).ok_or("the offset overflows")?,
        max_timestamp: i64::from_le_bytes(field(header, 40)),
        base_timestamp: i64::from_le_bytes(field(header, 32)),
        uncompressed: u32::from_le_bytes(field(header, 28)) as usize,
        compression: header[1],
        payload_length: u32::from_le_bytes(field(header, 64)) as usize,
        payload_crc: u32::from_le_bytes(field(header, 68)),
    })
}

/// Reads and checks a whole stored batch.
///
/// # Errors
/// A text that says what does not check.
pub(crate) fn decode(bytes: &[u8]) -> Result<Batch, String> {
    let header = decode_header(bytes)?;
    let payload = &bytes[HEADER_LENGTH..];
    if payload.len() != header.payload_length {
        return Err("the payload's length is wrong".into());
    }
    if crc32c::crc32c(payload) != header.payload_crc {
        return Err("the payload's checksum is wrong".into());
    }
    let batch = Batch {
        base_offset: header.at.base_offset,
        last_offset: header.last_offset,
        epoch: header.at.epoch,
        count: header.count,
        base_timestamp: header.base_timestamp,
        max_timestamp: header.max_timestamp,
        append_time_ms: header.at.append_time_ms,
        payload: decompress(&header, payload)?,
    };
    if batch.is_well_formed() { Ok(batch) } else { Err("the records are malformed".into()) }
}

fn decompress(header: &Header, payload: &[u8]) -> Result<Vec<u8>, String> {
    if header.uncompressed > PAYLOAD_BYTES_MAX {
        return Err("the uncompressed length is beyond all bounds".into());
    }
    match header.compression {
        COMPRESSION_NONE if payload.len() == header.uncompressed => Ok(payload.to_vec()),
        COMPRESSION_NONE => Err("the uncompressed length is wrong".into()),
        COMPRESSION_LZ4 => lz4_flex::block::decompress(payload, header.uncompressed)
            .map_err(|error| format!("the payload does not decompress: {error}")),
        other => Err(format!("compression {other} is not known")),
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the header's length was checked")
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, 0),
        Some(bytes) => {
            put_varint(out, bytes.len() as u64 + 1);
            out.extend_from_slice(bytes);
        }
    }
}

/// `Some(None)` is a null; `None` is a malformed field.
fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Some(length) = take_varint(bytes)?.checked_sub(1) else { return Some(None) };
    let (slice, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(slice))
}

#[cfg(test)]
mod tests;
