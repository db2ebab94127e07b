//! Network and training for so many rows, inputs and outputs. Every number here is a rule of thumb that was measured on the
//! tables that docs/init.md names; none looks at what a table is about.

use super::target::{Decided, Task};

/// Rows below which a fifth of them is held back for the test, from which on a tenth.
const TEST_ROWS_FIFTH: u64 = 10_000;

/// Rows from which on a twentieth is enough to watch the training.
const VALIDATION_ROWS_TWENTIETH: u64 = 100_000;

/// Bounds of the rows of a step.
const BATCH_SIZES: (u64, u64) = (16, 1024);

/// Bounds of the epochs.
const EPOCHS: (u64, u64) = (14, 200);

/// Rows to learn numbers from, and to learn classes from, below which a network soon knows them by heart.
const FEW_ROWS: (u64, u64) = (10_000, 50_000);

/// Rows to learn classes from, from which on half as many steps of twice as many rows find as much.
const SOME_ROWS: u64 = 5_000;

/// How fast a network learns, and what keeps it from learning rows by heart.
struct Pace {
    /// Steps of an epoch that are aimed at.
    steps_per_epoch: u64,
    /// Steps of a run that are aimed at.
    steps: u64,
    /// The learning rate where the warm-up ends.
    learning_rate: f64,
    dropout: f64,
    /// The part of the epochs that may go by without an improvement: one in so many.
    patience: u64,
}

/// With few rows.
const CAREFUL: Pace =
    Pace { steps_per_epoch: 160, steps: 3_000, learning_rate: 0.003, dropout: 0.2, patience: 5 };

/// With few, but not so few.
const STEADY: Pace =
    Pace { steps_per_epoch: 80, steps: 1_500, learning_rate: 0.004, dropout: 0.2, patience: 5 };

/// With many. While the learning rate is high the loss goes up and down; much of what is gained is gained as it falls.
const FAST: Pace =
    Pace { steps_per_epoch: 80, steps: 2_700, learning_rate: 0.02, dropout: 0.0, patience: 2 };

/// Epochs without an improvement that end a run, at least.
const PATIENCE_MIN: u64 = 10;

/// Inputs of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Numbers.
    pub(super) numbers: usize,
    /// Values of all embeddings' vectors.
    pub(super) embedded: usize,
}

impl Inputs {
    fn all(self) -> usize {
        self.numbers + self.embedded
    }
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The loss, by its name.
    pub loss: &'static str,
    /// Metrics, by their names.
    pub metrics: Vec<&'static str>,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// Their activation.
    pub activation: &'static str,
    /// Share of its inputs that each hidden layer's dropout leaves out; 0 for none.
    pub dropout: f64,
    /// Units of the last layer.
    pub outputs: usize,
    /// Its activation; none for numbers.
    pub output_activation: Option<&'static str>,
    /// The share of the rows held back for the test, unless there is a table for that.
    pub test: Option<f64>,
    /// The share of what is left that watches the training.
    pub validation: f64,
    /// Rows to learn from.
    pub rows: u64,
    /// Rows of a step.
    pub batch_size: u64,
    /// Times through the training rows.
    pub epochs: u64,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// Steps until it is reached.
    pub warmup_steps: u64,
    /// Steps from there to the end.
    pub decay_steps: u64,
    /// Largest norm of a gradient.
    pub clip_norm: f64,
    /// Epochs without an improvement after which the run ends.
    pub patience: u64,
    /// What somebody should know, one message each.
    pub notes: Vec<String>,
}

/// Decides how to train.
pub(super) fn decide(target: &Decided, inputs: Inputs, has_test: bool) -> Training {
    let rows = target.rows;
    let test = (!has_test).then_some(if rows < TEST_ROWS_FIFTH { 0.2 } else { 0.1 });
    let left = rows - test.map_or(0, |share| taken(rows, share));
    let validation = if left < VALIDATION_ROWS_TWENTIETH { 0.1 } else { 0.05 };
    let validation = if left < 1_000 { 0.2 } else { validation };
    let train = left - taken(left, validation);
    let few_rows = if target.task == Task::Regression { FEW_ROWS.0 } else { FEW_ROWS.1 };
    let pace = match train {
        _ if train >= few_rows => FAST,
        SOME_ROWS.. if target.task != Task::Regression => STEADY,
        _ => CAREFUL,
    };
    let batch_size = (train / pace.steps_per_epoch).max(1).next_power_of_two();
    let batch_size = batch_size.clamp(BATCH_SIZES.0, BATCH_SIZES.1).min(train.max(1));
    let steps_per_epoch = train.div_ceil(batch_size).max(1);
    let epochs = pace.steps.div_ceil(steps_per_epoch).clamp(EPOCHS.0, EPOCHS.1);
    let steps = steps_per_epoch * epochs;
    let warmup_steps = steps_per_epoch.min(steps / 10).max(1).min(steps - 1);
    let (loss, metrics, outputs, output_activation) = match target.task {
        Task::Regression => ("mse", vec!["mae", "r2"], target.targets.len(), None),
        Task::Binary => {
            let metrics = match target.has_rare_class() {
                true => vec!["roc_auc", "average_precision", "f1"],
                false => vec!["accuracy", "roc_auc", "f1"],
            };
            ("binary_cross_entropy", metrics, target.targets.len(), Some("sigmoid"))
        }
        Task::Classes(classes) => {
            ("cross_entropy", vec!["accuracy", "f1"], classes, Some("softmax"))
        }
    };
    Training {
        loss,
        metrics,
        hidden: hidden(train, inputs.all()),
        activation: "gelu",
        dropout: pace.dropout,
        outputs,
        output_activation,
        test,
        validation,
        rows: train,
        batch_size,
        epochs,
        learning_rate: pace.learning_rate,
        warmup_steps,
        decay_steps: steps - warmup_steps,
        clip_norm: 1.0,
        patience: (epochs / pace.patience).max(PATIENCE_MIN),
        notes: Vec::new(),
    }
}

/// Rows that a fraction takes.
fn taken(rows: u64, share: f64) -> u64 {
    (share * rows as f64).ceil() as u64
}

/// Units of the hidden layers: more with more rows and inputs.
fn hidden(rows: u64, inputs: usize) -> Vec<usize> {
    match (rows, inputs) {
        (0..2_000, 0..200) => vec![64, 64],
        (_, 0..200) => vec![64, 64, 64],
        (0..10_000, _) => vec![128, 64],
        (_, _) => vec![256, 128],
    }
}
