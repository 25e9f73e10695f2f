//! Why brokers do not let us in, and which settings mend it.
//!
//! A client goes on trying, with wrong credentials too; it tells what it meets as events. Whoever
//! waits for it looks here, so that a wrong password is told at once and not after a timeout. The
//! clients' own words are passed on: they name brokers and mechanisms, never a secret.

use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use super::ffi::{Feed, Polled};

/// How many events are looked at: a client repeats itself.
const EVENTS_MAX: usize = 1000;

/// What a client that reads nothing has heard since it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// That the brokers do not let us in, and which settings to look at.
    pub(super) refusal: Option<String>,
    /// The last error, in the client's words.
    pub(super) last: Option<String>,
}

/// Takes what `feed` has heard.
pub(super) fn heard(feed: &Feed) -> Heard {
    let mut heard = Heard::default();
    for _ in 0..EVENTS_MAX {
        let more = feed.poll(Duration::ZERO, &mut |polled| {
            if let Polled::Failed { code, reason, .. } = polled {
                heard.refusal = explain(code, &reason).or(heard.refusal.take());
                // That all are down is no news beside why one is.
                if code != RDKafkaErrorCode::AllBrokersDown || heard.last.is_none() {
                    heard.last = Some(reason);
                }
            }
        });
        if !more {
            break;
        }
    }
    heard
}

/// What a client's error means, if it is one that the settings of its security bring about.
fn explain(code: RDKafkaErrorCode, reason: &str) -> Option<String> {
    let has = |text: &str| reason.contains(text);
    let settings = match code {
        RDKafkaErrorCode::Authentication if has("mechanism") && has("upported") => {
            "`sasl.mechanism`"
        }
        RDKafkaErrorCode::Authentication => "`sasl.username`, `sasl.password` and `sasl.mechanism`",
        RDKafkaErrorCode::SSL
            if has("certificate verify failed") || has("could not be verified") =>
        {
            "`ssl.ca.location`, which is to hold the certificate of the authority that has signed \
             the brokers' certificates, and whether `bootstrap.servers` has the names that stand \
             in them"
        }
        // Under TLS 1.3 the brokers say so when the connection stands already.
        _ if has("SSL") && has("alert") => {
            "`ssl.certificate.location` and `ssl.key.location`, or `ssl.keystore.location`: the \
             brokers do not take our certificate, or want one"
        }
        RDKafkaErrorCode::SSL => "`security.protocol` and the port in `bootstrap.servers`",
        _ if has("security.protocol") => {
            "`security.protocol`, which does not go with the port in `bootstrap.servers`"
        }
        _ => return None,
    };
    Some(format!("the brokers do not let us in: look at {settings} under [kafka]: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_settings_bring_about_is_a_refusal() {
        let told = |code, reason| explain(code, reason);
        assert_eq!(told(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down"), None);
        assert_eq!(told(RDKafkaErrorCode::BrokerTransportFailure, "Connection refused"), None);
        let wrong = told(RDKafkaErrorCode::Authentication, "invalid credentials").unwrap();
        assert!(wrong.contains("`sasl.password`"), "{wrong}");
        let nobody = "Receive failed: SSL routines::tlsv13 alert certificate required";
        let nobody = told(RDKafkaErrorCode::BrokerTransportFailure, nobody).unwrap();
        assert!(nobody.contains("`ssl.certificate.location`"), "{nobody}");
        let plain = "Disconnected: might be caused by incorrect security.protocol configuration";
        let plain = told(RDKafkaErrorCode::BrokerTransportFailure, plain).unwrap();
        assert!(plain.contains("`security.protocol`, which"), "{plain}");
    }
}
