//! Many campaigns, and a file that remembers those that are done: whoever is interrupted goes on.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::report::Report;

/// The campaigns that are done, a line of JSON each.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    done: Vec<Done>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    seed: u64,
    report: Report,
}

impl Progress {
    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// When it is not one of these. A last line that was cut off is left out.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut done = Vec::new();
        if path.exists() {
            for line in BufReader::new(File::open(path)?).split(b'\n') {
                let line = line?;
                match serde_json::from_slice(&line) {
                    Ok(one) => done.push(one),
                    Err(error) if error.is_eof() => {}
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("{} is no progress", path.display()));
                    }
                }
            }
        }
        Ok(Self { path: path.to_owned(), done })
    }

    /// Whether the campaign of `seed` is done.
    pub fn has(&self, seed: u64) -> bool {
        self.done.iter().any(|done| done.seed == seed)
    }

    /// Notes a campaign that is done.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&mut self, seed: u64, report: Report) -> anyhow::Result<()> {
        let done = Done { seed, report };
        // In front, for a last line that was cut off.
        let line = format!("\n{}\n", serde_json::to_string(&done)?);
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        file.write_all(line.as_bytes())?;
        self.done.push(done);
        Ok(())
    }

    /// Everything that is done, as one.
    pub fn total(&self) -> Report {
        let mut total = Report::default();
        self.done.iter().for_each(|done| total.add(done.report.clone()));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_there_after_an_interruption() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("progress");
        let report = Report { kills: 3, ..Report::default() };
        Progress::open(&path).unwrap().note(1, report.clone()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"seed\":2,\"rep"].concat()).unwrap();
        let mut progress = Progress::open(&path).unwrap();
        assert!(progress.has(1) && !progress.has(2));
        progress.note(2, report).unwrap();
        assert_eq!(Progress::open(&path).unwrap().total().kills, 6);
    }
}
