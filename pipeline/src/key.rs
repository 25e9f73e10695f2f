//! Keys: what is grouped, joined and looked up by.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

use crate::codec::CodecError;
use crate::record::{Window, Windowed};

/// A type that can be a record's key: it has bytes, which decide the partition and equality, and
/// a text, which is the key of a view's document.
///
/// Implemented for `String`, `i64`, `Vec<u8>`, `Option` of a key (`None` is a null key, which no
/// other implementation reads) and [`Windowed`] keys. Implement it for your own types by handing
/// on to one of these.
pub trait Key: Clone + 'static {
    /// Appends the bytes to `out`; false if the key is null.
    fn encode(&self, out: &mut Vec<u8>) -> bool;

    /// Reads the bytes of a record's key.
    ///
    /// # Errors
    /// When these are not the bytes of such a key.
    fn decode(bytes: Option<&[u8]>) -> Result<Self, CodecError>;

    /// Appends the text to `out`. Different keys have different texts.
    fn write_text(&self, out: &mut String);

    /// The window that the key lies in, if it is windowed.
    fn window(&self) -> Option<Window> {
        None
    }

    /// Appends the text of the key without its window.
    fn write_base_text(&self, out: &mut String) {
        self.write_text(out);
    }
}

pub(crate) fn required(bytes: Option<&[u8]>) -> Result<&[u8], CodecError> {
    bytes.ok_or_else(|| CodecError::new("null, where one is needed"))
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.as_bytes());
        true
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, CodecError> {
        let text = std::str::from_utf8(required(bytes)?);
        text.map(str::to_owned).map_err(|error| CodecError::new(format!("not UTF-8: {error}")))
    }

    fn write_text(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Key for i64 {
    fn encode(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.to_be_bytes());
        true
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, CodecError> {
        let bytes = required(bytes)?.try_into();
        bytes.map(Self::from_be_bytes).map_err(|_| CodecError::new("not 8 bytes"))
    }

    fn write_text(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{self}");
    }
}

impl Key for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self);
        true
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, CodecError> {
        required(bytes).map(<[u8]>::to_vec)
    }

    fn write_text(&self, out: &mut String) {
        for byte in self {
            let _ = write!(out, "{byte:02x}");
        }
    }
}

impl<K: Key> Key for Option<K> {
    fn encode(&self, out: &mut Vec<u8>) -> bool {
        self.as_ref().is_some_and(|key| key.encode(out))
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, CodecError> {
        bytes.map(|bytes| K::decode(Some(bytes))).transpose()
    }

    fn write_text(&self, out: &mut String) {
        if let Some(key) = self {
            key.write_text(out);
        }
    }

    fn window(&self) -> Option<Window> {
        self.as_ref().and_then(Key::window)
    }
}

/// The key's bytes, then start and end of the window as big-endian numbers. In text: the key, `@`,
/// and the window's start in RFC 3339 (in milliseconds if it is beyond the calendar). The windows
/// of one key differ in their starts.
impl<K: Key> Key for Windowed<K> {
    fn encode(&self, out: &mut Vec<u8>) -> bool {
        let present = self.key.encode(out);
        out.extend_from_slice(&self.window.start.to_be_bytes());
        out.extend_from_slice(&self.window.end.to_be_bytes());
        present
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, CodecError> {
        let cut = || CodecError::new("too short for a windowed key");
        let (rest, end) = required(bytes)?.split_last_chunk::<8>().ok_or_else(cut)?;
        let (key, start) = rest.split_last_chunk::<8>().ok_or_else(cut)?;
        let window = Window { start: i64::from_be_bytes(*start), end: i64::from_be_bytes(*end) };
        Ok(Self { key: K::decode(Some(key))?, window })
    }

    fn write_text(&self, out: &mut String) {
        self.key.write_text(out);
        out.push('@');
        match DateTime::from_timestamp_millis(self.window.start) {
            Some(start) => out.push_str(&start.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => self.window.start.write_text(out),
        }
    }

    fn window(&self) -> Option<Window> {
        Some(self.window)
    }

    fn write_base_text(&self, out: &mut String) {
        self.key.write_text(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &impl Key) -> String {
        let mut out = String::new();
        key.write_text(&mut out);
        out
    }

    fn reads_back<K: Key + PartialEq + std::fmt::Debug>(key: &K, text_of_it: &str) {
        let mut bytes = Vec::new();
        let present = key.encode(&mut bytes);
        assert_eq!(K::decode(present.then_some(&bytes[..])).unwrap(), *key);
        assert_eq!(text(key), text_of_it);
    }

    #[test]
    fn keys_read_back() {
        reads_back(&"card-1".to_owned(), "card-1");
        reads_back(&-7_i64, "-7");
        reads_back(&vec![0_u8, 255], "00ff");
        reads_back(&None::<String>, "");
        let window = Window { start: -60_000, end: 0 };
        reads_back(&Windowed { key: "a@b".to_owned(), window }, "a@b@1969-12-31T23:59:00Z");
    }

    #[test]
    fn bytes_that_are_no_key_say_why() {
        assert!(String::decode(None).is_err());
        assert!(String::decode(Some(&[0xff])).is_err());
        assert!(i64::decode(Some(&[1, 2])).is_err());
        assert!(Windowed::<String>::decode(Some(&[0; 15])).is_err());
    }
}
