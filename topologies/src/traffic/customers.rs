//! The customers that place the orders: a table, keyed by customer id.

use super::dice::{Dice, scramble};
use super::{CUSTOMERS, Generated};

/// How many customers there are.
pub(super) const COUNT: u32 = 5_000;

const GIVEN: [&str; 24] = [
    "Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farah", "Gustav", "Hana", "Ines", "Jonas",
    "Katya", "Liam", "Marta", "Nils", "Olga", "Pedro", "Quinn", "Rosa", "Sven", "Tomas", "Uma",
    "Vera", "Wanda", "Yusuf",
];
const FAMILY: [&str; 24] = [
    "Andersen", "Bianchi", "Castillo", "Dubois", "Eriksen", "Fischer", "Garcia", "Horvat",
    "Ivanova", "Jansen", "Kowalski", "Lindgren", "Moreau", "Novak", "Okafor", "Petrov", "Quist",
    "Rossi", "Schmidt", "Tanaka", "Ueda", "Virtanen", "Weber", "Zeman",
];
const COUNTRIES: [&str; 8] = ["DE", "FR", "NL", "ES", "IT", "PL", "SE", "CZ"];
const TIERS: [&str; 3] = ["bronze", "silver", "gold"];

/// What can change about the customers: their tiers.
pub(super) struct Customers {
    tiers: Vec<u8>,
}

impl Customers {
    pub(super) fn new(seed: u64) -> Customers {
        let mut dice = Dice::new(seed, 4);
        let tier = |draw| match draw {
            0..70 => 0,
            70..93 => 1,
            _ => 2,
        };
        Customers { tiers: (0..COUNT).map(|_| tier(dice.below(100))).collect() }
    }

    /// Writes every customer as it is now.
    pub(super) fn all(&self, now_ms: i64) -> impl Iterator<Item = Generated> + '_ {
        (0..COUNT).map(move |customer| self.write(customer, now_ms))
    }

    /// Moves one customer to another tier.
    pub(super) fn change(&mut self, dice: &mut Dice, now_ms: i64) -> Generated {
        let customer = dice.below(COUNT);
        let tier = &mut self.tiers[customer as usize];
        *tier = (*tier + dice.between(1, 2) as u8) % TIERS.len() as u8;
        self.write(customer, now_ms)
    }

    fn write(&self, customer: u32, now_ms: i64) -> Generated {
        let nature = scramble(u64::from(customer)) as usize;
        let given = GIVEN[nature % GIVEN.len()];
        let family = FAMILY[(nature >> 16) % FAMILY.len()];
        let country = COUNTRIES[(nature >> 32) % COUNTRIES.len()];
        let tier = TIERS[usize::from(self.tiers[customer as usize])];
        let value = format!(
            r#"{{"customer_id":"cust-{customer:05}","name":"{given} {family}","tier":"{tier}","country":"{country}"}}"#
        );
        Generated::new(CUSTOMERS, format!("cust-{customer:05}"), value, now_ms)
    }
}
