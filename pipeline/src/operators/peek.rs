//! `peek` and `merge` on streams.

use std::sync::Arc;

use crate::dsl::Stream;
use crate::operator::{Fault, Next, Operator, Outlets};
use crate::record::{Record, RecordInfo};
use crate::task::Context;
use crate::topology::Role;

/// Shows each record to `look` and hands it on.
struct Peek<K, V, F> {
    look: Arc<F>,
    next: Next<K, V>,
}

impl<K: Clone, V: Clone, F: Fn(&K, &V, RecordInfo<'_>)> Operator<K, V> for Peek<K, V, F> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        (self.look)(&record.key, &record.value, RecordInfo::new(record.timestamp, ctx));
        self.next.forward(record, ctx)
    }
}

/// Hands on what any of its parents hands it.
struct Merge<K, V> {
    next: Next<K, V>,
}

impl<K: Clone, V: Clone> Operator<K, V> for Merge<K, V> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        self.next.forward(record, ctx)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Stream<K, V> {
    /// Shows each record to `look`, for logging and counting. It may be shown again after a crash.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder
    ///     .stream::<String, i64>("sales")
    ///     .peek(|item, n, info| eprintln!("{item}: {n} at {}", info.timestamp))
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3, 8]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn peek(&self, look: impl Fn(&K, &V, RecordInfo<'_>) + Send + Sync + 'static) -> Self {
        let look = Arc::new(look);
        self.then("KSTREAM-PEEK", move |next| Peek { look: Arc::clone(&look), next })
    }

    /// Puts the records of two streams into one. Between records of different topics the order
    /// is that of their timestamps among what had arrived.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let here = builder.stream::<String, i64>("sales");
    /// let there = builder.stream::<String, i64>("orders");
    /// here.merge(&there).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("orders", "lamp", &1_i64, 1);
    /// driver.pipe("sales", "lamp", &3_i64, 2);
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [1, 3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn merge(&self, other: &Self) -> Self {
        self.needs_same_builder(&other.graph);
        let role = Role::Processor(Vec::new());
        let parents = vec![self.node, other.node];
        let node = self.graph.borrow_mut().add("KSTREAM-MERGE", role, parents);
        let outlets: Outlets<K, V> = Outlets::new();
        for parent in [self, other] {
            let after = outlets.clone();
            parent.outlets.add(move |assembly| {
                assembly.link(node, |assembly| {
                    let next = after.assemble(assembly);
                    std::rc::Rc::new(std::cell::RefCell::new(Merge { next })) as _
                })
            });
        }
        let rekeyed = self.rekeyed || other.rekeyed;
        Self { graph: std::rc::Rc::clone(&self.graph), node, outlets, rekeyed }.mark_arrival_order()
    }
}
