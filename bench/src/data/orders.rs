//! Orders and their items: five items to an order on average, in any order of time.

use super::dice::Dice;
use super::{EPOCH_MS, Record};

const STATES: [&str; 4] = ["placed", "paid", "shipped", "delivered"];

/// A sixth of `count` orders, then the items.
pub(super) fn records(seed: u64, count: u64) -> impl Iterator<Item = Record> {
    let orders = (count / 6).max(1);
    let mut dice = Dice::new(seed);
    (0..count).map(move |number| match number.checked_sub(orders) {
        None => order(&mut dice, number),
        Some(item_number) => item(&mut dice, item_number, orders),
    })
}

fn order(dice: &mut Dice, number: u64) -> Record {
    let id = format!("o-{number:07}");
    // There are five items in the time of one order.
    let timestamp_ms = EPOCH_MS + 5 * number as i64;
    let (customer, status) = (dice.below(50_000), dice.pick(&STATES));
    let value = format!(
        "{{\"order_id\":\"{id}\",\"customer_id\":\"c-{customer:05}\",\"status\":\"{status}\",\
         \"ts\":{timestamp_ms}}}"
    );
    Record { topic: "orders", key: id, value, timestamp_ms }
}

fn item(dice: &mut Dice, number: u64, orders: u64) -> Record {
    let id = format!("o-{:07}", dice.below(orders));
    let timestamp_ms = EPOCH_MS + number as i64;
    let (sku, qty, price) = (dice.below(10_000), dice.between(1, 5), dice.between(100, 20_000));
    let value = format!(
        "{{\"item_id\":\"i-{number:08}\",\"order_id\":\"{id}\",\"sku\":\"sku-{sku:05}\",\"qty\":{qty},\
         \"unit_price_cents\":{price},\"ts\":{timestamp_ms}}}"
    );
    Record { topic: "order-items", key: id, value, timestamp_ms }
}
