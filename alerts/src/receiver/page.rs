//! The receiver's page: one self-contained HTML document, nothing loaded from elsewhere.
//!
//! Everything that came over the network is escaped: an alert's text is made of what attackers type
//! as user names.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

use super::{Received, Summary};

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Webhooks received</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1c2530; background: #f6f7f9; }
h1 { font-size: 1.4rem; } .figures b { font-size: 1.2rem; } .figures span { margin-right: 1.5rem; }
article { background: #fff; border-left: .35rem solid #8a94a3; border-radius: .3rem;
  margin: .7rem 0; padding: .6rem 1rem; box-shadow: 0 1px 2px #0002; }
article.critical { border-color: #c62828; } article.warning { border-color: #ef8f00; }
article.info { border-color: #1e78c8; }
.meta { color: #5c6775; font-size: .85rem; } .repeat { color: #c62828; font-weight: 600; }
pre { overflow-x: auto; font-size: .8rem; margin: .4rem 0 0; } summary { cursor: pointer; }
</style></head><body><h1>Webhooks received</h1>
"#;

/// The page.
pub(super) fn render(summary: &Summary) -> String {
    let mut page = String::from(HEAD);
    let Summary { accepted, repeats, refused, .. } = summary;
    // Writing to a string cannot fail; so in all of this module.
    let _ = writeln!(
        page,
        "<p class=figures><span><b>{accepted}</b> accepted</span>\
         <span><b>{repeats}</b> repeats</span><span><b>{refused}</b> refused</span></p>"
    );
    if let Some(refusal) = &summary.last_refusal {
        let _ = writeln!(page, "<p class=meta>last refusal: {}</p>", escape(refusal));
    }
    if summary.alerts.is_empty() {
        page.push_str("<p>Nothing yet. Alerts appear here as they come.</p>\n");
    }
    for received in &summary.alerts {
        article(&mut page, received);
    }
    page.push_str("</body></html>\n");
    page
}

fn article(page: &mut String, received: &Received) {
    let alert = &received.body["data"];
    let severity = match alert["severity"].as_str() {
        Some(severity @ ("critical" | "warning" | "info")) => severity,
        Some(_) | None => "other",
    };
    let headline = match alert["text"].as_str() {
        Some(text) if !text.is_empty() => text,
        Some(_) | None => &received.webhook_id,
    };
    let _ = write!(page, "<article class={severity}><strong>{}</strong>", escape(headline));
    let kind = received.body["type"].as_str().unwrap_or("no type");
    let _ = write!(
        page,
        "<div class=meta>{} · {} · {} · received {}",
        escape(kind),
        escape(severity),
        escape(&received.webhook_id),
        time(received.last_ms)
    );
    if received.count > 1 {
        let first = time(received.first_ms);
        let count = received.count;
        let _ = write!(page, " · <span class=repeat>{count} times, first {first}</span>");
    }
    page.push_str("</div>");
    if !received.body.is_null() {
        let body = pretty(&received.body);
        let _ =
            write!(page, "<details><summary>body</summary><pre>{}</pre></details>", escape(&body));
    }
    page.push_str("</article>\n");
}

fn pretty(body: &Value) -> String {
    serde_json::to_string_pretty(body).expect("a value that was read is written")
}

fn time(ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Text direction marks could make one text look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}
