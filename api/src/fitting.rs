//! Fitting a model: from arrays or a table to a plan, and a cluster that makes the weights of it.

use std::path::PathBuf;
use std::sync::Arc;

use lockstep_data::{Detail, TableSource};
use lockstep_model::{Network, Threshold};
use lockstep_proto::tree::SHARDS_MAX;
use lockstep_proto::words::count;
use lockstep_run::cluster;
use lockstep_run::epoch_end::EpochEnd;
use lockstep_run::job::{Job, name_problem};
use lockstep_run::plan::Plan;
use lockstep_run::report::{self, SharedReporter, Silent};
use lockstep_run::run_folder::Model;
use lockstep_run::train::{self, Admission, Lead, Listen, Trained};
use ndarray::ArrayView2;

use crate::arrays::{Arrays, Reading, check_columns};
use crate::clusters::Cluster;
use crate::early_stopping;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::sequential::{Fitted, Sequential};
use crate::tables::Table;
use crate::training::{Every, Fit, History, Validation};

impl Sequential {
    /// Trains on rows `x` `[rows, features]` with targets `y` `[rows, outputs]` (one column of class numbers for
    /// cross entropy). A second fit goes on from the weights of the first, and with its scale of targets; the optimizer
    /// starts afresh.
    ///
    /// # Errors
    /// If the arrays, the layers and the loss do not go together, or the training diverges.
    ///
    /// # Panics
    /// If a callback does.
    pub fn fit(
        &mut self,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        fit: &Fit<'_>,
    ) -> Result<History> {
        let plan = self.plan_of_arrays(x, y, fit)?;
        self.train(plan, fit)
    }

    /// The same on a table, whose columns are fitted to the rows that are learned from. A second fit is on the same table.
    ///
    /// # Errors
    /// If the table, what is said of its columns, the layers and the loss do not go together, or the training diverges.
    ///
    /// # Panics
    /// If a callback does.
    pub fn fit_table(&mut self, table: &Table, fit: &Fit<'_>) -> Result<History> {
        let plan = self.plan_of_table(table, fit)?;
        self.train(plan, fit)
    }

    pub(crate) fn plan_of_arrays(
        &self,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        fit: &Fit<'_>,
    ) -> Result<Plan> {
        let arrays = Arrays { x, y };
        arrays.check_shapes()?;
        check_numbers(fit)?;
        if matches!(fit.validation, Validation::Table(_)) {
            return Err(Error::arguments("validation_table is for fit_table: set validation_data"));
        }
        let job = self.job_of_arrays(fit)?;
        if let Some(Fitted { model, .. }) = self.before(fit) {
            check_columns(&model.schema, x)?;
        }
        if fit.batch_size > x.nrows() {
            let found = count(x.nrows() as u64, "row");
            let problem = format!("batch_size is {}, but x has {found}", fit.batch_size);
            return Err(Error::arguments(problem));
        }
        let steps = u64::from(fit.epochs) * x.nrows().div_ceil(fit.batch_size) as u64;
        // With a part held out there are fewer, which is looked at when it is known.
        let is_split = matches!(fit.validation, Validation::Split(_));
        self.check_optimizer(Some(steps).filter(|_| !is_split))?;
        arrays.check_values(&job)?;
        check_rules(fit, &job)?;
        let reading = Reading {
            validation: &fit.validation,
            sample_weights: fit.sample_weights.as_deref(),
            target_scale: self.target_scale,
            targets: self.before(fit).map(|fitted| fitted.model.schema.targets.clone()),
        };
        let dataset = arrays.dataset(&job, &reading)?;
        self.going_on(Plan::with_dataset(job, dataset)?, fit)
    }

    pub(crate) fn plan_of_table(&self, table: &Table, fit: &Fit<'_>) -> Result<Plan> {
        check_numbers(fit)?;
        let mut spec = table.spec().clone();
        if spec.target.is_empty() {
            return Err(Error::arguments(
                "the table has no target: say with target which column it is",
            ));
        }
        for (name, column) in &spec.columns {
            column.check().map_err(|wrong| {
                let problem = format!("{} of column {name:?}: {}", wrong.parameter, wrong.problem);
                Error::arguments(problem)
            })?;
        }
        if fit.sample_weights.is_some() {
            let problem =
                "sample_weights is for arrays: a table has a column of them, its sample_weight";
            return Err(Error::arguments(problem));
        }
        spec.validation = match &fit.validation {
            Validation::Nothing => None,
            Validation::Split(fraction) => Some(TableSource::Fraction(*fraction)),
            Validation::Table(table) => Some(TableSource::File(table.file().clone())),
            Validation::Arrays(..) => {
                let problem =
                    "validation_data is for arrays: set validation_table, or validation_split";
                return Err(Error::arguments(problem));
            }
        };
        let job = self.job(fit, spec)?;
        self.check_optimizer(None)?;
        job.check_messages(&job.network_unread().map_err(lockstep_run::Error::from)?)
            .map_err(lockstep_run::Error::from)?;
        check_rules(fit, &job)?;
        self.going_on(Plan::with_detail(job, Detail::Usual)?, fit)
    }

    fn check_optimizer(&self, steps: Option<u64>) -> Result<()> {
        let optimizer = self.compiled.as_ref().and_then(|compiled| compiled.optimizer.as_ref());
        match optimizer.and_then(|optimizer| optimizer.problem(steps)) {
            Some(problem) => Err(Error::arguments(problem)),
            None => Ok(()),
        }
    }

    /// The plan with the weights of the fit before, if there was one.
    fn going_on(&self, plan: Plan, fit: &Fit<'_>) -> Result<Plan> {
        let Some(Fitted { model, .. }) = self.before(fit) else { return Ok(plan) };
        if plan.schema != model.schema {
            return Err(Error::arguments(
                "the columns become other inputs than in the fit before, whose weights are to be gone on with: fit on the same \
                 table in the same way, or make a new model",
            ));
        }
        let [found, wanted] =
            [plan.network.layout(), model.network.layout()].map(|of| of.tensors());
        if found != wanted {
            let problem = "the network has other tensors than in the fit before: make a new model";
            return Err(Error::arguments(problem));
        }
        Ok(plan.starting_from(model.weights.clone())?)
    }

    /// Makes the weights of a plan.
    fn train(&mut self, plan: Plan, fit: &Fit<'_>) -> Result<History> {
        let place = Place::of(fit)?;
        let plan = Arc::new(plan);
        let trained = fit.callbacks.around(fit.epochs, |epoch_end| {
            let reporter = match place.is_verbose {
                true => report::shared(Progress::default()),
                false => report::shared(Silent),
            };
            place.train(plan.clone(), reporter, epoch_end)
        })?;
        let Trained { weights, threshold, history, .. } = trained;
        let steps = history.epochs.len() as u64 * plan.batches().count();
        self.keep(&plan, weights, steps, threshold)?;
        Ok(history)
    }

    /// Takes these weights of a plan, after so many steps and with the threshold that was chosen for them, for the model's.
    pub(crate) fn keep(
        &mut self,
        plan: &Plan,
        weights: Vec<f32>,
        step: u64,
        threshold: Option<Threshold>,
    ) -> Result<()> {
        let network = Network::new(plan.network.spec().clone());
        let network = network.map_err(|error| Error::arguments(error.to_string()))?;
        let (schema, shards) = (plan.schema.clone(), plan.job.train.shards);
        let (step, chosen) = (Some(step), threshold.unwrap_or_default());
        let model = Model { network, schema, shards, weights, step, threshold: chosen };
        self.fitted = Some(Fitted { model: Arc::new(model), threshold });
        Ok(())
    }
}

/// That the numbers of a fit make sense, whatever it is of.
pub(crate) fn check_numbers(fit: &Fit<'_>) -> Result<()> {
    if fit.epochs == 0 || fit.batch_size == 0 || !(1..=SHARDS_MAX).contains(&fit.shards) {
        return Err(Error::arguments(format!(
            "epochs, batch_size and shards (to {SHARDS_MAX}) are at least 1"
        )));
    }
    if !fit.gradient_clip_norm.is_none_or(|norm| norm.is_finite() && norm > 0.0) {
        return Err(Error::arguments("gradient_clip_norm is finite and above 0"));
    }
    if fit.workers.is_some() && fit.cluster.is_some() {
        return Err(Error::arguments(
            "workers is for a fit inside this process, and cluster for one on the workers that join: set one of them",
        ));
    }
    if fit.resumes && fit.run_folder.is_none() {
        return Err(Error::arguments("resume is for a fit with a run_folder: set one"));
    }
    if let Some(problem) = name_problem(&fit.name) {
        return Err(Error::arguments(format!("name: {problem}")));
    }
    if fit.checkpoint.keep == 0 {
        return Err(Error::arguments("keep_checkpoints is 0, wanted at least 1"));
    }
    let is_never = match fit.checkpoint.every {
        Every::Epochs(epochs) => epochs == 0,
        Every::Steps(steps) => steps == 0,
        Every::Seconds(seconds) => !(seconds.is_finite() && seconds > 0.0),
    };
    if is_never {
        let found = fit.checkpoint.every;
        return Err(Error::arguments(format!("checkpoint_every({found:?}), wanted more than 0")));
    }
    match &fit.validation {
        Validation::Split(share) if !(*share > 0.0 && *share < 1.0) => Err(Error::arguments(
            format!("validation_split is {share}, wanted a number above 0 and below 1"),
        )),
        _ => Ok(()),
    }
}

/// That what ends or changes a fit has what it needs.
fn check_rules(fit: &Fit<'_>, job: &Job) -> Result<()> {
    job.check_microbatches().map_err(lockstep_run::Error::from)?;
    if let Some(rule) = &fit.early_stopping {
        early_stopping::check(rule, fit, job)?;
    }
    if let Some(rule) = job.train.descent.learning_rate.watches() {
        early_stopping::check_plateau(rule, fit, job)?;
    }
    Ok(job.check_class_weights().map_err(lockstep_run::Error::from)?)
}

/// Where a fit is computed.
struct Place {
    workers: usize,
    threads: usize,
    cluster: Option<(Cluster, usize)>,
    is_verbose: bool,
    run_folder: Option<PathBuf>,
    resumes: bool,
}

impl Place {
    fn of(fit: &Fit<'_>) -> Result<Place> {
        let of_cluster =
            |cluster: &Cluster| Ok::<_, Error>((cluster.clone(), cluster.workers()?.1));
        Ok(Place {
            workers: fit.workers.unwrap_or(1).max(1),
            threads: fit.threads.max(1),
            cluster: fit.cluster.as_ref().map(of_cluster).transpose()?,
            is_verbose: fit.verbose,
            run_folder: fit.run_folder.clone(),
            resumes: fit.resumes,
        })
    }

    /// Trains there.
    fn train(
        &self,
        plan: Arc<Plan>,
        reporter: SharedReporter,
        epoch_end: Option<EpochEnd>,
    ) -> Result<Trained> {
        let threads = self.threads;
        let lead = |listen, admission, workers_start| Lead {
            listen,
            admission,
            out: self.run_folder.clone(),
            resume: self.resumes,
            workers_start,
            checkpoint_seconds: None,
            threads,
            http: None,
            epoch_end,
        };
        let trained = match &self.cluster {
            Some((cluster, workers)) => cluster.open().run(|listen, admission| {
                let lead = lead(listen, admission, *workers);
                train::lead(plan, lead, reporter, std::future::pending(), drop)
            }),
            None => cluster::run(self.workers, threads, |token, start, failed| {
                let listen = Listen::At("127.0.0.1:0".to_string());
                let lead = lead(listen, Admission::Token(token), self.workers);
                train::lead(plan, lead, reporter, failed, |listening| start(listening.address))
            }),
        };
        Ok(trained?)
    }
}
