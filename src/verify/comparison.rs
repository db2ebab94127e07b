//! What a run wrote down, held against what this machine makes. No I/O.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_coordinator::Snapshot;
use lockstep_proto::words::count;
use tokio::sync::oneshot;

use super::Steps;
use crate::error::{Error, Result};
use crate::journal::{self, Line};
use crate::plan::Plan;
use crate::run_folder::Manifest;
use crate::weights_file::weights_hash;

/// What the run wrote down of one step.
#[derive(Debug)]
enum Claim {
    Journal(Line),
    /// The last step of a finished run, and its weights' hash.
    Manifest(u64, String),
}

impl Claim {
    fn step(&self) -> u64 {
        match self {
            Claim::Journal(line) => line.step,
            Claim::Manifest(step, _) => *step,
        }
    }

    /// What is different, if anything is.
    fn difference(&self, made: &Line) -> Option<String> {
        let (by, hash) = match self {
            Claim::Journal(line) => ("journal", &line.weights_blake3),
            Claim::Manifest(_, hash) => ("manifest", hash),
        };
        let computed = &made.weights_blake3;
        if hash != computed {
            return Some(format!("the {by} says {hash}, this machine computed {computed}"));
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
    last: u64,
    agreed: Option<u64>,
    difference: Option<String>,
    over: Option<oneshot::Sender<()>>,
}

impl Comparison {
    /// # Errors
    /// If there is nothing to compare in these steps, or the journal is not one of this job.
    pub(super) fn new(
        run: &Path,
        journal: &[Line],
        manifest: &Manifest,
        steps: Steps,
        plan: &Plan,
    ) -> Result<Comparison> {
        let of_the_job = u64::from(plan.job.train.epochs) * plan.batches().count();
        let wrong = |problem: String| Error::File { path: journal::path(run), problem };
        let newest = journal.last().map_or(0, |line| line.step);
        if newest > of_the_job {
            return Err(wrong(format!("it has step {newest}, but the job ends at {of_the_job}")));
        }
        let last = steps.last.unwrap_or(u64::MAX);
        let lines = journal.iter().filter(|line| (steps.first..=last).contains(&line.step));
        let mut claims: VecDeque<_> = lines.cloned().map(Claim::Journal).collect();
        if let Some(hash) = &manifest.weights_blake3
            && (steps.first..=last).contains(&of_the_job)
        {
            claims.push_back(Claim::Manifest(of_the_job, hash.clone()));
        }
        let Some(claim) = claims.back() else { return Err(wrong(nothing(journal, steps))) };
        let last = claim.step();
        let journal = journal.to_vec();
        Ok(Comparison { journal, claims, last, agreed: None, difference: None, over: None })
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

    /// Whether nothing is left to compare.
    pub(super) fn is_over(&self) -> bool {
        self.claims.is_empty() || self.difference.is_some()
    }

    /// # Errors
    /// If a step differs.
    pub(super) fn result(&self) -> Result<()> {
        self.difference.clone().map_or(Ok(()), |text| Err(Error::Differs(text)))
    }
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
