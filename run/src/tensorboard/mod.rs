//! A run for TensorBoard: its records as an event file, whether it goes on or is over. Reads the run folder alone, writes nothing into
//! it, and the run knows nothing of it: a run that goes on is followed by what it has written down.
//!
//! Of gradients the records have norms alone, so that there are histograms of weights only: those of the checkpoints and of the model.

mod records;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use lockstep_model::Network;
use toml::de::DeValue;

use self::records::{Event, Hparam, HparamKind, Summary, Value, write};
use crate::checkpoint::{files, read_weights};
use crate::error::{Error, Result};
use crate::job_keys::each_key;
use crate::metric_lines::{Line, Lines, of_test_table};
use crate::read_file;
use crate::run_folder::{Manifest, Model, Status, read_job};

/// What every event file begins with.
const FILE_VERSION: &str = "brain.Event:2";

/// An event file of a run, as far as it is written.
pub struct EventFile {
    run: PathBuf,
    path: PathBuf,
    out: BufWriter<File>,
    /// When the run began, in seconds since 1970.
    started: f64,
    /// What was read of the run's lines, in bytes.
    read: u64,
    /// The newest step that was written, and the seconds then.
    newest: Option<(u64, f64)>,
    /// The newest step whose gradient was written.
    measured: u64,
    epochs: u32,
    is_final: bool,
}

impl EventFile {
    /// Begins that of a run, in a folder of its name below `logdir`, with its job.
    ///
    /// # Errors
    /// If the folder is that of no run, or the file cannot be made; without `force`, if it is there already.
    pub fn begin(run: &Path, logdir: &Path, force: bool) -> Result<EventFile> {
        let manifest = Manifest::read(run)?;
        let name = run.file_name().map_or_else(|| manifest.name.clone().into(), ToOwned::to_owned);
        let folder = logdir.join(name);
        let path = folder.join(format!("events.out.tfevents.{}.lockstep", manifest.started_unix));
        std::fs::create_dir_all(&folder)
            .map_err(|error| Error::file(&folder, "make it", &error))?;
        let mut options = OpenOptions::new();
        options.write(true).create(force).truncate(force).create_new(!force);
        let file = options.open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::File {
                path: path.clone(),
                problem: "it is there already: --force replaces it".to_string(),
            },
            _ => Error::file(&path, "write it", &error),
        })?;
        let mut events = EventFile {
            run: run.to_path_buf(),
            path,
            out: BufWriter::new(file),
            started: manifest.started_unix as f64,
            read: 0,
            newest: None,
            measured: 0,
            epochs: 0,
            is_final: false,
        };
        let version = Some(FILE_VERSION.to_string());
        events.put(&Event {
            wall_time: events.started,
            file_version: version,
            ..Event::default()
        })?;
        let job = read_job(run)?;
        let hparams = hparams(&job);
        let values =
            vec![Value::hparams(&manifest.name, events.started, hparams), Value::text("job", &job)];
        events.values(0, 0.0, values)?;
        Ok(events)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what the run has written down since. Whether the run is over and all of it is here.
    ///
    /// # Errors
    /// If the file cannot be written, or the run folder is gone.
    pub fn follow(&mut self) -> Result<bool> {
        // Asked before the lines are read: what comes in between is read the next time.
        let is_over = Manifest::read(&self.run)?.status != Status::Running;
        let path = self.run.join("metrics.jsonl");
        let (mut file, bytes) = match read_file::open(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(is_over),
            Err(error) => return Err(Error::file(path, "read it", &error)),
        };
        if bytes < self.read {
            // A run that goes on from a checkpoint has cut later lines; they come again as they were.
            self.read = 0;
        }
        let unread = |error| Error::file(&path, "read it", &error);
        file.seek(SeekFrom::Start(self.read)).map_err(unread)?;
        let mut lines = Lines::of(file);
        while let Some(line) = lines.next().map_err(unread)? {
            self.line(line)?;
        }
        self.read += lines.read();
        self.out.flush().map_err(|error| Error::file(&self.path, "write it", &error))?;
        Ok(is_over)
    }

    fn line(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Step { step, rows, loss, learning_rate, seconds, .. } => {
                if self.newest.is_some_and(|(newest, _)| step <= newest) {
                    return Ok(());
                }
                let before = self.newest.map_or(0.0, |(_, seconds)| seconds);
                let rate = (seconds > before).then(|| rows as f64 / (seconds - before));
                let named =
                    [("loss", loss), ("learning_rate", learning_rate), ("rows_per_second", rate)];
                let value = |(name, value): (&str, Option<f64>)| Some(Value::scalar(name, value?));
                self.newest = Some((step, seconds));
                self.values(step, seconds, named.into_iter().filter_map(value).collect())
            }
            Line::Gradient { step, norms } if step > self.measured => {
                self.measured = step;
                let seconds = self.newest.map_or(0.0, |(_, seconds)| seconds);
                let values = norms.into_iter().filter_map(|(name, norm)| {
                    Some(Value::scalar(format!("gradient_norm/{name}"), norm?))
                });
                self.values(step, seconds, values.collect())
            }
            Line::Gradient { .. } => Ok(()),
            Line::Epoch { epoch, seconds, values } if epoch > self.epochs => {
                self.epochs = epoch;
                let values = values.into_iter().filter_map(|(name, value)| {
                    Some(Value::scalar(format!("epoch/{name}"), value?))
                });
                let step = self.newest.map_or(0, |(step, _)| step);
                self.values(step, seconds, values.collect())
            }
            Line::Epoch { .. } => Ok(()),
            Line::Final { values, .. } if !self.is_final => {
                self.is_final = true;
                let values = of_test_table(values).filter_map(|(name, value)| {
                    Some(Value::scalar(format!("final/{name}"), value?))
                });
                let (step, seconds) = self.newest.unwrap_or_default();
                self.values(step, seconds, values.collect())
            }
            Line::Final { .. } => Ok(()),
        }
    }

    /// Writes how the weights lie, by tensor: of each checkpoint that is kept, and of the model.
    ///
    /// # Errors
    /// If the run has no model yet, a checkpoint is damaged, or the file cannot be written.
    pub fn histograms(&mut self) -> Result<()> {
        let Model { network, weights, step, .. } = Model::load(&self.run)?;
        let last = step.unwrap_or_default();
        for (step, path) in files(&self.run)? {
            let of = read_weights(&path, network.layout()).map_err(Error::Weights)?;
            if let Some(of) = of.filter(|_| step.0 != last) {
                self.lie(step.0, &network, &of)?;
            }
        }
        self.lie(last, &network, &weights)?;
        self.out.flush().map_err(|error| Error::file(&self.path, "write it", &error))
    }

    fn lie(&mut self, step: u64, network: &Network, weights: &[f32]) -> Result<()> {
        let tensors = network.layout().tensors().iter();
        let values = tensors.map(|tensor| {
            Value::histogram(format!("weights/{}", tensor.name), &weights[tensor.range.clone()])
        });
        let seconds = self.newest.map_or(0.0, |(_, seconds)| seconds);
        self.values(step, seconds, values.collect())
    }

    fn values(&mut self, step: u64, seconds: f64, value: Vec<Value>) -> Result<()> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let (wall_time, summary) = (self.started + seconds, Some(Summary { value }));
        self.put(&Event { wall_time, step, file_version: None, summary })
    }

    fn put(&mut self, event: &Event) -> Result<()> {
        write(&mut self.out, event).map_err(|error| Error::file(&self.path, "write it", &error))
    }
}

/// The keys of a job with their values, each by its whole name; lists by place.
fn hparams(job: &str) -> BTreeMap<String, Hparam> {
    let mut found = BTreeMap::new();
    // A job file that another version wrote may be none to this one: it is there as a text in any case.
    let _ = each_key(
        job,
        |_| true,
        |name, value| {
            found.extend(kind(value.get_ref()).map(|kind| (name, Hparam { kind: Some(kind) })));
        },
    );
    found
}

/// What TensorBoard is told of a value; nothing of what holds others.
fn kind(value: &DeValue<'_>) -> Option<HparamKind> {
    // Whole numbers of another radix stay as they are written.
    let number = |text: &str| {
        let plain = text.replace('_', "").parse().map(HparamKind::Number);
        plain.unwrap_or_else(|_| HparamKind::Text(text.to_string()))
    };
    Some(match value {
        DeValue::Table(_) | DeValue::Array(_) => return None,
        DeValue::Integer(value) => number(value.as_str()),
        DeValue::Float(value) => number(value.as_str()),
        DeValue::String(text) => HparamKind::Text(text.to_string()),
        DeValue::Boolean(truth) => HparamKind::Truth(*truth),
        DeValue::Datetime(date) => HparamKind::Text(date.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperparameters_have_whole_names() {
        let found = hparams(
            "seed = 3\n[train]\noptimizer = \"adam\"\n[model]\nlayers = [{ units = 8, frozen = true }]\n",
        );
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let wanted = ["model.layers.0.frozen", "model.layers.0.units", "seed", "train.optimizer"];
        assert_eq!(names, wanted);
        assert_eq!(found["seed"].kind, Some(HparamKind::Number(3.0)));
        assert_eq!(found["train.optimizer"].kind, Some(HparamKind::Text("adam".into())));
        assert!(hparams("= no job").is_empty());
    }
}
