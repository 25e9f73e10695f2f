//! What a seed promises: the same bytes, the faults in their measure, attacks of their shape.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{CUSTOMERS, EmptyMix, Generated, Mix, ORDERS, PAYMENTS, SYSLOG, Traffic};
use crate::logins::attempt::{Line, parse};

const START_MS: i64 = 1_750_000_000_000;

/// Generates `n` records at `per_second` by event time, from `START_MS` on.
fn generate(seed: u64, n: usize, per_second: usize) -> Vec<(i64, Generated)> {
    let mut traffic = Traffic::new(seed, Mix::default());
    let now = |i: usize| START_MS + (i * 1_000 / per_second) as i64;
    (0..n).map(|i| (now(i), traffic.next(now(i)))).collect()
}

/// FNV-1a, 64 bits, over everything that the log would see.
fn digest<'a>(records: impl IntoIterator<Item = &'a Generated>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    for record in records {
        eat(record.topic.as_bytes());
        eat(&record.key);
        eat(&record.value);
        eat(&record.timestamp_ms.to_le_bytes());
    }
    hash
}

/// The values of a topic that are whole.
fn decoded(records: &[(i64, Generated)], topic: &str) -> Vec<Value> {
    let of_topic = records.iter().filter(|(_, record)| record.topic == topic);
    of_topic
        .filter_map(|(_, record)| serde_json::from_slice::<Value>(&record.value).ok())
        .filter(|value| value["ts"] != "yesterday")
        .collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

#[test]
fn a_seed_means_the_same_bytes_for_ever() {
    let records = generate(1, 10_000, 2_000);
    assert_eq!(digest(records.iter().map(|(_, record)| record)), 0x013b_6616_e1b4_af7b, "pinned");
    let customers: Vec<Generated> = Traffic::new(1, Mix::default()).customers(START_MS).collect();
    assert_eq!(digest(&customers), 0x0574_844a_a16b_3191, "pinned");
}

#[test]
fn another_seed_means_other_bytes() {
    let of = |seed| digest(generate(seed, 100, 1_000).iter().map(|(_, record)| record));
    assert_ne!(of(1), of(2));
}

#[test]
fn the_mix_is_kept_and_an_empty_one_refused() {
    assert_eq!(Mix::new(0, 0, 0), Err(EmptyMix));
    let mut traffic = Traffic::new(3, Mix::new(0, 1, 0).unwrap());
    assert!((0..1_000).all(|i| [ORDERS, CUSTOMERS].contains(&traffic.next(START_MS + i).topic)));
    let records = generate(3, 100_000, 2_000);
    let share = |topic| records.iter().filter(|(_, r)| r.topic == topic).count();
    assert!((46_000..53_000).contains(&share(PAYMENTS)), "{}", share(PAYMENTS));
    assert!((22_000..27_000).contains(&share(ORDERS)), "{}", share(ORDERS));
    assert!((22_000..31_000).contains(&share(SYSLOG)), "{}", share(SYSLOG));
}

#[test]
fn faults_come_in_their_measure() {
    let records = generate(4, 200_000, 2_000);
    let payments: Vec<_> = records.iter().filter(|(_, r)| r.topic == PAYMENTS).collect();
    let per_10_000 = |n: usize| n * 10_000 / payments.len();
    let mut seen = HashSet::new();
    let repeated = payments.iter().filter(|(_, r)| !r.value.is_empty() && !seen.insert(&r.value));
    assert!((70..130).contains(&per_10_000(repeated.count())));
    let late = payments.iter().filter(|(now, r)| now - r.timestamp_ms >= 75_000);
    assert!((30..70).contains(&per_10_000(late.count())));
    let delayed = payments.iter().filter(|(now, r)| (1..=5_000).contains(&(now - r.timestamp_ms)));
    assert!((400..700).contains(&per_10_000(delayed.count())));
    for topic in [PAYMENTS, ORDERS, SYSLOG] {
        let all = records.iter().filter(|(_, r)| r.topic == topic).count();
        let damaged = all - decoded(&records, topic).len();
        assert!((1..12).contains(&(damaged * 10_000 / all)), "{topic}: {damaged} of {all}");
    }
    assert!(records.iter().all(|(now, r)| r.timestamp_ms <= *now), "nothing is from the future");
}

#[test]
fn damage_is_of_every_kind() {
    let records = generate(5, 300_000, 5_000);
    let damaged = |is: fn(&[u8]) -> bool| records.iter().any(|(_, r)| is(&r.value));
    assert!(damaged(|v| v.is_empty()));
    assert!(damaged(|v| std::str::from_utf8(v).is_err()));
    assert!(damaged(|v| v.ends_with(b"\"yesterday\"}")));
    assert!(damaged(|v| v.first() == Some(&b'{') && v.last() != Some(&b'}')));
}

#[test]
fn payments_are_keyed_and_identified() {
    let records = generate(6, 50_000, 2_000);
    let mut ids = HashMap::new();
    for (_, record) in records.iter().filter(|(_, r)| r.topic == PAYMENTS) {
        let Ok(value) = serde_json::from_slice::<Value>(&record.value) else { continue };
        if value["ts"] == "yesterday" {
            continue;
        }
        assert_eq!(text(&value, "card_id").as_bytes(), record.key);
        assert_eq!(value["ts"], record.timestamp_ms);
        assert!((120..180).contains(&record.value.len()), "{value}");
        let first = ids.entry(text(&value, "event_id").to_owned()).or_insert(value.clone());
        assert_eq!(*first, value, "an event id stands for one event");
    }
}

#[test]
fn card_testers_are_seen_and_card_holders_are_not() {
    // Half an hour of event time, in one-minute windows per card, as the fraud topology sees it.
    let payments = decoded(&generate(7, 360_000, 200), PAYMENTS);
    let mut windows: HashMap<(String, i64), (usize, HashSet<String>, u64)> = HashMap::new();
    for payment in &payments {
        let window = payment["ts"].as_i64().unwrap().div_euclid(60_000);
        let entry = windows.entry((text(payment, "card_id").to_owned(), window)).or_default();
        entry.0 += 1;
        entry.1.insert(text(payment, "country").to_owned());
        entry.2 = entry.2.max(payment["amount_cents"].as_u64().unwrap());
    }
    let suspicious: Vec<_> = windows.values().filter(|(n, c, _)| *n >= 8 && c.len() >= 2).collect();
    assert!((100..500).contains(&suspicious.len()), "{} bursts", suspicious.len());
    let small = suspicious.iter().filter(|(_, _, most)| *most <= 300).count();
    assert!(small * 10 > suspicious.len() * 9, "{small} of {}", suspicious.len());
    assert!(suspicious.iter().all(|(n, c, _)| *n <= 60 && c.len() <= 6));
}

#[test]
fn orders_live_in_order_and_are_bounded() {
    let events = decoded(&generate(8, 400_000, 5_000), ORDERS);
    let mut seen = HashSet::new();
    let mut ends: HashMap<&str, &str> = HashMap::new();
    let mut placed: HashSet<&str> = HashSet::new();
    let mut raced = 0;
    // A repeat comes a little later, so that only the first of each event tells the order.
    for event in events.iter().filter(|event| seen.insert(text(event, "event_id"))) {
        let (id, kind) = (text(event, "order_id"), text(event, "type"));
        match (kind, ends.get(id)) {
            ("placed", None) => assert!(placed.insert(id), "{id} is placed once"),
            ("item_added", Some(&"cancelled")) => raced += 1,
            ("shipped" | "cancelled", None) => _ = ends.insert(id, kind),
            ("item_added" | "rescheduled", None) => {}
            other => panic!("{other:?} for {event}"),
        }
    }
    assert!(raced > 100, "{raced}");
    assert!(placed.len() - ends.len() < 4_100, "{} placed, {} ended", placed.len(), ends.len());
    assert!(ends.values().filter(|end| **end == "shipped").count() * 10 > ends.len() * 7);
}

#[test]
fn customers_are_complete_and_known_to_the_orders() {
    let traffic = Traffic::new(9, Mix::default());
    let customers: Vec<(i64, Generated)> = traffic.customers(START_MS).map(|r| (0, r)).collect();
    let customers = decoded(&customers, CUSTOMERS);
    assert_eq!(customers.len(), 5_000);
    let ids: HashSet<&str> = customers.iter().map(|value| text(value, "customer_id")).collect();
    let records = generate(9, 50_000, 1_000);
    let orders = decoded(&records, ORDERS);
    let placed: Vec<&Value> = orders.iter().filter(|event| event["type"] == "placed").collect();
    assert!(placed.iter().all(|event| ids.contains(text(event, "customer_id"))));
    assert!(!decoded(&records, CUSTOMERS).is_empty(), "a customer changes now and then");
}

#[test]
fn guessers_stand_out_and_each_attempt_has_one_form() {
    let lines = decoded(&generate(10, 300_000, 1_000), SYSLOG);
    let mut failures: HashMap<(&str, &str), u32> = HashMap::new();
    let mut methods: HashMap<&str, HashSet<bool>> = HashMap::new();
    for line in &lines {
        let host = text(line, "host");
        if let Line::Attempt(attempt) = parse(text(line, "app"), text(line, "message")) {
            *failures.entry((host, attempt.source.unwrap())).or_default() += attempt.count;
            methods.entry(host).or_default().insert(attempt.method == "pam");
        }
    }
    assert!(methods.values().all(|forms| forms.len() == 1), "a host is old or modern, never both");
    assert!(methods.values().any(|forms| forms.contains(&true)), "some hosts are old");
    let attacks = failures.values().filter(|n| **n >= 20).count();
    assert!(attacks > 10, "{attacks} attacks");
    let single = failures.values().filter(|n| **n <= 3).count();
    assert!(single > attacks, "{single} people who mistype");
}

#[test]
fn addresses_are_reserved_for_documentation() {
    for line in decoded(&generate(11, 100_000, 500), SYSLOG) {
        if let Line::Attempt(attempt) = parse(text(&line, "app"), text(&line, "message")) {
            let source = attempt.source.unwrap();
            let nets = ["192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:"];
            assert!(nets.iter().any(|net| source.starts_with(net)), "{source}");
        }
    }
}

#[test]
fn standing_and_leaping_time_are_survived() {
    let mut traffic = Traffic::new(12, Mix::default());
    for _ in 0..300_000 {
        traffic.next(START_MS);
    }
    let later = START_MS + 86_400_000;
    for _ in 0..300_000 {
        let record = traffic.next(later);
        assert!(record.timestamp_ms <= later);
    }
}

/// The demo has one core for everything at 20,000 records/s, so the generator must be far from
/// being what limits it. `cargo test -p topologies rate -- --nocapture` prints the rate: well above
/// 500,000 records/s on an idle core. The bound is lower, for busy machines.
#[test]
#[expect(clippy::disallowed_methods, reason = "measures the generator, which reads no clock")]
fn rate_of_generation() {
    let mut traffic = Traffic::new(13, Mix::default());
    let (n, start) = (500_000, std::time::Instant::now());
    let bytes: usize = (0..n).map(|i| traffic.next(START_MS + i / 20).value.len()).sum();
    let per_second = n as f64 / start.elapsed().as_secs_f64();
    println!("{per_second:.0} records/s of {} bytes", bytes as i64 / n);
    assert!(per_second > 50_000.0, "{per_second:.0} records/s");
}
