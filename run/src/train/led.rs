//! A run that is led: its folder, its status, and whom these are told to, from the first message to the last.

use std::net::SocketAddr;
use std::sync::Arc;

use lockstep_coordinator::{Outcome, RunError};
use lockstep_net::{Access, Identity};
use lockstep_status::address::PageAddress;
use lockstep_status::book::Book;
use lockstep_status::page::Page;
use lockstep_status::value::State;

use super::admission::{Admission, Invitation, admit};
use super::ending::{ended_early, unsaved};
use super::{Listening, Trained};
use crate::checkpoint::RecordState;
use crate::epoch_end::EpochEnd;
use crate::error::{Error, Result};
use crate::job::Every;
use crate::journal::{self, Due, Journal};
use crate::line_file::LineFile;
use crate::metric_lines;
use crate::new_run_id;
use crate::plan::Plan;
use crate::record::{Destination, FinishedRun, History, Recorder, Records, Writer};
use crate::report::{Report, SharedReporter, report};
use crate::run_folder::{ModelFiles, RunFolder, last_status};
use crate::status_of::replay;
use crate::watch::{self, Served, Shortages, Tee, Watch};
use crate::weights_file::weights_hash;

/// A run that is led.
pub(super) struct Led {
    plan: Arc<Plan>,
    pub(super) run_id: String,
    folder: Option<RunFolder>,
    /// The step after which it goes on.
    first_step: u64,
    /// Loss and metrics of the epochs before it.
    before: History,
    address: SocketAddr,
    watch: Watch,
    served: Option<Served>,
    /// Whom the caller wants told.
    outer: SharedReporter,
    /// The same, and the status.
    reporter: SharedReporter,
}

impl Led {
    /// Lets people in: the join line and the page are there, and only then is anybody told of them.
    ///
    /// # Errors
    /// If the run folder cannot keep what is needed for that.
    pub(super) fn open(
        plan: Arc<Plan>,
        (folder, first_step): (Option<RunFolder>, u64),
        address: SocketAddr,
        admission: Admission,
        page: Option<Page>,
        outer: SharedReporter,
    ) -> Result<(Led, Access, Option<Invitation>)> {
        let run_id = match &folder {
            Some(folder) => folder.run_id().to_string(),
            None => new_run_id("memory"),
        };
        // The join line is there for whoever is told next that the coordinator is.
        let told = admission.told(address);
        let lets_anybody = matches!(admission, Admission::Anybody);
        let (access, invitation) = admit(admission, address, folder.as_ref(), &outer)?;
        let watch = match (&folder, &page) {
            (None, None) => Watch::default(),
            _ => watched(&plan, &run_id, address, folder.as_ref(), first_step),
        };
        let reporter = Tee::shared(&outer, &watch);
        let served = match page {
            None => None,
            Some(page) => {
                let names = watch::names(page.address(), &told);
                let identity = || match &folder {
                    Some(folder) => folder.identity(None, &mut |_| {}),
                    None => {
                        Identity::generate().map_err(|error| Error::Internal(error.to_string()))
                    }
                };
                let told = reporter.clone();
                let warn = move |message| report(&told, &Report::Warning { message });
                Served::start(page, &watch, &access, lets_anybody, identity, names, warn)?
            }
        };
        let before = History::default();
        let led = Led {
            plan,
            run_id,
            folder,
            first_step,
            before,
            address,
            watch,
            served,
            outer,
            reporter,
        };
        Ok((led, access, invitation))
    }

    /// Says where workers and people find the run.
    pub(super) fn announce(&self, invitation: Option<Invitation>) -> Listening {
        let page = self.served.as_ref().map(|served| served.address().clone());
        if let Some((folder, page)) = self.folder.as_ref().zip(page.as_ref()) {
            folder.write_page(page).unwrap_or_else(|error| self.warn(&error));
        }
        report(
            &self.reporter,
            &Report::Listening {
                address: self.address.to_string(),
                run_id: self.run_id.clone(),
                run_folder: self.run_folder(),
                page: page.as_ref().map(PageAddress::shown),
            },
        );
        if let Some(page) = &page {
            let message = page_text(page, self.folder.as_ref());
            report(&self.reporter, &Report::Note { message });
        }
        Listening { address: self.address, invitation, page }
    }

    /// Who writes the run down, from where `state` says that its records go on.
    ///
    /// # Errors
    /// If a file of the run folder cannot be gone on with.
    pub(super) fn recorder(
        &mut self,
        state: RecordState,
        every: Every,
        epoch_end: Option<EpochEnd>,
    ) -> Result<(Recorder, Records)> {
        let files = Tee::of_files(&self.outer, &self.watch);
        let writer = self.folder.as_ref().map(|folder| self.writer(folder, &files));
        let (metrics, journal) = match &self.folder {
            Some(folder) => {
                let metrics = metrics(folder, &state, &files)?;
                self.before = history(folder);
                if self.first_step > 0 {
                    resumed(&self.watch, folder, self.first_step);
                }
                (Some(metrics), Some(self.journal(folder, &files)?))
            }
            None => (None, None),
        };
        let to = Destination {
            metrics,
            journal,
            writer,
            every,
            address: self.address,
            reporter: self.outer.clone(),
            watch: self.watch.clone(),
            epoch_end,
        };
        Ok(Recorder::new(&self.plan, to, state, self.first_step))
    }

    /// Who writes checkpoints, and looks at what they are written to.
    fn writer(&self, folder: &RunFolder, files: &SharedReporter) -> Writer {
        let model = ModelFiles::new(folder, self.plan.clone());
        let (run, bytes) = (model.run().to_path_buf(), self.plan.state_bytes());
        let (watch, keep) = (self.watch.clone(), self.plan.job.checkpoint.keep);
        let mut shortages = Shortages::default();
        Writer::start(model, keep, self.first_step, files.clone(), move |step| {
            watch.checkpoint(step, shortages.look(&run, bytes));
        })
    }

    fn journal(&self, folder: &RunFolder, files: &SharedReporter) -> Result<Journal> {
        let (steps, steps_per_epoch) =
            (self.plan.job.journal.every_steps, self.plan.batches().count());
        let lines = journal::open(folder.path(), self.first_step, files.clone())?;
        let bytes = size_of_val(&self.plan.weights[..]);
        Ok(Journal::writing(Due::Every { steps, steps_per_epoch }, bytes, lines))
    }

    /// Writes down what there is of a run that ended early, and says why it did.
    pub(super) async fn end_early(self, error: RunError, records: &Records) -> Error {
        let Led { folder, first_step, reporter, watch, served, .. } = self;
        let error = ended_early(error, records, folder, first_step, &reporter, &watch);
        if let Some(served) = served {
            served.end().await;
        }
        error
    }

    pub(super) fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Leaves a run, which whoever is asked at the ends of epochs has ended, where it can go on.
    pub(super) async fn stop(mut self, outcome: Outcome, records: &Records) -> Trained {
        let (history, threshold) = records.so_far(&self.plan, &outcome);
        let history = self.whole(history);
        let outer = self.outer.clone();
        let how = self.end_early(RunError::Stopped, records).await;
        report(&outer, &Report::Note { message: how.to_string() });
        let weights_blake3 = weights_hash(&outcome.weights);
        Trained { weights: outcome.weights, history, weights_blake3, threshold }
    }

    /// A history with the epochs before it.
    fn whole(&mut self, history: History) -> History {
        let mut before = std::mem::take(&mut self.before);
        before.epochs.extend(history.epochs);
        History { best_epoch: history.best_epoch, ..before }
    }

    /// Saves and tells what the run came to.
    ///
    /// # Errors
    /// If the model cannot be saved.
    pub(super) async fn finish(mut self, outcome: Outcome, records: Records) -> Result<Trained> {
        let weights_blake3 = weights_hash(&outcome.weights);
        let ended = records.finish(&self.plan, &outcome, &weights_blake3, self.run_folder());
        let FinishedRun { history, report: finished, warning, threshold } = ended;
        let history = self.whole(history);
        if let Some(folder) = &mut self.folder {
            let model = ModelFiles::new(folder, self.plan.clone());
            folder.finish(&model, &self.plan, &outcome, threshold).map_err(unsaved)?;
        }
        if let Some(message) = warning {
            report(&self.reporter, &Report::Warning { message });
        }
        report(&self.reporter, &finished);
        let status = self.watch.state(State::Finished, None);
        let explanations = status.iter().flat_map(|status| &status.explanations);
        explanations.for_each(|text| report(&self.outer, &Report::Note { message: text.clone() }));
        if let Some((folder, status)) = self.folder.as_ref().zip(status) {
            folder.remove_page();
            folder.write_status(&status).unwrap_or_else(|error| self.warn(&error));
        }
        if let Some(served) = self.served {
            served.end().await;
        }
        Ok(Trained { weights: outcome.weights, history, weights_blake3, threshold })
    }

    fn run_folder(&self) -> Option<String> {
        self.folder.as_ref().map(|folder| folder.path().display().to_string())
    }

    fn warn(&self, error: &Error) {
        report(&self.reporter, &Report::Warning { message: error.to_string() });
    }
}

/// Loss and metrics of a run's epochs so far, as `metrics.jsonl` has them.
pub(super) fn history(folder: &RunFolder) -> History {
    let epochs = metric_lines::epochs(&folder.path().join("metrics.jsonl"));
    History { epochs, best_epoch: folder.best_epoch() }
}

/// Where the page is: its key is in a file, and in no log.
fn page_text(page: &PageAddress, folder: Option<&RunFolder>) -> String {
    let shown = page.shown();
    match folder.filter(|_| page.key.is_some()) {
        Some(folder) => format!(
            "status page: {shown}, whose whole address, with its key, is in {}",
            folder.path().join("http").display()
        ),
        None => format!("status page: {shown}"),
    }
}

/// The status of a run that is about to go on after a step.
fn watched(
    plan: &Plan,
    run_id: &str,
    address: SocketAddr,
    folder: Option<&RunFolder>,
    first_step: u64,
) -> Watch {
    let started = folder.map(|folder| folder.started() as f64);
    let path = folder.map(RunFolder::path);
    let mut run = watch::run_of(&plan.job.name, run_id, path, started);
    run.address = Some(address.to_string());
    let (epochs, steps) = (plan.job.train.epochs, plan.batches().count());
    let mut book = Book::new(run, watch::asked(plan), epochs, steps);
    book.loss_is_scaled(plan.network.has_units());
    if let Some(last) = path.filter(|_| first_step > 0).and_then(last_status) {
        book.remember(&last);
    }
    Watch::of(book)
}

/// Tells a status what the lines of the steps so far say.
fn resumed(watch: &Watch, folder: &RunFolder, step: u64) {
    watch.note(|book, at| {
        replay(folder.path(), book);
        book.state(State::Starting, None);
        book.event(at, "resumed", format!("the run goes on after step {step}"));
    });
}

/// `metrics.jsonl` at the place where `state` says that it goes on.
fn metrics(folder: &RunFolder, state: &RecordState, reporter: &SharedReporter) -> Result<LineFile> {
    let wanted = state.metrics_bytes;
    let (file, written) = folder.metrics(wanted, reporter.clone())?;
    let kept = written.bytes();
    let problem = if kept < wanted {
        let missing = wanted - kept;
        Some(format!(
            "{missing} of the {wanted} bytes that the checkpoint counts on are missing: lines of earlier steps are lost"
        ))
    } else {
        let is_altered = state.metrics_blake3.is_some() && state.metrics_blake3 != written.blake3();
        is_altered.then(|| "lines of earlier steps are not those that the run wrote".to_string())
    };
    if let Some(problem) = problem {
        let path = folder.path().join("metrics.jsonl");
        let message = format!("{}: {problem}; training continues", path.display());
        report(reporter, &Report::Warning { message });
    }
    Ok(file)
}
