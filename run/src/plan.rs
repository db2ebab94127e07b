//! From a job to all that a run needs: tables read, network made, weights drawn. The last place that knows both sides.

mod columns;
mod tables;

use std::path::Path;
use std::sync::Arc;

use lockstep_coordinator::policy::{Measure, Watched};
use lockstep_coordinator::{CrewRule, RunSpec, Snapshot, SumBounds, ends_with_averages};
use lockstep_data::{Dataset, Detail, RowOrder, Rows, Schema, Sharded, Summary, TargetKind};
use lockstep_model::{NUMERIC_PROFILE, Network};
use lockstep_proto::batches::Batches;

use crate::checkpoint::{self, Expected, Origin};
use crate::error::{Error, Result};
use crate::job::{ClusterSection, Descent, Job, measure_watched, mode_watched};
use crate::weights_file::WeightsError;
use crate::weights_file::import::{self, Imported};
pub(crate) use columns::embeddings;
pub use columns::units;
pub use tables::Tables;

/// Values that are laid out for hashing at once.
const HASH_BLOCK_VALUES: usize = 1 << 16;

/// A job with its tables and its network.
pub struct Plan {
    /// The job.
    pub job: Job,
    /// The network.
    pub network: Arc<Network>,
    /// The tables, dealt to shards.
    pub tables: Arc<Tables>,
    /// How raw rows become rows of the network.
    pub schema: Schema,
    /// What the tables hold.
    pub summary: Summary,
    /// What is odd about them, though training can go on.
    pub warnings: Vec<String>,
    /// Labels of the classes and how much their rows count, if that differs.
    pub class_weights: Option<Vec<(String, f32)>>,
    /// Weights at step 0.
    pub weights: Vec<f32>,
}

impl Plan {
    /// Reads what the job names.
    ///
    /// # Errors
    /// If a file cannot be used, or does not fit the job.
    pub fn new(job: Job) -> Result<Plan> {
        Plan::with_detail(job, Detail::Usual)
    }

    /// The same, having looked at the tables more or less closely.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_detail(job: Job, detail: Detail) -> Result<Plan> {
        let dataset = lockstep_data::load(&job.data, job.target_kind(), job.seed, detail)?;
        Plan::with_dataset(job, dataset)
    }

    /// A plan for tables that are already in memory.
    ///
    /// # Errors
    /// If they do not fit the job.
    pub fn with_dataset(mut job: Job, dataset: Dataset) -> Result<Plan> {
        let Dataset { train, validation, test, schema, summary, mut warnings } = dataset;
        job.check_against(train.len() as u64, &schema.target_names())?;
        let class_weights = class_weights(&job, &schema, &train)?;
        let train = match &class_weights {
            Some(weights) => weighted(train, weights),
            None => train,
        };
        let inputs = train.features - schema.embeddings().len();
        let network = job.network_of(
            inputs,
            job.image_of(inputs, schema.image.as_deref())?,
            columns::embeddings_said(&schema, &job.data.columns),
            units(&schema),
        )?;
        let network = Arc::new(job.laid_out(network));
        if !job.data.columns.is_empty() || !schema.has_numbers_alone() {
            // A job that says something of single columns, or has others than numbers, is written out with what is done to
            // every one.
            job.data.columns = columns::settled(std::mem::take(&mut job.data.columns), &schema);
        }
        job.check_messages(&network)?;
        job.undecayed(&network)?;
        let weights = match &job.model.initial_weights {
            Some(path) => {
                let fresh = || network.initial_parameters(job.seed);
                let fresh = (job.model.skip_mismatch == Some(true)).then(fresh);
                let (weights, notes) = initial_weights(path, &network, fresh)?;
                let note = |note: String| format!("initial weights {}: {note}", path.display());
                warnings.extend(notes.into_iter().map(note));
                weights
            }
            None => network.initial_parameters(job.seed),
        };
        let whole = |rows: Rows| {
            let order = RowOrder::whole(rows.len() as u64, job.train.shards);
            Sharded::new(rows, order)
        };
        let order = RowOrder {
            batches: Batches {
                rows: train.len() as u64,
                shards: job.train.shards,
                batch_size: job.train.batch_size,
            },
            shuffle: job.train.shuffle,
            seed: job.seed,
        };
        let tables = Arc::new(Tables {
            train: Sharded::new(train, order),
            validation: validation.map(whole),
            test: test.map(whole),
        });
        let weights_at_0 = Vec::new();
        let plan = Plan {
            job,
            network,
            tables,
            schema,
            summary,
            warnings,
            class_weights,
            weights: weights_at_0,
        };
        plan.starting_from(weights)
    }

    /// The same with other weights at step 0.
    ///
    /// # Errors
    /// If workers would see one of them as infinite.
    pub fn starting_from(self, weights: Vec<f32>) -> Result<Plan> {
        let precision = self.job.train.precision;
        let fits = |weight: &f32| precision.can_hold(&[*weight]);
        if let Some(at) = weights.iter().position(|weight| !fits(weight)) {
            let path = self.job.model.initial_weights.as_ref().unwrap_or(&self.job.path).clone();
            let (found, name) = (weights[at], precision.name());
            let problem =
                format!("weight {at} is {found}, wanted numbers that are finite in {name}");
            return Err(WeightsError { path, problem }.into());
        }
        Ok(Plan { weights, ..self })
    }

    /// What the coordinator has to know.
    ///
    /// # Errors
    /// If the network cannot be written as JSON, which its type rules out.
    pub fn run_spec(
        &self,
        run_id: &str,
        start: Snapshot,
        workers_start: usize,
        threads: usize,
    ) -> Result<RunSpec> {
        let network = serde_json::to_string(self.network.spec())
            .map_err(|error| Error::Internal(format!("cannot write the network: {error}")))?;
        let early_stopping = self.job.train.early_stopping.as_ref();
        let plateau = self.job.train.descent.learning_rate.watches();
        let rows = |table: &Option<Sharded>| {
            table.as_ref().map(|table| table.rows().len() as u64).filter(|&rows| rows > 0)
        };
        Ok(RunSpec {
            run_id: run_id.to_string(),
            network,
            numeric_profile: NUMERIC_PROFILE.to_string(),
            layout: Arc::new(self.network.layout().clone()),
            penalties: self.network.penalties(),
            undecayed: self.job.undecayed(&self.network)?,
            rectified: self.network.rectified(),
            sum_bounds: self.sum_bounds(),
            step_sums: self.network.sums_len(),
            start,
            batches: self.batches(),
            is_weighted: self.tables.train.rows().is_weighted,
            validation_rows: rows(&self.tables.validation),
            test_rows: rows(&self.tables.test),
            epochs: self.job.train.epochs,
            early_stopping: self
                .watched(early_stopping, early_stopping.map_or("", |rule| &rule.metric))?,
            plateau: self.watched(plateau, plateau.map_or("", |rule| &rule.metric))?,
            shuffle: self.job.train.shuffle,
            seed: self.job.seed,
            optimizer: self.job.train.descent.optimizer,
            steps_per_update: self.job.train.descent.steps_per_update(),
            averaging: self.job.train.descent.average.averaging(),
            learning_rate: self.job.train.descent.learning_rate.clone(),
            clip_norm: self.job.train.gradient_clip_norm,
            precision: self.job.train.precision,
            workers_min: self.job.cluster.workers_min,
            audit_fraction: self.job.cluster.audit_fraction,
            coding: self.job.cluster.coding,
            homes: self.job.cluster.homes,
            crews: Some(CrewRule::for_rows(self.row_bytes())),
            workers_start,
            threads,
        })
    }

    /// Of all tables, as workers keep them.
    fn row_bytes(&self) -> usize {
        let tables =
            [Some(&self.tables.train), self.tables.validation.as_ref(), self.tables.test.as_ref()];
        tables.into_iter().flatten().map(|table| size_of_val(&table.rows().values[..])).sum()
    }

    /// What watches a measure of the validation table, as the coordinator needs it.
    fn watched<Rule: Clone>(
        &self,
        rule: Option<&Rule>,
        metric: &str,
    ) -> Result<Option<Watched<Rule>>> {
        let Some(rule) = rule.cloned() else { return Ok(None) };
        let mode = mode_watched(metric, &self.job.model).map_err(Error::Arguments)?;
        let (network, name) = (self.network.clone(), measure_watched(metric).to_string());
        let measure = move |sums: &[f64], rows| {
            let found = network.report(sums, rows).into_iter().find(|(of, _)| *of == name);
            found.map_or(f64::NAN, |(_, value)| value)
        };
        Ok(Some(Watched { rule, mode, measure: Measure::new(measure) }))
    }

    fn sum_bounds(&self) -> Vec<SumBounds> {
        let bounds = self.network.sum_bounds().into_iter();
        let mut bounds: Vec<SumBounds> =
            bounds.map(|(low, high, is_whole)| SumBounds { low, high, is_whole }).collect();
        // A loss may be of a row that is measured, and has no weight.
        if let (Some(loss), Some(largest)) = (bounds.first_mut(), self.largest_weight()) {
            let factor = f64::from(largest).max(1.0);
            (loss.low, loss.high) = ((loss.low * factor).min(0.0), loss.high * factor);
        }
        bounds
    }

    /// The largest weight of a training row, if they have any.
    pub fn largest_weight(&self) -> Option<f32> {
        let rows = self.tables.train.rows();
        (0..rows.len()).filter_map(|row| rows.weight_of(row)).reduce(f32::max)
    }

    /// The beginning of the run.
    pub fn beginning(&self) -> Snapshot {
        let Descent { optimizer, average, .. } = &self.job.train.descent;
        let (weights, layout) = (self.weights.clone(), self.network.layout());
        Snapshot::fresh(weights, layout, optimizer, average.averaging().is_some())
    }

    /// What the checkpoints of a run of this plan must be like.
    pub fn checkpoints(&self, run_id: &str) -> Expected {
        Expected {
            origin: Origin::new(run_id, self.network.layout()),
            weights: self.weights.len(),
            trained: self.network.layout().trained_len(),
            optimizer: self.job.train.descent.optimizer,
            batches: self.batches(),
            epochs: self.job.train.epochs,
            has_validation: self.tables.validation.is_some(),
            early_stopping: self.job.train.early_stopping.clone(),
            plateau: self.job.train.descent.learning_rate.watches().cloned(),
            steps_per_update: self.job.train.descent.steps_per_update(),
            averages: self.job.train.descent.average.averaging().is_some(),
            sums_len: self.network.sums_len(),
        }
    }

    /// The plan of a run that makes the same weights on one worker, and measures nothing but the validation table, if anything
    /// watches it or `validates`.
    pub fn to_replay(mut self, validates: bool) -> Plan {
        // How many workers there had to be, and who checked whom, was for the cluster that trained.
        self.job.cluster = ClusterSection::default();
        let train = &self.job.train;
        let is_needed =
            train.early_stopping.is_some() || train.descent.learning_rate.watches().is_some();
        let is_watched = validates || is_needed;
        // No run has the tables yet, so nothing is copied.
        let Tables { train, validation, .. } =
            Arc::try_unwrap(self.tables).unwrap_or_else(|shared| Tables {
                train: shared.train.clone(),
                validation: shared.validation.clone().filter(|_| is_watched),
                test: None,
            });
        let validation = validation.filter(|_| is_watched);
        let tables = Arc::new(Tables { train, validation, test: None });
        Plan { tables, ..self }
    }

    /// Hash of every row of every table, as the network sees them.
    pub fn data_hash(&self) -> String {
        let tables = &self.tables;
        let mut hasher = blake3::Hasher::new();
        for table in [Some(&tables.train), tables.validation.as_ref(), tables.test.as_ref()] {
            let values = table.map_or(&[][..], |table| table.rows().values.as_slice());
            hasher.update(&(values.len() as u64).to_le_bytes());
            for block in values.chunks(HASH_BLOCK_VALUES) {
                hasher.update(&lockstep_proto::values::encode(block));
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// About how long a checkpoint is: weights, and twice as many values that optimizers keep.
    pub(crate) fn state_bytes(&self) -> u64 {
        3 * size_of_val(&self.weights[..]) as u64
    }

    /// How the training table is dealt and batched.
    pub fn batches(&self) -> Batches {
        self.tables.train.order().batches
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        u64::from(self.job.train.epochs) * self.batches().count()
    }

    /// Whether a threshold is chosen for the model: there is one output with two classes, and a validation table to choose it on.
    pub fn chooses_threshold(&self) -> bool {
        self.job.target_kind() == TargetKind::Binary { outputs: 1 }
            && self.tables.validation.as_ref().is_some_and(|table| !table.rows().is_empty())
    }

    /// Whether the run ends with the averages of its weights.
    pub fn ends_with_averages(&self) -> bool {
        let train = &self.job.train;
        ends_with_averages(train.descent.average.averaging(), train.early_stopping.as_ref())
    }

    /// Rows of the test table, if there is one.
    pub fn test_rows(&self) -> Option<u64> {
        self.tables.test.as_ref().map(|test| test.rows().len() as u64)
    }
}

/// Labels and weights of the classes, if they have weights.
fn class_weights(job: &Job, schema: &Schema, train: &Rows) -> Result<Option<Vec<(String, f32)>>> {
    job.check_class_weights()?;
    let classes = match (&job.train.class_weights, job.target_kind()) {
        (Some(_), TargetKind::Classes { outputs }) => outputs,
        (Some(_), TargetKind::Binary { .. }) => 2,
        _ => return Ok(None),
    };
    let labels = match &schema.labels {
        Some(labels) => labels[0].clone(),
        // Where classes are numbers from the start.
        None => (0..classes).map(|class| class.to_string()).collect(),
    };
    let mut counts = vec![0; classes];
    (0..train.len()).for_each(|row| counts[train.targets_of(row)[0] as usize] += 1);
    Ok(job.weights_of_classes(labels, &counts)?)
}

/// The rows, each with the weight of its class.
fn weighted(train: Rows, weights: &[(String, f32)]) -> Rows {
    let weight = |row| weights[train.targets_of(row)[0] as usize].1;
    let weights: Vec<f32> = (0..train.len()).map(weight).collect();
    train.weighted(&weights)
}

/// Weights to start from, a safetensors file, a checkpoint, or the newest model of a run folder, and what was done to them. Where
/// there are `fresh` ones, they take the place of those that are not there or have another shape.
fn initial_weights(
    path: &Path,
    network: &Network,
    fresh: Option<Vec<f32>>,
) -> Result<(Vec<f32>, Vec<String>)> {
    let layout = network.layout();
    let in_run = path.join("model/weights.safetensors");
    let path = if path.is_dir() { &in_run } else { path };
    if let Some(weights) = checkpoint::read_weights(path, layout)? {
        return Ok((weights, Vec::new()));
    }
    let Imported { weights, notes } = match fresh {
        Some(fresh) => import::read_matching(path, layout, fresh)?,
        None => import::read(path, layout, &network.flattened())?,
    };
    Ok((weights, notes))
}
