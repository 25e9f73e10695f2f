//! Signatures after the Standard Webhooks specification, version 1 (`v1`, HMAC-SHA256).
//!
//! Signs and verifies; it does not know HTTP. The asymmetric form (`v1a`) is not here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// What is signed: a call's `webhook-id`, its `webhook-timestamp` and its body.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The header `webhook-id`.
    pub id: &'a str,
    /// The header `webhook-timestamp`, in seconds since 1970.
    pub timestamp_s: i64,
    /// The body's bytes.
    pub body: &'a [u8],
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// None of the signatures is by one of the secrets.
    #[error("no signature in `webhook-signature` matches a secret of this receiver")]
    NoMatch,
    /// The call is too old, or from the future: a replay, or a wrong clock.
    #[error(
        "`webhook-timestamp` is {off_by_s} s off this machine's clock, {tolerance_s} are allowed"
    )]
    Stale {
        /// The distance, in seconds.
        off_by_s: u64,
        /// What is allowed.
        tolerance_s: u64,
    },
}

/// The value of `webhook-signature`: one signature for each secret, separated by spaces, so that a
/// receiver accepts the call whichever of the secrets it knows.
pub fn sign(secrets: &[Secret], message: Message<'_>) -> String {
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let code = code(secret, message).finalize().into_bytes();
            format!("v1,{}", STANDARD.encode(code))
        })
        .collect();
    signatures.join(" ")
}

/// Checks the value of `webhook-signature`, in constant time for each signature.
///
/// # Errors
/// [`SignatureError::NoMatch`]. Whether the call is fresh is for [`check_age`].
pub fn verify(
    secrets: &[Secret],
    message: Message<'_>,
    signatures: &str,
) -> Result<(), SignatureError> {
    let given = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .filter_map(|encoded| STANDARD.decode(encoded).ok());
    // A caller that sends thousands of signatures does not get thousands of guesses.
    let mut given = given.take(SIGNATURES_MAX);
    let matches = |bytes: &[u8]| {
        secrets.iter().any(|secret| code(secret, message).verify_slice(bytes).is_ok())
    };
    if given.any(|bytes| matches(&bytes)) { Ok(()) } else { Err(SignatureError::NoMatch) }
}

/// Checks that a call was made within `tolerance_s` seconds of `now_s`.
///
/// # Errors
/// [`SignatureError::Stale`].
pub fn check_age(timestamp_s: i64, now_s: i64, tolerance_s: u64) -> Result<(), SignatureError> {
    let off_by_s = timestamp_s.abs_diff(now_s);
    if off_by_s > tolerance_s {
        return Err(SignatureError::Stale { off_by_s, tolerance_s });
    }
    Ok(())
}

/// The most signatures that are looked at in one call.
const SIGNATURES_MAX: usize = 8;

fn code(secret: &Secret, message: Message<'_>) -> Hmac<Sha256> {
    let mut code =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    code.update(message.id.as_bytes());
    code.update(b".");
    code.update(message.timestamp_s.to_string().as_bytes());
    code.update(b".");
    code.update(message.body);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference library's own tests (standard-webhooks, `webhook_test`).
    const MESSAGE: Message<'static> = Message {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_s: 1_614_265_330,
        body: br#"{"test": 2432232314}"#,
    };
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> Secret {
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
    }

    fn other() -> Secret {
        Secret::from_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn the_reference_vector_holds() {
        assert_eq!(sign(&[secret()], MESSAGE), SIGNATURE);
        verify(&[secret()], MESSAGE, SIGNATURE).unwrap();
    }

    #[test]
    fn during_rotation_either_secret_verifies() {
        let both = sign(&[other(), secret()], MESSAGE);
        assert_eq!(both.split(' ').count(), 2);
        verify(&[secret()], MESSAGE, &both).unwrap();
        verify(&[other()], MESSAGE, &both).unwrap();
        verify(&[secret(), other()], MESSAGE, SIGNATURE).unwrap();
    }

    #[test]
    fn what_was_changed_does_not_verify() {
        let refused = |message: Message<'_>, signatures: &str| {
            assert_eq!(verify(&[secret()], message, signatures), Err(SignatureError::NoMatch));
        };
        refused(Message { id: "msg_other", ..MESSAGE }, SIGNATURE);
        refused(Message { timestamp_s: 1_614_265_331, ..MESSAGE }, SIGNATURE);
        refused(Message { body: br#"{"test": 2432232315}"#, ..MESSAGE }, SIGNATURE);
        for signatures in [
            "",
            "v1,",
            "v1",
            "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=",
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ] {
            refused(MESSAGE, signatures);
        }
        refused(
            MESSAGE,
            &format!("{}{SIGNATURE}", format!("{} ", sign(&[other()], MESSAGE)).repeat(8)),
        );
    }

    #[test]
    fn a_call_from_another_time_is_stale_both_ways() {
        assert_eq!(check_age(1000, 1300, 300), Ok(()));
        assert_eq!(check_age(1300, 1000, 300), Ok(()));
        let stale = SignatureError::Stale { off_by_s: 301, tolerance_s: 300 };
        assert_eq!(check_age(1000, 1301, 300), Err(stale));
        assert_eq!(check_age(1301, 1000, 300), Err(stale));
        assert!(check_age(i64::MIN, i64::MAX, 300).is_err());
    }
}
