//! The index follower of a world: the real one, on real indexes in a folder.
//!
//! After each of its commits every index is compared with its view's topic up to the positions in
//! the index's own payload. A power failure leaves an older copy of the folder, or a damaged one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use stores::views::{
    FieldKind, Progress, Snapshot, SourcePartition, SourceProgress, ViewWriter, rfc3339,
};

use super::Fault;
use super::dice::Dice;
use super::log::{Death, SimLog, Wired};
use super::mutants::Mutant;
use super::truth::{documents, keys_behind, progress_of};
use crate::clock::ManualClock;
use crate::follow::{FollowError, FollowSettings, IndexFollower};
use crate::log::{Log, TopicPartition, Validity};
use crate::topology::ViewPlan;

/// Memory for the writer of one view, in bytes: what tantivy takes at least.
const MEMORY_BYTES: usize = 16 << 20;

pub(super) struct Index {
    folder: PathBuf,
    views: Vec<ViewPlan>,
    follower: Option<IndexFollower>,
    /// What each view said it reflects after the commit before.
    progress: BTreeMap<String, Progress>,
    copies: usize,
}

impl Index {
    pub(super) fn new(folder: &Path, views: &[ViewPlan]) -> Self {
        Self {
            folder: folder.to_owned(),
            views: views.to_vec(),
            follower: None,
            progress: BTreeMap::new(),
            copies: 0,
        }
    }

    fn live(&self) -> PathBuf {
        self.folder.join("live")
    }

    /// Takes a turn, commits, and compares.
    pub(super) fn turn(
        &mut self,
        (log, clock): (&Arc<SimLog>, &Arc<ManualClock>),
        loose: bool,
        dice: &mut Dice,
    ) -> Option<Fault> {
        if self.views.is_empty() {
            return None;
        }
        let dies = dice.chance(20).then(|| 1 + dice.below(12) as u32);
        log.die_at(dies);
        let followed = catch_unwind(AssertUnwindSafe(|| self.follow(log, clock, dice)));
        log.die_at(None);
        match followed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some(fault(error.to_string())),
            Err(panic) if panic.is::<Death>() => {
                self.follower = None;
                return None;
            }
            Err(_) => return Some(fault("the follower panicked".into())),
        }
        if dice.chance(30) {
            self.copy();
        }
        self.compare(log, loose)
    }

    fn follow(
        &mut self,
        log: &Arc<SimLog>,
        clock: &Arc<ManualClock>,
        dice: &mut Dice,
    ) -> Result<(), FollowError> {
        let wired = Wired(Arc::clone(log));
        if self.follower.is_none() {
            self.spoil(log);
            let settings = FollowSettings {
                folder: self.live(),
                memory_bytes: MEMORY_BYTES,
                commit_interval: Duration::ZERO,
                commit_share: 1.0,
            };
            let clock = Arc::clone(clock) as _;
            self.follower = Some(IndexFollower::open(&wired, &self.views, clock, settings)?);
        }
        let Some(follower) = &mut self.follower else { return Ok(()) };
        for _ in 0..=dice.below(2) {
            follower.run_once(Duration::ZERO)?;
        }
        if dice.chance(50) {
            follower.commit_all()?;
        }
        Ok(())
    }

    /// Everything that is there is followed, committed and compared.
    pub(super) fn finish(
        &mut self,
        (log, clock): (&Arc<SimLog>, &Arc<ManualClock>),
        loose: bool,
    ) -> Option<Fault> {
        if self.views.is_empty() {
            return None;
        }
        let followed = self
            .follow(log, clock, &mut Dice::new(0))
            .and_then(|()| self.follower.as_mut().map_or(Ok(()), IndexFollower::run_until_idle));
        if let Err(error) = followed {
            return Some(fault(error.to_string()));
        }
        if let Some(found) = self.compare(log, loose) {
            return Some(found);
        }
        let log = log.inner();
        for plan in &self.views {
            for partition in 0..plan.schema.partitions {
                let at = TopicPartition::new(plan.topic.as_str(), partition);
                let end = log.range(&at).map_or(0, |range| range.end.offset);
                let known = self.progress.get(&plan.schema.name);
                let reached = known.and_then(|known| known.partitions.get(&partition));
                let position = reached.map(|reached| reached.position).unwrap_or_default();
                let valid = log.validate(&at, position).ok() == Some(Validity::Valid);
                if position.offset != end || (end > 0 && !valid) {
                    return Some(fault(format!("at rest, {at} ends at {end}, reached {position}")));
                }
            }
        }
        None
    }

    /// Each index is its view's topic up to the positions that it says it reflects. `loose`:
    /// compaction may have taken what the index should have read before those.
    fn compare(&mut self, log: &Arc<SimLog>, loose: bool) -> Option<Fault> {
        let wire = log.wire();
        for view in self.follower.as_ref()?.views() {
            let plan = self.views.iter().find(|plan| plan.schema.name == view.schema().name)?;
            let snapshot = view.snapshot();
            let reaches = |partition: u32| {
                let known = snapshot.progress().partitions.get(&partition);
                known.map_or(0, |known| known.position.offset)
            };
            let later =
                if loose { keys_behind(&wire.shadow, plan, &reaches) } else { BTreeSet::new() };
            let expected = documents(&wire.shadow, plan, &reaches);
            if let Some(found) = differs(plan, &snapshot, (&expected, &later)) {
                return Some(fault(found));
            }
            let told = progress_of(&wire.shadow, plan, &reaches);
            for (partition, progress) in &snapshot.progress().partitions {
                let none = BTreeMap::new();
                let told = told.partitions.get(partition).map_or(&none, |told| &told.sources);
                let is_lower = |(source, known): (&SourcePartition, &SourceProgress)| {
                    told.get(source).is_some_and(|told| known.position <= told.position)
                };
                if progress.sources != *told && !(loose && progress.sources.iter().all(is_lower)) {
                    let (name, sources) = (&plan.schema.name, &progress.sources);
                    let what =
                        format!("`{name}` says of {partition}: {sources:?}, its topic {told:?}");
                    return Some(fault(what));
                }
            }
            let name = view.schema().name.clone();
            self.progress.insert(name, snapshot.progress().clone());
        }
        None
    }

    /// The process dies: what was not committed is gone.
    pub(super) fn die(&mut self) {
        self.follower = None;
    }

    fn copy(&mut self) {
        self.copies += 1;
        let copied = copy_all(&self.live(), &self.folder.join(format!("copy-{}", self.copies)));
        // A merge may take a file away meanwhile: then there is no copy of this moment.
        if copied.is_err() {
            self.copies -= 1;
        }
    }

    /// The power failed: the folder is as it is, as it was, or damaged.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        let live = self.live();
        match dice.below(6) {
            0..=2 => {}
            3 => drop(damage(&live, dice)),
            4 if self.copies > 0 => {
                let copy = self.folder.join(format!("copy-{}", 1 + dice.below(self.copies)));
                drop(fs::remove_dir_all(&live).and_then(|()| copy_all(&copy, &live)));
            }
            _ => drop(fs::remove_dir_all(&live)),
        }
    }

    /// What a mutant's last commit has left in the index.
    fn spoil(&self, log: &Arc<SimLog>) {
        let wire = log.wire();
        let (forgets, leads) =
            (wire.tamper.is(Mutant::PayloadForgotten), wire.tamper.is(Mutant::PayloadFirst));
        if !forgets && !leads {
            return;
        }
        for plan in &self.views {
            let opened = ViewWriter::open(&self.live(), plan.schema.clone(), MEMORY_BYTES);
            let Ok(mut opened) = opened else { continue };
            let mut progress = opened.writer.progress().clone();
            for (partition, known) in &mut progress.partitions {
                let at = TopicPartition::new(plan.topic.as_str(), *partition);
                let end = wire.shadow.records(&at).len() as u64;
                known.position.offset =
                    if leads { (known.position.offset + 2).min(end) } else { 0 };
            }
            drop(opened.writer.commit(&progress));
        }
    }
}

fn fault(what: String) -> Fault {
    Fault { invariant: "an index is the fold of its view's topic", what }
}

type Documents = BTreeMap<String, (i64, Value)>;

/// Documents are as `expected`; of those in `later` nothing is known.
fn differs(
    plan: &ViewPlan,
    snapshot: &Snapshot,
    (expected, later): (&Documents, &BTreeSet<String>),
) -> Option<String> {
    let name = &plan.schema.name;
    let mut count = 0;
    for key in expected.keys().chain(later).collect::<BTreeSet<_>>() {
        let found = match snapshot.document(key) {
            Ok(found) => found,
            Err(error) => return Some(format!("`{name}` cannot be read: {error}")),
        };
        count += u64::from(found.is_some());
        let found = found.map(|found| {
            (found.time_ms, serde_json::from_str(found.source.get()).unwrap_or_default())
        });
        let wanted = expected.get(key).map(|(at, document)| (*at, as_answered(plan, document)));
        if !later.contains(key) && found != wanted {
            return Some(format!("`{name}` has `{key}` as {found:?}, not {wanted:?}"));
        }
    }
    let all = snapshot.documents();
    (all != count).then(|| format!("`{name}` has {all} documents, its topic {count}"))
}

/// A document as a view answers with it: its timestamps are text.
fn as_answered(plan: &ViewPlan, document: &Value) -> Value {
    let mut answered = document.clone();
    let timestamps = plan.schema.fields.iter().filter(|field| field.kind == FieldKind::Timestamp);
    for field in timestamps {
        let Some(value) = answered.get_mut(&field.name) else { continue };
        if let Value::Array(values) = value {
            values.retain(|value| !value.is_null());
            values.iter_mut().for_each(write_moment);
        } else {
            write_moment(value);
        }
    }
    answered
}

fn write_moment(value: &mut Value) {
    let ms = match &*value {
        Value::Number(ms) => ms.as_i64(),
        Value::String(text) => {
            DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_millis())
        }
        _ => None,
    };
    if let Some(ms) = ms {
        *value = Value::String(rfc3339(ms));
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Tears a file, as an unsynced one may be: cut off anywhere, or with a tail that is not what was
/// written.
fn damage(folder: &Path, dice: &mut Dice) -> io::Result<()> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    // Neither the order in which a folder lists its files nor their names come from the seed.
    files.sort_by_key(|path| {
        (path.extension().map(ToOwned::to_owned), fs::metadata(path).map_or(0, |file| file.len()))
    });
    if files.is_empty() {
        return Ok(());
    }
    let path = dice.pick(&files);
    let mut bytes = fs::read(path)?;
    let from = dice.below(bytes.len());
    match dice.below(3) {
        0 => bytes.truncate(from),
        1 => bytes[from..].fill(0),
        _ => bytes.iter_mut().skip(from).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
    }
    fs::write(path, bytes)
}
