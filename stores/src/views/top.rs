//! The collector behind a search: counts all hits, keeps the first few in a total order.
//!
//! Tantivy's own collectors break ties by where a document happens to lie, which a merge changes.
//! Here the last order is always the key, so a page is the same whatever the segments are.
//!
//! Within a segment every value is compared as a `u64` (texts by their ordinals in the segment's
//! sorted dictionary); only the few candidates that a segment is left with are compared as values
//! across segments.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn};
use tantivy::{DocAddress, DocId, Score, SegmentOrdinal, SegmentReader};

use super::search::SORT_FIELDS_MAX;

/// The sort fields and the key.
const ORDERS_MAX: usize = SORT_FIELDS_MAX + 1;

/// What hits are ordered by, and which way.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) by: By,
    pub(super) descending: bool,
}

/// What hits are ordered by.
#[derive(Clone, Debug)]
pub(super) enum By {
    /// How well the document matches.
    Score,
    /// The first value of a fast field whose values map to `u64` in order.
    Number(String),
    /// The first value of a fast text field.
    Text(String),
}

/// Collects the hits `offset..offset + limit` of a total order, and the number of all.
pub(super) struct TopHits {
    /// At most [`ORDERS_MAX`]; the last one is by key.
    pub(super) orders: Vec<Order>,
    pub(super) limit: usize,
    pub(super) offset: usize,
    /// Makes the collector drop what is left.
    pub(super) cancelled: Arc<AtomicBool>,
}

/// What [`TopHits`] finds.
pub(super) struct Page {
    pub(super) total: u64,
    pub(super) hits: Vec<Ranked>,
}

/// A hit, and what decides its place among those of other segments.
pub(super) struct Ranked {
    values: Vec<SortValue>,
    pub(super) score: Option<Score>,
    pub(super) address: DocAddress,
}

enum SortValue {
    /// Smaller comes first, whichever way the field is sorted.
    Number(u64),
    Text(String),
    Missing,
}

impl TopHits {
    fn depth(&self) -> usize {
        if self.limit == 0 { 0 } else { self.offset.saturating_add(self.limit) }
    }

    fn compare(&self, left: &Ranked, right: &Ranked) -> Ordering {
        let values = left.values.iter().zip(&right.values).zip(&self.orders);
        let compared = values.map(|((left, right), order)| match (left, right) {
            (SortValue::Text(left), SortValue::Text(right)) if order.descending => right.cmp(left),
            (SortValue::Text(left), SortValue::Text(right)) => left.cmp(right),
            (SortValue::Number(left), SortValue::Number(right)) => left.cmp(right),
            (SortValue::Missing, SortValue::Missing) => Ordering::Equal,
            (SortValue::Missing, _) => Ordering::Greater,
            (_, SortValue::Missing) => Ordering::Less,
            (SortValue::Text(_), SortValue::Number(_))
            | (SortValue::Number(_), SortValue::Text(_)) => {
                unreachable!("an order gives values of one type")
            }
        });
        compared.fold(Ordering::Equal, Ordering::then)
    }
}

impl Collector for TopHits {
    type Fruit = Page;
    type Child = SegmentHits;

    fn for_segment(
        &self,
        segment_ord: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<SegmentHits> {
        assert!(self.orders.len() <= ORDERS_MAX, "the number of sort fields has been checked");
        let columns = self.orders.iter().map(|order| {
            let values = match &order.by {
                By::Score => Values::Score,
                By::Number(name) => segment
                    .fast_fields()
                    .u64_lenient(name)?
                    .map_or(Values::Missing, |(column, _)| Values::Number(column)),
                By::Text(name) => {
                    segment.fast_fields().str(name)?.map_or(Values::Missing, Values::Text)
                }
            };
            Ok(SortColumn { values, descending: order.descending })
        });
        Ok(SegmentHits {
            segment_ord,
            columns: columns.collect::<tantivy::Result<_>>()?,
            depth: self.depth(),
            total: 0,
            candidates: Vec::new(),
            worst: None,
            scored: self.requires_scoring(),
            cancelled: Arc::clone(&self.cancelled),
        })
    }

    fn requires_scoring(&self) -> bool {
        self.orders.iter().any(|order| matches!(order.by, By::Score))
    }

    fn merge_fruits(&self, fruits: Vec<tantivy::Result<Page>>) -> tantivy::Result<Page> {
        let mut page = Page { total: 0, hits: Vec::new() };
        for fruit in fruits {
            let Page { total, hits } = fruit?;
            page.total += total;
            page.hits.extend(hits);
        }
        page.hits.sort_unstable_by(|left, right| self.compare(left, right));
        page.hits.truncate(self.depth());
        page.hits.drain(..self.offset.min(page.hits.len()));
        Ok(page)
    }
}

/// Where a hit stands within its segment: smaller comes first, what is missing comes last.
type Rank = [(bool, u64); ORDERS_MAX];

struct Candidate {
    rank: Rank,
    doc: DocId,
    score: Score,
}

struct SortColumn {
    values: Values,
    descending: bool,
}

enum Values {
    Score,
    Number(Column<u64>),
    Text(StrColumn),
    /// No document of the segment has the field.
    Missing,
}

impl SortColumn {
    fn rank(&self, doc: DocId, score: Score) -> (bool, u64) {
        let value = match &self.values {
            Values::Score => Some(score_rank(score)),
            Values::Number(column) => column.first(doc),
            Values::Text(column) => column.ords().first(doc),
            Values::Missing => None,
        };
        match value {
            Some(value) if self.descending => (false, !value),
            Some(value) => (false, value),
            None => (true, 0),
        }
    }

    /// Turns a rank back into a value that can be compared with those of other segments.
    fn value(&self, (is_missing, rank): (bool, u64)) -> tantivy::Result<SortValue> {
        match &self.values {
            _ if is_missing => Ok(SortValue::Missing),
            Values::Text(column) => {
                let ordinal = if self.descending { !rank } else { rank };
                let mut text = String::new();
                column.ord_to_str(ordinal, &mut text)?;
                Ok(SortValue::Text(text))
            }
            Values::Score | Values::Number(_) | Values::Missing => Ok(SortValue::Number(rank)),
        }
    }
}

/// Maps scores to integers of the same order.
fn score_rank(score: Score) -> u64 {
    let bits = score.to_bits();
    let is_negative = bits >> 31 == 1;
    u64::from(if is_negative { !bits } else { bits | 1 << 31 })
}

/// The hits of one segment. Holds at most twice as many as can be on the page or before it.
pub(super) struct SegmentHits {
    segment_ord: SegmentOrdinal,
    columns: Vec<SortColumn>,
    depth: usize,
    total: u64,
    candidates: Vec<Candidate>,
    /// What a hit must be better than, once there are enough.
    worst: Option<Rank>,
    scored: bool,
    cancelled: Arc<AtomicBool>,
}

impl SegmentHits {
    /// Keeps the best.
    fn shrink(&mut self) {
        if self.candidates.len() > self.depth {
            let by_rank = |left: &Candidate, right: &Candidate| left.rank.cmp(&right.rank);
            let (_, worst, _) = self.candidates.select_nth_unstable_by(self.depth - 1, by_rank);
            self.worst = Some(worst.rank);
            self.candidates.truncate(self.depth);
        }
    }

    fn page(mut self) -> tantivy::Result<Page> {
        if self.depth > 0 {
            self.shrink();
        }
        let mut hits = Vec::with_capacity(self.candidates.len());
        for candidate in self.candidates {
            let ranks = self.columns.iter().zip(candidate.rank);
            let values = ranks.map(|(column, rank)| column.value(rank));
            hits.push(Ranked {
                values: values.collect::<tantivy::Result<_>>()?,
                score: self.scored.then_some(candidate.score),
                address: DocAddress::new(self.segment_ord, candidate.doc),
            });
        }
        Ok(Page { total: self.total, hits })
    }
}

impl SegmentCollector for SegmentHits {
    type Fruit = tantivy::Result<Page>;

    fn collect(&mut self, doc: DocId, score: Score) {
        if self.cancelled.load(Relaxed) {
            return;
        }
        self.total += 1;
        if self.depth == 0 {
            return;
        }
        let mut rank = Rank::default();
        for (slot, column) in rank.iter_mut().zip(&self.columns) {
            *slot = column.rank(doc, score);
        }
        if self.worst.is_some_and(|worst| rank >= worst) {
            return;
        }
        self.candidates.push(Candidate { rank, doc, score });
        if self.candidates.len() >= self.depth.saturating_mul(2) {
            self.shrink();
        }
    }

    fn harvest(self) -> tantivy::Result<Page> {
        self.page()
    }
}
