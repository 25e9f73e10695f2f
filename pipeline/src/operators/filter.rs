//! `filter` and `filter_not` on streams.

use std::sync::Arc;

use crate::dsl::Stream;
use crate::operator::{Fault, Next, Operator};
use crate::record::Record;
use crate::task::Context;

/// Lets through the records for which `keep` says true.
struct Filter<K, V, F> {
    keep: Arc<F>,
    next: Next<K, V>,
}

impl<K: Clone, V: Clone, F: Fn(&K, &V) -> bool> Operator<K, V> for Filter<K, V, F> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut Context<'_>) -> Result<(), Fault> {
        if (self.keep)(&record.key, &record.value) {
            self.next.forward(record, ctx)?;
        }
        Ok(())
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Stream<K, V> {
    /// Keeps the records for which `keep` says true.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").filter(|_, pieces| *pieces > 5).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [8]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        let keep = Arc::new(keep);
        self.then("KSTREAM-FILTER", move |next| Filter { keep: Arc::clone(&keep), next })
    }

    /// Keeps the records for which `reject` says false.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").filter_not(|_, pieces| *pieces > 5).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn filter_not(&self, reject: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter(move |key, value| !reject(key, value))
    }
}
