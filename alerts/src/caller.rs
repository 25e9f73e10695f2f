//! One signed HTTP call.
//!
//! Makes a call and says how it ended; whether to call again is for `schedule`. It follows no
//! redirect, uses no proxy, keeps no cookie, and reads at most [`ANSWER_BYTES_MAX`] of an answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use pipeline::clock::Clock;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, Url, redirect, retry};
use rustls::{ClientConfig, RootCertStore};

use crate::endpoint::{Endpoint, EndpointError};
use crate::resolver::FilteringResolver;
use crate::schedule::Reply;
use crate::secret::Secret;
use crate::signature::{Message, sign};

/// What is kept of an answer's body.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024;
/// How long an answer's body is waited for once its status is there.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
const USER_AGENT: &str = concat!("Millpond/", env!("CARGO_PKG_VERSION"));

/// Calls one endpoint.
pub(crate) struct Caller {
    client: Client,
    url: Url,
    secrets: Vec<Secret>,
    timeout_ms: u64,
    clock: Arc<dyn Clock>,
}

/// How a call went.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) reply: Reply,
    pub(crate) answer: String,
    pub(crate) at_ms: i64,
    pub(crate) duration_ms: u64,
}

impl Caller {
    /// Checks `endpoint` and makes its client.
    pub(crate) fn new(endpoint: &Endpoint, clock: Arc<dyn Clock>) -> Result<Self, EndpointError> {
        let url = endpoint.check()?;
        let failed = |reason: String| EndpointError::Client { name: endpoint.name.clone(), reason };
        let timeout = Duration::from_millis(endpoint.timeout_ms);
        let allow_private_addresses = endpoint.allow_private_addresses;
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(endpoint.concurrency_max)
            .dns_resolver(Arc::new(FilteringResolver { allow_private_addresses }));
        let client = with_tls(builder, url.scheme() == "https")
            .and_then(|builder| builder.build().map_err(|error| chain(&error)))
            .map_err(failed)?;
        let secrets = endpoint.secrets.clone();
        Ok(Self { client, url, secrets, timeout_ms: endpoint.timeout_ms, clock })
    }

    /// Calls once. The signature is of this attempt: its timestamp is now.
    pub(crate) async fn call(&self, id: &str, body: &[u8]) -> Attempt {
        let at_ms = self.clock.wall_ms();
        let start = self.clock.elapsed();
        let message = Message { id, timestamp_s: at_ms.div_euclid(1000), body };
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", message.timestamp_s.to_string())
            .header("webhook-signature", sign(&self.secrets, message))
            .body(body.to_vec());
        let (reply, answer) = match request.send().await {
            Ok(response) => {
                let header = response.headers().get(RETRY_AFTER);
                let retry_after = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let reply = Reply::Status { status: response.status().as_u16(), retry_after };
                (reply, read_answer(response).await)
            }
            Err(error) => (Reply::Error(self.describe(error)), String::new()),
        };
        let elapsed = self.clock.elapsed().saturating_sub(start);
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Attempt { reply, answer, at_ms, duration_ms }
    }

    /// The error without the URL, which may be confidential.
    fn describe(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {} ms", self.timeout_ms);
        }
        chain(&error.without_url())
    }
}

/// A client for `http` needs no root certificates, so it must not fail on a machine without any.
/// One for `https` takes those of the system, and says so when there are none.
fn with_tls(builder: ClientBuilder, is_https: bool) -> Result<ClientBuilder, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    if is_https {
        // Another part of the process may have chosen a provider first: that one is as good.
        let _ = Arc::unwrap_or_clone(provider).install_default();
        return Ok(builder.https_only(true));
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(builder.tls_backend_preconfigured(config))
}

/// The first part of the body, as far as it comes in time: the status has decided already.
async fn read_answer(mut response: Response) -> String {
    let mut answer = Vec::new();
    let read = async {
        while answer.len() < ANSWER_BYTES_MAX
            && let Ok(Some(chunk)) = response.chunk().await
        {
            let wanted = chunk.len().min(ANSWER_BYTES_MAX - answer.len());
            answer.extend_from_slice(&chunk[..wanted]);
        }
    };
    let _ = tokio::time::timeout(ANSWER_WAIT, read).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_needs_no_roots_and_https_says_what_it_lacks() {
        let build = |is_https| with_tls(Client::builder(), is_https).unwrap().build();
        build(false).unwrap();
        // Whether there are roots depends on the machine: either they are found, or that is said.
        if let Err(error) = build(true) {
            assert!(chain(&error).contains("No CA certificates"), "{}", chain(&error));
        }
    }
}
