//! `[[endpoints]]`: where alerts are pushed to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::check::{At, DAY_MS};
use super::env::segment;
use super::error::Fault;
use super::values::Secret;

/// A file that holds a secret holds little else.
const SECRET_BYTES_MAX: u64 = 4096;

/// Where an endpoint begins that has never delivered anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStart {
    /// With the oldest alert that is retained.
    #[default]
    Oldest,
    /// With the alerts that come from now on.
    Now,
}

/// A webhook endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What it is called in logs, commands and delivery records.
    pub name: String,
    /// Where it begins, if it has never delivered anything under this name.
    #[serde(default)]
    pub start: EndpointStart,
    /// The URL that alerts are posted to.
    pub url: String,
    /// The key that messages are signed with. Once loaded, it is here whatever it came from.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// A file that holds the secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The rules whose alerts it gets; none are all.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Deliveries under way at once.
    #[serde(default = "concurrency_max")]
    pub concurrency_max: usize,
    /// How long one attempt may take.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Attempts before a delivery is given up.
    #[serde(default = "attempts_max")]
    pub attempts_max: u32,
    /// The wait before the second attempt; it doubles from there.
    #[serde(default = "backoff_first_ms")]
    pub backoff_first_ms: u64,
    /// The longest wait between attempts.
    #[serde(default = "backoff_max_ms")]
    pub backoff_max_ms: u64,
    /// Allows a URL that leads into a private network.
    #[serde(default)]
    pub allow_private_addresses: bool,
}

pub(super) fn check(endpoints: &[Endpoint], at: &At<'_>) -> Result<(), Fault> {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let at = at.item(index);
        endpoint.check(&at)?;
        if endpoints[..index].iter().any(|other| segment(&other.name) == segment(&endpoint.name)) {
            return Err(at.fault("name", "another endpoint has this name"));
        }
    }
    Ok(())
}

/// Puts into every endpoint its secret, from the file that it names if that is where it is.
pub(super) fn read_secrets(endpoints: &mut [Endpoint], at: &At<'_>) -> Result<(), Fault> {
    for (index, endpoint) in endpoints.iter_mut().enumerate() {
        let at = at.item(index);
        match (&endpoint.secret, &endpoint.secret_file) {
            (Some(_), None) => {}
            (Some(_), Some(_)) => {
                return Err(at.fault("secret_file", "`secret` is set as well: keep one of them"));
            }
            (None, Some(file)) => {
                let secret = read_secret(file).map_err(|e| at.fault("secret_file", e))?;
                endpoint.secret = Some(secret);
            }
            (None, None) => {
                let variable = format!("MILLPOND_ENDPOINTS__{}__SECRET", segment(&endpoint.name));
                return Err(at.fault_here(format!(
                    "no secret to sign with: set `secret_file`, `secret`, or the variable {variable}"
                )));
            }
        }
        if endpoint.secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
            return Err(at.fault("secret", "the secret is empty"));
        }
    }
    Ok(())
}

pub(super) fn read_secret(file: &Path) -> Result<Secret, String> {
    let explain = |e: std::io::Error| format!("cannot read the secret `{}`: {e}", file.display());
    let size = std::fs::metadata(file).map_err(explain)?.len();
    if size > SECRET_BYTES_MAX {
        return Err(format!(
            "`{}` is not a secret: it has {size} bytes, more than {SECRET_BYTES_MAX}",
            file.display()
        ));
    }
    let text = std::fs::read_to_string(file).map_err(explain)?;
    match text.trim_end() {
        "" => Err(format!("the secret `{}` is empty", file.display())),
        secret => Ok(Secret::new(secret)),
    }
}

impl Endpoint {
    fn check(&self, at: &At<'_>) -> Result<(), Fault> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(legal) {
            return Err(at.fault("name", "must be 1 to 64 letters, digits, `_` and `-`"));
        }
        let host = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            return Err(at.fault("url", "must be `https://` or `http://` and a host"));
        }
        at.range("concurrency_max", self.concurrency_max as u64, 1..=1024)?;
        at.range("timeout_ms", self.timeout_ms, 100..=300_000)?;
        at.range("attempts_max", self.attempts_max.into(), 1..=1000)?;
        at.range("backoff_first_ms", self.backoff_first_ms, 1..=DAY_MS)?;
        at.range("backoff_max_ms", self.backoff_max_ms, 1..=7 * DAY_MS)?;
        if self.backoff_max_ms < self.backoff_first_ms {
            let message = format!(
                "backoff_max_ms ({}) is less than backoff_first_ms ({})",
                self.backoff_max_ms, self.backoff_first_ms
            );
            return Err(at.fault_here(message));
        }
        Ok(())
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
