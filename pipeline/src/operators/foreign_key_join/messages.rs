//! What the two sides of a foreign-key join say to each other.

use crate::codec::{Codec, CodecError, Serde};

/// What is said to the right side about a left row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) row: Vec<u8>,
    pub(super) wish: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// It refers to another row now, or is gone.
    Forget,
    /// The same, and say so: the result is to be taken back.
    TakeBack(u64),
    /// It refers to this row: answer, also if there is none.
    Answer(u64),
    /// It refers to this row: answer if there is one.
    AnswerIfPresent(u64),
}

/// What the right side says to a left row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer<R> {
    pub(super) number: u64,
    pub(super) right: Option<R>,
}

/// Subscriptions as bytes: wish, number, the row's key. **Format.**
pub(super) struct Subscriptions;

impl Codec<Subscription> for Subscriptions {
    fn encode(&self, value: &Subscription, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        let (wish, number) = match value.wish {
            Wish::Forget => (0, 0),
            Wish::Answer(number) => (1, number),
            Wish::AnswerIfPresent(number) => (2, number),
            Wish::TakeBack(number) => (3, number),
        };
        out.push(wish);
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&value.row);
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Subscription, CodecError> {
        let bad = || CodecError::new("not a subscription");
        let (wish, rest) = bytes.and_then(<[u8]>::split_first).ok_or_else(bad)?;
        let (number, row) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let number = u64::from_be_bytes(*number);
        let wish = match wish {
            0 => Wish::Forget,
            1 => Wish::Answer(number),
            2 => Wish::AnswerIfPresent(number),
            3 => Wish::TakeBack(number),
            _ => return Err(bad()),
        };
        Ok(Subscription { row: row.to_vec(), wish })
    }
}

/// Answers as bytes: number, then 1 and the right row, or 0. **Format.**
pub(super) struct Answers<R>(pub(super) Serde<R>);

impl<R> Codec<Answer<R>> for Answers<R> {
    fn encode(&self, value: &Answer<R>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(&value.number.to_be_bytes());
        out.push(value.right.is_some().into());
        if let Some(right) = &value.right
            && !self.0.encode(right, out)?
        {
            return Err(CodecError::new("null, where a row has a value"));
        }
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Answer<R>, CodecError> {
        let bad = || CodecError::new("not an answer");
        let (number, rest) = bytes.and_then(<[u8]>::split_first_chunk::<8>).ok_or_else(bad)?;
        let (present, right) = rest.split_first().ok_or_else(bad)?;
        let right = (*present == 1).then(|| self.0.decode(Some(right))).transpose()?;
        Ok(Answer { number: u64::from_be_bytes(*number), right })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::int64;

    #[test]
    fn subscriptions_and_answers_read_back() {
        for wish in
            [Wish::Forget, Wish::Answer(7), Wish::AnswerIfPresent(u64::MAX), Wish::TakeBack(8)]
        {
            let subscription = Subscription { row: b"row".to_vec(), wish };
            let mut bytes = Vec::new();
            assert!(Subscriptions.encode(&subscription, &mut bytes).unwrap());
            assert_eq!(Subscriptions.decode(Some(&bytes)).unwrap(), subscription);
            assert!(Subscriptions.decode(Some(&bytes[..8])).is_err());
        }
        for right in [None, Some(-3)] {
            let answer = Answer { number: 9, right };
            let mut bytes = Vec::new();
            assert!(Answers(int64()).encode(&answer, &mut bytes).unwrap());
            assert_eq!(Answers(int64()).decode(Some(&bytes)).unwrap(), answer);
            assert!(Answers(int64()).decode(Some(&bytes[..8])).is_err());
        }
        assert!(Subscriptions.decode(None).is_err());
    }
}
