//! What of a job does not go together, found before anything is trained: each complaint names the key that it is about.
//! Refuses to read tables: it is told what they have.

use lockstep_data::TargetKind;
use lockstep_model::{LayerSpec, Loss, Network};
use lockstep_proto::frame::{NETWORK_BYTES_MAX, SUMS_LEN_MAX};
use lockstep_proto::words::count;

use super::{Job, JobError, mode_watched};

impl Job {
    /// Checks what only a table can tell: enough rows for a batch, an output for every target, a learning rate that is a
    /// number above 0 at some step.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn check_against(&self, rows: u64, targets: &[String]) -> Result<(), JobError> {
        self.check_microbatches()?;
        let outputs = self.outputs();
        let is_of_classes = matches!(self.model.loss, Loss::CrossEntropy { .. });
        if !is_of_classes && targets.len() != outputs {
            let problem = format!(
                "the last layer has {}, but there {} {} ({}): set its units to {}",
                count(outputs as u64, "unit"),
                if targets.len() == 1 { "is" } else { "are" },
                count(targets.len() as u64, "target column"),
                targets.join(", "),
                targets.len()
            );
            return Err(self.complain("model.layers", problem));
        }
        let batch_size = self.train.batch_size;
        if batch_size <= rows {
            let steps = u64::from(self.train.epochs) * rows.div_ceil(batch_size);
            self.check_accumulation(steps)?;
            return self.check_learning_rate(steps);
        }
        let rows = count(rows, "row");
        let problem = match self.document.has("train.batch_size") {
            false => format!(
                "`train.batch_size` is not set, and its default, {batch_size}, is more than the training table has: \
                 set it to at most {rows}"
            ),
            true => format!(
                "`train.batch_size`: found {batch_size}, but the training table has {rows}: wanted at most that"
            ),
        };
        Err(self.complain("train.batch_size", problem))
    }

    /// Checks that a microbatch of a full batch has as many rows as layers need that measure those.
    ///
    /// # Errors
    /// If one has fewer.
    pub fn check_microbatches(&self) -> Result<(), JobError> {
        let wanted = self.model.layers.iter().map(LayerSpec::rows_min).max().unwrap_or(1);
        let (batch_size, shards) = (self.train.batch_size, u64::from(self.train.shards));
        let found = batch_size / shards;
        if found >= wanted || wanted == 1 {
            return Ok(());
        }
        let or_fewer = match batch_size / wanted {
            0 => String::new(),
            shards => format!(", or `shards` to at most {shards}"),
        };
        let problem = format!(
            "found {batch_size}, which leaves {} of a batch to some of the {shards} shards, wanted at least {wanted}, since \
             `batch_norm` measures those of each shard by themselves: set `batch_size` to at least {}{or_fewer}",
            count(found, "row"),
            wanted * shards,
        );
        Err(self.wrong("train.batch_size", problem))
    }

    /// Checks that classes that are to be weighted are there: one target of labels.
    ///
    /// # Errors
    /// If there are none.
    pub fn check_class_weights(&self) -> Result<(), JobError> {
        if self.train.class_weights.is_none() {
            return Ok(());
        }
        let problem = match self.target_kind() {
            TargetKind::Classes { .. } | TargetKind::Binary { outputs: 1 } => return Ok(()),
            TargetKind::Binary { outputs } => format!(
                "found {outputs} targets of labels, wanted one: whose classes are weighted could not be said"
            ),
            TargetKind::Numbers => format!(
                "found the loss `{}`, which has no classes, wanted `cross_entropy` or `binary_cross_entropy`; \
                 `data.sample_weight` weighs rows of any loss",
                self.model.loss
            ),
        };
        Err(self.wrong("train.class_weights", problem))
    }

    /// Checks that there is a file whose tensors may be skipped.
    pub(super) fn check_skip_mismatch(&self) -> Result<(), JobError> {
        if self.model.skip_mismatch != Some(true) || self.model.initial_weights.is_some() {
            return Ok(());
        }
        let problem = "found true, but no `initial_weights`, whose tensors it is about: name a file or a run folder";
        Err(self.wrong("model.skip_mismatch", problem))
    }

    /// Checks that what is watched is there.
    pub(super) fn check_watched(&self) -> Result<(), JobError> {
        let early_stopping = self.train.early_stopping.as_ref();
        let plateau = self.train.descent.learning_rate.watches();
        let watched = [
            early_stopping.map(|rule| ("train.early_stopping", &rule.metric)),
            plateau.map(|rule| ("train.optimizer.learning_rate", &rule.metric)),
        ];
        for (key, metric) in watched.into_iter().flatten() {
            if let Err(problem) = mode_watched(metric, &self.model) {
                return Err(self.wrong(&format!("{key}.metric"), problem));
            }
            if self.data.validation.is_none() {
                let problem = "there is no validation table to watch: add one in [data], such as `validation = { fraction = 0.2 }`";
                return Err(self.wrong(key, problem));
            }
        }
        Ok(())
    }

    /// Checks that the weights are updated at all.
    fn check_accumulation(&self, steps: u64) -> Result<(), JobError> {
        let found = self.train.descent.steps_per_update();
        if found <= steps {
            return Ok(());
        }
        let steps = count(steps, "step");
        let problem = format!(
            "found {found}, but the run has {steps}: no update would be made, wanted at most that"
        );
        Err(self.wrong("train.optimizer.gradient_accumulation_steps", problem))
    }

    fn check_learning_rate(&self, steps: u64) -> Result<(), JobError> {
        let checked = self.train.descent.learning_rate.check_over(steps);
        checked.map_err(|problem| self.wrong("train.optimizer.learning_rate", problem))
    }

    /// Checks that all that workers are told of the network, and their sums, fit into a message.
    ///
    /// # Errors
    /// If something does not.
    pub fn check_messages(&self, network: &Network) -> Result<(), JobError> {
        let sums = network.sums_len();
        if sums > SUMS_LEN_MAX {
            let (metric, most) = network.longest_metric().unwrap_or(("loss", 1));
            let problem = format!(
                "loss and metrics of {} outputs are {sums} sums, wanted at most {SUMS_LEN_MAX}: leave out `{metric}`, which \
                 has {most} of them, or some outputs",
                network.outputs()
            );
            return Err(self.complain("model.layers", problem));
        }
        let bytes = serde_json::to_string(network.spec()).map_or(0, |text| text.len());
        if bytes > NETWORK_BYTES_MAX {
            let layers = network.spec().layers.len();
            let problem = format!(
                "the description of {layers} layers has {bytes} bytes, wanted at most {NETWORK_BYTES_MAX}: leave out layers"
            );
            return Err(self.complain("model.layers", problem));
        }
        Ok(())
    }
}
