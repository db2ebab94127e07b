//! The lines of a run's `metrics.jsonl`, read back for whoever shows them. A line that is none says nothing here: `verify` is who
//! minds. Where the last is not whole yet, it is left for the next time.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use lockstep_status::value::Values;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::report;

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A line of `metrics.jsonl`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Line {
    Step {
        epoch: u32,
        step: u64,
        rows: u64,
        loss: Option<f64>,
        learning_rate: Option<f64>,
        seconds: f64,
    },
    Gradient {
        step: u64,
        #[serde(deserialize_with = "in_order")]
        norms: Vec<(String, Option<f64>)>,
    },
    Epoch {
        epoch: u32,
        seconds: f64,
        #[serde(flatten)]
        values: Values,
    },
    Final {
        #[serde(default)]
        best_epoch: Option<u32>,
        #[serde(default)]
        threshold: Option<f64>,
        weights_blake3: String,
        #[serde(flatten)]
        values: Values,
    },
}

/// Loss and metrics of the epochs of a file, as far as it has them.
pub(crate) fn epochs(path: &Path) -> Vec<report::Values> {
    let (mut epochs, Ok(file)) = (Vec::new(), File::open(path)) else { return Vec::new() };
    let mut lines = Lines::of(file);
    while let Ok(Some(line)) = lines.next() {
        if let Line::Epoch { values, .. } = line {
            let number = |(name, value): (String, Option<f64>)| (name, value.unwrap_or(f64::NAN));
            epochs.push(values.into_iter().map(number).collect());
        }
    }
    epochs
}

/// Values by name, as they are in the line.
fn in_order<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Option<f64>)>, D::Error> {
    struct Ordered;
    impl<'de> Visitor<'de> for Ordered {
        type Value = Vec<(String, Option<f64>)>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("values by name")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut all = Vec::new();
            while let Some(entry) = map.next_entry()? {
                all.push(entry);
            }
            Ok(all)
        }
    }
    from.deserialize_map(Ordered)
}

/// Of the values that a run ends with those of its test table.
pub(crate) fn of_test_table(values: Values) -> impl Iterator<Item = (String, Option<f64>)> {
    values.into_iter().filter(|(name, _)| name.starts_with("test_"))
}

/// Lines from some place of a file on.
pub(crate) struct Lines {
    from: BufReader<File>,
    line: Vec<u8>,
    read: u64,
}

impl Lines {
    /// From where the file is read next.
    pub(crate) fn of(file: File) -> Lines {
        Lines { from: BufReader::new(file), line: Vec::new(), read: 0 }
    }

    /// The next line; `None` where no other is whole.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            self.line.clear();
            let mut one = self.from.by_ref().take(LINE_BYTES_MAX);
            let read = one.read_until(b'\n', &mut self.line)?;
            if read == 0 || self.line.last() != Some(&b'\n') {
                return Ok(None);
            }
            self.read += read as u64;
            if let Ok(line) = serde_json::from_slice(&self.line) {
                return Ok(Some(line));
            }
        }
    }

    /// Bytes of the lines so far.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }
}
