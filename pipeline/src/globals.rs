//! Global tables: each worker holds all of them, read from their topics.
//!
//! They advance only between commits, so that what a commit is made of does not change under it.
//! Their topic is their changelog: the rows of each of its partitions are a store of their own,
//! written directly, together with the position.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stores::state::{StateDb, StateError, Store, StoreId};

use crate::log::{Log, Position, Reader, TopicPartition, partition_for};
use crate::operators::kind;
use crate::task::restore::{Lagging, Watch, restore};
use crate::task::{Counters, TaskError};
use crate::topology::Topology;

/// The rows of one global table.
pub(crate) struct GlobalRows {
    /// By partition of the table's topic.
    stores: Vec<Store>,
}

impl GlobalRows {
    /// Shows the row of `key` to `read`. It is looked for where Kafka's partitioner puts the key
    /// first, then in the other partitions: the topic may have been written by another one.
    pub(crate) fn read<T>(
        &self,
        key: &[u8],
        read: impl Fn(&[u8]) -> T,
    ) -> Result<Option<T>, StateError> {
        let count = u32::try_from(self.stores.len()).expect("partitions are counted in u32");
        if count == 0 {
            return Ok(None);
        }
        let first = partition_for(&key[1..], count) as usize;
        let (after, before) = (&self.stores[first..], &self.stores[..first]);
        for store in after.iter().chain(before) {
            if let Some(found) = store.read(key, |row| row.map(&read))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The global tables of one worker.
pub(crate) struct Globals {
    topology: Arc<Topology>,
    db: Arc<StateDb>,
    counters: Arc<Counters>,
    tables: Vec<GlobalRows>,
    /// Where each partition's rows lie, and the table's place in the topology.
    places: BTreeMap<TopicPartition, (StoreId, usize)>,
    reader: Option<Box<dyn Reader>>,
}

impl Globals {
    /// Brings all tables up to their topics. `worker` names the worker among those that share
    /// the state: another one may be at another place.
    pub(crate) fn open(
        topology: &Arc<Topology>,
        log: &dyn Log,
        db: &Arc<StateDb>,
        (worker, counters): (&str, &Arc<Counters>),
    ) -> Result<Self, TaskError> {
        let mut globals = Self {
            topology: Arc::clone(topology),
            db: Arc::clone(db),
            counters: Arc::clone(counters),
            tables: Vec::new(),
            places: BTreeMap::new(),
            reader: None,
        };
        if topology.graph.globals.is_empty() {
            return Ok(globals);
        }
        let mut reader = log.reader()?;
        for (table, spec) in topology.graph.globals.iter().enumerate() {
            let name = format!("{}-{worker}-global-{}", topology.names.group(), spec.name);
            let partitions = log.topics()?.get(&spec.topic).map_or(0, |topic| topic.partitions);
            let mut stores = Vec::new();
            for partition in 0..partitions {
                let at = TopicPartition::new(spec.topic.as_str(), partition);
                let store = Store::open(db, &name, partition)?;
                reader.assign(&at, globals.bring_up(log, table, (&at, store.id()))?)?;
                globals.places.insert(at, (store.id(), table));
                stores.push(store);
            }
            globals.tables.push(GlobalRows { stores });
        }
        globals.reader = Some(reader);
        Ok(globals)
    }

    fn bring_up(
        &self,
        log: &dyn Log,
        table: usize,
        (at, store): (&TopicPartition, StoreId),
    ) -> Result<u64, TaskError> {
        let row_key = |key: &[u8], value: Option<&[u8]>| self.row_key(table, at, (key, value));
        let restored = restore(
            log,
            &self.db,
            &[Lagging { changelog: at.clone(), store, key: &row_key }],
            Watch::default(),
        )?;
        tracing::debug!(topic = %at, records = restored.records, "read a global table");
        let start = log.range(at)?.start;
        Ok(self.db.position(store)?.map_or(start, |position| position.offset))
    }

    /// The key of a record's row; `None`, counted, if the record does not decode.
    fn row_key(
        &self,
        table: usize,
        at: &TopicPartition,
        (key, value): (&[u8], Option<&[u8]>),
    ) -> Option<Vec<u8>> {
        match (self.topology.graph.globals[table].check)(Some(key), value) {
            Ok(()) => Some([&[kind::ENTRY], key].concat()),
            Err(error) => {
                tracing::debug!(topic = %at, %error, "bad record in a global table");
                self.counters.add(&at.topic, "bad record in a global table");
                None
            }
        }
    }

    /// The tables, in the order of the topology.
    pub(crate) fn tables(&self) -> &[GlobalRows] {
        &self.tables
    }

    /// Reads what has come since the last time.
    pub(crate) fn advance(&mut self) -> Result<(), TaskError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let fetched = reader.poll(Duration::ZERO)?;
        let mut batch = self.db.batch();
        for fetched in fetched {
            let Some((store, table)) = self.places.get(&fetched.partition) else { continue };
            for record in fetched.records() {
                let key = record
                    .key
                    .and_then(|key| self.row_key(*table, &fetched.partition, (key, record.value)));
                if let Some(key) = key {
                    batch.set(*store, &key, record.value);
                }
            }
            let next = fetched.batch.last_offset() + 1;
            batch.set_position(*store, Position::new(next, fetched.batch.epoch()));
        }
        if !batch.is_empty() {
            batch.write()?;
        }
        Ok(())
    }
}
