//! `journal.jsonl`: the hash of the weights every few steps, with the rows that were added and who was dealt what.
//!
//! What can be checked later, by anyone with the tables. A line is written once its step is made
//! and lines come in order of their steps. Reading refuses what is damaged; a last line that was cut short is no line.
//! Whether lines are missing is for whoever knows how many there should be.
//! Knows nothing of how weights are made.

mod writer;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::line_file::{self, LineFile, Written};
use crate::read_file;
use crate::report::SharedReporter;

pub use writer::{Due, Journal, Made};

/// The journal's name in a run folder.
const NAME: &str = "journal.jsonl";

/// Bytes of a line that are read; of thousands of shards, each dealt many times, it has less.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The step, from 1 through the whole run.
    pub step: u64,
    /// Its epoch, from 1.
    pub epoch: u32,
    /// Rows added in the epoch so far.
    pub rows: u64,
    /// Rows added in the run so far.
    pub rows_total: u64,
    /// Hash of the weights after the step.
    pub weights_blake3: String,
    /// Who was dealt what in this step, in order: worker, first shard, shard behind the last.
    pub plan: Vec<(u64, u32, u32)>,
    /// Microbatches that were dealt again since the line before.
    pub recomputed: u64,
}

/// Where the journal of a run folder is.
pub fn path(run: &Path) -> PathBuf {
    run.join(NAME)
}

/// The journal of a run folder, to be written on, cut to its lines up to `step`: later ones are made again.
///
/// # Errors
/// If it cannot be read or written.
pub(crate) fn open(run: &Path, step: u64, reporter: SharedReporter) -> Result<LineFile> {
    let path = path(run);
    let mut file = line_file::open(&path)?;
    let kept = bytes_up_to(BufReader::new(&file), step)
        .and_then(|bytes| line_file::cut(&mut file, bytes, Written::counted()))
        .map_err(|error| Error::file(&path, "write it", &error))?;
    Ok(LineFile::start(&path, file, kept, reporter))
}

/// Length of the lines up to `step`. What is not a line is kept where it stands between lines that are.
fn bytes_up_to(mut text: impl std::io::BufRead, step: u64) -> std::io::Result<u64> {
    #[derive(Deserialize)]
    struct Place {
        step: u64,
    }
    let (mut kept, mut read, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        read += text.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            return Ok(kept);
        }
        match serde_json::from_slice(&line) {
            Ok(Place { step: at }) if at > step => return Ok(kept),
            Ok(_) => kept = read,
            Err(_) => {}
        }
    }
}

/// The lines of a run's journal, in order of their steps; a last one that was cut short is left out.
///
/// # Errors
/// If there is no journal, or a line of it is damaged, out of order, or of a step after `last`.
pub fn read(run: &Path, last: u64) -> Result<Vec<Line>> {
    let path = path(run);
    let failed = |error: std::io::Error| Error::file(&path, "read the journal", &error);
    let wrong = |problem: String| Error::File { path: path.clone(), problem };
    let mut text = BufReader::new(read_file::open(&path).map_err(failed)?.0);
    let (mut lines, mut line) = (Vec::<Line>::new(), Vec::new());
    loop {
        line.clear();
        text.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)?;
        let damaged = |what: String| wrong(format!("line {} is damaged: {what}", lines.len() + 1));
        if line.last() != Some(&b'\n') {
            return match line.len() as u64 == LINE_BYTES_MAX {
                true => Err(damaged(format!("it has more than {LINE_BYTES_MAX} bytes"))),
                false => Ok(lines),
            };
        }
        let next: Line =
            serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        let before = lines.last().map_or(0, |line| line.step);
        if next.step <= before {
            return Err(damaged(format!("step {} comes after step {before}", next.step)));
        }
        if next.step > last {
            return Err(wrong(format!("it has step {}, but the job ends at {last}", next.step)));
        }
        lines.push(next);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::report::Silent;

    fn silent() -> SharedReporter {
        crate::report::shared(Silent)
    }

    fn line(step: u64) -> String {
        let line = Line {
            step,
            epoch: 1,
            rows: step * 10,
            rows_total: step * 10,
            weights_blake3: "ab".repeat(32),
            plan: vec![(1, 0, 8), (2, 8, 16)],
            recomputed: 0,
        };
        serde_json::to_string(&line).unwrap() + "\n"
    }

    fn journal(text: &str) -> tempfile::TempDir {
        let run = tempfile::tempdir().unwrap();
        fs::write(path(run.path()), text).unwrap();
        run
    }

    #[test]
    fn a_line_is_what_the_format_says() {
        assert_eq!(
            line(7),
            format!(
                "{{\"step\":7,\"epoch\":1,\"rows\":70,\"rows_total\":70,\"weights_blake3\":\"{}\",\
                 \"plan\":[[1,0,8],[2,8,16]],\"recomputed\":0}}\n",
                "ab".repeat(32)
            )
        );
    }

    #[test]
    fn it_goes_on_where_the_checkpoint_is() {
        let all = line(10) + &line(20) + &line(30);
        for (text, step, wanted) in [
            (all.clone(), 25, line(10) + &line(20)),
            (all.clone(), 20, line(10) + &line(20)),
            (all.clone(), 99, all.clone()),
            (all.clone(), 9, String::new()),
            (all.clone() + "{\"step\":31,\"ep", 99, all.clone()),
            (all.trim_end().to_string(), 99, line(10) + &line(20)),
            (line(10) + "noise\n" + &line(20), 20, line(10) + "noise\n" + &line(20)),
            (line(10) + "noise\n", 20, line(10)),
            (String::new(), 5, String::new()),
        ] {
            let run = journal(&text);
            open(run.path(), step, silent()).unwrap().push(b"next\n".to_vec());
            assert_eq!(fs::read_to_string(path(run.path())).unwrap(), wanted + "next\n", "{step}");
        }
        let fresh = tempfile::tempdir().unwrap();
        open(fresh.path(), 0, silent()).unwrap();
        assert_eq!(read(fresh.path(), 99).unwrap(), []);
    }

    #[test]
    fn damage_is_told_and_a_torn_end_is_not() {
        let steps = |text: &str| {
            let lines = read(journal(text).path(), 99).map_err(|error| error.to_string());
            lines.map(|lines| lines.iter().map(|line| line.step).collect::<Vec<_>>())
        };
        assert_eq!(steps(&(line(3) + &line(6))), Ok(vec![3, 6]));
        assert_eq!(steps(&(line(3) + &line(6)[..40])), Ok(vec![3]));
        let damaged = steps(&(line(3) + "{}\n" + &line(6))).unwrap_err();
        assert!(damaged.contains("journal.jsonl: line 2 is damaged: missing field"), "{damaged}");
        let damaged = steps(&(line(3) + &line(3))).unwrap_err();
        assert!(damaged.ends_with("line 2 is damaged: step 3 comes after step 3"), "{damaged}");
        let late = steps(&(line(3) + &line(100))).unwrap_err();
        assert!(late.ends_with("it has step 100, but the job ends at 99"), "{late}");
        let none = read(tempfile::tempdir().unwrap().path(), 99).unwrap_err().to_string();
        assert!(none.contains("cannot read the journal: No such file"), "{none}");
    }
}
