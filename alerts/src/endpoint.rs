//! Where alerts go: a URL, its secrets and its limits.
//!
//! Settings only, and their checks; nothing here connects.

use std::net::IpAddr;

use reqwest::Url;
use serde::Deserialize;

use crate::address::refusal;
use crate::alert::Alert;
use crate::secret::Secret;

/// Where an endpoint begins that has never delivered anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the oldest alert that is retained: nothing is left out.
    #[default]
    Oldest,
    /// With the alerts that come from now on. Where that is stands in the log at once, so a crash
    /// does not move it.
    Now,
}

/// One receiver of alerts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Names the endpoint in its group (`notify-<name>`), in keys and in messages: 1 to 64 letters,
    /// digits, `-` and `_`. Another name is another endpoint, which begins anew.
    pub name: String,
    /// Where it begins, if it has never delivered anything under this name.
    #[serde(default)]
    pub start: Start,
    /// `http://` or `https://`, without user and password. May itself be confidential: it is never
    /// logged.
    pub url: String,
    /// One secret, or two during a rotation: every call is signed with each.
    pub secrets: Vec<Secret>,
    /// The rules whose alerts are sent; empty sends all.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Alerts that are being sent, wait for a retry, or wait for their commit. A crash repeats at
    /// most so many calls.
    #[serde(default = "concurrency_max")]
    pub concurrency_max: usize,
    /// How long one attempt may take, from connecting to the answer's head, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Attempts before an alert goes to [`crate::UNDELIVERED_TOPIC`].
    #[serde(default = "attempts_max")]
    pub attempts_max: u32,
    /// The bound of the first wait between attempts, in milliseconds; it doubles each time.
    #[serde(default = "backoff_first_ms")]
    pub backoff_first_ms: u64,
    /// The longest wait between attempts, in milliseconds; bounds `Retry-After` too.
    #[serde(default = "backoff_max_ms")]
    pub backoff_max_ms: u64,
    /// Lets calls go to addresses that are not public ([`refusal`]): for receivers in one's own
    /// network, and for demos.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// The largest body, in bytes. A larger alert is undelivered at once.
    #[serde(default = "payload_bytes_max")]
    pub payload_bytes_max: usize,
}

/// Why an [`Endpoint`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A setting is out of its range.
    #[error("endpoint `{name}`: {setting} {rule}")]
    Setting {
        /// The endpoint.
        name: String,
        /// The setting.
        setting: &'static str,
        /// What it has to be.
        rule: &'static str,
    },
    /// The URL names an address that webhooks do not go to.
    #[error(
        "endpoint `{name}`: its url names the {class} address {address}; \
         set allow_private_addresses to send there"
    )]
    Address {
        /// The endpoint.
        name: String,
        /// The address.
        address: IpAddr,
        /// Its class.
        class: &'static str,
    },
    /// The HTTP client cannot be made.
    #[error("endpoint `{name}`: cannot set up TLS or HTTP: {reason}")]
    Client {
        /// The endpoint.
        name: String,
        /// What the client said.
        reason: String,
    },
}

impl Endpoint {
    /// An endpoint with the default limits, for the alerts of all rules.
    pub fn new(name: impl Into<String>, url: impl Into<String>, secrets: Vec<Secret>) -> Self {
        Self {
            name: name.into(),
            start: Start::default(),
            url: url.into(),
            secrets,
            rules: Vec::new(),
            concurrency_max: concurrency_max(),
            timeout_ms: timeout_ms(),
            attempts_max: attempts_max(),
            backoff_first_ms: backoff_first_ms(),
            backoff_max_ms: backoff_max_ms(),
            allow_private_addresses: false,
            payload_bytes_max: payload_bytes_max(),
        }
    }

    /// Checks every setting, and an address in the URL, and gives the parsed URL.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<Url, EndpointError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let named = (1..=64).contains(&self.name.len()) && self.name.bytes().all(is_word);
        let rules = [
            (named, "name", "has 1 to 64 letters, digits, `-` and `_`"),
            ((1..=2).contains(&self.secrets.len()), "secrets", "are one, or two during a rotation"),
            ((1..=1024).contains(&self.concurrency_max), "concurrency_max", "is 1 to 1024"),
            ((1..=600_000).contains(&self.timeout_ms), "timeout_ms", "is 1 to 600000"),
            ((1..=1000).contains(&self.attempts_max), "attempts_max", "is 1 to 1000"),
            (self.backoff_first_ms >= 1, "backoff_first_ms", "is at least 1"),
            (
                (self.backoff_first_ms..=86_400_000).contains(&self.backoff_max_ms),
                "backoff_max_ms",
                "is backoff_first_ms to 86400000",
            ),
            (
                (1024..=16 << 20).contains(&self.payload_bytes_max),
                "payload_bytes_max",
                "is 1024 to 16777216",
            ),
        ];
        for (holds, setting, rule) in rules {
            if !holds {
                return Err(self.setting(setting, rule));
            }
        }
        self.check_url()
    }

    /// Whether `alert` is for this endpoint.
    pub(crate) fn wants(&self, alert: &Alert) -> bool {
        self.rules.is_empty() || self.rules.contains(&alert.rule)
    }

    fn check_url(&self) -> Result<Url, EndpointError> {
        let url = Url::parse(&self.url).map_err(|_| self.setting("url", "is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(self.setting("url", "starts with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.setting("url", "has no user and no password: calls are signed"));
        }
        // The HTTP client asks its resolver for names only: addresses are checked here. The parser
        // has made dotted decimals of every other way to write an IPv4 address.
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(address) = literal
            && !self.allow_private_addresses
            && let Some(class) = refusal(address)
        {
            return Err(EndpointError::Address { name: self.name.clone(), address, class });
        }
        Ok(url)
    }

    fn setting(&self, setting: &'static str, rule: &'static str) -> EndpointError {
        EndpointError::Setting { name: self.name.clone(), setting, rule }
    }
}

fn concurrency_max() -> usize {
    16
}

fn timeout_ms() -> u64 {
    15_000
}

fn attempts_max() -> u32 {
    10
}

fn backoff_first_ms() -> u64 {
    1000
}

fn backoff_max_ms() -> u64 {
    3_600_000
}

fn payload_bytes_max() -> usize {
    256 << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new("ops", url, vec![Secret::from_bytes(&[7; 32]).unwrap()])
    }

    #[test]
    fn urls_that_are_refused_say_why() {
        for (url, why) in [
            ("nonsense", "is not a URL"),
            ("ftp://example.com/", "starts with http"),
            ("file:///etc/passwd", "starts with http"),
            ("http://user@example.com/", "no user"),
            ("http://127.0.0.1/", "loopback"),
            ("http://127.0.0.1.:80/", "loopback"),
            ("http://2130706433/", "loopback"),
            ("http://0x7f.1/", "loopback"),
            ("http://0177.0.0.1/", "loopback"),
            ("http://[::1]:8080/", "loopback"),
            ("http://[::ffff:10.0.0.1]/", "IPv4-mapped"),
            ("https://169.254.169.254/latest/meta-data", "cloud metadata"),
            ("https://[fd00:ec2::254]/", "cloud metadata"),
            ("https://10.1.2.3/", "private"),
        ] {
            let error = endpoint(url).check().unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
        endpoint("https://hooks.example.com/a?b").check().unwrap();
        endpoint("https://[2606:4700:4700::1111]/").check().unwrap();
    }

    #[test]
    fn a_setting_lets_private_addresses_through() {
        let mut endpoint = endpoint("http://127.0.0.1:9/");
        endpoint.allow_private_addresses = true;
        endpoint.check().unwrap();
    }

    #[test]
    fn settings_out_of_range_are_named() {
        type Break = fn(&mut Endpoint);
        let broken: [(&str, Break); 7] = [
            ("name", |e| e.name = "a/b".into()),
            ("secrets", |e| e.secrets.clear()),
            ("concurrency_max", |e| e.concurrency_max = 0),
            ("timeout_ms", |e| e.timeout_ms = 0),
            ("attempts_max", |e| e.attempts_max = 0),
            ("backoff_max_ms", |e| e.backoff_max_ms = e.backoff_first_ms - 1),
            ("payload_bytes_max", |e| e.payload_bytes_max = 0),
        ];
        for (setting, break_it) in broken {
            let mut endpoint = endpoint("https://example.com/");
            break_it(&mut endpoint);
            let error = endpoint.check().unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn an_endpoint_reads_from_a_configuration_with_defaults() {
        let json = r#"{"name":"ops","url":"https://example.com/",
            "secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}"#;
        let endpoint: Endpoint = serde_json::from_str(json).unwrap();
        assert_eq!((endpoint.concurrency_max, endpoint.attempts_max), (16, 10));
        assert!(!format!("{endpoint:?}").contains("MfKQ"));
    }
}
