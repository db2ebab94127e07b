//! Using a model on tables: measuring it and predicting with it. No cluster; rows are independent.

mod classes;
mod curves;
mod examine;
mod importance;
mod pipeline;
mod predict;
mod predicted;
mod residuals;

use classes::classes;
pub(crate) use classes::classes_of_sums;

use lockstep_data::{ReadTable, RowOrder, Rows, Sharded, TableFile, TargetKind, Unseen, Want};
use lockstep_model::{Loss, Network, NonFinite, Workspace};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_reduce::fold::{Fold, LeafSet};
use ndarray::{Array2, ArrayView2, s};

use crate::constant_guess::Guess;
use crate::error::{Error, Result};
use crate::report::Values;
use crate::report::classes::TargetClasses;
use crate::run_folder::Model;
pub use examine::examine;
pub use importance::importance;
pub use predict::{Predicted, Request, encoded_rows, predict};
pub use predicted::Predictions;

/// Rows that go through the network together.
const BLOCK_ROWS: usize = 1024;

/// What a table gives.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Rows measured.
    pub rows: u64,
    /// Rows of the file that were left out for a missing cell.
    pub left_out: u64,
    /// Categories that training never saw.
    pub unseen: Vec<Unseen>,
    /// Loss and metrics.
    pub values: Values,
    /// Whether the loss, and it alone, is in units of scaled targets.
    pub loss_is_scaled: bool,
    /// Of each target whose values are classes.
    pub classes: Vec<TargetClasses>,
    /// What there is to warn of: that a guess would be as good.
    pub warning: Option<String>,
}

/// Loss and metrics of a raw table. At precision `f32`, to the same bits as the run's own measure of it; at another, the
/// run measures with the rounded weights that its workers have, and this with what it saved.
/// Ranks (`roc_auc`, `average_precision`) are of the outputs themselves, where a run has bins of them. What is predicted of a target
/// with two classes follows from the model's threshold.
///
/// # Errors
/// If the table cannot be used, or the model gives something that is not finite.
pub fn evaluate(model: &Model, data: &TableFile) -> Result<Evaluation> {
    let ReadTable { rows: table, left_out, unseen } =
        model.schema.read_counted(data, Want::FeaturesAndTargets)?;
    let wrong = |problem| Error::File { path: data.path().to_path_buf(), problem };
    if table.is_empty() {
        return Err(wrong("no rows to evaluate".to_string()));
    }
    let found = evaluate_rows(model, table).map_err(wrong)?;
    Ok(Evaluation { left_out, unseen, ..found })
}

/// The same of rows that are read already, of which there is at least one.
///
/// # Errors
/// What is wrong, if the model gives something that is not finite.
pub fn evaluate_rows(model: &Model, table: Rows) -> std::result::Result<Evaluation, String> {
    let rows = table.len() as u64;
    let compared = compared(model, &table);
    let classes = compared.as_ref().map_or_else(Vec::new, |compared| classes(model, compared));
    let (sums, values) =
        measured(model, table, compared.as_ref()).map_err(|fault| not_finite(&fault))?;
    let guess = Guess::found(&model.network, &sums, rows, model.threshold);
    let warning = guess.map(|guess| guess.text("table", &model.schema));
    let loss_is_scaled = model.network.has_units();
    let (left_out, unseen) = (0, Vec::new());
    Ok(Evaluation { rows, left_out, unseen, values, loss_is_scaled, classes, warning })
}

/// What is wrong with a model that gives no finite loss.
fn not_finite(fault: &NonFinite) -> String {
    format!("the model's loss is not finite on rows of shard {}", fault.shard)
}

/// What the network makes of rows, beside what they should be.
struct Compared {
    /// `[rows, targets]`.
    targets: Array2<f32>,
    /// `[rows, outputs]`.
    outputs: Array2<f32>,
}

impl Compared {
    fn of(model: &Model, rows: &Rows) -> Compared {
        Compared { targets: targets(rows), outputs: outputs(model, rows) }
    }
}

/// The same where targets are classes: of numbers the sums say all.
fn compared(model: &Model, rows: &Rows) -> Option<Compared> {
    let has_classes = !matches!(model.schema.kind, TargetKind::Numbers);
    has_classes.then(|| Compared::of(model, rows))
}

/// The sums, and the loss and metrics that follow from them, of rows; ranks are of what is compared, if it is, not of bins.
fn measured(
    model: &Model,
    rows: Rows,
    compared: Option<&Compared>,
) -> std::result::Result<(Vec<f64>, Values), NonFinite> {
    let (network, count) = (&model.network, rows.len() as u64);
    let mut sums = sums(model, rows)?;
    let uncounted = sums.clone();
    network.count_at(model.threshold, &mut sums);
    let mut values = Values::new();
    add_values(&mut values, network, &model.schema.target_names(), &sums, count, "");
    if let Some(compared) = compared {
        classes::rank(&mut values, model, compared);
    }
    Ok((uncounted, values))
}

/// Adds loss and metrics under a prefix, as [`add_measures`] does; a loss that is a metric itself goes by that name as
/// well, unless it is in another unit than metrics are, or has penalties of weights in it.
pub fn add_values(
    values: &mut Values,
    network: &Network,
    targets: &[String],
    sums: &[f64],
    rows: u64,
    prefix: &str,
) {
    add_measures(values, network, targets, sums, rows, prefix);
    if network.has_units() || !network.penalties().is_empty() {
        return;
    }
    let loss = network.spec().loss;
    if let (Loss::Mse | Loss::Mae, Some(&value)) = (loss, values.get(&format!("{prefix}loss"))) {
        values.insert(format!("{prefix}{loss}"), value);
    }
}

/// Adds loss and metrics under a prefix, and where there are several targets each one's metrics as `mae/price`.
pub fn add_measures(
    values: &mut Values,
    network: &Network,
    targets: &[String],
    sums: &[f64],
    rows: u64,
    prefix: &str,
) {
    for (name, value) in network.report(sums, rows) {
        values.insert(format!("{prefix}{name}"), value);
    }
    for (name, target, value) in network.report_each(sums, rows) {
        values.insert(format!("{prefix}{name}/{}", targets[target]), value);
    }
}

fn sums(model: &Model, rows: Rows) -> std::result::Result<Vec<f64>, NonFinite> {
    let (network, tree) = (&model.network, ShardTree::new(model.shards));
    let count = rows.len() as u64;
    let order = RowOrder::whole(count, model.shards);
    let sharded = Sharded::new(rows, order);
    let leaves = LeafSet::new(tree, |shard| sharded.rows_in(shard) > 0);
    let mut fold = Fold::new(tree, leaves.clone());
    let mut workspace = Workspace::new(network);
    let mut root = Vec::new();
    let mut block = Vec::new();
    for shard in leaves.iter() {
        let mut sums = vec![0.0; network.table_sums_len()];
        block.clear();
        sharded.copy(shard, 0..sharded.rows_in(shard), &mut block);
        network
            .evaluate_rows(&model.weights, &block, &mut workspace, &mut sums)
            .map_err(|fault| NonFinite { shard, ..fault })?;
        root = fold.insert(Node::leaf(shard), sums).unwrap_or(root);
    }
    let penalty = network.penalties().of(network.layout(), &model.weights);
    if penalty != 0.0
        && let Some(loss) = root.first_mut()
    {
        *loss += penalty * count as f64;
    }
    Ok(root)
}

/// The targets of rows: `[rows, targets]`.
fn targets(rows: &Rows) -> Array2<f32> {
    let view = ArrayView2::from_shape((rows.len(), rows.width()), &rows.values);
    view.expect("whole rows").slice_move(s![.., rows.features..]).to_owned()
}

/// Outputs of the network for rows of features, in their order: `[rows, outputs]`, in the unit that it computes in.
pub fn outputs(model: &Model, rows: &Rows) -> Array2<f32> {
    let network = &model.network;
    let mut workspace = Workspace::new(network);
    let mut outputs = Vec::with_capacity(rows.len() * network.outputs());
    for block in rows.values.chunks(BLOCK_ROWS * rows.width()) {
        let view = ArrayView2::from_shape((block.len() / rows.width(), rows.width()), block);
        let x = view.expect("whole rows").slice_move(s![.., ..rows.features]);
        outputs.extend(network.predict(&model.weights, x, &mut workspace).iter());
    }
    Array2::from_shape_vec((rows.len(), network.outputs()), outputs).expect("one row for each")
}

/// Place of the largest value, the first of equals: as accuracy counts it.
fn largest(values: impl Iterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (place, value) in values.enumerate() {
        if value > best.1 {
            best = (place, value);
        }
    }
    best.0
}
