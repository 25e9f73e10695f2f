//! Reading dead letters: by id, by page, and as counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::DeadLetterError;
use super::letter::{DeadLetter, LetterId};
use super::marks::{LetterState, Marks};
use crate::log::{Log, LogError, RecordRef, TopicPartition};

/// What the topics of dead letters end with.
const SUFFIX: &str = "-dlq";
/// How long one poll waits for records that are there.
const POLL: Duration = Duration::from_millis(100);
/// So many empty answers mean that the rest was compacted away, or that the log hangs.
const EMPTY_POLLS_MAX: u32 = 20;
/// Dead letters looked at in one call: more are for the next one.
const SCANNED_MAX: usize = 200_000;

/// Which dead letters; what is `None` is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this topology, or this source topic: what stands before `-dlq` in the topic's name.
    pub owner: Option<String>,
    /// With this defect, by its name.
    pub defect: Option<String>,
    /// Not handled by this node.
    pub node: Option<String>,
    /// Read from this topic.
    pub topic: Option<String>,
    /// Set aside at this moment or later, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Set aside before this moment, in milliseconds since 1970.
    pub to_ms: Option<i64>,
    /// In this state.
    pub state: Option<LetterState>,
}

impl Filter {
    fn has(&self, letter: &DeadLetter, state: LetterState) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.defect, letter.defect())
            && is(&self.node, letter.node())
            && is(&self.topic, letter.topic())
            && self.from_ms.is_none_or(|from| letter.set_aside_ms >= from)
            && self.to_ms.is_none_or(|to| letter.set_aside_ms < to)
            && self.state.is_none_or(|wanted| wanted == state)
    }
}

/// A page of dead letters, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The letters with their states.
    pub letters: Vec<(DeadLetter, LetterState)>,
    /// There may be more behind this one: ask again with it.
    pub next: Option<LetterId>,
}

/// What dead letters have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The topic that they lie in.
    pub letters: String,
    /// What is wrong with them, one word.
    pub defect: String,
    /// The node that could not handle them.
    pub node: String,
    /// The topic that they were read from.
    pub topic: String,
    /// What has become of them.
    pub state: LetterState,
}

/// Counts of dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many there are of each group.
    pub groups: BTreeMap<Group, u64>,
    /// Not all were counted: ask again with this one, and add.
    pub next: Option<LetterId>,
}

/// The dead letters of `filter` behind `after`, at most `limit` of them.
///
/// # Errors
/// When the log is away.
pub fn list(
    log: &dyn Log,
    filter: &Filter,
    after: Option<&LetterId>,
    limit: usize,
) -> Result<Listed, DeadLetterError> {
    let mut listed = Listed::default();
    listed.next = walk(log, filter, after, &mut |letter, state| {
        listed.letters.push((letter, state));
        listed.letters.len() < limit
    })?;
    Ok(listed)
}

/// How many dead letters of `filter` there are behind `after`, by what they have in common.
///
/// # Errors
/// When the log is away.
pub fn count(
    log: &dyn Log,
    filter: &Filter,
    after: Option<&LetterId>,
) -> Result<Counted, DeadLetterError> {
    let mut groups = BTreeMap::new();
    let next = walk(log, filter, after, &mut |letter, state| {
        let group = Group {
            letters: letter.id.at.topic.to_string(),
            defect: letter.defect().to_owned(),
            node: letter.node().to_owned(),
            topic: letter.topic().to_owned(),
            state,
        };
        *groups.entry(group).or_default() += 1;
        true
    })?;
    Ok(Counted { groups, next })
}

/// One dead letter and its state.
///
/// # Errors
/// [`DeadLetterError::Unknown`], and when the log is away.
pub fn read(log: &dyn Log, id: &LetterId) -> Result<(DeadLetter, LetterState), DeadLetterError> {
    let unknown = || DeadLetterError::Unknown(id.clone());
    if !id.at.topic.ends_with(SUFFIX) {
        return Err(unknown());
    }
    let letter = record_at(log, &id.at, id.offset, &mut |append_ms, record| {
        DeadLetter::read(&id.at, append_ms, record)
    })?;
    let letter = letter.ok_or_else(unknown)?;
    let marks = Marks::read(log, &id.at.topic)?;
    Ok((letter, marks.state(id.at.partition, id.offset)))
}

/// Shows the record at `offset` to `read`; `None` if there is none.
pub(super) fn record_at<T>(
    log: &dyn Log,
    at: &TopicPartition,
    offset: u64,
    read: &mut dyn FnMut(i64, &RecordRef<'_>) -> T,
) -> Result<Option<T>, LogError> {
    let range = match log.range(at) {
        Err(LogError::UnknownTopic(_) | LogError::UnknownPartition { .. }) => return Ok(None),
        found => found?,
    };
    if !(range.start..range.end.offset).contains(&offset) {
        return Ok(None);
    }
    let mut found = None;
    visit(log, at, offset, &mut |append_ms, record| {
        if record.offset == offset {
            found = Some(read(append_ms, record));
        }
        false
    })?;
    Ok(found)
}

/// Shows the records of `at` from `from` on, with their append times, to `show`, until it has seen
/// enough or the end is reached.
pub(super) fn visit(
    log: &dyn Log,
    at: &TopicPartition,
    from: u64,
    show: &mut dyn FnMut(i64, &RecordRef<'_>) -> bool,
) -> Result<(), LogError> {
    let range = log.range(at)?;
    let mut reader = log.reader()?;
    reader.assign(at, from.max(range.start))?;
    let mut empty = 0;
    while reader.position(at).is_some_and(|at| at < range.end.offset) && empty < EMPTY_POLLS_MAX {
        let batches = reader.poll(POLL)?;
        empty = if batches.is_empty() { empty + 1 } else { 0 };
        for fetched in &batches {
            for record in fetched.records() {
                if !show(fetched.batch.append_time_ms(), &record) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The topics of dead letters that `filter` looks at, by name.
fn topics(log: &dyn Log, filter: &Filter) -> Result<Vec<(Arc<str>, u32)>, LogError> {
    let wanted = |name: &str| {
        let owner = name.strip_suffix(SUFFIX);
        owner.is_some_and(|found| filter.owner.as_deref().is_none_or(|owner| owner == found))
    };
    let all = log.topics()?;
    let found = all.iter().filter(|(name, _)| wanted(name));
    Ok(found.map(|(name, spec)| (Arc::from(name.as_str()), spec.partitions)).collect())
}

/// Shows the dead letters of `filter` behind `after` to `show`, until it has seen enough; answers
/// where to go on, if it may not have been all.
fn walk(
    log: &dyn Log,
    filter: &Filter,
    after: Option<&LetterId>,
    show: &mut dyn FnMut(DeadLetter, LetterState) -> bool,
) -> Result<Option<LetterId>, DeadLetterError> {
    let mut scanned = 0;
    for (topic, partitions) in topics(log, filter)? {
        let marks = Marks::read(log, &topic)?;
        for partition in 0..partitions {
            let at = TopicPartition::new(Arc::clone(&topic), partition);
            let from = match after {
                Some(after) if at < after.at => continue,
                Some(after) if at == after.at => after.offset + 1,
                Some(_) | None => 0,
            };
            let mut stopped = None;
            visit(log, &at, from, &mut |append_ms, record| {
                let letter = DeadLetter::read(&at, append_ms, record);
                let id = letter.id.clone();
                let state = marks.state(partition, record.offset);
                scanned += 1;
                let goes_on = !filter.has(&letter, state) || show(letter, state);
                if !goes_on || scanned == SCANNED_MAX {
                    stopped = Some(id);
                }
                stopped.is_none()
            })?;
            if stopped.is_some() {
                return Ok(stopped);
            }
        }
    }
    Ok(None)
}
