//! The key that an endpoint's calls are signed with.
//!
//! A [`Secret`] never shows itself: `Debug` is redacted, there is no `Display` and no `Serialize`,
//! and no error repeats what was given. It is not encrypted in memory.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

const PREFIX: &str = "whsec_";
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// A symmetric signing key: `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(Arc<[u8]>);

/// Why a text is no [`Secret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The prefix is missing.
    #[error("a webhook secret starts with `{PREFIX}`")]
    Prefix,
    /// What follows the prefix does not decode.
    #[error("a webhook secret is `{PREFIX}` and standard base64 with its padding")]
    Base64,
    /// Too short to be safe, or too long.
    #[error("a webhook secret has {BYTES_MIN} to {BYTES_MAX} bytes once decoded, not {0}")]
    Length(usize),
}

impl Secret {
    /// Makes a secret of raw bytes.
    ///
    /// # Errors
    /// [`SecretError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return Err(SecretError::Length(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// The key itself, for signing.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        Self::from_bytes(&STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?)
    }
}

impl TryFrom<String> for Secret {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        text.parse()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_its_text_form() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(secret.as_bytes().len(), 24);
    }

    #[test]
    fn what_is_no_secret_says_why_without_repeating_it() {
        let text = |length| format!("whsec_{}", STANDARD.encode(vec![7_u8; length]));
        for (text, error) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), SecretError::Prefix),
            ("whsec_!".to_owned(), SecretError::Base64),
            (text(23), SecretError::Length(23)),
            (text(65), SecretError::Length(65)),
        ] {
            let found = text.parse::<Secret>().unwrap_err();
            assert_eq!(found, error);
            assert!(!found.to_string().contains("MfKQ"));
        }
        assert!(text(24).parse::<Secret>().is_ok() && text(64).parse::<Secret>().is_ok());
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
    }
}
