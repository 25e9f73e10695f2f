//! Codecs: values as bytes.
//!
//! A value that serde knows is JSON unless a topology says otherwise ([`json`]); the others here
//! are for topics that hold something else. Keys have a trait of their own, [`crate::key::Key`].

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes could not be read as a value, or a value not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// Says why.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Turns values into bytes and back.
pub trait Codec<T>: Send + Sync {
    /// Appends the bytes of `value` to `out`; false if the value is null (a tombstone).
    ///
    /// # Errors
    /// When the value has no bytes.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError>;

    /// Reads a value.
    ///
    /// # Errors
    /// When these are not the bytes of a value.
    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError>;
}

/// A shared codec.
pub type Serde<T> = Arc<dyn Codec<T>>;

/// A value that serde can write and read, so that it can be stored, repartitioned and sent.
pub trait Value: Clone + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + 'static> Value for T {}

/// JSON by serde. A null value is refused: see [`nullable`].
pub fn json<T: Value>() -> Serde<T> {
    Arc::new(Json(PhantomData))
}

/// Texts as their UTF-8 bytes.
pub fn utf8() -> Serde<String> {
    Arc::new(Utf8)
}

/// Bytes as they are.
pub fn bytes() -> Serde<Vec<u8>> {
    Arc::new(Bytes)
}

/// Numbers as 8 big-endian bytes (Kafka's `LongSerializer`).
pub fn int64() -> Serde<i64> {
    Arc::new(Int64)
}

/// Numbers as 4 big-endian bytes (Kafka's `IntegerSerializer`).
pub fn int32() -> Serde<i32> {
    custom(
        |number: &i32, out| out.extend_from_slice(&number.to_be_bytes()),
        |bytes| {
            let bytes = bytes.try_into().map_err(|_| CodecError::new("not 4 bytes"))?;
            Ok(i32::from_be_bytes(bytes))
        },
    )
}

/// `None` as null, everything else by `inner`.
pub fn nullable<T: 'static>(inner: Serde<T>) -> Serde<Option<T>> {
    Arc::new(Nullable(inner))
}

/// Values as two functions write and read them: for formats that need no state of their own. For
/// others implement [`Codec`].
///
/// ```
/// use pipeline::codec::{CodecError, custom};
///
/// let flag = custom(
///     |flag: &bool, out| out.push(u8::from(*flag)),
///     |bytes| match bytes {
///         [0] => Ok(false),
///         [1] => Ok(true),
///         _ => Err(CodecError::new("not a flag")),
///     },
/// );
/// assert_eq!(flag.decode(Some(&[1])), Ok(true));
/// ```
pub fn custom<T: 'static>(
    write: impl Fn(&T, &mut Vec<u8>) + Send + Sync + 'static,
    read: impl Fn(&[u8]) -> Result<T, CodecError> + Send + Sync + 'static,
) -> Serde<T> {
    Arc::new(Custom { write, read, of: PhantomData })
}

fn required(bytes: Option<&[u8]>) -> Result<&[u8], CodecError> {
    bytes.ok_or_else(|| CodecError::new("the value is null"))
}

struct Json<T>(PhantomData<fn() -> T>);

impl<T: Value> Codec<T> for Json<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        serde_json::to_writer(out, value)
            .map_err(|error| CodecError::new(format!("cannot be JSON: {error}")))?;
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        serde_json::from_slice(required(bytes)?)
            .map_err(|error| CodecError::new(format!("not the JSON expected: {error}")))
    }
}

struct Utf8;

impl Codec<String> for Utf8 {
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(value.as_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<String, CodecError> {
        let text = std::str::from_utf8(required(bytes)?);
        text.map(str::to_owned).map_err(|error| CodecError::new(format!("not UTF-8: {error}")))
    }
}

struct Bytes;

impl Codec<Vec<u8>> for Bytes {
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(value);
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Vec<u8>, CodecError> {
        required(bytes).map(<[u8]>::to_vec)
    }
}

struct Int64;

impl Codec<i64> for Int64 {
    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<i64, CodecError> {
        let bytes = required(bytes)?.try_into();
        bytes.map(i64::from_be_bytes).map_err(|_| CodecError::new("not 8 bytes"))
    }
}

struct Custom<T, W, R> {
    write: W,
    read: R,
    of: PhantomData<fn(&T)>,
}

impl<T, W, R> Codec<T> for Custom<T, W, R>
where
    W: Fn(&T, &mut Vec<u8>) + Send + Sync,
    R: Fn(&[u8]) -> Result<T, CodecError> + Send + Sync,
{
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        (self.write)(value, out);
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, CodecError> {
        (self.read)(required(bytes)?)
    }
}

struct Nullable<T>(Serde<T>);

impl<T> Codec<Option<T>> for Nullable<T> {
    fn encode(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        value.as_ref().map_or(Ok(false), |value| self.0.encode(value, out))
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Option<T>, CodecError> {
        bytes.map(|bytes| self.0.decode(Some(bytes))).transpose()
    }
}
