//! `process`: a user's own processor as a node.

use std::sync::Arc;

use super::kind;
use super::stream_time::StreamTime;
use crate::codec::{Serde, Value, json};
use crate::dsl::{Stream, TopologyBuilder};
use crate::key::Key;
use crate::operator::{Fault, Next, Operator, Timed};
use crate::processor::{KeyValueStore, Processor, ProcessorContext, Schedule, StoreId};
use crate::record::Record;
use crate::task::Context;
use crate::topology::{StoreRef, TopologyError};

struct Process<K, V, P: Processor<K, V>> {
    node: String,
    processor: P,
    stores: Arc<[StoreRef]>,
    schedule: Arc<[Schedule]>,
    /// Where stream time and the last punctuations are kept.
    own: StoreRef,
    time: StreamTime,
    next: Next<P::Key, P::Value>,
}

impl<K, V, P: Processor<K, V>> Process<K, V, P> {
    /// Calls the processor because time has reached `now`.
    fn punctuate(
        &mut self,
        schedule: Schedule,
        now: i64,
        ctx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let stream_time = self.time.get(ctx)?;
        let (node, stores, next) = (&self.node, &self.stores, &self.next);
        let mut ctx = ProcessorContext { node, stores, next, stream_time, ctx };
        self.processor.punctuate(schedule, now, &mut ctx).map_err(|error| error.0)
    }

    fn advance_wall_clock(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(now) = ctx.wall_ms() else { return Ok(()) };
        for (index, schedule) in Arc::clone(&self.schedule).iter().enumerate() {
            if !matches!(schedule, Schedule::WallClock(_)) {
                continue;
            }
            let key = [kind::META, b'w', u8::try_from(index).unwrap_or(u8::MAX)];
            let last = ctx.read(self.own, &key, |value| {
                value.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)))
            })?;
            // The first look at the clock only begins the first period.
            let Some(reached) = schedule.reached(last.unwrap_or(i64::MIN), now) else { continue };
            ctx.put(self.own, &key, &reached.to_be_bytes());
            if last.is_some() {
                ctx.isolated(&[], |ctx| self.punctuate(*schedule, reached, ctx))?;
            }
        }
        Ok(())
    }
}

impl<K, V, P: Processor<K, V>> Operator<K, V> for Process<K, V, P> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let before = self.time.get(ctx)?;
        let stream_time = self.time.observe(record.timestamp, ctx)?;
        // What the processor keeps in itself is its own: nobody else can take it back.
        if P::KEEPS_STATE {
            ctx.touch();
        }
        let (node, stores, next) = (&self.node, &self.stores, &self.next);
        let mut inner = ProcessorContext { node, stores, next, stream_time, ctx };
        self.processor.process(record, &mut inner).map_err(|error| error.0)?;
        if before == i64::MIN {
            return Ok(());
        }
        for schedule in Arc::clone(&self.schedule).iter() {
            if let Schedule::StreamTime(_) = schedule
                && let Some(now) = schedule.reached(before, stream_time)
            {
                ctx.isolated(&[], |ctx| self.punctuate(*schedule, now, ctx))?;
            }
        }
        Ok(())
    }
}

impl<K, V, P: Processor<K, V>> Timed for Process<K, V, P> {
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.time.save(ctx);
        self.advance_wall_clock(ctx)
    }

    fn wants_wall_clock(&self) -> Option<i64> {
        let periods = self.schedule.iter().filter(|s| matches!(s, Schedule::WallClock(_)));
        periods.map(|schedule| schedule.period_ms()).min()
    }
}

impl<K: Key, V: Clone + 'static> Stream<K, V> {
    /// Hands each record to a processor of the user's own, which `make` makes for each task. The
    /// node is called `name`, and has a store of that name for the times that it must remember;
    /// `stores` are those that the processor uses. Grouping after it repartitions.
    ///
    /// ```
    /// use pipeline::driver::TopologyDriver;
    /// use pipeline::processor::{KeyValueStore, Processor, ProcessorContext, ProcessorError};
    /// use pipeline::{Record, TopologyBuilder};
    ///
    /// /// Forwards a record when its value is not the one before.
    /// struct Changes {
    ///     last: KeyValueStore<String, i64>,
    /// }
    ///
    /// impl Processor<String, i64> for Changes {
    ///     type Key = String;
    ///     type Value = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         record: Record<String, i64>,
    ///         ctx: &mut ProcessorContext<'_, '_, String, i64>,
    ///     ) -> Result<(), ProcessorError> {
    ///         let mut last = ctx.store(&self.last);
    ///         if last.get(&record.key)? == Some(record.value) {
    ///             return Ok(());
    ///         }
    ///         last.put(&record.key, &record.value)?;
    ///         ctx.forward(record)
    ///     }
    /// }
    ///
    /// let builder = TopologyBuilder::new("levels");
    /// let last = builder.key_value_store("last");
    /// builder
    ///     .stream::<String, i64>("levels")
    ///     .process("changes", &[last.id()], move || Changes { last: last.clone() })
    ///     .to("changed-levels");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for (at, level) in [(0, 5), (1, 5), (2, 7)] {
    ///     driver.pipe("levels", "tank", &level, at);
    /// }
    /// assert_eq!(driver.read::<String, i64>("changed-levels").len(), 2);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn process<P: Processor<K, V>>(
        &self,
        name: &str,
        stores: &[StoreId],
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> Stream<P::Key, P::Value> {
        let schedule: Arc<[Schedule]> = make().schedule().into();
        let wall_clock = schedule.iter().any(|s| matches!(s, Schedule::WallClock(_)));
        let own = self.graph.borrow_mut().add_store(name);
        for StoreId { name: store, store: at } in stores {
            let mut graph = self.graph.borrow_mut();
            if graph.stores.get(at.0).is_none_or(|known| *known.name != **store) {
                graph.errors.push(TopologyError::TwoTopologies { node: name.to_owned() });
            }
        }
        let uses: Arc<[StoreRef]> = stores.iter().map(|store| store.store).collect();
        let all = uses.iter().copied().chain([own]).collect();
        let node = name.to_owned();
        let stream = self.then_timed("KSTREAM-PROCESSOR", all, move |next| Process {
            node: node.clone(),
            processor: make(),
            stores: Arc::clone(&uses),
            schedule: Arc::clone(&schedule),
            own,
            time: StreamTime::new(own),
            next,
        });
        stream.graph.borrow_mut().nodes[stream.node].name = name.to_owned();
        let stream = stream.with_rekeyed(true);
        if wall_clock { stream.mark_arrival_order() } else { stream }
    }
}

impl TopologyBuilder {
    /// A keyed store called `name` for processors; values are stored as JSON.
    ///
    /// There is an example at [`Stream::process`].
    pub fn key_value_store<K: Key, V: Value>(&self, name: &str) -> KeyValueStore<K, V> {
        self.key_value_store_with(name, json())
    }

    /// A keyed store called `name` for processors; values are stored as `codec` says.
    ///
    /// There is an example at [`Stream::process`].
    pub fn key_value_store_with<K: Key, V>(
        &self,
        name: &str,
        codec: Serde<V>,
    ) -> KeyValueStore<K, V> {
        let store = self.graph.borrow_mut().add_store(name);
        KeyValueStore { name: name.into(), store, codec, key: std::marker::PhantomData }
    }
}
