//! A key in two parts.

use pipeline::Key;
use pipeline::codec::CodecError;

/// A key of two texts, of which the first one decides where its records lie: host and address,
/// order and event.
///
/// Its text is `first/second`. A slash or percent sign in the first part is written `%2F` or
/// `%25`, so that different pairs have different texts. In bytes, the length of the first part is
/// in front, as four big-endian bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair(pub String, pub String);

impl Key for Pair {
    fn encode(&self, out: &mut Vec<u8>) -> bool {
        let Self(first, second) = self;
        let length = u32::try_from(first.len()).expect("a record's key is shorter than 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(first.as_bytes());
        out.extend_from_slice(second.as_bytes());
        true
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, CodecError> {
        let split = |bytes: &[u8]| {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let (first, second) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            Some(Self(text(first)?, text(second)?))
        };
        bytes.and_then(split).ok_or_else(|| CodecError::new("not a key of two texts"))
    }

    fn write_text(&self, out: &mut String) {
        let Self(first, second) = self;
        for c in first.chars() {
            match c {
                '/' => out.push_str("%2F"),
                '%' => out.push_str("%25"),
                c => out.push(c),
            }
        }
        out.push('/');
        out.push_str(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(first: &str, second: &str) -> Pair {
        Pair(first.to_owned(), second.to_owned())
    }

    #[test]
    fn pairs_read_back_and_differ_in_text() {
        let cases = [
            (pair("web-01", "203.0.113.7"), "web-01/203.0.113.7"),
            (pair("", ""), "/"),
            (pair("a", "b/c"), "a/b/c"),
            (pair("a/b", "c"), "a%2Fb/c"),
            (pair("a%2Fb", "c"), "a%252Fb/c"),
        ];
        for (pair, expected) in cases {
            let (mut bytes, mut text) = (Vec::new(), String::new());
            assert!(pair.encode(&mut bytes));
            pair.write_text(&mut text);
            assert_eq!(Pair::decode(Some(&bytes)).as_ref(), Ok(&pair));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn bytes_that_are_no_pair_are_refused() {
        for bytes in
            [None, Some(&[0, 0, 0][..]), Some(&[0, 0, 0, 2, b'a']), Some(&[0, 0, 0, 0, 0xff])]
        {
            assert!(Pair::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
