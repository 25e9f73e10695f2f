//! The endpoints of the configuration, and the notifier that serves them.

use std::sync::Arc;

use alerts::{Endpoint, Notifier, NotifierConfig, Secret, Start};
use tokio::runtime::Handle;

use super::overview::Overview;
use crate::config::{self, Config, EndpointStart};
use crate::error::AppError;

/// The endpoints as the notifier wants them, checked.
pub(super) fn endpoints(config: &Config) -> Result<Vec<Endpoint>, AppError> {
    config.endpoints.iter().map(endpoint).collect()
}

fn endpoint(config: &config::Endpoint) -> Result<Endpoint, AppError> {
    let named = |reason: &dyn std::fmt::Display| {
        AppError::Usage(format!("`endpoints.{}.secret`: {reason}", config.name))
    };
    let secret = config.secret.as_ref().ok_or_else(|| named(&"there is none"))?;
    let secret: Secret = secret.expose().parse().map_err(|error| named(&error))?;
    let endpoint = Endpoint {
        start: match config.start {
            EndpointStart::Oldest => Start::Oldest,
            EndpointStart::Now => Start::Now,
        },
        rules: config.rules.clone(),
        concurrency_max: config.concurrency_max,
        timeout_ms: config.timeout_ms,
        attempts_max: config.attempts_max,
        backoff_first_ms: config.backoff_first_ms,
        backoff_max_ms: config.backoff_max_ms,
        allow_private_addresses: config.allow_private_addresses,
        ..Endpoint::new(&config.name, &config.url, vec![secret])
    };
    endpoint.check()?;
    Ok(endpoint)
}

/// Starts to deliver the alerts of all topologies to `endpoints`.
pub(super) fn start(
    overview: &Overview,
    endpoints: Vec<Endpoint>,
    runtime: &Handle,
) -> Result<Option<Notifier>, AppError> {
    let alert_topics = overview.alert_topics();
    if endpoints.is_empty() || alert_topics.is_empty() {
        return Ok(None);
    }
    let config = NotifierConfig {
        log: Arc::clone(&overview.log),
        endpoints,
        alert_topics,
        instance: "notify-0".to_owned(),
        seed: overview.clock.wall_ms().cast_unsigned(),
        clock: Arc::clone(&overview.clock),
        runtime: runtime.clone(),
    };
    Ok(Some(Notifier::start(config)?))
}
