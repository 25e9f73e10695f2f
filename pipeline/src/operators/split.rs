//! `split` on streams: each record goes to the first branch that takes it.

use std::rc::Rc;
use std::sync::Arc;

use crate::dsl::Stream;
use crate::operator::{Fault, Next, Operator, Outlets};
use crate::record::Record;
use crate::task::Context;
use crate::topology::Role;

type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> bool + Send + Sync>;

/// A stream that is being split. Branches are asked in the order in which they were added; a
/// record that no branch takes is dropped.
pub struct Split<K, V> {
    stream: Stream<K, V>,
    node: usize,
    branches: Vec<(Predicate<K, V>, Outlets<K, V>)>,
}

/// Hands each record to the first branch that takes it.
struct Branches<K, V> {
    branches: Vec<(Predicate<K, V>, Next<K, V>)>,
}

impl<K: Clone, V: Clone> Operator<K, V> for Branches<K, V> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        let takes = |(takes, _): &&(Predicate<K, V>, _)| takes(&record.key, &record.value);
        match self.branches.iter().find(takes) {
            Some((_, next)) => next.forward(record, ctx),
            None => Ok(()),
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Stream<K, V> {
    /// Splits the stream; end with [`Split::done`].
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let mut split = builder.stream::<String, i64>("sales").split();
    /// split.branch(|_, pieces| *pieces > 5).to("many");
    /// split.done().to("few");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("many").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [8]);
    /// let out = driver.read::<String, i64>("few").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn split(&self) -> Split<K, V> {
        let role = Role::Processor(Vec::new());
        let node = self.graph.borrow_mut().add("KSTREAM-BRANCH", role, vec![self.node]);
        Split { stream: self.clone(), node, branches: Vec::new() }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Split<K, V> {
    /// Adds a branch for the records for which `takes` says true, and no branch before did.
    ///
    /// There is an example at [`Stream::split`].
    pub fn branch(
        &mut self,
        takes: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Stream<K, V> {
        let outlets = Outlets::new();
        self.branches.push((Arc::new(takes), outlets.clone()));
        Stream {
            graph: Rc::clone(&self.stream.graph),
            node: self.node,
            outlets,
            rekeyed: self.stream.rekeyed,
        }
    }

    /// Ends the split; the records that no branch has taken go to the stream that is returned.
    ///
    /// There is an example at [`Stream::split`].
    pub fn done(mut self) -> Stream<K, V> {
        let rest = self.branch(|_, _| true);
        let Self { stream, node, branches } = self;
        stream.outlets.add(move |assembly| {
            assembly.link(node, |assembly| {
                let branches = branches
                    .iter()
                    .map(|(takes, outlets)| (Arc::clone(takes), outlets.assemble(assembly)))
                    .collect();
                Rc::new(std::cell::RefCell::new(Branches { branches })) as _
            })
        });
        rest
    }
}
