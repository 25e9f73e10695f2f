//! Opening an index: what is whole and ours is kept, anything else is begun afresh.
//!
//! The question "can this index be trusted" is answered here and nowhere else. An index is whole
//! if the small files match their checksums, every file of every segment matches its own, the
//! stamp beside them names this schema and this format, and the commit payload is a [`Progress`].
//! All bytes of the index are read once for that, at the speed of the disk; in exchange no commit
//! waits for the disk (see `directory`).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tantivy::directory::error::{OpenDirectoryError, OpenReadError};
use tantivy::index::SegmentComponent;
use tantivy::{Index, IndexSettings, SegmentMeta, TantivyError};

use super::directory::IndexDirectory;
use super::fields::{Fields, tokenizers};
use super::progress::Progress;
use super::schema::ViewSchema;
use super::writer::ViewError;
use crate::fail_point::{self, FailPoint};

/// The version of what this module lays out in a folder. It rises with every change of the fields
/// of `fields`, their options or the payload.
const FORMAT: u32 = 1;
const STAMP: &str = "millpond.json";
/// Tantivy's list of segments.
const META: &str = "meta.json";

/// An index and the progress of its last commit.
pub(super) struct OpenIndex {
    pub(super) index: Index,
    /// The folder that `index` lies in.
    pub(super) directory: IndexDirectory,
    pub(super) progress: Progress,
    /// Why the index was begun afresh.
    pub(super) rebuilt: Option<String>,
}

/// Opens the index in `shard`, or deletes what is there and begins one.
///
/// The caller holds the lock of the view.
pub(super) fn open(
    shard: &Path,
    schema: &ViewSchema,
    fields: &Fields,
) -> Result<OpenIndex, ViewError> {
    let stamp = Stamp::of(schema);
    let failed = |source| ViewError::index(schema, "open", source);
    match open_whole(shard, &stamp, fields) {
        Ok(whole) => Ok(whole),
        Err(Unusable::Rebuild(reason)) => begin(shard, &stamp, fields, reason).map_err(failed),
        Err(Unusable::Refused(error)) => Err(failed(error)),
    }
}

/// What an index was made for. Kept as text beside it, so that a difference can be read.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stamp {
    format: u32,
    tantivy_format: u32,
    schema: ViewSchema,
}

impl Stamp {
    fn of(schema: &ViewSchema) -> Self {
        Self {
            format: FORMAT,
            tantivy_format: tantivy::INDEX_FORMAT_VERSION,
            schema: schema.clone(),
        }
    }
}

/// Why an index is not opened.
enum Unusable {
    /// It is not there, not whole, or not ours: it can be built again.
    Rebuild(String),
    /// The disk or its permissions are in the way: building again would not help.
    Refused(TantivyError),
}

impl From<TantivyError> for Unusable {
    fn from(error: TantivyError) -> Self {
        let io_error = match &error {
            TantivyError::IoError(io_error)
            | TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. })
            | TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error, .. }) => {
                io_error
            }
            // What remains is about the content of the files.
            _ => return Self::Rebuild(error.to_string()),
        };
        let is_damage = matches!(
            io_error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        );
        if is_damage { Self::Rebuild(error.to_string()) } else { Self::Refused(error) }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        TantivyError::from(error).into()
    }
}

fn open_whole(shard: &Path, stamp: &Stamp, fields: &Fields) -> Result<OpenIndex, Unusable> {
    check_stamp(shard, stamp)?;
    let directory = IndexDirectory::open(shard)?;
    let mut index = Index::open(directory.clone())?;
    if index.schema() != fields.schema {
        return Err(Unusable::Rebuild("its fields are laid out differently".to_owned()));
    }
    let metas = index.load_metas()?;
    for segment in &metas.segments {
        check_segment(&index, segment)?;
    }
    remove_leftovers(shard, &metas.segments)?;
    let progress = match &metas.payload {
        Some(payload) => serde_json::from_str(payload)
            .map_err(|error| Unusable::Rebuild(format!("its positions cannot be read: {error}")))?,
        // An index that was begun and never committed to.
        None if metas.segments.is_empty() => Progress::default(),
        None => return Err(Unusable::Rebuild("its commit has no positions".to_owned())),
    };
    index.set_tokenizers(tokenizers());
    Ok(OpenIndex { index, directory, progress, rebuilt: None })
}

/// Reads all files of a segment once. Tantivy itself would do without some that are missing.
fn check_segment(index: &Index, segment: &SegmentMeta) -> Result<(), Unusable> {
    for path in files_of(segment) {
        if !index.directory().validate_checksum(&path).map_err(TantivyError::from)? {
            return Err(Unusable::Rebuild(format!("`{}` is damaged", path.display())));
        }
    }
    Ok(())
}

fn files_of(segment: &SegmentMeta) -> impl Iterator<Item = PathBuf> {
    let always = [
        SegmentComponent::Postings,
        SegmentComponent::Positions,
        SegmentComponent::FastFields,
        SegmentComponent::FieldNorms,
        SegmentComponent::Terms,
        SegmentComponent::Store,
    ];
    let deletes = segment.has_deletes().then_some(SegmentComponent::Delete);
    always.into_iter().chain(deletes).map(|component| segment.relative_path(component))
}

/// Removes the files that no commit has: a process that was killed left them. Tantivy names files of
/// deletes by the number of an operation, which the next process counts up to again, and then it
/// would find its file there already.
fn remove_leftovers(shard: &Path, segments: &[SegmentMeta]) -> Result<(), Unusable> {
    let kept: HashSet<PathBuf> = segments.iter().flat_map(files_of).collect();
    for file in fs::read_dir(shard)? {
        let file = file?;
        let name = PathBuf::from(file.file_name());
        let text = name.to_string_lossy();
        // `.managed.json` and the locks are hidden.
        let is_ours = text.starts_with('.') || text == META || text == STAMP;
        if !is_ours && !kept.contains(&name) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

fn check_stamp(shard: &Path, stamp: &Stamp) -> Result<(), Unusable> {
    let rebuild = |reason: &str| Err(Unusable::Rebuild(reason.to_owned()));
    let text = match fs::read(shard.join(STAMP)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_empty = fs::read_dir(shard).map_or(true, |mut files| files.next().is_none());
            return rebuild(if is_empty { "there was none" } else { "it was never finished" });
        }
        Err(error) => return Err(error.into()),
    };
    let Ok(found) = serde_json::from_slice::<Stamp>(&text) else {
        return rebuild("its stamp cannot be read");
    };
    if found.format != stamp.format || found.tantivy_format != stamp.tantivy_format {
        return rebuild("it was written in another format");
    }
    if found.schema != stamp.schema {
        return rebuild("the view's schema has changed");
    }
    Ok(())
}

fn begin(
    shard: &Path,
    stamp: &Stamp,
    fields: &Fields,
    reason: String,
) -> tantivy::Result<OpenIndex> {
    match fs::remove_dir_all(shard) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(shard)?,
    }
    fail_point::pass(FailPoint::IndexRebuildEmptied);
    let settings = IndexSettings {
        // A thread for each small segment costs more than the compression.
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    };
    let directory = IndexDirectory::open(shard)?;
    let index = Index::builder()
        .schema(fields.schema.clone())
        .settings(settings)
        .tokenizers(tokenizers())
        .open_or_create(directory.clone())?;
    fail_point::pass(FailPoint::IndexRebuildUnstamped);
    // The stamp comes last: without it the index was never finished.
    let stamp = serde_json::to_vec_pretty(stamp).expect("a schema has a JSON form");
    fs::write(shard.join(STAMP), stamp)?;
    Ok(OpenIndex { index, directory, progress: Progress::default(), rebuilt: Some(reason) })
}
