//! Keeps web pages of others away from a listener on loopback.
//!
//! Such a listener asks nobody who he is, because only this machine reaches it. But a browser on
//! this machine runs everybody's pages: one may post to it without asking, or name our address as
//! its own host. So the host must be a loopback address or `localhost`, and a page that sends
//! something must have come from there too.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::admin;

/// Lets a request through that this machine's own programs and pages have made.
pub(super) async fn local_pages_only(request: Request, next: Next) -> Response {
    match refusal(request.headers()) {
        None => next.run(request).await,
        Some(detail) => admin::problem(StatusCode::FORBIDDEN, detail).into_response(),
    }
}

fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(header::HOST).is_some_and(|host| !is_local(host)) {
        return Some("the host is not this machine: use 127.0.0.1 or localhost");
    }
    let origin = text(header::ORIGIN)?;
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    if is_local(host) { None } else { Some("pages of other sites may not use this listener") }
}

fn is_local(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |address: std::net::IpAddr| address.is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        refusal(&headers).is_some()
    }

    #[test]
    fn programs_and_pages_of_this_machine_pass() {
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.8.0.1"] {
            assert!(!refused(host, None), "{host}");
            assert!(!refused(host, Some("http://localhost:3000")), "{host}");
        }
    }

    #[test]
    fn pages_of_others_are_refused_also_under_a_name_that_leads_here() {
        assert!(refused("evil.example:8080", None));
        assert!(refused("127.0.0.1.evil.example", None));
        assert!(refused("127.0.0.1:8080", Some("https://evil.example")));
        assert!(refused("127.0.0.1:8080", Some("null")));
    }
}
