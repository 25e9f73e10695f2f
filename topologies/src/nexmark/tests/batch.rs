//! The queries as plain computations over all events: no windows, no state, no order of arrival.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::{Key, Window, Windowed};
use serde_json::{Value, json};

use super::super::{Auction, Bid, Event, Person};

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

fn persons(events: &[Event]) -> impl Iterator<Item = &Person> {
    events.iter().filter_map(|event| match event {
        Event::Person(person) => Some(person),
        Event::Auction(_) | Event::Bid(_) => None,
    })
}

fn text<K: Key>(key: &K, start: i64, end: i64) -> String {
    let mut text = String::new();
    Windowed { key: key.clone(), window: Window { start, end } }.write_text(&mut text);
    format!("{text}-{end}")
}

pub(super) fn q3(events: &[Event]) -> Rows {
    let wanted = auctions(events).filter(|auction| auction.category == 10);
    let found = wanted.filter_map(|auction| {
        let seller = persons(events).find(|person| person.id == auction.seller)?;
        let Person { name, city, state, .. } = seller;
        let local = ["OR", "ID", "CA"].contains(&state.as_str());
        local.then(|| (auction.id.to_string(), json!({"name": name, "city": city, "state": state})))
    });
    found.collect()
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

pub(super) fn q4(events: &[Event]) -> Rows {
    let mut prices: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (auction, bid) in winners(events) {
        prices.entry(auction.category).or_default().push(bid.price);
    }
    let average = |prices: &[i64]| prices.iter().sum::<i64>() as f64 / prices.len() as f64;
    prices.iter().map(|(category, p)| (category.to_string(), json!(average(p)))).collect()
}

pub(super) fn q5(events: &[Event]) -> Rows {
    let mut counts: BTreeMap<i64, BTreeMap<i64, i64>> = BTreeMap::new();
    for bid in bids(events) {
        let last = bid.date_time.div_euclid(2_000) * 2_000;
        for start in [0, 2_000, 4_000, 6_000, 8_000].map(|back| last - back) {
            *counts.entry(start).or_default().entry(bid.auction).or_default() += 1;
        }
    }
    let hottest = |counts: BTreeMap<i64, i64>| {
        let most = *counts.values().max().unwrap();
        let with_most = counts.into_iter().filter(|(_, count)| *count == most);
        json!({"bids": most, "auctions": with_most.map(|(auction, _)| auction).collect::<Vec<_>>()})
    };
    counts.into_iter().map(|(start, counts)| (start.to_string(), hottest(counts))).collect()
}

pub(super) fn q7(events: &[Event]) -> Rows {
    let mut windows: BTreeMap<i64, Vec<Bid>> = BTreeMap::new();
    for bid in bids(events) {
        windows.entry(bid.date_time.div_euclid(10_000) * 10_000).or_default().push(bid);
    }
    let highest = |mut bids: Vec<Bid>| {
        let most = bids.iter().map(|bid| bid.price).max().unwrap();
        bids.retain(|bid| bid.price == most);
        bids.sort();
        json!(bids)
    };
    let key = |start: i64| text(&"all".to_owned(), start, start + 10_000);
    windows.into_iter().map(|(start, bids)| (key(start), highest(bids))).collect()
}

pub(super) fn q8(events: &[Event]) -> Rows {
    let window = |at: i64| at.div_euclid(10_000) * 10_000;
    let sold: BTreeSet<(i64, i64)> =
        auctions(events).map(|auction| (auction.seller, window(auction.date_time))).collect();
    let new =
        persons(events).filter(|person| sold.contains(&(person.id, window(person.date_time))));
    new.map(|person| {
        let row = json!({"name": person.name, "window_start": window(person.date_time)});
        (person.id.to_string(), row)
    })
    .collect()
}

pub(super) fn q9(events: &[Event]) -> Rows {
    let winners = winners(events).into_iter();
    winners
        .map(|(auction, bid)| (auction.id.to_string(), json!({"auction": auction, "bid": bid})))
        .collect()
}

pub(super) fn q11(events: &[Event]) -> Rows {
    let mut times: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for bid in bids(events) {
        times.entry(bid.bidder).or_default().push(bid.date_time);
    }
    let mut rows = Rows::new();
    for (bidder, mut times) in times {
        times.sort_unstable();
        for session in times.chunk_by(|a, b| b - a <= 10_000) {
            let key = text(&bidder, session[0], *session.last().unwrap());
            rows.insert(key, json!(session.len()));
        }
    }
    rows
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
