//! Card payments: many cards, each mostly in one country at a time.

use super::dice::{Dice, scramble};
use super::faults::Faults;
use super::skew::Skew;
use super::{Generated, PAYMENTS};

/// The cards in circulation.
pub(super) const CARDS: u32 = 100_000;

/// No person pays hundreds of times a minute: the most active card pays 100 times as often as the
/// least active one, not 100,000 times.
const CARD_FLATNESS: u32 = 1_000;

const MERCHANTS: u32 = 4_000;
const MERCHANT_FLATNESS: u32 = 20;
const MERCHANT_KINDS: [&str; 10] =
    ["grocer", "cafe", "fuel", "books", "travel", "games", "pharmacy", "garden", "phones", "bikes"];

/// Countries with their currencies, the more usual ones first.
const COUNTRIES: [(&str, &str); 12] = [
    ("DE", "EUR"),
    ("FR", "EUR"),
    ("NL", "EUR"),
    ("ES", "EUR"),
    ("IT", "EUR"),
    ("PL", "PLN"),
    ("GB", "GBP"),
    ("US", "USD"),
    ("SE", "SEK"),
    ("CZ", "CZK"),
    ("CH", "CHF"),
    ("DK", "DKK"),
];

/// How long a journey lasts; one in `JOURNEYS` such spans of a card is spent abroad.
const JOURNEY_MS: u64 = 6 * 60 * 60 * 1_000;
const JOURNEYS: u64 = 40;

pub(super) const FAULTS: Faults = Faults { delayed: 500, late: 50, repeated: 100, damaged: 4 };

/// Makes the payments of card holders, and writes those of card testers.
pub(super) struct Payments {
    pub(super) dice: Dice,
    cards: Skew,
    merchants: Skew,
    written: u32,
}

/// What a payment says beside its identity.
pub(super) struct Payment {
    pub(super) card: u32,
    pub(super) country: usize,
    pub(super) amount_cents: u32,
    pub(super) ts_ms: i64,
}

impl Payments {
    pub(super) fn new(seed: u64) -> Payments {
        Payments {
            dice: Dice::new(seed, 1),
            cards: Skew::new(CARDS, CARD_FLATNESS),
            merchants: Skew::new(MERCHANTS, MERCHANT_FLATNESS),
            written: 0,
        }
    }

    /// Lets a card holder pay.
    pub(super) fn pay(&mut self, now_ms: i64) -> Generated {
        // Ranks become numbers through a permutation, or the low card numbers would be the busy
        // ones: 7,919 is prime and does not divide the number of cards.
        let card = (self.cards.draw(&mut self.dice) * 7_919) % CARDS;
        let delay_ms = FAULTS.delay_ms(&mut self.dice);
        let payment = Payment {
            card,
            country: country_of(card, now_ms),
            amount_cents: self.amount_cents(),
            ts_ms: now_ms - delay_ms,
        };
        self.write(&payment, now_ms)
    }

    /// Writes `payment`. Event ids carry the time of writing, so that a restart with the same
    /// seed does not use any of them again.
    pub(super) fn write(&mut self, payment: &Payment, now_ms: i64) -> Generated {
        let Payment { card, country, amount_cents, ts_ms } = *payment;
        let merchant = self.merchants.draw(&mut self.dice);
        let kind = MERCHANT_KINDS[merchant as usize % MERCHANT_KINDS.len()];
        let (country, currency) = COUNTRIES[country];
        let number = self.written;
        self.written = self.written.wrapping_add(1);
        let value = format!(
            r#"{{"event_id":"p{now_ms:011x}{number:08x}","card_id":"card-{card:06}","merchant":"{kind}-{merchant:04}","amount_cents":{amount_cents},"currency":"{currency}","country":"{country}","ts":{ts_ms}}}"#
        );
        Generated::new(PAYMENTS, format!("card-{card:06}"), value, ts_ms)
    }

    /// Draws an amount: mostly shopping, some large ones, some of less than a euro.
    fn amount_cents(&mut self) -> u32 {
        match self.dice.below(100) {
            0 => self.dice.between(20, 99),
            1..=60 => self.dice.between(250, 5_000),
            61..=90 => self.dice.between(1_000, 20_000),
            _ => self.dice.between(5_000, 90_000),
        }
    }
}

/// Draws two to five different countries.
pub(super) fn some_countries(dice: &mut Dice) -> Vec<usize> {
    let (first, n) = (dice.index(COUNTRIES.len()), dice.between(2, 5) as usize);
    // 5 and 12 have no common divisor, so that the first 12 steps do not meet.
    (0..n).map(|i| (first + 5 * i) % COUNTRIES.len()).collect()
}

/// Says where a card is: at home, and now and then abroad for some hours.
fn country_of(card: u32, now_ms: i64) -> usize {
    let nature = scramble(u64::from(card));
    let n = COUNTRIES.len() as u64;
    // The smaller of two draws: the first countries are the homes of most cards.
    let home = ((nature & 0xffff) % n).min(((nature >> 16) & 0xffff) % n);
    let span = (now_ms.unsigned_abs() + nature % JOURNEY_MS) / JOURNEY_MS;
    let journey = scramble(nature ^ span);
    let abroad = if journey.is_multiple_of(JOURNEYS) { 1 + (journey >> 32) % (n - 1) } else { 0 };
    ((home + abroad) % n) as usize
}
