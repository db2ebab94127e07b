//! Embeddings against Keras 3: the same rows, initial weights and order give its losses at every step and its final weights.
//!
//! `tests/parity` was made with Keras on JAX, where a table's gradient is added up before an optimizer sees it. On TensorFlow it
//! is not: Adam then takes the squares of each row of a batch by itself, and is another optimizer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_model::{
    Activation, Batch, Embedding, Loss, Network, NetworkSpec, NodeGradient, Workspace,
};
use lockstep_proto::tree::ShardTree;
use lockstep_proto::values::Precision;
use ndarray::{Array2, s};
use serde_json::Value;

use crate::common::{dense, microbatches, training};

const BATCH: usize = 25;
const LOSS_RELATIVE_MAX: f64 = 1e-4;
const WEIGHT_ABSOLUTE_MAX: f32 = 1e-3;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/diamonds-embedding").join(name)
}

/// Three numbers, then the places of two columns of labels, whose tables have a row before the labels in their order.
fn table() -> (Array2<f32>, Array2<f32>, [usize; 2]) {
    let text = fs::read_to_string(file("train.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let labels = [3, 4].map(|column| rows.iter().map(|row| row[column]).collect::<BTreeSet<_>>());
    let x = Array2::from_shape_fn((rows.len(), 5), |(row, column)| {
        let cell = rows[row][column];
        match column.checked_sub(3) {
            None => cell.parse().unwrap(),
            Some(at) => 1.0 + labels[at].range(..cell).count() as f32,
        }
    });
    let y = Array2::from_shape_fn((rows.len(), 1), |(row, _)| rows[row][5].parse().unwrap());
    (x, y, labels.map(|labels| 1 + labels.len()))
}

/// The weights of a safetensors file.
fn weights(name: &str, network: &Network) -> Vec<f32> {
    let bytes = fs::read(file(name)).unwrap();
    let (len, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let header: Value = serde_json::from_slice(header).unwrap();
    let tensors = network.layout().tensors().iter().flat_map(|tensor| {
        let offsets = &header[&tensor.name]["data_offsets"];
        let [start, end] = [0, 1].map(|at| offsets[at].as_u64().unwrap() as usize);
        assert_eq!(end - start, 4 * tensor.range.len(), "{}", tensor.name);
        data[start..end].as_chunks().0.iter().map(|&value| f32::from_le_bytes(value))
    });
    tensors.collect()
}

/// Adam, as Keras has it.
struct Adam {
    step: i32,
    means: Vec<f32>,
    squares: Vec<f32>,
}

impl Adam {
    fn update(&mut self, weights: &mut [f32], gradient: &[f32]) {
        let (rate, beta_1, beta_2, epsilon) = (0.01, 0.9f32, 0.999f32, 1e-7);
        self.step += 1;
        let unbiased = |beta: f32| 1.0 - f64::from(beta).powi(self.step);
        let rate = (rate * unbiased(beta_2).sqrt() / unbiased(beta_1)) as f32;
        let moments = self.means.iter_mut().zip(&mut self.squares);
        for ((weight, &g), (mean, square)) in weights.iter_mut().zip(gradient).zip(moments) {
            *mean += (g - *mean) * (1.0 - beta_1);
            *square += (g * g - *square) * (1.0 - beta_2);
            *weight -= *mean * rate / (square.sqrt() + epsilon);
        }
    }
}

#[test]
fn training_embeddings_is_keras_training() {
    let (x, y, [cuts, colors]) = table();
    let embedding =
        |column: &str, rows, dimension| Embedding { column: column.to_string(), rows, dimension };
    let network = Network::new(NetworkSpec {
        inputs: 3,
        embeddings: vec![embedding("cut", cuts, 2), embedding("color", colors, 3)],
        layers: vec![dense(16, Activation::Relu), dense(1, Activation::Linear)],
        loss: Loss::Mse,
        metrics: Vec::new(),
        units: Vec::new(),
    })
    .unwrap();
    let expected = fs::read_to_string(file("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let losses = expected["step_loss"].as_array().unwrap();
    let mut params = weights("init.safetensors", &network);
    let zeros = vec![0.0; params.len()];
    let mut adam = Adam { step: 0, means: zeros.clone(), squares: zeros.clone() };
    let mut ws = Workspace::new(&network);
    let leaves = microbatches(&[(0, 9), (1, 8), (2, 8)]);
    let nodes = [ShardTree::new(3).root()];
    for (step, wanted) in losses.iter().enumerate() {
        let at = step * BATCH % x.nrows();
        let (x, y) = (x.slice(s![at..at + BATCH, ..]), y.slice(s![at..at + BATCH, ..]));
        let (rows, precision) = (training(&leaves), Precision::F32);
        let batch = Batch { x, y, weights: None, rows, nodes: &nodes, precision };
        let mut gradient = zeros.clone();
        let mut sink = |part: NodeGradient<'_>| {
            let place = network.layout().layers()[part.layer].clone();
            let means = part.values.iter().map(|sum| sum / BATCH as f32);
            gradient[place].iter_mut().zip(means).for_each(|(into, mean)| *into = mean);
        };
        let sums = network.gradient(&params, &batch, &mut ws, &mut sink).unwrap();
        let (loss, wanted) = (sums[0][0] / BATCH as f64, wanted.as_f64().unwrap());
        let error = (loss - wanted).abs();
        assert!(error <= LOSS_RELATIVE_MAX * wanted, "step {step}: {loss}, wanted {wanted}");
        adam.update(&mut params, &gradient);
    }
    for (at, (found, wanted)) in
        params.iter().zip(weights("expected.safetensors", &network)).enumerate()
    {
        let error = (found - wanted).abs();
        assert!(error <= WEIGHT_ABSOLUTE_MAX, "weight {at}: {found}, wanted {wanted}");
    }
}
