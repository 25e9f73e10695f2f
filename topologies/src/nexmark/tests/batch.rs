//! The queries as plain computations over all events: no windows, no state, no order of arrival.

use std::collections::BTreeMap;

use pipeline::{Key, Window, Windowed};
use serde_json::{Value, json};

use super::super::{Auction, Bid, Event};

type Rows = BTreeMap<String, Value>;

pub(super) fn bids(events: &[Event]) -> impl Iterator<Item = Bid> {
    events.iter().filter_map(|event| match event {
        Event::Bid(bid) => Some(*bid),
        Event::Person(_) | Event::Auction(_) => None,
    })
}

fn auctions(events: &[Event]) -> impl Iterator<Item = &Auction> {
    events.iter().filter_map(|event| match event {
        Event::Auction(auction) => Some(auction),
        Event::Person(_) | Event::Bid(_) => None,
    })
}

fn text<K: Key>(key: &K, start: i64, end: i64) -> String {
    let mut text = String::new();
    Windowed { key: key.clone(), window: Window { start, end } }.write_text(&mut text);
    text
}

fn winners(events: &[Event]) -> Vec<(Auction, Bid)> {
    let winner = |auction: &Auction| {
        let open = auction.date_time..=auction.expires;
        let all = bids(events).filter(|b| b.auction == auction.id && open.contains(&b.date_time));
        let best = all.min_by_key(|bid| (-bid.price, bid.date_time, bid.bidder))?;
        Some((auction.clone(), best))
    };
    auctions(events).filter_map(winner).collect()
}

pub(super) fn q9(events: &[Event]) -> Rows {
    let winners = winners(events).into_iter();
    winners
        .map(|(auction, bid)| (auction.id.to_string(), json!({"auction": auction, "bid": bid})))
        .collect()
}

pub(super) fn q12(events: &[Event], start: i64, spacing: i64) -> Rows {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (number, event) in (0_i64..).zip(events) {
        if let Event::Bid(bid) = event {
            let window = (start + number * spacing).div_euclid(10_000) * 10_000;
            *counts.entry(text(&bid.bidder, window, window + 10_000)).or_default() += 1;
        }
    }
    counts.into_iter().map(|(key, count)| (key, json!(count))).collect()
}
