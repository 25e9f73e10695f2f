//! Operators without state, a processor with a store, and aggregates of several streams.

use pipeline::codec::{nullable, utf8};
use pipeline::processor::{KeyValueStore, Processor, ProcessorContext, ProcessorError};
use pipeline::{Record, Stream, Topology};

use super::{built, group_of, is_even, texts};
use crate::cases::{Case, Params, Text, present};

type Texts = Stream<Text, Text>;

fn has_even(value: Option<&str>) -> bool {
    value.is_some_and(is_even)
}

/// `plain:...`, without state.
fn stateless(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let stream = crate::cases::texts(builder, "in");
        let out: Texts = match name {
            "plain:filter-map" => {
                stream.filter(|_, value| has_even(value.as_deref())).map(|key, value| {
                    let all = format!("{}/{}", super::text(&key), super::text(&value));
                    (group_of(value.as_deref()), Some(all))
                })
            }
            "plain:filter-not" => stream.filter_not(|_, value| has_even(value.as_deref())),
            "plain:flat-map-values" => stream
                .flat_map_values(|_, value| {
                    value.map_or_else(Vec::new, |v| vec![v.clone(), v + "!"])
                })
                .map_values(|_, value| Some(value)),
            "plain:branches" => {
                let mut split = stream.split();
                let even = split.branch(|_, value| has_even(value.as_deref()));
                let null = split.branch(|_, value| value.is_none());
                let odd = split.done().map_values(|_, value| value.map(|value| value + "o"));
                odd.merge(&even).merge(&null)
            }
            _ => {
                let all = name == "plain:repartition";
                let key = move |key: &Text, value: &Text| {
                    if all { group_of(value.as_deref()) } else { even_key(key, value) }
                };
                stream.select_key(key).repartition_with("rekeyed", nullable(utf8()))
            }
        };
        out.to_with("out", nullable(utf8()));
    })
}

fn even_key(key: &Text, value: &Text) -> Text {
    key.clone().filter(|_| has_even(value.as_deref()))
}

/// Says how often the value of a key has changed.
struct Changes {
    last: KeyValueStore<String, (String, u64)>,
}

impl Processor<Text, Text> for Changes {
    type Key = String;
    type Value = Text;
    const KEEPS_STATE: bool = false;

    fn process(
        &mut self,
        record: Record<Text, Text>,
        ctx: &mut ProcessorContext<'_, '_, String, Text>,
    ) -> Result<(), ProcessorError> {
        let Record { key: Some(key), value, timestamp } = record else { return Ok(()) };
        let mut rows = ctx.store(&self.last);
        let (last, times) = rows.get(&key)?.unzip();
        let value = match value {
            Some(value) if last.as_ref() == Some(&value) => return Ok(()),
            Some(value) => {
                let times = times.unwrap_or(0) + 1;
                rows.put(&key, &(value.clone(), times))?;
                Some(format!("{value}#{times}"))
            }
            None => {
                rows.delete(&key)?;
                None
            }
        };
        ctx.forward(Record { key, value, timestamp })
    }
}

/// `plain:changes`, by a processor.
fn changes(_: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let last = builder.key_value_store("last");
        let make = move |id: &KeyValueStore<String, (String, u64)>| Changes { last: id.clone() };
        let stores = [last.id()];
        crate::cases::texts(builder, "in")
            .process("changes", &stores, move || make(&last))
            .to_with("out", nullable(utf8()));
    })
}

/// `cogrouped:...`: two streams, one aggregate.
fn cogrouped(name: &'static str, _: &Params) -> Topology {
    built(|builder| {
        let (left, right) = (present(builder, "left"), present(builder, "right"));
        let (left, right) = if name == "cogrouped:rekeyed" {
            (
                left.group_by("left-by-value", |_, value| group_of(Some(value))),
                right.group_by("right-by-value", |_, value| group_of(Some(value))),
            )
        } else {
            (left.group_by_key(), right.group_by_key())
        };
        left.cogroup(|_, value, all: String| format!("{all}+{value}"))
            .cogroup(right, |_, value, all| format!("{all}-{value}"))
            .aggregate("all", String::new)
            .to_with("out", utf8());
    })
}

/// A record without a key is not repartitioned in Kafka Streams.
pub(super) const REPARTITIONED_NULLS: Case = texts("plain:repartition-nulls", stateless);

pub(super) const CASES: &[Case] = &[
    texts("plain:filter-map", stateless),
    texts("plain:filter-not", stateless),
    texts("plain:flat-map-values", stateless),
    texts("plain:branches", stateless),
    texts("plain:repartition", stateless),
    texts("plain:changes", changes),
    texts("cogrouped:by-key", cogrouped),
    texts("cogrouped:rekeyed", cogrouped),
];
