//! One record as bytes, and the headers that Millpond writes.
//!
//! Knows nothing of batches: a record here is the varint form inside a batch's payload.

/// A record that lies in somebody else's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its offset in the partition.
    pub offset: u64,
    /// Event time, milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// The headers of a record, still encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Reads `bytes`, which [`put_header`] wrote.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The encoded form, to be handed on.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first header of that name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// Name and value of each header, in order. Ends early at bytes that are no header.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || Some((take_slice(&mut rest)?, take_slice(&mut rest)?)))
    }

    /// Whether the bytes are whole headers and nothing else.
    pub(crate) fn is_well_formed(&self) -> bool {
        let mut rest = self.bytes;
        while !rest.is_empty() {
            if take_slice(&mut rest).is_none() || take_slice(&mut rest).is_none() {
                return false;
            }
        }
        true
    }
}

/// Appends one header to `out`.
pub fn put_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put_varint(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends `value` as an unsigned LEB128 varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` zigzag-encoded, so that small negative numbers are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Takes a varint from the front of `bytes`; `None` if it is cut off or longer than 64 bits.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = bytes.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Takes a zigzag varint from the front of `bytes`.
pub(crate) fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let value = take_varint(bytes)?;
    Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
}

/// Takes a length and that many bytes from the front of `bytes`.
pub(crate) fn take_slice<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (slice, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(slice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_read_back(unsigned: u64, signed: i64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, unsigned);
            put_signed(&mut bytes, signed);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_varint(&mut rest), Some(unsigned));
            prop_assert_eq!(take_signed(&mut rest), Some(signed));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_headers_or_not_but_never_a_panic(bytes: Vec<u8>) {
            let headers = Headers::new(&bytes);
            prop_assert!(headers.iter().count() <= bytes.len());
            headers.is_well_formed();
        }
    }

    #[test]
    fn headers_read_back_in_order() {
        let mut bytes = Vec::new();
        put_header(&mut bytes, "a", b"1");
        put_header(&mut bytes, "b", b"");
        let headers = Headers::new(&bytes);
        assert_eq!(headers.get("b"), Some(&b""[..]));
        assert_eq!(headers.get("c"), None);
        assert_eq!(headers.iter().count(), 2);
        assert!(headers.is_well_formed());
        assert!(!Headers::new(&bytes[..bytes.len() - 1]).is_well_formed());
    }
}
