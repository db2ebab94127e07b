//! A run folder of a model alone, without a run: what evaluates, predicts and exports takes it like any other. There are no steps in
//! it, and so nothing to resume or to verify.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use lockstep_model::Threshold;

use super::description::{DESCRIPTION, Description};
use super::lock::Lock;
use super::manifest::Begun;
use super::model::{Model, write_weights};
use super::{Manifest, Status, onnx};
use crate::error::{Error, Result};
use crate::format::FORMAT;
use crate::new_run_id;
use crate::weights_file::{Stamp, weights_hash};
use crate::whole_file::write_whole;

impl Model {
    /// Writes the model into a new folder, or an empty one.
    ///
    /// # Errors
    /// If something is there already, or a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        make(folder)?;
        let _lock = Lock::take(folder)?;
        let threshold = Some(self.threshold).filter(|&threshold| threshold != Threshold::HALF);
        let description = Description {
            network: &self.network,
            schema: &self.schema,
            shards: self.shards,
            chooses_threshold: threshold.is_some(),
            threshold,
        };
        let path = folder.join(DESCRIPTION);
        write_whole(&path, description.text(&path)?.as_bytes())?;
        let weights_blake3 = weights_hash(&self.weights);
        let step = self.step.unwrap_or_default();
        let stamp = Stamp {
            format: FORMAT,
            step,
            weights_blake3: weights_blake3.clone(),
            origin_blake3: None,
        };
        write_weights(folder, self.network.layout(), &self.weights, &stamp)?;
        let onnx_blake3 = onnx::write(folder, &self.exported())?;
        let mut manifest = self.manifest(weights_blake3);
        (manifest.onnx_blake3, manifest.threshold) = (onnx_blake3, threshold);
        manifest.write(folder)
    }

    /// Of a folder that no run has made: nothing is known of tables, and the weights are those of its beginning.
    fn manifest(&self, weights_blake3: String) -> Manifest {
        let begun = Begun {
            run_id: &new_run_id("model"),
            name: "model",
            shards: self.shards,
            train_rows: 0,
            parameters: self.weights.len(),
            data_blake3: blake3::hash(b"").to_hex().to_string(),
            initial_weights_blake3: weights_blake3.clone(),
        };
        Manifest {
            status: Status::Finished,
            weights_blake3: Some(weights_blake3),
            imported: true,
            ..Manifest::of(begun)
        }
    }
}

fn make(folder: &Path) -> Result<()> {
    let failed = |error| Error::file(folder, "make the folder", &error);
    let is_taken = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    if is_taken {
        let problem =
            "there is something in it already, wanted a new folder: save the model elsewhere";
        return Err(Error::File { path: folder.to_path_buf(), problem: problem.to_string() });
    }
    fs::create_dir_all(folder.join("model")).map_err(failed)
}
