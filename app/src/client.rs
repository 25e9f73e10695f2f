//! Asks a running process, over HTTP, without a runtime on the caller's side.

use std::time::Duration;

use reqwest::{Client as Http, Method, RequestBuilder, Response, StatusCode, Url};
use rustls::RootCertStore;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::error::{AppError, chain};

const CONNECT: Duration = Duration::from_secs(5);

/// A process that can be asked.
pub(crate) struct Client {
    runtime: Runtime,
    http: Http,
    base: Url,
    admin_key: Option<String>,
}

/// A refusal, as RFC 9457 has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// What is wrong.
    pub(crate) detail: String,
    /// Of an ingest request, the first lines that are bad.
    pub(crate) bad_lines: Vec<BadLine>,
    /// How many there are.
    pub(crate) bad_lines_total: u64,
}

/// A line that is not of its format.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct BadLine {
    /// Its number in the body, from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// What was answered.
pub(crate) enum Answer {
    /// The body of a success.
    Body(String),
    /// The process refuses.
    Refused {
        /// The status.
        status: StatusCode,
        /// When to come again, if it said so.
        retry_after: Option<Duration>,
        /// Why.
        problem: Problem,
    },
}

impl Client {
    /// A client of the process at `url`; the admin API wants `admin_key`.
    ///
    /// # Errors
    /// When the URL is none, or the system gives no runtime.
    pub(crate) fn new(url: &str, admin_key: Option<String>) -> Result<Self, AppError> {
        let base = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                AppError::Usage(format!("`{url}` is not a URL such as http://127.0.0.1:8080"))
            })?;
        let failed = |reason: String| AppError::Failed(format!("cannot start a client: {reason}"));
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        Ok(Self { runtime, http: http(&base).map_err(failed)?, base, admin_key })
    }

    /// Gets `path`, whose segments are encoded here, and reads the answer.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a refusal.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, AppError> {
        let body = self.get_text(path, query)?;
        serde_json::from_str(&body).map_err(|error| self.strange(&error.to_string()))
    }

    /// Gets `path` as the text that was answered.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub(crate) fn get_text(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<String, AppError> {
        let request = self.request(Method::GET, path, query)?;
        match self.send(request)? {
            Answer::Body(body) => Ok(body),
            Answer::Refused { status, problem, .. } => {
                Err(AppError::Refused { status: status.as_u16(), detail: problem.detail })
            }
        }
    }

    /// A request for `path`, to be completed and sent.
    ///
    /// # Errors
    /// When the URL cannot have a path.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, AppError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| AppError::Usage(format!("`{}` cannot have a path", self.base)))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.admin_key {
            Some(key) if path.starts_with(&["v1", "admin"]) => request.bearer_auth(key),
            Some(_) | None => request,
        })
    }

    /// Sends `request`, and reads the whole answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub(crate) fn send(&self, request: RequestBuilder) -> Result<Answer, AppError> {
        self.runtime.block_on(async {
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            self.read(response).await
        })
    }

    /// Waits.
    pub(crate) fn pause(&self, wait: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(wait).await });
    }

    async fn read(&self, response: Response) -> Result<Answer, AppError> {
        let status = response.status();
        let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = response.text().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok(Answer::Body(body));
        }
        let mut problem: Problem = serde_json::from_str(&body).unwrap_or_default();
        if problem.detail.is_empty() {
            let said: String = body.chars().take(200).collect();
            problem.detail = format!("{} answered {status} {said}", self.base);
        }
        Ok(Answer::Refused { status, retry_after, problem })
    }

    fn unreachable(&self, error: &reqwest::Error) -> AppError {
        AppError::Unreachable { url: self.base.to_string(), reason: chain(error) }
    }

    fn strange(&self, reason: &str) -> AppError {
        AppError::Failed(format!(
            "{} answered something else than this version understands: {reason}",
            self.base
        ))
    }
}

/// A client for plain HTTP, on a machine that may have no certificates; for HTTPS, with those of
/// the system.
fn http(base: &Url) -> Result<Http, String> {
    let builder = Http::builder()
        .user_agent(concat!("millpond/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT);
    let provider = rustls::crypto::ring::default_provider();
    let builder = if base.scheme() == "https" {
        // Another part of the process may have chosen a provider first: that one is as good.
        let _ = provider.install_default();
        builder
    } else {
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        builder.no_proxy().tls_backend_preconfigured(config)
    };
    builder.build().map_err(|error| chain(&error))
}
