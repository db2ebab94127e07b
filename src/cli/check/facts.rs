//! What `check` finds, for programs: the names here are documented, and stay.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_coordinator::policy::{EarlyStopping, RateSummary};
use lockstep_coordinator::who_may_add;
use lockstep_data::{
    Column as Fitted, ColumnSettings, FeatureSummary, KindFound, NumberSummary, TableSummary,
    TargetSummary, TextSummary,
};
use lockstep_model::LayerSize;
use lockstep_proto::ids::Span;
use lockstep_proto::tree::ShardTree;
use serde::Serialize;

use lockstep_run::plan::Plan;

/// One JSON object.
#[derive(Serialize)]
#[serde(tag = "event", rename = "checked")]
pub(super) struct Facts<'a> {
    job: String,
    network: Network,
    tables: Vec<Table>,
    scale: String,
    missing: String,
    warnings: &'a [String],
    hints: Vec<String>,
    training: Training,
    traffic: &'a Traffic,
}

#[derive(Serialize)]
struct Network {
    inputs: usize,
    /// Height, width and channels of what these are an image of.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<[usize; 3]>,
    loss: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    loss_is_scaled: bool,
    metrics: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    embeddings: Vec<Embedding>,
    layers: Vec<Layer>,
    parameters: usize,
}

/// Of a category column.
#[derive(Serialize)]
struct Embedding {
    column: String,
    /// One for what training never saw, and one for each category.
    rows: usize,
    dimension: usize,
    parameters: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    frozen: bool,
}

#[derive(Serialize)]
struct Layer {
    /// Of one inside another.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Values of an output row.
    units: usize,
    /// Sides of an output row, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<Vec<usize>>,
    /// Where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<String>,
    parameters: usize,
}

#[derive(Serialize)]
struct Table {
    table: String,
    path: String,
    rows: u64,
    rows_dropped: u64,
    features: Vec<Feature>,
    targets: Vec<Target>,
}

#[derive(Serialize)]
struct Column {
    name: String,
    min: f64,
    max: f64,
    mean: f64,
    missing: u64,
    becomes: Becomes,
}

/// A feature, and what it is.
#[derive(Serialize)]
struct Feature {
    #[serde(flatten)]
    cells: Cells,
    kind: String,
    why: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Cells {
    Numbers(Column),
    Texts(Texts),
}

/// A column of categories or dates.
#[derive(Serialize)]
struct Texts {
    name: String,
    first: String,
    last: String,
    missing: u64,
    distinct: u64,
    becomes: Becomes,
}

/// What is done to a column.
#[derive(Serialize)]
struct Becomes {
    scale: String,
    missing: String,
    /// What a missing cell becomes, before scaling.
    fill: Option<f64>,
    indicator: bool,
    /// Numbers that the network gets, or has to give.
    width: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Target {
    Numbers(Column),
    Classes { name: String, classes: Vec<Class> },
}

#[derive(Serialize)]
struct Class {
    label: String,
    rows: u64,
}

#[derive(Serialize)]
struct Training {
    epochs: u32,
    steps_per_epoch: u64,
    steps: u64,
    batch_size: u64,
    batch_size_last: u64,
    shards: u32,
    learning_rate: Rate,
    #[serde(skip_serializing_if = "Option::is_none")]
    early_stopping: Option<Stopping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_weight: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_weights: Option<BTreeMap<String, f32>>,
}

/// What may end the run before its last epoch.
#[derive(Serialize)]
struct Stopping {
    metric: String,
    patience: u32,
    min_delta: f64,
    restore_best_weights: bool,
    start_from_epoch: u32,
    baseline: Option<f64>,
}

/// Over the run, by its steps from 1.
#[derive(Serialize)]
struct Rate {
    schedule: &'static str,
    first: f32,
    largest: f32,
    largest_at_step: u64,
    last: f32,
}

/// What a step moves, and what it needs, with a number of workers.
#[derive(Serialize)]
pub(super) struct Traffic {
    pub(super) workers: u64,
    pub(super) precision: &'static str,
    pub(super) tree_nodes: u64,
    pub(super) step_bytes_up: u64,
    pub(super) step_bytes_down: u64,
    /// Who adds up gradients.
    pub(super) adds: String,
    pub(super) memory_bytes_coordinator: u64,
    pub(super) memory_bytes_worker: u64,
}

impl<'a> Facts<'a> {
    pub(super) fn new(job: &Path, plan: &'a Plan, traffic: &'a Traffic) -> Facts<'a> {
        let batches = plan.batches();
        Facts {
            job: job.display().to_string(),
            network: Network::new(plan),
            tables: plan.summary.tables.iter().map(|table| Table::new(table, plan)).collect(),
            scale: plan.job.data.scale.to_string(),
            missing: plan.job.data.missing.to_string(),
            warnings: &plan.warnings,
            hints: plan.summary.scaling_hint(&plan.schema).into_iter().collect(),
            training: Training {
                epochs: plan.job.train.epochs,
                steps_per_epoch: batches.count(),
                steps: plan.steps(),
                batch_size: batches.batch_size,
                batch_size_last: batches.batch_rows(batches.count() - 1),
                shards: batches.shards,
                learning_rate: Rate::new(plan),
                early_stopping: plan.job.train.early_stopping.clone().map(Stopping::from),
                sample_weight: plan.job.data.sample_weight.clone(),
                class_weights: plan.class_weights.clone().map(|found| found.into_iter().collect()),
            },
            traffic,
        }
    }
}

impl From<EarlyStopping> for Stopping {
    fn from(rule: EarlyStopping) -> Stopping {
        let EarlyStopping {
            metric,
            patience,
            min_delta,
            restore_best_weights,
            start_from_epoch,
            baseline,
        } = rule;
        Stopping { metric, patience, min_delta, restore_best_weights, start_from_epoch, baseline }
    }
}

impl Rate {
    fn new(plan: &Plan) -> Rate {
        let rate = &plan.job.train.descent.learning_rate;
        let RateSummary { first, largest, largest_at, last } = rate.over(plan.steps());
        Rate { schedule: rate.name(), first, largest, largest_at_step: largest_at, last }
    }
}

impl Network {
    fn new(plan: &Plan) -> Network {
        let (network, model) = (&plan.network, &plan.job.model);
        let sizes = network.layer_sizes().into_iter();
        let layers = sizes.map(|LayerSize { place, layer, shape, units, parameters }| Layer {
            place: (place.depth() > 0).then(|| place.to_string()),
            kind: layer.name(),
            units,
            shape: (shape.len() > 1).then_some(shape),
            activation: layer.activation().map(str::to_string),
            parameters,
        });
        let embeddings = network.spec().embeddings.iter().map(|embedding| Embedding {
            column: embedding.column.clone(),
            rows: embedding.rows,
            dimension: embedding.dimension,
            parameters: embedding.parameters(),
            frozen: embedding.is_frozen(),
        });
        Network {
            inputs: network.spec().inputs,
            image: network.spec().image,
            loss: model.loss.to_string(),
            loss_is_scaled: network.has_units(),
            metrics: model.metrics.iter().map(ToString::to_string).collect(),
            embeddings: embeddings.collect(),
            layers: layers.collect(),
            parameters: network.layout().len(),
        }
    }
}

impl Table {
    fn new(summary: &TableSummary, plan: &Plan) -> Table {
        let target = |(target, fitted): (&TargetSummary, &Fitted)| match target {
            TargetSummary::Numbers(column) => Target::Numbers(Column::new(column, fitted)),
            TargetSummary::Classes { name, counts } => {
                let class =
                    |(label, rows): &(String, u64)| Class { label: label.clone(), rows: *rows };
                Target::Classes { name: name.clone(), classes: counts.iter().map(class).collect() }
            }
        };
        Table {
            table: summary.table.to_string(),
            path: summary.path.display().to_string(),
            rows: summary.rows,
            rows_dropped: summary.dropped,
            features: summary
                .features
                .iter()
                .zip(&plan.schema.features)
                .zip(&plan.summary.kinds)
                .map(|((summary, fitted), kind)| Feature::new(summary, fitted, kind))
                .collect(),
            targets: summary.targets.iter().zip(&plan.schema.targets).map(target).collect(),
        }
    }
}

impl Feature {
    fn new(summary: &FeatureSummary, fitted: &Fitted, found: &KindFound) -> Feature {
        let cells = match summary {
            FeatureSummary::Number(summary) => Cells::Numbers(Column::new(summary, fitted)),
            FeatureSummary::Text(summary) => Cells::Texts(Texts::new(summary, fitted)),
        };
        Feature { cells, kind: found.kind.to_string(), why: found.why.clone() }
    }
}

impl Texts {
    fn new(summary: &TextSummary, fitted: &Fitted) -> Texts {
        let TextSummary { name, missing, distinct, first, last } = summary.clone();
        Texts { name, first, last, missing, distinct, becomes: Becomes::new(fitted) }
    }
}

impl Becomes {
    fn new(fitted: &Fitted) -> Becomes {
        let ColumnSettings { scale, missing, indicator } = fitted.settings();
        Becomes {
            scale: scale.to_string(),
            missing: missing.to_string(),
            fill: fitted.fill(),
            indicator,
            width: fitted.width(),
        }
    }
}

impl Column {
    fn new(summary: &NumberSummary, fitted: &Fitted) -> Column {
        Column {
            name: summary.name.clone(),
            min: summary.min,
            max: summary.max,
            mean: summary.mean,
            missing: summary.missing,
            becomes: Becomes::new(fitted),
        }
    }
}

impl Traffic {
    pub(super) fn new(plan: &Plan, workers: usize) -> Traffic {
        let batches = plan.batches();
        let tree = ShardTree::new(batches.shards);
        let workers = workers.min(batches.shards as usize);
        let share = batches.shards.div_ceil(workers as u32);
        let tree_nodes = tree.nodes(Span { start: 0, end: share }).len() as u64;
        let parameters = plan.weights.len() as u64;
        let (tables, width) = (&plan.tables, plan.tables.train.rows().width() as u64);
        let all_rows = batches.rows
            + tables.validation.as_ref().map_or(0, |table| table.rows().len() as u64)
            + plan.test_rows().unwrap_or(0);
        let moments = plan.job.train.descent.optimizer.moment_count() as u64;
        let rule = plan.job.train.early_stopping.as_ref();
        let best = u64::from(rule.is_some_and(|rule| rule.restore_best_weights));
        let precision = plan.job.train.precision;
        let network = &plan.network;
        let sums = network.layout().sums_len() as u64;
        let [moved, moved_up] = [parameters, sums].map(|values| precision.width() as u64 * values);
        let values = 2 * network.widths().sum::<usize>() + network.kept_per_row();
        let batch_rows = batches.batch_size.div_ceil(workers as u64);
        Traffic {
            workers: workers as u64,
            precision: precision.name(),
            tree_nodes,
            step_bytes_up: moved_up * tree_nodes,
            step_bytes_down: moved,
            adds: who_may_add(
                plan.job.cluster.homes,
                plan.job.cluster.audit_fraction,
                network.layout(),
                precision,
            ),
            // Weights, sums and a partial sum; published weights of two steps; those of the best epoch.
            memory_bytes_coordinator: 4
                * (all_rows * width + parameters * (1 + moments + best) + 2 * sums)
                + 2 * moved,
            // Two weight buffers, one layer's sums and their frame; of its rows, outputs and slopes of all layers and what
            // they keep.
            memory_bytes_worker: 4
                * (all_rows.div_ceil(workers as u64) * width
                    + parameters * 2
                    + sums
                    + batch_rows * (width + values as u64))
                + moved_up,
        }
    }
}
