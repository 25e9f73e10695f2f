//! Values that are more than a number or a string: each can hold only what is valid.

use std::fmt;
use std::net::SocketAddr;

use chrono_tz::Tz;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::nearest::nearest;

/// How much, in bytes or milliseconds, is kept; written as a number, or -1 for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Nothing is ever deleted for this reason.
    Unbounded,
    /// What is beyond this is deleted.
    UpTo(u64),
}

impl Retention {
    /// The bound, if there is one.
    pub fn bound(self) -> Option<u64> {
        match self {
            Self::Unbounded => None,
            Self::UpTo(bound) => Some(bound),
        }
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unbounded => serializer.serialize_i64(-1),
            Self::UpTo(bound) => serializer.serialize_u64(*bound),
        }
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            -1 => Ok(Self::Unbounded),
            number => u64::try_from(number)
                .ok()
                .filter(|bound| *bound > 0)
                .map(Self::UpTo)
                .ok_or_else(|| de::Error::custom("must be 1 or more, or -1 for unbounded")),
        }
    }
}

/// How long a source partition may stand still before others stop waiting for its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleTimeout {
    /// They always wait.
    Never,
    /// So many milliseconds.
    AfterMs(u64),
}

impl Serialize for IdleTimeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_str("never"),
            Self::AfterMs(ms) => serializer.serialize_u64(*ms),
        }
    }
}

impl<'de> Deserialize<'de> for IdleTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(WordOrNumber("never"))?;
        match value.map(u64::try_from) {
            None => Ok(Self::Never),
            Some(Ok(ms)) if ms > 0 => Ok(Self::AfterMs(ms)),
            Some(_) => Err(de::Error::custom("must be 1 or more, or \"never\"")),
        }
    }
}

/// How far event time may lie ahead of the time at which a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// As far as it likes.
    Unbounded,
    /// So many milliseconds.
    UpToMs(u64),
}

impl Serialize for Ahead {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unbounded => serializer.serialize_str("unbounded"),
            Self::UpToMs(ms) => serializer.serialize_u64(*ms),
        }
    }
}

impl<'de> Deserialize<'de> for Ahead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(WordOrNumber("unbounded"))?;
        match value.map(u64::try_from) {
            None => Ok(Self::Unbounded),
            Some(Ok(ms)) => Ok(Self::UpToMs(ms)),
            Some(Err(_)) => Err(de::Error::custom("must be 0 or more, or \"unbounded\"")),
        }
    }
}

/// The year of lines that name none, as RFC 3164 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Year {
    /// The one that puts the line nearest to the time it was read.
    Auto,
    /// This one for the first line; it rises where the months begin anew.
    Is(i32),
}

impl Serialize for Year {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Is(year) => serializer.serialize_i32(*year),
        }
    }
}

impl<'de> Deserialize<'de> for Year {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(WordOrNumber("auto"))? {
            None => Ok(Self::Auto),
            Some(year @ 1970..=9999) => Ok(Self::Is(year as i32)),
            Some(_) => Err(de::Error::custom("must be a year from 1970 to 9999, or \"auto\"")),
        }
    }
}

/// Reads one word as `None`, or a whole number.
struct WordOrNumber(&'static str);

impl Visitor<'_> for WordOrNumber {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number or \"{}\"", self.0)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<i64>, E> {
        Ok(Some(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<i64>, E> {
        i64::try_from(number).map(Some).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Option<i64>, E> {
        match word == self.0 {
            true => Ok(None),
            false => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
        }
    }
}

/// A time zone by its IANA name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(pub Tz);

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(|_| {
            let near = nearest(&name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            de::Error::custom(format_args!(
                "unknown time zone `{name}`: it is an IANA name such as `Europe/Paris`{hint}"
            ))
        })
    }
}

/// A socket on which syslog is received: `udp://127.0.0.1:5514`, `tcp://[::1]:5514`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogListen {
    /// One message a datagram.
    Udp(SocketAddr),
    /// One message a line.
    Tcp(SocketAddr),
}

impl SyslogListen {
    /// The address, whichever the protocol.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Tcp(address) => address,
        }
    }
}

impl Serialize for SyslogListen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Udp(address) => serializer.collect_str(&format_args!("udp://{address}")),
            Self::Tcp(address) => serializer.collect_str(&format_args!("tcp://{address}")),
        }
    }
}

impl<'de> Deserialize<'de> for SyslogListen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = match text.split_once("://") {
            Some(("udp", address)) => address.parse().ok().map(Self::Udp),
            Some(("tcp", address)) => address.parse().ok().map(Self::Tcp),
            _ => None,
        };
        parsed.ok_or_else(|| {
            de::Error::custom(format_args!(
                "`{text}` is not a syslog socket: write `udp://127.0.0.1:5514` or `tcp://[::1]:5514`"
            ))
        })
    }
}

/// Reads an IP address and a port, and says so if it is something else.
pub(super) fn socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format_args!(
            "`{text}` is not an IP address and a port such as `127.0.0.1:8080` or `[::1]:8080`"
        ))
    })
}

/// Text that is shown nowhere: not by `Debug`, and not when the configuration is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whom it is meant.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}
