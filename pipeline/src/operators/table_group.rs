//! `group_by` on tables: each row counts in the group that it is in now, and no longer in the one
//! that it was in before.

use std::sync::Arc;

use crate::codec::{Codec, CodecError, Serde, Value, json};
use crate::dsl::{Stream, Table};
use crate::key::Key;
use crate::log::record::{put_varint, take_slice};
use crate::operator::{Fault, Next, Operator};
use crate::record::{Change, Record};
use crate::task::Context;

/// A table grouped by a new key, to be aggregated: see [`Table::group_by`].
pub struct GroupedTable<K, V> {
    /// The updates of the groups, where their keys are.
    pub(super) changes: Stream<K, Change<V>>,
}

/// Makes of an update of a row what it means for its groups: one record if it stays in its group;
/// else one for the group that it leaves, then one for the group that it joins.
struct Regroup<K2, V2, F> {
    node: String,
    select: Arc<F>,
    next: Next<K2, Change<V2>>,
}

impl<K, V, K2, V2, F> Operator<K, Change<V>> for Regroup<K2, V2, F>
where
    K2: Key,
    V2: Clone,
    F: Fn(&K, &V) -> (K2, V2),
{
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let place = |row: &V| {
            let (group, part) = (self.select)(&key, row);
            let mut bytes = Vec::new();
            group.encode(&mut bytes).then_some((bytes, group, part))
        };
        let new = value.new.as_ref().and_then(place);
        let old = value.old.as_ref().and_then(place);
        if value.new.is_some() && new.is_none() {
            ctx.count_dropped(&self.node, "null key");
        }
        let forward = |key, new, old, ctx: &mut Context<'_>| {
            self.next.forward(Record { key, value: Change { new, old }, timestamp }, ctx)
        };
        match (old, new) {
            (Some((before, _, old)), Some((after, group, new))) if before == after => {
                forward(group, Some(new), Some(old), ctx)
            }
            (old, new) => {
                if let Some((_, group, old)) = old {
                    forward(group, None, Some(old), ctx)?;
                }
                match new {
                    Some((_, group, new)) => forward(group, Some(new), None, ctx),
                    None => Ok(()),
                }
            }
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Table<K, V> {
    /// Groups the rows by a new key, through the repartition topic `name`; `select` gives each
    /// row's group and what of the row is to be aggregated, which travels as JSON. A row whose
    /// group is null is in none.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .table::<String, (String, i64)>("orders", "orders")
    ///     .group_by("by-customer", |_, (customer, cents)| (customer.clone(), *cents))
    ///     .aggregate("totals", || 0, |_, cents, sum| sum + cents, |_, cents, sum| sum - cents)
    ///     .to("totals");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "o1", &("ann", 50), 1);
    /// driver.pipe("orders", "o1", &("ann", 70), 2);
    /// driver.pipe("orders", "o1", &("bob", 70), 3);
    /// let totals = driver.read::<String, i64>("totals");
    /// let totals: Vec<_> = totals.into_iter().map(|r| (r.key, r.value.unwrap())).collect();
    /// let expected = [("ann", 50), ("ann", 70), ("ann", 0), ("bob", 70)];
    /// assert_eq!(totals, expected.map(|(key, sum)| (key.to_owned(), sum)));
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn group_by<K2: Key, V2: Value>(
        &self,
        name: &str,
        select: impl Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
    ) -> GroupedTable<K2, V2> {
        self.group_by_with(name, json(), select)
    }

    /// As [`Self::group_by`]; what is aggregated travels as `codec` says.
    ///
    /// ```
    /// use pipeline::codec::int64;
    /// use pipeline::TopologyBuilder;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .table::<String, (String, i64)>("orders", "orders")
    ///     .group_by_with("by-customer", int64(), |_, (customer, cents)| (customer.clone(), *cents))
    ///     .count("orders-of-customer")
    ///     .to("orders-of-customer");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn group_by_with<K2: Key, V2: Clone + 'static>(
        &self,
        name: &str,
        codec: Serde<V2>,
        select: impl Fn(&K, &V) -> (K2, V2) + Send + Sync + 'static,
    ) -> GroupedTable<K2, V2> {
        let select = Arc::new(select);
        let node = self.changes.next_name("KTABLE-SELECT");
        let regrouped = self.changes.then("KTABLE-SELECT", move |next| Regroup {
            node: node.clone(),
            select: Arc::clone(&select),
            next,
        });
        GroupedTable { changes: regrouped.repartition_with(name, Arc::new(Changes(codec))) }
    }
}

/// Updates as bytes. **Format.** Length and bytes of the old value, then those of the new one,
/// each with 1 in front if it is there and 0 alone if it is not.
struct Changes<V>(Serde<V>);

impl<V> Codec<Change<V>> for Changes<V> {
    fn encode(&self, change: &Change<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        let mut bytes = Vec::new();
        for value in [&change.old, &change.new] {
            let Some(value) = value else {
                out.push(0);
                continue;
            };
            bytes.clear();
            if !self.0.encode(value, &mut bytes)? {
                return Err(CodecError::new("null, where a row has a value"));
            }
            out.push(1);
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
        }
        Ok(true)
    }

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Change<V>, CodecError> {
        let cut = || CodecError::new("not an update of a table");
        let bytes = &mut bytes.ok_or_else(cut)?;
        let mut value = || {
            let (present, rest) = bytes.split_first().ok_or_else(cut)?;
            *bytes = rest;
            if *present == 0 {
                return Ok(None);
            }
            self.0.decode(Some(take_slice(bytes).ok_or_else(cut)?)).map(Some)
        };
        let old = value()?;
        Ok(Change { old, new: value()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::int64;

    #[test]
    fn updates_read_back() {
        let codec = Changes(int64());
        for (old, new) in [(None, None), (Some(1), None), (None, Some(-2)), (Some(3), Some(4))] {
            let change = Change { old, new };
            let mut bytes = Vec::new();
            assert!(codec.encode(&change, &mut bytes).unwrap());
            assert_eq!(codec.decode(Some(&bytes)).unwrap(), change);
            bytes.pop();
            assert!(codec.decode(Some(&bytes)).is_err());
        }
        assert!(codec.decode(None).is_err());
    }
}
