//! Joins of a table with the one that its rows refer to: inner and left (KIP-213).
//!
//! ```text
//! left rows -- subscribe --> <name>-subscription --> answer -- <name>-response --> resolve --> result
//!                                                      ^                              ^
//!                                        right rows ---'                  left rows --'
//! ```
//! A left row subscribes where the right row that it refers to lies, and is answered there: with
//! the right row as it is, and again whenever that changes. An answer comes back to where the left
//! row lies. Each change of a left row gives its subscription a new number; an answer with another
//! number is stale, for a newer one is on its way, and is dropped. So the last result of each row
//! is that of the last rows on both sides, whatever came first.
//!
//! **Format.** `<name>-numbers`: the row's key to its number, and 1 if the last answer had a
//! right row. `<name>-subscriptions`: length of the foreign key, foreign key, row's key to the
//! number. Numbers are 8 bytes, big-endian.

mod messages;

use std::sync::Arc;

use messages::{Answer, Answers, Subscription, Subscriptions, Wish};

use super::kind;
use crate::codec::{CodecError, Value, json};
use crate::dsl::{Lookup, Side, Stamped, Stream, Table};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::record::{Change, Record};
use crate::task::Context;
use crate::topology::StoreRef;

/// Subscriptions that are read at once, so that a row that many refer to takes little memory.
const PAGE: usize = 256;
const NEXT_NUMBER: &[u8] = &[kind::META, b'n'];

/// Which of the row's answers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
}

/// Sends each left row's subscription.
struct Subscribe<FK, F> {
    kind: Kind,
    numbers: StoreRef,
    next_number: Option<u64>,
    saved: u64,
    foreign_key: Arc<F>,
    next: Next<FK, Subscription>,
}

impl<K, L, FK, F> Operator<K, Change<L>> for Subscribe<FK, F>
where
    K: Key,
    FK: Key,
    F: Fn(&K, &L) -> Option<FK>,
{
    fn process(
        &mut self,
        record: Record<K, Change<L>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let mut number_key = vec![kind::ENTRY];
        if !key.encode(&mut number_key) {
            return Ok(());
        }
        let refers = |row: &L| (self.foreign_key)(&key, row).filter(|foreign| !is_null(foreign));
        let (old, new) = (value.old.as_ref().and_then(refers), value.new.as_ref().and_then(refers));
        let row = number_key[1..].to_vec();
        let Some(new) = new else {
            let Some(old) = old else { return Ok(()) };
            let wish = match self.kind {
                Kind::Inner => Wish::TakeBack(self.renumber(&number_key, ctx)?),
                Kind::Left => {
                    ctx.delete(self.numbers, &number_key);
                    Wish::Forget
                }
            };
            return self.tell(old, Subscription { row, wish }, timestamp, ctx);
        };
        let moved = old.filter(|old| bytes_of(old) != bytes_of(&new));
        let must = match self.kind {
            Kind::Left => true,
            // There may be a result to take back. What took it back before may be stale now.
            Kind::Inner => moved.is_some() || number_of(self.numbers, &number_key, ctx)?.shown,
        };
        let number = self.renumber(&number_key, ctx)?;
        if let Some(old) = moved {
            let forget = Subscription { row: row.clone(), wish: Wish::Forget };
            self.tell(old, forget, timestamp, ctx)?;
        }
        let wish = if must { Wish::Answer(number) } else { Wish::AnswerIfPresent(number) };
        self.tell(new, Subscription { row, wish }, timestamp, ctx)
    }
}

impl<FK: Key, F> Subscribe<FK, F> {
    fn tell(
        &self,
        key: FK,
        value: Subscription,
        timestamp: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.next.forward(Record { key, value, timestamp }, ctx)
    }

    /// Gives a row a number that no subscription has had.
    fn renumber(&mut self, number_key: &[u8], ctx: &mut Context<'_>) -> Result<u64, Fault> {
        let number = match self.next_number {
            Some(number) => number,
            None => ctx.read(self.numbers, NEXT_NUMBER, |stored| {
                stored.and_then(decode_number).unwrap_or_default()
            })?,
        };
        self.next_number = Some(number + 1);
        let shown = number_of(self.numbers, number_key, ctx)?.shown;
        put_number(self.numbers, number_key, (number, shown), ctx);
        Ok(number)
    }
}

impl<FK, F> Timed for Subscribe<FK, F> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if let Some(next) = self.next_number.filter(|next| *next != self.saved) {
            ctx.put(self.numbers, NEXT_NUMBER, &next.to_be_bytes());
            self.saved = next;
        }
        Ok(())
    }
}

/// Keeps the subscriptions of the right rows, and answers them.
struct Respond<K, R, FK> {
    node: String,
    store: StoreRef,
    right: Lookup<FK, R>,
    next: Next<K, Answer<R>>,
}

impl<K, R, FK> Operator<FK, Side<Subscription, Change<R>>> for Respond<K, R, FK>
where
    K: Key,
    R: Clone,
    FK: Key,
{
    fn process(
        &mut self,
        record: Record<FK, Side<Subscription, Change<R>>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        match value {
            Side::Left(subscription) => self.subscribed(&key, &subscription, timestamp, ctx),
            Side::Right(change) if change.is_empty() => Ok(()),
            Side::Right(change) => self.changed(&key, change.new.as_ref(), timestamp, ctx),
        }
    }
}

impl<K: Key, R: Clone, FK: Key> Respond<K, R, FK> {
    fn subscribed(
        &self,
        foreign: &FK,
        subscription: &Subscription,
        timestamp: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let mut key = prefix(foreign);
        key.extend_from_slice(&subscription.row);
        let (number, always) = match subscription.wish {
            Wish::Forget => {
                ctx.delete(self.store, &key);
                return Ok(());
            }
            Wish::TakeBack(number) => {
                ctx.delete(self.store, &key);
                let right = (self.right)(foreign, ctx)?;
                let timestamp = right.map_or(timestamp, |right| right.timestamp.max(timestamp));
                let answer = Answer { number, right: None };
                return self.answer(&subscription.row, answer, timestamp, ctx);
            }
            Wish::Answer(number) => (number, true),
            Wish::AnswerIfPresent(number) => (number, false),
        };
        ctx.put(self.store, &key, &number.to_be_bytes());
        match (self.right)(foreign, ctx)? {
            Some(Stamped { value, timestamp: theirs }) => {
                let answer = Answer { number, right: Some(value) };
                self.answer(&subscription.row, answer, timestamp.max(theirs), ctx)
            }
            None if always => {
                self.answer(&subscription.row, Answer { number, right: None }, timestamp, ctx)
            }
            None => Ok(()),
        }
    }

    /// Tells all left rows that refer to a right row what it is now.
    fn changed(
        &self,
        foreign: &FK,
        right: Option<&R>,
        timestamp: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let prefix = prefix(foreign);
        let mut from = prefix.clone();
        let to = after(&prefix);
        loop {
            let page = ctx.scan(self.store, (&from, &to), PAGE)?;
            for (key, number) in &page {
                let number = decode_number(number).ok_or_else(|| {
                    ctx.bad_state(&self.node, &CodecError::new("not a subscription"))
                })?;
                let answer = Answer { number, right: right.cloned() };
                self.answer(&key[prefix.len()..], answer, timestamp, ctx)?;
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => {
                    from.clone_from(last);
                    from.push(0);
                }
                _ => return Ok(()),
            }
        }
    }

    fn answer(
        &self,
        row: &[u8],
        value: Answer<R>,
        timestamp: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let key = K::decode(Some(row)).map_err(|error| ctx.bad_state(&self.node, &error))?;
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

/// Makes the results: of answers that are not stale, and of left rows that refer to none.
struct Resolve<K, L, W, E, F> {
    node: String,
    kind: Kind,
    numbers: StoreRef,
    left: Lookup<K, L>,
    foreign_key: Arc<E>,
    join: Arc<F>,
    next: Next<K, Option<W>>,
}

impl<K, L, R, W, FK, E, F> Operator<K, Side<Change<L>, Answer<R>>> for Resolve<K, L, W, E, F>
where
    K: Key,
    W: Clone,
    FK: Key,
    E: Fn(&K, &L) -> Option<FK>,
    F: Fn(&K, &L, Option<&R>) -> W,
{
    fn process(
        &mut self,
        record: Record<K, Side<Change<L>, Answer<R>>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let join = &*self.join;
        let refers = |row: &L| (self.foreign_key)(&key, row).is_some_and(|key| !is_null(&key));
        let value = match value {
            Side::Left(change) if change.is_empty() => return Ok(()),
            // It is answered from where the right row lies, or was.
            Side::Left(_) if self.kind == Kind::Inner => return Ok(()),
            Side::Left(Change { new: Some(row), .. }) if refers(&row) => return Ok(()),
            Side::Left(change) => change.new.map(|row| join(&key, &row, None)),
            Side::Right(answer) => {
                if !self.asked(&key, &answer, ctx)? {
                    return Ok(());
                }
                let row = (self.left)(&key, ctx)?.map(|row| row.value);
                match row.filter(|row| refers(row)) {
                    Some(_) if self.kind == Kind::Inner && answer.right.is_none() => None,
                    Some(row) => Some(join(&key, &row, answer.right.as_ref())),
                    None => {
                        self.forget(&key, ctx);
                        None
                    }
                }
            }
        };
        self.next.forward(Record { key, value, timestamp }, ctx)
    }
}

impl<K: Key, L, W, E, F> Resolve<K, L, W, E, F> {
    /// Whether the row has not changed since it asked for this answer; notes whether it has a
    /// result now.
    fn asked<R>(&self, key: &K, answer: &Answer<R>, ctx: &mut Context<'_>) -> Result<bool, Fault> {
        let number_key = number_key(key);
        let Number { current, shown } = number_of(self.numbers, &number_key, ctx)?;
        if current != Some(answer.number) {
            ctx.count_dropped(&self.node, "stale answer");
            return Ok(false);
        }
        let shows = answer.right.is_some();
        if self.kind == Kind::Inner && shown != shows {
            put_number(self.numbers, &number_key, (answer.number, shows), ctx);
        }
        Ok(true)
    }

    /// A row that refers to none any more has had its last answer.
    fn forget(&self, key: &K, ctx: &mut Context<'_>) {
        ctx.delete(self.numbers, &number_key(key));
    }
}

/// The number of a row's last change.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    current: Option<u64>,
    /// The last answer that was not stale had a right row: there is a result.
    shown: bool,
}

fn number_of(store: StoreRef, number_key: &[u8], ctx: &Context<'_>) -> Result<Number, Fault> {
    let number = ctx.read(store, number_key, |stored| {
        let (number, rest) = stored?.split_first_chunk::<8>()?;
        Some(Number { current: Some(u64::from_be_bytes(*number)), shown: rest == [1] })
    })?;
    Ok(number.unwrap_or_default())
}

fn put_number(
    store: StoreRef,
    number_key: &[u8],
    (number, shown): (u64, bool),
    ctx: &mut Context<'_>,
) {
    let mut stored = [0; 9];
    stored[..8].copy_from_slice(&number.to_be_bytes());
    stored[8] = shown.into();
    ctx.put(store, number_key, &stored);
}

fn number_key(key: &impl Key) -> Vec<u8> {
    let mut number_key = vec![kind::ENTRY];
    key.encode(&mut number_key);
    number_key
}

fn decode_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn is_null(key: &impl Key) -> bool {
    !key.encode(&mut Vec::new())
}

fn bytes_of(key: &impl Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

/// What the subscriptions to a right row begin with.
fn prefix(foreign: &impl Key) -> Vec<u8> {
    let bytes = bytes_of(foreign);
    let length = u32::try_from(bytes.len()).expect("a record is far smaller than 4 GiB");
    [&[kind::ENTRY], &length.to_be_bytes()[..], &bytes].concat()
}

/// The first key after all that begin with `prefix`.
fn after(prefix: &[u8]) -> Vec<u8> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX);
    let mut after = prefix[..=last.expect("it begins with a small number")].to_vec();
    if let Some(byte) = after.last_mut() {
        *byte += 1;
    }
    after
}

impl<K: Key, V: Clone + 'static> Table<K, V> {
    /// Joins each row with the row of `other` that it refers to: `foreign_key` gives that one's
    /// key. Rows that refer to none, or to one that is not there, are left out.
    ///
    /// The result is kept in the store `name`. Two repartition topics, `<name>-subscription` and
    /// `<name>-response`, carry what the sides say to each other; rows of `other` travel as JSON.
    /// An update that comes of a row of `other` has its time.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let orders = builder.table::<String, (String, i64)>("orders", "orders");
    /// let customers = builder.table::<String, String>("customers", "customers");
    /// orders
    ///     .join_foreign(
    ///         &customers,
    ///         "named-orders",
    ///         |_, (customer, _)| Some(customer.clone()),
    ///         |_, (_, cents), name| (name.clone(), *cents),
    ///     )
    ///     .to("named-orders");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &("c7", 1_249), 1);
    /// driver.pipe("customers", "c7", &"Ada".to_owned(), 2);
    /// driver.pipe("customers", "c7", &"Ada Novak".to_owned(), 3);
    /// let orders = driver.read::<String, (String, i64)>("named-orders");
    /// let names: Vec<_> = orders.into_iter().filter_map(|order| Some(order.value?.0)).collect();
    /// assert_eq!(names, ["Ada", "Ada Novak"]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn join_foreign<FK: Key, R: Value, W: Value>(
        &self,
        other: &Table<FK, R>,
        name: &str,
        foreign_key: impl Fn(&K, &V) -> Option<FK> + Send + Sync + 'static,
        join: impl Fn(&K, &V, &R) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        let join = move |key: &K, left: &V, right: Option<&R>| {
            join(key, left, right.expect("an inner join has both rows"))
        };
        self.join_referred(other, (name, Kind::Inner), foreign_key, join)
    }

    /// As [`Self::join_foreign`]; rows that refer to none, or to one that is not there, are joined
    /// with none.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let orders = builder.table::<String, String>("orders", "orders");
    /// let customers = builder.table::<String, String>("customers", "customers");
    /// orders
    ///     .left_join_foreign(
    ///         &customers,
    ///         "named-orders",
    ///         |_, customer| Some(customer.clone()),
    ///         |_, customer, name| name.unwrap_or(customer).clone(),
    ///     )
    ///     .to("named-orders");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &"c7".to_owned(), 1);
    /// driver.pipe("customers", "c7", &"Ada".to_owned(), 2);
    /// let orders = driver.read::<String, String>("named-orders");
    /// let names: Vec<_> = orders.into_iter().filter_map(|order| order.value).collect();
    /// assert_eq!(names, ["c7", "Ada"]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    #[must_use]
    pub fn left_join_foreign<FK: Key, R: Value, W: Value>(
        &self,
        other: &Table<FK, R>,
        name: &str,
        foreign_key: impl Fn(&K, &V) -> Option<FK> + Send + Sync + 'static,
        join: impl Fn(&K, &V, Option<&R>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        self.join_referred(other, (name, Kind::Left), foreign_key, join)
    }

    fn join_referred<FK: Key, R: Value, W: Value>(
        &self,
        other: &Table<FK, R>,
        (name, kind): (&str, Kind),
        foreign_key: impl Fn(&K, &V) -> Option<FK> + Send + Sync + 'static,
        join: impl Fn(&K, &V, Option<&R>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        let (foreign_key, join) = (Arc::new(foreign_key), Arc::new(join));
        let numbers = self.changes.graph.borrow_mut().add_store(&format!("{name}-numbers"));
        let extract = Arc::clone(&foreign_key);
        let subscribe = move |next| Subscribe {
            kind,
            numbers,
            next_number: None,
            saved: 0,
            foreign_key: Arc::clone(&extract),
            next,
        };
        let subscriptions = self
            .changes
            .then_timed("KTABLE-FK-JOIN-SUBSCRIBE", vec![numbers], subscribe)
            .repartition_beside(&format!("{name}-subscription"), Arc::new(Subscriptions));
        let answers = respond(&subscriptions, other, name)
            .repartition_beside(&format!("{name}-response"), Arc::new(Answers(json::<R>())));
        let mut stores = self.stores.clone();
        stores.push(numbers);
        let left = Arc::clone(&self.lookup);
        let node = self.changes.next_name("KTABLE-FK-JOIN-RESOLVE");
        let resolve = move |next| Resolve {
            node: node.clone(),
            kind,
            numbers,
            left: Arc::clone(&left),
            foreign_key: Arc::clone(&foreign_key),
            join: Arc::clone(&join),
            next,
        };
        self.changes
            .then_both("KTABLE-FK-JOIN-RESOLVE", &answers, stores, resolve)
            // Not the last value of a key, but its timestamp is that of the side that came last.
            .mark_arrival_order()
            .materialize(name)
    }
}

/// Adds what keeps and answers the subscriptions, where the rows of `right` lie.
fn respond<K: Key, FK: Key, R: Value>(
    subscriptions: &Stream<FK, Subscription>,
    right: &Table<FK, R>,
    name: &str,
) -> Stream<K, Answer<R>> {
    let store = subscriptions.graph.borrow_mut().add_store(&format!("{name}-subscriptions"));
    let mut stores = right.stores.clone();
    stores.push(store);
    let node = subscriptions.next_name("KTABLE-FK-JOIN-RESPOND");
    let lookup = Arc::clone(&right.lookup);
    let make = move |next| Respond { node: node.clone(), store, right: Arc::clone(&lookup), next };
    subscriptions.then_both("KTABLE-FK-JOIN-RESPOND", &right.changes, stores, make)
}

#[cfg(test)]
mod tests;
