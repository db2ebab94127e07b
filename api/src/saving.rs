//! Saving and export: a model in a folder of its own, weights from elsewhere, and files for other programs.
//!
//! What is saved is what the command line reads, and the other way round: `lockstep predict FOLDER --data table.csv` takes a folder that
//! was saved here, and [`Sequential::load`] one that a run wrote.
//!
//! ```
//! use lockstep::prelude::*;
//! use lockstep::ndarray::array;
//!
//! let (x, y) = (array![[0.0], [1.0], [2.0], [3.0]], array![[1.0], [3.0], [5.0], [7.0]]);
//! let mut model = Sequential::new();
//! model.add(Dense::new(1));
//! model.compile(adam(), Loss::Mse, &[]);
//! model.fit(x.view(), y.view(), &Fit::new().batch_size(2))?;
//! # let folder = std::env::temp_dir().join(format!("lockstep-doc-saving-{}", std::process::id()));
//! model.save(&folder)?;
//! let same = Sequential::load(&folder)?;
//! assert_eq!(same.predict(x.view())?, model.predict(x.view())?);
//! let onnx: Vec<u8> = model.export(ExportFormat::Onnx)?;
//! # assert!(!onnx.is_empty());
//! # std::fs::remove_dir_all(&folder).unwrap();
//! # Ok::<(), lockstep::Error>(())
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_data::Scale;
use lockstep_model::{LayerSpec, Threshold};
use lockstep_run::export::{self, GraphInputs};
use lockstep_run::run_folder::Model;
use ndarray::Array2;

use crate::error::{Error, Result};
use crate::sequential::{Compiled, Fitted, Initial, Sequential};
use crate::tables::Table;
use crate::training::Fit;

pub use lockstep_run::export::ExportFormat;

impl Sequential {
    /// Writes the fitted model into a new folder, or an empty one. Of arrays, columns are called `x0`, `x1` and so on, and targets `y0`
    /// and so on.
    ///
    /// # Errors
    /// If the model is not fitted, something is in the folder, or a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        Ok(self.model("save")?.save(folder.as_ref())?)
    }

    /// Reads the newest model of a folder: one that was saved, or a run's. It predicts and evaluates at once; to be fitted further it is
    /// compiled first, with the same loss.
    ///
    /// # Errors
    /// If there is none, or a file of it is damaged.
    pub fn load(folder: impl AsRef<Path>) -> Result<Sequential> {
        let model = Model::load(folder.as_ref())?;
        let spec = model.network.spec();
        let (loss, metrics) = (spec.loss, spec.metrics.clone());
        let threshold = Some(model.threshold).filter(|&chosen| chosen != Threshold::HALF);
        Ok(Sequential {
            layers: spec.layers.clone(),
            image: spec.image,
            compiled: Some(Compiled { optimizer: None, loss, metrics }),
            target_scale: Scale::NONE,
            initial: None,
            fitted: Some(Fitted { model: Arc::new(model), threshold }),
        })
    }

    /// The fitted model as the bytes of a file. An ONNX graph of a model of a table takes the table's columns, each by its name; of one of
    /// arrays its one input is `numbers` `[batch, features]`, `f32`. Its outputs are the targets in their own unit, by name,
    /// `[batch, 1]`, or the probabilities of classes, such as `y0_probabilities` `[batch, classes]`, or of ones, such as
    /// `y0_probability`.
    ///
    /// # Errors
    /// If the model is not fitted, or too large for the format.
    pub fn export(&self, format: ExportFormat) -> Result<Vec<u8>> {
        let model = self.model("export")?;
        let of_arrays = model.schema.features.iter().enumerate();
        let is_of_arrays =
            of_arrays.into_iter().all(|(place, column)| column.name() == format!("x{place}"));
        let inputs = if is_of_arrays { GraphInputs::Encoded } else { GraphInputs::Columns };
        Ok(export::to_bytes(&model.exported(), format, inputs)?)
    }

    /// Starts the first fit from the weights of a safetensors file, with our names or PyTorch's, or from the model of a run or of a saved
    /// folder, instead of the initializers' draw. What was fitted before is let go.
    pub fn initial_weights(&mut self, path: impl Into<PathBuf>) {
        self.initial = Some(Initial { path: path.into(), skips_mismatch: false });
        self.fitted = None;
    }

    /// The same of the tensors that have the name and the shape of one of the network's; the others are drawn.
    pub fn matching_initial_weights(&mut self, path: impl Into<PathBuf>) {
        self.initial = Some(Initial { path: path.into(), skips_mismatch: true });
        self.fitted = None;
    }

    /// Takes the weights that a fit would start from for the model's, for rows of so many columns, without training: with
    /// [`Sequential::initial_weights`], those of another program.
    ///
    /// # Errors
    /// If the layers cannot take such rows, the model is not compiled, or the weights do not fit.
    pub fn build(&mut self, columns: usize) -> Result<()> {
        if columns == 0 {
            return Err(Error::arguments("build with 0 columns, wanted at least 1"));
        }
        let fit = self.without_learning();
        self.fitted = None;
        let network =
            self.job_of_arrays(&fit)?.network(columns).map_err(lockstep_run::Error::from)?;
        let x = Array2::zeros((fit.batch_size, columns));
        let y = Array2::zeros((fit.batch_size, network.target_width()));
        let plan = self.plan_of_arrays(x.view(), y.view(), &fit)?;
        self.keep(&plan, plan.weights.clone(), 0, None)
    }

    /// The same for a table, to whose rows its columns are fitted.
    ///
    /// # Errors
    /// As [`Sequential::fit_table`].
    pub fn build_table(&mut self, table: &Table) -> Result<()> {
        self.fitted = None;
        let plan = self.plan_of_table(table, &self.without_learning())?;
        self.keep(&plan, plan.weights.clone(), 0, None)
    }

    /// A fit that is not made: of as few rows as the layers can learn from.
    fn without_learning(&self) -> Fit<'static> {
        let rows = self.layers.iter().map(LayerSpec::rows_min).max().unwrap_or(1);
        let fit = Fit::new().batch_size(rows as usize);
        if rows > 1 { fit.shards(1) } else { fit }
    }
}
