//! What an operator is, and how operators are linked.
//!
//! A task owns a tree of operators, made anew for each task from the factories that the DSL left
//! in the topology. Records go down the tree by plain calls: no queue, no boxing, no lock.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use stores::state::StateError;

use crate::bad_record::Defect;
use crate::log::RecordRef;
use crate::record::Record;
use crate::task::Context;

/// Handles records of one type.
///
/// A record may break off half-way: a closure panics, a result does not fit. What it did to stores
/// and outputs is taken back then, and the operator is used again. So an operator keeps between
/// records nothing but buffers that it clears, caches that are true whatever was taken back, and
/// [`crate::task::Remembered`] values, which are taken back too. One that must keep anything else
/// calls [`Context::touch`] before it changes that: the task is then made again from the log.
pub(crate) trait Operator<K, V> {
    /// Handles one record to completion. Never blocks, never reads a clock.
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault>;
}

/// An operator that has something to do when time has passed.
pub(crate) trait Timed {
    /// A commit is about to be made: closes and forgets what time has passed by, and saves in a
    /// meta entry what a restart must not forget. Each result that it forwards, it forwards within
    /// [`Context::isolated`], so that one that breaks off does not stop the others.
    fn advance(&mut self, ctx: &mut Context<'_>) -> Result<(), Fault>;

    /// How often it must be advanced by the wall clock, in milliseconds, if at all.
    fn wants_wall_clock(&self) -> Option<i64> {
        None
    }
}

/// Reads one record of a topic into the tree.
pub(crate) trait Entry {
    /// Decodes `record` and hands it to the operators.
    fn feed(&mut self, record: &RecordRef<'_>, ctx: &mut Context<'_>) -> Result<(), Fault>;
}

/// Why a record was not handled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The record is bad: the policy decides.
    #[error("{node}: {reason}")]
    BadRecord { node: String, defect: Defect, reason: String },
    /// State failed: the task stops.
    #[error(transparent)]
    State(#[from] StateError),
}

/// An operator that several parents may call.
pub(crate) type Link<K, V> = Rc<RefCell<dyn Operator<K, V>>>;

/// An operator and the number of its node.
pub(crate) struct Linked<K, V> {
    pub(crate) node: usize,
    pub(crate) link: Link<K, V>,
}

impl<K, V> Linked<K, V> {
    /// Hands `record` to it. If it breaks off, the context says in which node.
    fn process(&self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let parent = ctx.enter(self.node);
        self.link.borrow_mut().process(record, ctx)?;
        ctx.enter(parent);
        Ok(())
    }
}

/// The operators after one.
pub(crate) struct Next<K, V> {
    links: Vec<Linked<K, V>>,
}

impl<K: Clone, V: Clone> Next<K, V> {
    /// Hands `record` to each of them.
    pub(crate) fn forward(&self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let Some((last, others)) = self.links.split_last() else { return Ok(()) };
        for link in others {
            link.process(record.clone(), ctx)?;
        }
        last.process(record, ctx)
    }
}

type Factory<K, V> = Arc<dyn Fn(&mut Assembly) -> Linked<K, V> + Send + Sync>;

/// Where the DSL hangs the factories of the operators after a node.
pub(crate) struct Outlets<K, V> {
    factories: Arc<Mutex<Vec<Factory<K, V>>>>,
}

impl<K, V> Clone for Outlets<K, V> {
    fn clone(&self) -> Self {
        Self { factories: Arc::clone(&self.factories) }
    }
}

impl<K: 'static, V: 'static> Outlets<K, V> {
    pub(crate) fn new() -> Self {
        Self { factories: Arc::default() }
    }

    pub(crate) fn add(
        &self,
        factory: impl Fn(&mut Assembly) -> Linked<K, V> + Send + Sync + 'static,
    ) {
        let mut factories = self.factories.lock().unwrap_or_else(PoisonError::into_inner);
        factories.push(Arc::new(factory));
    }

    /// Makes the operators after a node.
    pub(crate) fn assemble(&self, assembly: &mut Assembly) -> Next<K, V> {
        let factories = self.factories.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Next { links: factories.iter().map(|factory| factory(assembly)).collect() }
    }
}

/// A tree of operators in the making.
#[derive(Default)]
pub(crate) struct Assembly {
    /// The links made so far, by node: an operator with two parents is made once.
    made: HashMap<usize, Box<dyn Any>>,
    /// The operators that follow time, in topological order from the leaves.
    pub(crate) timed: Vec<Rc<RefCell<dyn Timed>>>,
    /// The nodes of these.
    pub(crate) timed_nodes: Vec<usize>,
}

impl Assembly {
    /// The link of `node`, made by `make` if it has not been made yet.
    pub(crate) fn link<K: 'static, V: 'static>(
        &mut self,
        node: usize,
        make: impl FnOnce(&mut Self) -> Link<K, V>,
    ) -> Linked<K, V> {
        if let Some(made) = self.made.get(&node) {
            let link = made.downcast_ref::<Link<K, V>>();
            return Linked { node, link: Rc::clone(link.expect("a node has one type")) };
        }
        let link = make(self);
        // Those after it were made first and have noted theirs: what is left is its own.
        self.timed_nodes.resize(self.timed.len(), node);
        self.made.insert(node, Box::new(Rc::clone(&link)));
        Linked { node, link }
    }
}
