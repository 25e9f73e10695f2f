//! Streams and global tables: the handles.

use std::cell::RefCell;
use std::rc::Rc;

use crate::codec::Serde;
use crate::operator::{Assembly, Link, Next, Operator, Outlets, Timed};
use crate::topology::{Graph, Role, StoreRef, TopologyError};

/// A stream of records. Cloning the handle does not copy the stream: what is added to either is
/// added to the same node.
pub struct Stream<K, V> {
    pub(crate) graph: Rc<RefCell<Graph>>,
    pub(crate) node: usize,
    pub(crate) outlets: Outlets<K, V>,
    /// The key is not the one that the records were partitioned by.
    pub(crate) rekeyed: bool,
}

impl<K, V> Clone for Stream<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            node: self.node,
            outlets: self.outlets.clone(),
            rekeyed: self.rekeyed,
        }
    }
}

/// A table that every worker holds whole: for joins by any key.
pub struct GlobalTable<K, V> {
    pub(crate) graph: Rc<RefCell<Graph>>,
    /// Its place among the topology's global tables.
    pub(crate) index: usize,
    pub(crate) value: Serde<V>,
    pub(crate) key: std::marker::PhantomData<fn() -> K>,
}

impl<K: Clone + 'static, V: Clone + 'static> Stream<K, V> {
    /// Adds an operator without stores after this node.
    pub(crate) fn then<K2, V2, O>(
        &self,
        kind: &str,
        make: impl Fn(Next<K2, V2>) -> O + Send + Sync + 'static,
    ) -> Stream<K2, V2>
    where
        K2: Clone + 'static,
        V2: Clone + 'static,
        O: Operator<K, V> + 'static,
    {
        self.then_with(kind, Vec::new(), make)
    }

    /// Adds an operator that follows time after this node.
    pub(crate) fn then_timed<K2, V2, O>(
        &self,
        kind: &str,
        stores: Vec<StoreRef>,
        make: impl Fn(Next<K2, V2>) -> O + Send + Sync + 'static,
    ) -> Stream<K2, V2>
    where
        K2: Clone + 'static,
        V2: Clone + 'static,
        O: Operator<K, V> + Timed + 'static,
    {
        let make = move |next: Next<K2, V2>, assembly: &mut Assembly| -> Link<K, V> {
            let operator = Rc::new(RefCell::new(make(next)));
            assembly.timed.push(Rc::clone(&operator) as Rc<RefCell<dyn Timed>>);
            operator
        };
        self.link(kind, stores, make)
    }

    /// Adds an operator with `stores` after this node.
    pub(crate) fn then_with<K2, V2, O>(
        &self,
        kind: &str,
        stores: Vec<StoreRef>,
        make: impl Fn(Next<K2, V2>) -> O + Send + Sync + 'static,
    ) -> Stream<K2, V2>
    where
        K2: Clone + 'static,
        V2: Clone + 'static,
        O: Operator<K, V> + 'static,
    {
        let make = move |next: Next<K2, V2>, _: &mut Assembly| -> Link<K, V> {
            Rc::new(RefCell::new(make(next)))
        };
        self.link(kind, stores, make)
    }

    fn link<K2, V2>(
        &self,
        kind: &str,
        stores: Vec<StoreRef>,
        make: impl Fn(Next<K2, V2>, &mut Assembly) -> Link<K, V> + Send + Sync + 'static,
    ) -> Stream<K2, V2>
    where
        K2: Clone + 'static,
        V2: Clone + 'static,
    {
        let role = Role::Processor(stores);
        let node = self.graph.borrow_mut().add(kind, role, vec![self.node]);
        let outlets = Outlets::new();
        let after = outlets.clone();
        self.outlets.add(move |assembly| {
            assembly.link(node, |assembly| {
                let next = after.assemble(assembly);
                make(next, assembly)
            })
        });
        Stream { graph: Rc::clone(&self.graph), node, outlets, rekeyed: self.rekeyed }
    }

    /// Adds an operator after which nothing comes but what `make` builds in.
    pub(crate) fn end<O>(&self, node: usize, make: impl Fn() -> O + Send + Sync + 'static)
    where
        O: Operator<K, V> + 'static,
    {
        self.outlets.add(move |assembly| {
            assembly.link(node, |_| -> Link<K, V> { Rc::new(RefCell::new(make())) })
        });
    }

    /// As [`Self::end`], for an operator that follows time.
    pub(crate) fn end_timed<O>(&self, node: usize, make: impl Fn() -> O + Send + Sync + 'static)
    where
        O: Operator<K, V> + Timed + 'static,
    {
        self.outlets.add(move |assembly| {
            assembly.link(node, |assembly| -> Link<K, V> {
                let operator = Rc::new(RefCell::new(make()));
                assembly.timed.push(Rc::clone(&operator) as Rc<RefCell<dyn Timed>>);
                operator
            })
        });
    }

    /// The name that the next node will have if it is of this kind.
    pub(crate) fn next_name(&self, kind: &str) -> String {
        format!("{kind}-{:010}", self.graph.borrow().nodes.len())
    }

    /// The name of this node.
    pub(crate) fn name(&self) -> String {
        self.graph.borrow().nodes[self.node].name.clone()
    }

    /// Marks what this node does as dependent on the order of arrival.
    pub(crate) fn mark_arrival_order(self) -> Self {
        self.graph.borrow_mut().nodes[self.node].arrival_order = true;
        self
    }

    /// Whether it comes through a repartition, so that records of several sources come in an order
    /// that is nobody's.
    pub(crate) fn is_repartitioned(&self) -> bool {
        let graph = self.graph.borrow();
        let sources = graph.sources_above(self.node);
        sources.iter().any(|source| graph.sources[*source].topic.external().is_none())
    }

    /// The same stream, with the key changed or not.
    pub(crate) fn with_rekeyed(mut self, rekeyed: bool) -> Self {
        self.rekeyed = rekeyed;
        self
    }

    /// Notes an error unless the records lie where their keys are.
    pub(crate) fn needs_partitioning(&self) {
        if self.rekeyed {
            let node = self.name();
            self.graph.borrow_mut().errors.push(TopologyError::NotPartitioned { node });
        }
    }

    /// Notes an error unless `other` is a graph of the same builder.
    pub(crate) fn needs_same_builder(&self, other: &Rc<RefCell<Graph>>) {
        if !Rc::ptr_eq(&self.graph, other) {
            let node = self.name();
            self.graph.borrow_mut().errors.push(TopologyError::TwoTopologies { node });
        }
    }
}
