//! What a run wrote down, held against what this machine makes. No I/O.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_coordinator::Snapshot;
use lockstep_model::Threshold;
use lockstep_proto::words::count;
use tokio::sync::oneshot;

use super::Steps;
use crate::error::{Error, Result};
use crate::journal::{self, Line};
use crate::plan::Plan;
use crate::report::EarlyStop;
use crate::run_folder::{Cadence, Manifest, Status};
use crate::weights_file::{Stamp, weights_hash};

/// What the run wrote down of one step.
#[derive(Debug)]
enum Claim {
    Journal(Line),
    /// The step whose weights a finished run ended with, and their hash.
    Manifest(u64, String),
    /// The step of the model in the run folder, and its weights' hash.
    Model(u64, String),
}

impl Claim {
    fn step(&self) -> u64 {
        match self {
            Claim::Journal(line) => line.step,
            Claim::Manifest(step, _) | Claim::Model(step, _) => *step,
        }
    }

    /// What is different, if anything is.
    fn difference(&self, made: &Line) -> Option<String> {
        let (by, hash) = match self {
            Claim::Journal(line) => ("the journal", &line.weights_blake3),
            Claim::Manifest(_, hash) => ("the manifest", hash),
            Claim::Model(_, hash) => ("model/weights.safetensors", hash),
        };
        let computed = &made.weights_blake3;
        if hash != computed {
            return Some(format!("{by} says {hash}, this machine computed {computed}"));
        }
        let Claim::Journal(line) = self else { return None };
        let rows = |line: &Line| {
            let rows = count(line.rows, "row");
            format!("{rows} in epoch {}, {} in all", line.epoch, line.rows_total)
        };
        let (says, counted) = (rows(line), rows(made));
        (says != counted)
            .then(|| format!("the journal says {says}, this machine counted {counted}"))
    }
}

/// What a run wrote down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub(super) journal: &'a [Line],
    pub(super) manifest: &'a Manifest,
    /// What its newest model says, if it has one.
    pub(super) model: Option<&'a Stamp>,
    /// The run got at least so far.
    pub(super) at_least: u64,
}

/// The steps that matter at the end of a run, by what its manifest says.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The last one.
    pub(super) last: u64,
    /// The one whose weights it ended with, or is to end with.
    pub(super) kept: u64,
}

impl End {
    pub(super) fn new(manifest: &Manifest, plan: &Plan) -> End {
        let epochs = manifest.early_stopping.as_ref();
        let epochs = epochs.map(|found| (found.epochs, found.kept_epoch()));
        let of_the_job = plan.job.train.epochs;
        let (last, kept) = epochs.unwrap_or((of_the_job, of_the_job));
        // A manifest that was altered may say anything.
        let steps = |epochs: u32| u64::from(epochs.min(of_the_job)) * plan.batches().count();
        End { last: steps(last), kept: steps(kept) }
    }
}

/// How a run ended, beside its weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    /// What early stopping made of it, if it was asked for.
    pub(super) early_stopping: Option<EarlyStop>,
    /// The threshold that was chosen.
    pub(super) threshold: Option<Threshold>,
    /// Hash of the averages of the weights, where it ended with these: no step has them.
    pub(super) averages: Option<String>,
}

impl Ending {
    /// As a manifest has it; `None` if there is nothing to compare.
    fn of(manifest: &Manifest, plan: &Plan) -> Option<Ending> {
        let Manifest { early_stopping, threshold, weights_blake3, .. } = manifest;
        let averages = weights_blake3.clone().filter(|_| plan.ends_with_averages());
        let is_there = early_stopping.is_some() || threshold.is_some() || averages.is_some();
        let early_stopping = early_stopping.clone();
        is_there.then_some(Ending { early_stopping, threshold: *threshold, averages })
    }

    fn text(&self) -> String {
        let watched = self.early_stopping.as_ref();
        let watched = watched.map_or("that it is not watched".to_string(), |found| {
            let best = found.best_epoch.map_or("none".to_string(), |best| best.to_string());
            let end = if found.stopped { "stopped early" } else { "ended" };
            let kept = found.kept_epoch();
            let EarlyStop { epochs, metric, best_value, .. } = found;
            format!(
                "that it {end} after epoch {epochs} with the weights of epoch {kept}, the best being {best} ({metric} \
                 {best_value:?})"
            )
        });
        let threshold =
            self.threshold.map(|threshold| format!(", threshold {}", f64::from(threshold)));
        let averages = self.averages.as_ref();
        let averages = averages.map(|hash| format!(", averages of its weights with hash {hash}"));
        watched + &threshold.unwrap_or_default() + &averages.unwrap_or_default()
    }
}

/// A comparison that the journal's thread makes and others wait for.
pub(super) type Shared = Arc<Mutex<Comparison>>;

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Comparison> {
    // Whoever panicked in between has compared nothing wrongly.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct Comparison {
    /// What the journal says of each step, in the range or not.
    journal: Vec<Line>,
    /// What is still to be compared, in order; not empty at first.
    claims: VecDeque<Claim>,
    /// How many steps the journal and the manifest have in the range.
    journaled: usize,
    last: u64,
    agreed: Option<u64>,
    difference: Option<String>,
    /// How the run ended, if that is to be compared as well.
    end: Option<Ending>,
    over: Option<oneshot::Sender<()>>,
}

impl Comparison {
    /// # Errors
    /// If there is nothing to compare in these steps, the journal lacks some of them, or what the run wrote down does not
    /// agree with itself.
    pub(super) fn new(
        run: &Path,
        written: &Written<'_>,
        steps: Steps,
        plan: &Plan,
    ) -> Result<Comparison> {
        let Written { journal, manifest, model, .. } = *written;
        let end = End::new(manifest, plan);
        let wrong = |problem: String| Error::File { path: journal::path(run), problem };
        let range = steps.first..=steps.last.unwrap_or(u64::MAX);
        let lines = journal.iter().filter(|line| range.contains(&line.step));
        let mut claims: Vec<_> = lines.cloned().map(Claim::Journal).collect();
        // Averages are those of no step.
        let is_of_a_step = manifest.weights_blake3.is_none() || !plan.ends_with_averages();
        if let Some(hash) = &manifest.weights_blake3
            && is_of_a_step
            && range.contains(&end.kept)
        {
            claims.push(Claim::Manifest(end.kept, hash.clone()));
        }
        let Some(last) = claims.iter().map(Claim::step).max() else {
            return Err(wrong(nothing(journal, steps)));
        };
        if let Some(problem) = missing(written, &range, plan) {
            return Err(wrong(problem));
        }
        let journaled = claims.iter().map(Claim::step).collect::<BTreeSet<_>>().len();
        let is_in = |stamp: &&Stamp| is_of_a_step && (steps.first..=last).contains(&stamp.step);
        if let Some(stamp) = model.filter(is_in) {
            claims.push(Claim::Model(stamp.step, stamp.weights_blake3.clone()));
        }
        claims.sort_by_key(Claim::step);
        let end = Ending::of(manifest, plan).filter(|_| range.contains(&end.last));
        let (journal, claims) = (journal.to_vec(), claims.into());
        Ok(Comparison {
            journal,
            claims,
            journaled,
            last,
            agreed: None,
            difference: None,
            end,
            over: None,
        })
    }

    /// How many steps of the journal and the manifest are compared.
    pub(super) fn journaled(&self) -> usize {
        self.journaled
    }

    /// The last step that is compared.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The steps that are still to be compared.
    pub(super) fn steps(&self) -> BTreeSet<u64> {
        self.claims.iter().map(Claim::step).collect()
    }

    /// Compares the weights that everything starts from, where the journal has them.
    pub(super) fn check_start(&self, start: &Snapshot) -> Result<()> {
        let step = start.step.0;
        let Some(line) = self.journal.iter().find(|line| line.step == step) else { return Ok(()) };
        let (says, hash) = (&line.weights_blake3, weights_hash(&start.weights));
        if *says == hash {
            return Ok(());
        }
        Err(Error::Differs(format!(
            "step {step} differs: the checkpoint's weights have hash {hash}, the journal says {says}; start before it \
             to find out which is right"
        )))
    }

    /// Tells `over` when there is nothing left to compare.
    pub(super) fn share(mut self, over: oneshot::Sender<()>) -> Shared {
        self.over = Some(over);
        Arc::new(Mutex::new(self))
    }

    /// Compares a step that was made; false when nothing is left to compare.
    pub(super) fn take(&mut self, made: &Line) -> bool {
        // The last step stands in the manifest as well.
        while self.difference.is_none()
            && let Some(claim) = self.claims.front().filter(|claim| claim.step() == made.step)
        {
            self.difference = claim.difference(made).map(|difference| {
                let before = match self.agreed {
                    Some(step) => format!("the last step that agrees is {step}"),
                    None => "no step before it was compared".to_string(),
                };
                format!("step {} differs: {difference}; {before}", made.step)
            });
            self.claims.pop_front();
        }
        if self.difference.is_none() {
            self.agreed = Some(made.step);
        }
        if self.is_over()
            && let Some(over) = self.over.take()
        {
            // Nobody waits any more if the run has ended by itself.
            let _ = over.send(());
        }
        !self.is_over()
    }

    /// Compares how the run ended: early, or after all of its epochs, and with which threshold.
    pub(super) fn ended(&mut self, made: Ending, epochs: u32) {
        let Some(says) = self.end.take() else {
            if made.early_stopping.is_some() && !self.claims.is_empty() {
                self.difference = Some(format!(
                    "the end of the run differs: this machine ends it after epoch {epochs}, the journal goes on"
                ));
            }
            return;
        };
        // A run of before there were thresholds does not say which it has.
        let threshold = made.threshold.filter(|_| says.threshold.is_some());
        let made = Ending { threshold, ..made };
        if made == says && self.claims.is_empty() {
            return;
        }
        self.difference = Some(format!(
            "the end of the run differs: the manifest says {}, this machine found {}",
            says.text(),
            made.text()
        ));
    }

    /// Whether nothing is left to compare.
    pub(super) fn is_over(&self) -> bool {
        self.difference.is_some() || self.claims.is_empty() && self.end.is_none()
    }

    /// # Errors
    /// If a step differs.
    pub(super) fn result(&self) -> Result<()> {
        self.difference.clone().map_or(Ok(()), |text| Err(Error::Differs(text)))
    }
}

/// That the model of a run is the one that its manifest names.
///
/// # Errors
/// If it is not.
pub(super) fn check_model(model: &Stamp, manifest: &Manifest, kept: u64) -> Result<()> {
    let Stamp { step, weights_blake3: hash, .. } = model;
    let differs = |what: String| Err(Error::Differs(format!("model/weights.safetensors {what}")));
    match &manifest.weights_blake3 {
        Some(wanted) if wanted != hash => {
            differs(format!("is of step {step} and has hash {hash}, manifest.json says {wanted}"))
        }
        Some(_) if *step != kept => {
            differs(format!("is of step {step}, the run ended with the weights of step {kept}"))
        }
        _ => Ok(()),
    }
}

/// That lines are missing in the journal, among those of a range that the run has written; how many and which.
fn missing(written: &Written<'_>, range: &RangeInclusive<u64>, plan: &Plan) -> Option<String> {
    let Written { journal, manifest, at_least, .. } = *written;
    let steps_per_epoch = plan.batches().count();
    let End { last, .. } = End::new(manifest, plan);
    let newest = journal.last().map_or(0, |line| line.step);
    let is_finished = manifest.status == Status::Finished;
    let until = if is_finished { last } else { newest.max(at_least) };
    let whole = [Cadence { after_step: 0, every_steps: plan.job.journal.every_steps }];
    let cadences = manifest.files.as_ref().map_or(&whole[..], |files| &files.journal[..]);
    let is_due = |step: &u64| {
        let cadence = cadences.iter().rev().find(|cadence| cadence.after_step < *step);
        let every = cadence.map(|cadence| cadence.every_steps);
        step.is_multiple_of(steps_per_epoch)
            || every.is_some_and(|every| step.is_multiple_of(every))
    };
    let mut there = journal.iter().map(|line| line.step).peekable();
    let (mut due, mut first, mut lacks) = (0_u64, None, 0_u64);
    for step in (*range.start()..=until.min(*range.end())).filter(is_due) {
        due += 1;
        while there.next_if(|&found| found < step).is_some() {}
        if there.peek() != Some(&step) {
            lacks += 1;
            first = first.or(Some(step));
        }
    }
    let first = first?;
    let lines = if lacks == 1 { "line is" } else { "lines are" };
    Some(format!(
        "{lacks} of the {due} {lines} missing that the run was to write from step {} to {}, the first that of step \
         {first}: it was emptied, cut or altered, or could not be written; --steps verifies what is there",
        range.start(),
        until.min(*range.end())
    ))
}

/// That no step of a range is there, and which are.
fn nothing(journal: &[Line], steps: Steps) -> String {
    let range = match steps.last {
        Some(last) if last == steps.first => format!("step {last} is not in the journal"),
        Some(last) => format!("no step from {} to {last} is in the journal", steps.first),
        None => format!("no step from {} on is in the journal", steps.first),
    };
    let (Some(first), Some(last)) = (journal.first(), journal.last()) else {
        return format!("{range}: it is empty");
    };
    let at = journal.partition_point(|line| line.step < steps.first);
    let near: Vec<String> =
        journal[at.saturating_sub(1)..].iter().take(2).map(|line| line.step.to_string()).collect();
    format!(
        "{range}, which goes from step {} to {}; the nearest there: {}",
        first.step,
        last.step,
        near.join(" and ")
    )
}
