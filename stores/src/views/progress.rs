//! What a view reflects: positions in its own topic, and in the topics that feed it.
//!
//! It is the payload of every commit, so it can be neither ahead of the documents nor behind them.
//! How the follower learns about the sources (control records and origins) is not known here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schema::{Reach, ViewSchema};
use crate::position::{Position, SourcePosition, Token};

/// The positions that a view's documents reflect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The id of the log that all positions are in; `None` if nobody has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// By view partition. A partition that is absent has not been read yet.
    pub partitions: BTreeMap<u32, PartitionProgress>,
}

/// What one partition of a view's topic has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The next record to read in the view's topic.
    pub position: Position,
    /// What has been heard of the sources through this partition.
    #[serde(with = "entries")]
    pub sources: BTreeMap<SourcePartition, SourceProgress>,
}

/// A partition of a topic that feeds a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourcePartition {
    /// The topic.
    pub topic: String,
    /// The partition of `topic`.
    pub partition: u32,
}

/// How far a source partition is reflected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceProgress {
    /// All records before it are reflected; some behind it may be.
    pub position: Position,
    /// The largest event time that was read from the source partition.
    pub clock_ms: i64,
    /// Whether the source partition stands still and has been left out of the clocks' minimum.
    pub idle: bool,
}

/// Something that a token asks for and a view does not reflect yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The view partition that has not come so far.
    pub view_partition: u32,
    /// The position that is asked for.
    pub wanted: SourcePosition,
    /// The position that is reflected, if anything is known.
    pub reached: Option<Position>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SourcePosition { topic, partition, position } = &self.wanted;
        write!(f, "view partition {} has seen `{topic}` {partition} ", self.view_partition)?;
        match self.reached {
            Some(reached) => write!(f, "up to offset {}", reached.offset)?,
            None => f.write_str("not at all")?,
        }
        write!(f, ", {} is asked for", position.offset)
    }
}

impl Progress {
    /// Tells whether everything that `token` stands for is reflected.
    ///
    /// Positions of topics that do not feed the view are ignored.
    pub fn contains(&self, schema: &ViewSchema, token: &Token) -> bool {
        self.gaps(schema, token).next().is_none()
    }

    /// Lists what `contains` misses, one entry for each view partition and source partition.
    pub fn missing(&self, schema: &ViewSchema, token: &Token) -> Vec<Missing> {
        self.gaps(schema, token).collect()
    }

    /// Folds what the view partitions say about each source partition to what all say.
    ///
    /// A source partition is `None` as long as one of the view partitions that it reaches has not
    /// heard of it.
    pub fn sources(
        &self,
        schema: &ViewSchema,
    ) -> BTreeMap<SourcePartition, Option<SourceProgress>> {
        let known = self.partitions.values().flat_map(|partition| partition.sources.keys());
        let reach_of = |source: &SourcePartition| schema.reach(&source.topic);
        let mut folded = BTreeMap::new();
        for source in known {
            if let (Some(reach), false) = (reach_of(source), folded.contains_key(source)) {
                folded.insert(source.clone(), self.minimum(schema, reach, source));
            }
        }
        folded
    }

    /// A token that this progress contains, and that any progress as far along contains too.
    pub fn token(&self, schema: &ViewSchema) -> Token {
        let sources = self.sources(schema).into_iter();
        let positions = sources.filter_map(|(SourcePartition { topic, partition }, progress)| {
            Some(SourcePosition { topic, partition, position: progress?.position })
        });
        Token { positions: positions.collect() }
    }

    fn gaps<'a>(
        &'a self,
        schema: &'a ViewSchema,
        token: &'a Token,
    ) -> impl Iterator<Item = Missing> + 'a {
        token.positions.iter().flat_map(move |wanted| {
            let reach = schema.reach(&wanted.topic);
            let reached = reach.map_or(0..0, |reach| schema.reached(reach, wanted.partition));
            let source =
                SourcePartition { topic: wanted.topic.clone(), partition: wanted.partition };
            reached.filter_map(move |view_partition| {
                let reached = self.heard(view_partition, &source).map(|heard| heard.position);
                let contained = reached.is_some_and(|at| at.offset >= wanted.position.offset);
                let missing = || Missing { view_partition, wanted: wanted.clone(), reached };
                (!contained).then(missing)
            })
        })
    }

    fn heard(&self, view_partition: u32, source: &SourcePartition) -> Option<&SourceProgress> {
        self.partitions.get(&view_partition)?.sources.get(source)
    }

    fn minimum(
        &self,
        schema: &ViewSchema,
        reach: Reach,
        source: &SourcePartition,
    ) -> Option<SourceProgress> {
        let mut partitions = schema.reached(reach, source.partition);
        let first = *self.heard(partitions.next()?, source)?;
        partitions.try_fold(first, |least, partition| {
            let heard = self.heard(partition, source)?;
            Some(SourceProgress {
                position: least.position.min(heard.position),
                clock_ms: least.clock_ms.min(heard.clock_ms),
                idle: least.idle && heard.idle,
            })
        })
    }
}

/// Source partitions as a list, since a JSON object has no keys of two parts.
mod entries {
    use super::{
        BTreeMap, Deserialize, Deserializer, Serialize, Serializer, SourcePartition, SourceProgress,
    };

    #[derive(Serialize, Deserialize)]
    struct Entry {
        #[serde(flatten)]
        source: SourcePartition,
        #[serde(flatten)]
        progress: SourceProgress,
    }

    pub(super) fn serialize<S: Serializer>(
        sources: &BTreeMap<SourcePartition, SourceProgress>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            sources
                .iter()
                .map(|(source, progress)| Entry { source: source.clone(), progress: *progress }),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<SourcePartition, SourceProgress>, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(|Entry { source, progress }| (source, progress)).collect())
    }
}
