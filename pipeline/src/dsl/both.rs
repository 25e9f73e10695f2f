//! Operators with two parents: a node that is told from which of them a record comes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::Stream;
use crate::operator::{Assembly, Fault, Link, Linked, Next, Operator, Outlets, Timed};
use crate::record::Record;
use crate::task::Context;
use crate::topology::{Role, StoreRef};

/// A value of the left parent or of the right one.
#[derive(Clone, Debug)]
pub(crate) enum Side<L, R> {
    Left(L),
    Right(R),
}

/// Says of each record that it comes from one side.
struct Told<K, V, S> {
    side: fn(V) -> S,
    next: Link<K, S>,
}

impl<K, V, S> Operator<K, V> for Told<K, V, S> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Record { key, value, timestamp } = record;
        let value = (self.side)(value);
        self.next.borrow_mut().process(Record { key, value, timestamp }, ctx)
    }
}

impl<K: Clone + 'static, L: Clone + 'static> Stream<K, L> {
    /// Adds an operator after this node and `right`.
    pub(crate) fn then_both<R, K2, V, O>(
        &self,
        kind: &str,
        right: &Stream<K, R>,
        stores: Vec<StoreRef>,
        make: impl Fn(Next<K2, V>) -> O + Send + Sync + 'static,
    ) -> Stream<K2, V>
    where
        R: Clone + 'static,
        K2: Clone + 'static,
        V: Clone + 'static,
        O: Operator<K, Side<L, R>> + 'static,
    {
        self.link_both((kind, stores), right, move |next, _| Rc::new(RefCell::new(make(next))))
    }

    /// Adds an operator that follows time after this node and `right`.
    pub(crate) fn then_both_timed<R, V, O>(
        &self,
        kind: &str,
        right: &Stream<K, R>,
        stores: Vec<StoreRef>,
        make: impl Fn(Next<K, V>) -> O + Send + Sync + 'static,
    ) -> Stream<K, V>
    where
        R: Clone + 'static,
        V: Clone + 'static,
        O: Operator<K, Side<L, R>> + Timed + 'static,
    {
        self.link_both((kind, stores), right, move |next, assembly| {
            let operator = Rc::new(RefCell::new(make(next)));
            assembly.timed.push(Rc::clone(&operator) as Rc<RefCell<dyn Timed>>);
            operator
        })
    }

    fn link_both<R, K2, V>(
        &self,
        (kind, stores): (&str, Vec<StoreRef>),
        right: &Stream<K, R>,
        make: impl Fn(Next<K2, V>, &mut Assembly) -> Link<K, Side<L, R>> + Send + Sync + 'static,
    ) -> Stream<K2, V>
    where
        R: Clone + 'static,
        K2: Clone + 'static,
        V: Clone + 'static,
    {
        self.needs_same_builder(&right.graph);
        let mut parents = vec![self.node, right.node];
        parents.dedup();
        let node = self.graph.borrow_mut().add(kind, Role::Processor(stores), parents);
        let outlets = Outlets::new();
        let after = outlets.clone();
        let link = Arc::new(move |assembly: &mut Assembly| {
            assembly.link(node, |assembly| {
                let next = after.assemble(assembly);
                make(next, assembly)
            })
        });
        let right_link = Arc::clone(&link);
        self.outlets.add(move |assembly| told(Side::Left, link(assembly)));
        right.outlets.add(move |assembly| told(Side::Right, right_link(assembly)));
        Stream { graph: Rc::clone(&self.graph), node, outlets, rekeyed: false }
    }
}

fn told<K: 'static, V: 'static, S: 'static>(side: fn(V) -> S, next: Linked<K, S>) -> Linked<K, V> {
    let Linked { node, link } = next;
    Linked { node, link: Rc::new(RefCell::new(Told { side, next: link })) }
}
