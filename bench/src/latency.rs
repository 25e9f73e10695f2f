//! `latency`: from the moment when a payment should be sent to that when a reader of committed
//! records has the count that includes it.
//!
//! The load is open: payments are sent at their times whether results come or not, and a payment
//! that was sent late counts from when it was due. So a stall shows in all payments that it held up.
//!
//! All times are kept, so percentiles are exact. Counts below five are not told, so those payments are not in the figures. When one update tells
//! of several payments, each of them is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use pipeline::clock::{Clock as _, SystemClock};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

use super::data::Payments;
use super::kafka::{self, PATIENCE};

/// Counts from this one on are told.
const TOLD_FROM: usize = 5;
const WINDOW_MS: i64 = 60_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Payments a second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// How long it is measured, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long payments are sent before that, in seconds.
    #[arg(long, default_value_t = 20)]
    warm_up: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the results are.
    #[arg(long, default_value = "fraud-out")]
    output: String,
}

/// When the payments of a card in a window were due, in the order in which they were sent.
type Due = Mutex<HashMap<(Vec<u8>, i64), Counted>>;

#[derive(Default)]
struct Counted {
    due: Vec<Duration>,
    told: usize,
}

pub(crate) fn run(bootstrap: &str, arguments: &Arguments) -> anyhow::Result<Value> {
    let (clock, due, sent) = (SystemClock::new(), Due::default(), AtomicBool::new(false));
    let consumer = kafka::consumer(bootstrap, "bench-latency")?;
    consumer.assign(&kafka::beginnings(std::slice::from_ref(&arguments.output))?)?;
    let (late, times) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let late = send(bootstrap, arguments, &clock, &due);
            sent.store(true, Ordering::Release);
            late
        });
        let times = listen(&consumer, arguments, &clock, (&due, &sent));
        (sender.join(), times)
    });
    let late = late.map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    summary(times?, late)
}

fn summary(mut times: Vec<Duration>, late: Duration) -> anyhow::Result<Value> {
    times.sort_unstable();
    let last = times.len().checked_sub(1).context("no result came")?;
    let ms = |share: f64| times[(last as f64 * share) as usize].as_secs_f64() * 1_000.0;
    Ok(json!({
        "samples": times.len(),
        "p50_ms": ms(0.5),
        "p99_ms": ms(0.99),
        "p999_ms": ms(0.999),
        "max_ms": ms(1.0),
        "sent_late_max_ms": late.as_secs_f64() * 1_000.0,
    }))
}

/// Sends each payment when it is due; answers by how much the latest one was late.
fn send(
    bootstrap: &str,
    arguments: &Arguments,
    clock: &SystemClock,
    due: &Due,
) -> anyhow::Result<Duration> {
    let mut config = kafka::config(bootstrap);
    config.set("partitioner", "murmur2_random").set("linger.ms", "0");
    let producer: BaseProducer = config.create()?;
    let mut payments = Payments::new(arguments.seed);
    let (start, start_ms) = (clock.elapsed(), clock.wall_ms());
    let mut late = Duration::ZERO;
    for number in 0..arguments.rate * (arguments.warm_up + arguments.seconds) {
        let after = Duration::from_secs_f64(number as f64 / arguments.rate as f64);
        while let Some(early) = (start + after).checked_sub(clock.elapsed()) {
            producer.poll(Duration::ZERO);
            std::thread::park_timeout(early);
        }
        late = late.max(clock.elapsed().saturating_sub(start + after));
        let (payment, ts) = (payments.next_payment(), start_ms + after.as_millis() as i64);
        if payment.amount_cents >= 100 {
            let key = (payment.card.clone().into_bytes(), ts - ts % WINDOW_MS);
            let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
            due.entry(key).or_default().due.push(start + after);
        }
        let json = payment.json(ts);
        let record = BaseRecord::to("payments").key(&payment.card).payload(&json).timestamp(ts);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    Ok(late)
}

/// Takes the times, until the last payment has been sent and nothing more comes.
fn listen(
    consumer: &BaseConsumer,
    arguments: &Arguments,
    clock: &SystemClock,
    (due, sent): (&Due, &AtomicBool),
) -> anyhow::Result<Vec<Duration>> {
    let begun = clock.elapsed() + Duration::from_secs(arguments.warm_up);
    let mut times = Vec::new();
    let mut heard = clock.elapsed();
    loop {
        let message = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => message,
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) | None => {
                let silent = clock.elapsed().saturating_sub(heard);
                if sent.load(Ordering::Acquire) && silent > Duration::from_secs(3) {
                    break;
                }
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
        };
        heard = clock.elapsed();
        let (key, count) = result(message.key(), message.payload())?;
        let mut due = due.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counted) = due.get_mut(&key) else { bail!("a count of a card that never paid") };
        let from = counted.told.max(TOLD_FROM - 1);
        for due in counted.due.get(from..count).context("more payments than were sent")? {
            if *due >= begun {
                times.push(heard.saturating_sub(*due));
            }
        }
        counted.told = count;
    }
    Ok(times)
}

/// A card, the start of its window, and how many payments.
fn result(key: Option<&[u8]>, value: Option<&[u8]>) -> anyhow::Result<((Vec<u8>, i64), usize)> {
    const CARD_BYTES: usize = "card-000000".len();
    let (card, window) = key.and_then(|key| key.split_at_checked(CARD_BYTES)).context("no card")?;
    let start = window.first_chunk::<8>().context("no window")?;
    let count = value.and_then(|value| value.first_chunk::<8>()).context("no count")?;
    let count = usize::try_from(i64::from_be_bytes(*count))?;
    Ok(((card.to_vec(), i64::from_be_bytes(*start)), count))
}
