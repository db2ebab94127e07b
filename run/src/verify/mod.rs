//! Verifying a run: this machine makes its steps again, by the same code, and compares the weights with what the run
//! wrote down.
//!
//! Works from the run folder and the tables alone, for runs that are finished, failed, killed or going on, and writes
//! nothing there. Starts from the newest checkpoint before the first step that is asked for, stops behind the last, and
//! measures no table, since that changes no weights; but for the validation table where early stopping watches it, or a threshold
//! was chosen on it: whether the run ended rightly, and with the weights of the right epoch and the right threshold, is compared
//! as well.

mod comparison;
mod steps;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_coordinator::{Coordinator, Outcome, RunError, Stop};
use lockstep_net::Access;
use lockstep_proto::VERSION;
use lockstep_proto::ids::{Pass, Step};
use tokio::sync::oneshot;

use crate::checkpoint::{self, Checkpoint, Expected, RecordState};
use crate::cluster;
use crate::error::{Error, Result, STOPPED};
use crate::job::Job;
use crate::journal::{self, Due, Journal};
use crate::plan::Plan;
use crate::record::{Destination, Recorder, Records};
use crate::report::{EarlyStop, Report, SharedReporter, report};
use crate::run_folder::{Manifest, Status, check_onnx, model_stamp, read_job};
use crate::watch::Watch;
use crate::weights_file::weights_hash;

use comparison::{Comparison, End, Ending, Shared, Written, check_model, lock};
pub use steps::Steps;

/// Verifies the steps of a run folder, and reports that they agree.
///
/// # Errors
/// [`Error::Differs`] if they do not. Others if the folder or its tables cannot be used, there is nothing to compare in
/// those steps, or `stop` is ready before the end.
pub fn verify(
    run: &Path,
    steps: Steps,
    threads: usize,
    reporter: &SharedReporter,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    // What is wrong with it is found out by comparing, or said where it leads to anything else, or in the end.
    let manifest = Manifest::read_unsealed(run)?;
    if manifest.imported {
        let problem =
            "cannot verify: its weights were imported, and no step was trained".to_string();
        return Err(Error::File { path: run.to_path_buf(), problem });
    }
    let blame = |error| manifest.check_seal(run).err().unwrap_or(error);
    let (mut plan, expected) = plan(run, &manifest, steps).map_err(blame)?;
    let model = model_stamp(run, &manifest, plan.network.layout()).map_err(blame)?;
    // Before the journal: what a checkpoint counts on is in it. What is passed over is named where one is used.
    let newest = match manifest.status {
        Status::Finished => None,
        _ => checkpoint::newest(run, &expected, &mut |_| {})?,
    };
    let at_least = newest.map_or(0, |newest| newest.snapshot.step.0);
    let End { last: steps_in_all, kept } = End::new(&manifest, &plan);
    let journal = journal::read(run, steps_in_all)?;
    let written =
        Written { journal: &journal, manifest: &manifest, model: model.as_ref(), at_least };
    let comparison = Comparison::new(run, &written, steps, &plan).map_err(blame)?;
    let start = start(run, steps, &plan, &expected, &comparison, reporter)?;
    let (from, last) = (start.snapshot.step.0, comparison.last());
    let place = match from {
        0 => "the beginning".to_string(),
        step => format!("the checkpoint at step {step}"),
    };
    let message = format!("verifying steps {} to {last}, from {place}", steps.first);
    report(reporter, &Report::Note { message });
    let hashes = comparison.journaled();
    if let Some(found) = &manifest.early_stopping {
        // As far as the run says that it went, whatever is found there.
        plan.job.train.epochs = found.epochs.min(plan.job.train.epochs);
    }
    make_again(plan, start, comparison, threads, reporter, stop)?;
    if let Some(stamp) = &model {
        check_model(stamp, &manifest, kept)?;
    }
    manifest.check_seal(run)?;
    check_onnx(run, &manifest)?;
    report(reporter, &Report::Verified { first: steps.first, last, hashes, from });
    Ok(())
}

/// The run's own plan, if its job and its tables are still the same, and what its checkpoints must be like.
fn plan(run: &Path, manifest: &Manifest, steps: Steps) -> Result<(Plan, Expected)> {
    let wrong = |problem: String| {
        let problem = format!("cannot verify: {problem}");
        Error::File { path: run.to_path_buf(), problem }
    };
    if manifest.lockstep != VERSION {
        return Err(wrong(format!(
            "the run was made by lockstep {}, this is {VERSION}: the same bits need the same version",
            manifest.lockstep
        )));
    }
    let text = read_job(run)?;
    let is_its_job = manifest.check_job(run, &text);
    let plan =
        Job::parse(&run.join("job.toml"), text, &[]).map_err(Error::from).and_then(Plan::new);
    // Whatever an altered job leads to, that it was altered says more.
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return Err(is_its_job.err().unwrap_or(error)),
    };
    let (found, wanted) = (plan.data_hash(), &manifest.data_blake3);
    if found != *wanted {
        is_its_job?;
        return Err(wrong(format!(
            "the tables have changed since the run began: their data_blake3 is {found}, manifest.json says {wanted}; \
             put back the tables that job.toml there names"
        )));
    }
    let (found, wanted) = (weights_hash(&plan.weights), &manifest.initial_weights_blake3);
    if found != *wanted {
        return Err(wrong(format!(
            "job.toml there makes other initial weights than the run began with: their hash is {found}, manifest.json \
             says {wanted}"
        )));
    }
    is_its_job?;
    let expected = plan.checkpoints(&manifest.run_id);
    // Without its end, the threshold of a run cannot be compared.
    let reaches_end = steps.last.is_none_or(|last| last >= End::new(manifest, &plan).last);
    Ok((plan.to_replay(manifest.threshold.is_some() && reaches_end), expected))
}

/// The newest whole checkpoint before the steps, or the beginning.
fn start(
    run: &Path,
    steps: Steps,
    plan: &Plan,
    expected: &Expected,
    comparison: &Comparison,
    reporter: &SharedReporter,
) -> Result<Checkpoint> {
    let mut warn = |message| report(reporter, &Report::Warning { message });
    let before = Step(steps.first - 1);
    let Some(mut found) = checkpoint::newest_until(run, before, expected, &mut warn)? else {
        return Ok(Checkpoint { snapshot: plan.beginning(), records: RecordState::default() });
    };
    comparison.check_start(&found.snapshot)?;
    if plan.tables.validation.is_some() {
        return Ok(found);
    }
    // Where nothing is measured, passes are steps, and an epoch ends with its last step.
    let step = found.snapshot.step.0;
    found.snapshot.pass = Pass(step);
    if step.is_multiple_of(plan.batches().count()) {
        found.records.epoch_rows = 0;
        found.records.epoch_sums.clear();
    }
    Ok(found)
}

/// Makes the steps from `start` again, until everything is compared.
fn make_again(
    plan: Plan,
    start: Checkpoint,
    comparison: Comparison,
    threads: usize,
    reporter: &SharedReporter,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let plan = Arc::new(plan);
    let (over_tx, over) = oneshot::channel();
    let due = Due::At(comparison.steps());
    let shared = comparison.share(over_tx);
    let told_to_stop = Arc::new(AtomicBool::new(false));
    let signal = {
        let told_to_stop = told_to_stop.clone();
        async move {
            stop.await;
            told_to_stop.store(true, Ordering::Release);
        }
    };
    cluster::run(1, threads, |token, start_workers, failed| async {
        let coordinator = Coordinator::bind("127.0.0.1:0").await?;
        let address = coordinator.address();
        let take = comparing(shared.clone());
        let to = Destination {
            metrics: None,
            journal: Some(Journal::start(due, size_of_val(&plan.weights[..]), take)),
            writer: None,
            every: plan.job.checkpoint.every,
            address,
            reporter: reporter.clone(),
            watch: Watch::default(),
            epoch_end: None,
        };
        let Checkpoint { snapshot, records: state } = start;
        let (recorder, records) = Recorder::new(&plan, to, state, snapshot.step.0);
        let spec = plan.run_spec("verify", snapshot, 1, threads)?;
        start_workers(address);
        let stop = async {
            tokio::select! {
                Ok(()) = over => {}
                () = signal => {}
                _ = failed => {}
            }
            Stop::Now
        };
        let result = coordinator
            .run(spec, plan.tables.clone(), Box::new(recorder), Access::Token(token), stop)
            .await;
        // What is still to be hashed is compared.
        records.flush();
        if let Ok(outcome) = &result {
            lock(&shared).ended(ending(&plan, &records, outcome), outcome.epochs);
        }
        match result {
            _ if lock(&shared).is_over() => Ok(()),
            // Not said as if a worker had failed.
            Err(RunError::Stopped) if told_to_stop.load(Ordering::Acquire) => Ok(()),
            Err(RunError::Stopped) => Err(Error::Stopped(STOPPED.to_string())),
            Err(error) => Err(error.into()),
            Ok(_) => Err(Error::Internal("the run ended before everything was compared".into())),
        }
    })?;
    let comparison = lock(&shared);
    if !comparison.is_over() {
        return Err(Error::Stopped(STOPPED.to_string()));
    }
    comparison.result()
}

/// How the steps that were made again ended.
fn ending(plan: &Plan, records: &Records, outcome: &Outcome) -> Ending {
    let rule = plan.job.train.early_stopping.as_ref();
    let threshold = records.validated(plan, outcome).and_then(|found| found.threshold);
    Ending {
        early_stopping: rule.and_then(|rule| EarlyStop::of(rule, outcome)),
        threshold: threshold.map(|chosen| chosen.value),
        averages: plan.ends_with_averages().then(|| weights_hash(&outcome.weights)),
    }
}

/// Compares what is made, line by line.
fn comparing(shared: Shared) -> impl FnMut(journal::Line) -> bool + Send {
    move |line| lock(&shared).take(&line)
}
