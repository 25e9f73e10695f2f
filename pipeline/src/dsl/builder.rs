//! Where a topology begins.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::{Consumed, GlobalTable, Stream, Table};
use crate::codec::{Serde, Value};
use crate::format::names::Names;
use crate::key::Key;
use crate::operator::Outlets;
use crate::operators::source::SourceEntry;
use crate::topology::{
    GlobalSpec, Graph, Role, SourceSpec, TopicName, Topology, TopologyError, check_graph,
};

/// Builds one topology.
///
/// ```
/// use std::time::Duration;
/// use pipeline::{TimeWindows, TopologyBuilder};
///
/// let builder = TopologyBuilder::new("clicks");
/// builder
///     .stream::<String, i64>("clicks")
///     .group_by_key()
///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
///     .count("clicks-per-page")
///     .to_stream()
///     .to("clicks-per-minute");
/// let topology = builder.build()?;
/// assert_eq!(topology.source_topics(), ["clicks"]);
/// # Ok::<(), pipeline::TopologyError>(())
/// ```
pub struct TopologyBuilder {
    pub(crate) graph: Rc<RefCell<Graph>>,
}

impl TopologyBuilder {
    /// Begins the topology of the application `name`, which is in front of the names of its
    /// topics, stores and its consumer group.
    pub fn new(name: &str) -> Self {
        let mut graph = Graph::new(name);
        graph.check_name("topology", name);
        Self { graph: Rc::new(RefCell::new(graph)) }
    }

    /// Reads `topic` as a stream; values are JSON.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.stream::<String, i64>("sales").to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// for pieces in [3, 8] {
    ///     driver.pipe("sales", "lamp", &pieces, 1);
    /// }
    /// let out = driver.read::<String, i64>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3, 8]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn stream<K: Key, V: Value>(&self, topic: &str) -> Stream<K, V> {
        self.stream_with(topic, Consumed::default())
    }

    /// Reads `topic` as a stream.
    ///
    /// ```
    /// use pipeline::codec::utf8;
    /// use pipeline::{Consumed, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let texts = Consumed::with(utf8());
    /// builder.stream_with::<String, _>("sales", texts).map_values(|_, text| text.len()).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe_bytes("sales", Some(b"lamp"), Some(b"red"), 1);
    /// let out = driver.read::<String, usize>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn stream_with<K: Key, V: Clone + 'static>(
        &self,
        topic: &str,
        consumed: Consumed<V>,
    ) -> Stream<K, V> {
        self.graph.borrow_mut().check_topic("source topic", topic);
        add_source(&self.graph, TopicName::External(topic.to_owned()), consumed)
    }

    /// Reads `topic` as a table kept in `store`; values are JSON, a null value deletes.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// builder.table::<String, i64>("stock", "stock").to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("stock", "lamp", &3_i64, 1);
    /// driver.pipe_bytes("stock", Some(b"lamp"), None, 2);
    /// let stock = driver.read::<String, i64>("out");
    /// assert_eq!(stock.iter().map(|row| row.value).collect::<Vec<_>>(), [Some(3), None]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn table<K: Key, V: Value>(&self, topic: &str, store: &str) -> Table<K, V> {
        self.table_with(topic, store, Consumed::default())
    }

    /// Reads `topic` as a table kept in `store`; a null value deletes.
    ///
    /// ```
    /// use pipeline::codec::utf8;
    /// use pipeline::{Consumed, TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let texts = Consumed::with(utf8());
    /// let colours = builder.table_with::<String, _>("colours", "colours", texts);
    /// colours.map_values(|_, colour| colour.len()).to("out");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe_bytes("colours", Some(b"lamp"), Some(b"red"), 1);
    /// let out = driver.read::<String, usize>("out").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), [3]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn table_with<K: Key, V: Value>(
        &self,
        topic: &str,
        store: &str,
        consumed: Consumed<V>,
    ) -> Table<K, V> {
        let Consumed { value, timestamp, rules, idle } = consumed;
        let optional =
            Consumed::with(crate::codec::nullable(value)).with_rules(rules).idle_as(idle);
        let optional = match timestamp {
            None => optional,
            Some(extract) => optional.with_timestamp(move |value: &Option<V>, own| {
                value.as_ref().map_or(own, |value| extract(value, own))
            }),
        };
        self.stream_with::<K, Option<V>>(topic, optional).materialize(store)
    }

    /// Reads `topic` as a table that every worker holds whole, kept in `store`; values are JSON,
    /// a null value deletes.
    ///
    /// ```
    /// use pipeline::{TopologyBuilder, TopologyDriver};
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let names = builder.global_table::<String, String>("customers", "customers");
    /// builder
    ///     .stream::<String, String>("orders")
    ///     .join_global(&names, |_, customer| customer.clone(), |_, _, name| name.clone())
    ///     .to("named");
    /// let mut driver = TopologyDriver::new(builder.build()?);
    /// driver.pipe("customers", "c7", &"Ada".to_owned(), 1);
    /// driver.pipe("orders", "o1", &"c7".to_owned(), 2);
    /// let out = driver.read::<String, String>("named").into_iter();
    /// assert_eq!(out.filter_map(|record| record.value).collect::<Vec<_>>(), ["Ada"]);
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn global_table<K: Key, V: Value>(&self, topic: &str, store: &str) -> GlobalTable<K, V> {
        self.global_table_with(topic, store, crate::codec::json())
    }

    /// As [`Self::global_table`], with values as `value` reads them.
    ///
    /// ```
    /// use pipeline::TopologyBuilder;
    /// use pipeline::codec::utf8;
    ///
    /// let builder = TopologyBuilder::new("shop");
    /// let names = builder.global_table_with::<String, _>("customers", "customers", utf8());
    /// builder
    ///     .stream::<String, String>("orders")
    ///     .join_global(&names, |_, customer| customer.clone(), |_, _, name| name.clone())
    ///     .to("named");
    /// # builder.build()?;
    /// # Ok::<(), pipeline::TopologyError>(())
    /// ```
    pub fn global_table_with<K: Key, V: Clone + 'static>(
        &self,
        topic: &str,
        store: &str,
        value: Serde<V>,
    ) -> GlobalTable<K, V> {
        let check_value = Arc::clone(&value);
        let check = move |key: Option<&[u8]>, value: Option<&[u8]>| {
            K::decode(key)?;
            if value.is_some() {
                check_value.decode(value)?;
            }
            Ok(())
        };
        let mut graph = self.graph.borrow_mut();
        graph.check_topic("global table's topic", topic);
        graph.check_name("store", store);
        if graph.globals.iter().any(|global| global.name == store) {
            let name = store.to_owned();
            graph.errors.push(TopologyError::NameTwice { what: "global table", name });
        }
        let (name, topic) = (store.to_owned(), topic.to_owned());
        graph.globals.push(GlobalSpec { name, topic, check: Arc::new(check) });
        let index = graph.globals.len() - 1;
        GlobalTable { graph: Rc::clone(&self.graph), index, value, key: PhantomData }
    }

    /// Checks the topology.
    ///
    /// # Errors
    /// The first thing that is wrong, with the node and what to do.
    pub fn build(self) -> Result<Topology, TopologyError> {
        let name = self.graph.borrow().name.clone();
        // Handles that are still alive keep an empty graph: what is added to them now is lost,
        // and belongs to no topology.
        let graph = self.graph.replace(Graph::new(&name));
        let subs = check_graph(&graph)?;
        Ok(Topology { names: Names::new(&name, 1), graph, subs })
    }
}

/// Adds a source node.
pub(crate) fn add_source<K: Key, V: Clone + 'static>(
    graph: &Rc<RefCell<Graph>>,
    topic: TopicName,
    consumed: Consumed<V>,
) -> Stream<K, V> {
    let outlets: Outlets<K, V> = Outlets::new();
    let after = outlets.clone();
    let node = {
        let mut graph = graph.borrow_mut();
        let source = graph.sources.len();
        let node = graph.add("KSTREAM-SOURCE", Role::Source(source), Vec::new());
        let name = graph.nodes[node].name.clone();
        let (rules, idle) = (consumed.rules, consumed.idle);
        let entry = Arc::new(move |assembly: &mut crate::operator::Assembly| {
            let next = after.assemble(assembly);
            Box::new(SourceEntry::new(name.clone(), consumed.clone(), next))
                as Box<dyn crate::operator::Entry>
        });
        graph.sources.push(SourceSpec { node, topic, entry, idle, beside: false, rules });
        node
    };
    Stream { graph: Rc::clone(graph), node, outlets, rekeyed: false }
}
