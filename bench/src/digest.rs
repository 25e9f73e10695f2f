//! `digest`: the results of two engines are equal if the last value of each key is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use rdkafka::message::Message as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::kafka;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The topic of results.
    #[arg(long)]
    topic: String,
    /// Bytes at the end of each key that only one engine has: Millpond's windowed keys have the
    /// end of the window behind its start.
    #[arg(long, default_value_t = 0)]
    key_tail: usize,
}

pub(crate) fn run(bootstrap: &str, arguments: &Arguments) -> anyhow::Result<Value> {
    let mut last = BTreeMap::new();
    let mut updates = 0_u64;
    kafka::read_to_end(bootstrap, std::slice::from_ref(&arguments.topic), |message| {
        updates += 1;
        let key = message.key().context("a result without a key")?;
        let key = &key[..key.len() - arguments.key_tail.min(key.len())];
        match message.payload() {
            Some(value) => last.insert(key.to_vec(), plain(value)?),
            None => last.remove(key),
        };
        Ok(())
    })?;
    let sum: i128 = last.values().filter_map(|value| value.parse::<i128>().ok()).sum();
    let digest = digest(&last);
    Ok(json!({ "keys": last.len(), "updates": updates, "sum": sum as f64, "digest": digest }))
}

/// A value as text, the same whatever the order of its fields: 8 bytes are a number, others JSON.
fn plain(value: &[u8]) -> anyhow::Result<String> {
    if let Ok(number) = <[u8; 8]>::try_from(value) {
        return Ok(i64::from_be_bytes(number).to_string());
    }
    let value: BTreeMap<String, Value> = serde_json::from_slice(value)?;
    Ok(serde_json::to_string(&value)?)
}

fn digest(rows: &BTreeMap<Vec<u8>, String>) -> String {
    let mut hash = Sha256::new();
    for (key, value) in rows {
        // Lengths, so that no two sets of rows have the same bytes.
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> String {
        let rows = rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), (*value).to_owned()));
        digest(&rows.collect())
    }

    #[test]
    fn only_equal_rows_have_equal_digests() {
        assert_eq!(rows(&[("a", "1"), ("b", "2")]), rows(&[("b", "2"), ("a", "1")]));
        assert_ne!(rows(&[("a", "1")]), rows(&[("a", "2")]));
        assert_ne!(rows(&[("a", "12")]), rows(&[("a1", "2")]));
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let (a, b) = (plain(br#"{"x":1,"yy":2}"#), plain(br#"{"yy": 2, "x": 1}"#));
        assert_eq!(a.unwrap(), b.unwrap());
        assert_eq!(plain(&5_i64.to_be_bytes()).unwrap(), "5");
    }
}
