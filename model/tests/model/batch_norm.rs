//! Batch normalization: values worked out by hand, gradients against finite differences of an `f64` network over whole microbatches,
//! and which rows a row's results depend on.

use lockstep_model::{
    Activation, BatchNorm, Conv2d, Dense, Flatten, LayerSpec, Loss, Microbatch, Network, Residual,
    Workspace,
};
use lockstep_proto::tree::ShardTree;
use ndarray::{Array2, s};

use crate::common::{
    bits, data, dense, gradient, matrix, microbatches, of_images, of_layers, parameters,
};

/// The outputs of the rows of a microbatch, in `f64`, and of each moving average in the layout's order the sum over rows.
struct Reference<'a> {
    params: &'a [f64],
    gradients_of_averages: Vec<f64>,
}

impl Reference<'_> {
    fn take(&mut self, len: usize) -> &[f64] {
        let (own, rest) = self.params.split_at(len);
        self.params = rest;
        own
    }

    fn layers(&mut self, layers: &[LayerSpec], rows: &mut Vec<Vec<f64>>, channels: &mut usize) {
        for layer in layers {
            if let Some(block) = layer.get::<Residual>() {
                let before = rows.clone();
                self.layers(&block.layers, rows, channels);
                let around = before.iter().flatten();
                rows.iter_mut().flatten().zip(around).for_each(|(value, around)| *value += around);
            } else if let Some(dense) = layer.get::<Dense>() {
                self.dense(dense, rows);
                *channels = dense.units;
            } else if let Some(norm) = layer.get::<BatchNorm>() {
                self.batch_norm(norm, rows, *channels);
            } else {
                assert!(layer.get::<Flatten>().is_some(), "no reference for {layer:?}");
                *channels = rows[0].len();
            }
        }
    }

    fn dense(&mut self, dense: &Dense, rows: &mut [Vec<f64>]) {
        let units = dense.units;
        let kernel = self.take(rows[0].len() * units).to_vec();
        let bias = self.take(units).to_vec();
        for row in rows {
            let sum = |j: usize| {
                row.iter().enumerate().map(|(i, v)| v * kernel[i * units + j]).sum::<f64>()
            };
            let sums = (0..units).map(|j| sum(j) + bias[j]);
            *row = match dense.activation {
                Activation::Tanh => sums.map(f64::tanh).collect(),
                _ => sums.collect(),
            };
        }
    }

    fn batch_norm(&mut self, norm: &BatchNorm, rows: &mut [Vec<f64>], channels: usize) {
        let gamma = if norm.scale { self.take(channels).to_vec() } else { vec![1.0; channels] };
        let beta = if norm.center { self.take(channels).to_vec() } else { vec![0.0; channels] };
        let averages = self.take(2 * channels).to_vec();
        let mut measured = vec![0.0; 2 * channels];
        for channel in 0..channels {
            let values = || rows.iter().flat_map(|row| row[channel..].iter().step_by(channels));
            let count = values().count() as f64;
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            measured[channel] = mean * rows.len() as f64;
            measured[channels + channel] = variance * rows.len() as f64;
            let (mean, variance) = match norm.trainable {
                Some(false) => (averages[channel], averages[channels + channel]),
                _ => (mean, variance),
            };
            let root = (variance + f64::from(norm.epsilon)).sqrt();
            let all = rows.iter_mut().flat_map(|row| row[channel..].iter_mut().step_by(channels));
            all.for_each(|v| *v = (*v - mean) / root * gamma[channel] + beta[channel]);
        }
        if norm.trainable != Some(false) {
            self.gradients_of_averages.extend(measured);
        }
    }
}

/// Loss of all rows, and the sums over rows of what is averaged.
fn loss(
    network: &Network,
    params: &[f64],
    (x, y): (&Array2<f32>, &Array2<f32>),
    microbatches: &[Microbatch],
) -> (f64, Vec<f64>) {
    let spec = network.spec();
    let (mut total, mut averages) = (0.0, Vec::new());
    for batch in microbatches {
        let x = x.slice(s![batch.rows.clone(), ..]);
        let mut rows: Vec<Vec<f64>> =
            x.rows().into_iter().map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
        let mut reference = Reference { params, gradients_of_averages: Vec::new() };
        let mut channels = spec.image.map_or(rows[0].len(), |sides| sides[2]);
        reference.layers(&spec.layers, &mut rows, &mut channels);
        assert!(reference.params.is_empty());
        let y = y.slice(s![batch.rows.clone(), ..]);
        for (row, y) in rows.iter().zip(y.rows()) {
            let squares = row.iter().zip(y).map(|(p, &y)| (p - f64::from(y)).powi(2));
            total += squares.sum::<f64>() / row.len() as f64;
        }
        averages.resize(reference.gradients_of_averages.len(), 0.0);
        let measured = averages.iter_mut().zip(reference.gradients_of_averages);
        measured.for_each(|(sum, value)| *sum += value);
    }
    (total, averages)
}

/// Which parameters are moving averages that are measured.
fn measured(network: &Network) -> Vec<bool> {
    let mut measured = vec![false; network.layout().len()];
    for chunk in network.layout().chunks().iter().filter(|chunk| chunk.momentum.is_some()) {
        measured[chunk.range.clone()].fill(true);
    }
    measured
}

fn check(network: &Network, lens: &[(u32, usize)], what: &str) {
    let batches = microbatches(lens);
    let rows = batches[batches.len() - 1].rows.end;
    let (mut params, (x, y)) = (parameters(network), data(network, rows));
    params.iter_mut().for_each(|value| *value = value.clamp(-2.0, 2.0));
    let tree = ShardTree::new(lens.len() as u32);
    let found = gradient(network, &params, (&x, &y), &batches, &[tree.root()]).gradients;
    let exact: Vec<f64> = params.iter().map(|&value| f64::from(value)).collect();
    let mut averages = loss(network, &exact, (&x, &y), &batches).1.into_iter();
    for (place, is_measured) in measured(network).into_iter().enumerate() {
        let layers = network.layout().layers();
        let layer = layers.iter().position(|range| range.contains(&place)).unwrap();
        let is_frozen = network.layout().is_frozen(layer);
        let wanted = match is_measured {
            true => averages.next().unwrap(),
            false if is_frozen => continue,
            false => {
                let mut near = exact.clone();
                let mut at = |offset: f64| {
                    near[place] = exact[place] + offset;
                    loss(network, &near, (&x, &y), &batches).0
                };
                (at(1e-5) - at(-1e-5)) / 2e-5
            }
        };
        let value = f64::from(found[0][place]);
        let tolerance = 2e-4 * wanted.abs().max(1.0);
        assert!((value - wanted).abs() < tolerance, "{what}: {place}: {value}, wanted {wanted}");
    }
}

#[test]
fn gradients_in_every_place_at_every_setting() {
    let settings = [
        BatchNorm::new().epsilon(0.1),
        BatchNorm::new().without_center().epsilon(0.5),
        BatchNorm::new().without_scale().epsilon(0.01),
        BatchNorm::new().without_center().without_scale().epsilon(0.2),
    ];
    for lens in [&[(0, 2)][..], &[(0, 7), (1, 4), (2, 1)], &[(0, 2), (1, 3), (2, 2), (3, 2)]] {
        for norm in &settings {
            for place in 0..4 {
                let mut layers = vec![dense(5, Activation::Tanh), dense(4, Activation::Tanh)];
                layers.push(dense(3, Activation::Linear));
                layers.insert(place, norm.clone().into());
                let network = of_layers(4, layers, Loss::Mse, &[]);
                check(&network, lens, &format!("{norm:?} in {place}, {lens:?}"));
            }
            let block = Residual::new().layer(norm.clone()).layer(dense(4, Activation::Tanh));
            let block = block.layer(Residual::new().layer(norm.clone())).layer(norm.clone());
            let layers = vec![block.into(), dense(2, Activation::Linear)];
            let network = of_layers(4, layers, Loss::Mse, &[]);
            check(&network, lens, &format!("{norm:?} in blocks, {lens:?}"));
            let layers = vec![
                norm.clone().into(),
                Residual::new().layer(norm.clone()).into(),
                Flatten::new().into(),
                dense(3, Activation::Tanh),
                norm.clone().into(),
                dense(2, Activation::Linear),
            ];
            let network = of_images([3, 2, 2], layers, Loss::Mse, &[]);
            check(&network, lens, &format!("{norm:?} of images, {lens:?}"));
        }
    }
}

#[test]
fn frozen_it_is_what_it_is_in_evaluation() {
    let layers = vec![
        dense(5, Activation::Tanh),
        BatchNorm::new().frozen().into(),
        BatchNorm::new().epsilon(0.1).into(),
        dense(2, Activation::Linear),
    ];
    let network = of_layers(4, layers, Loss::Mse, &[]);
    let is_moving = |chunk: &lockstep_proto::layout::ChunkRange| chunk.momentum.is_some();
    let moving: Vec<_> = network.layout().chunks().iter().filter(|c| is_moving(c)).collect();
    assert_eq!(moving.len(), 1, "{moving:?}");
    let names: Vec<&str> = network
        .layout()
        .tensors()
        .iter()
        .filter(|tensor| tensor.range.start >= moving[0].range.start)
        .map(|tensor| tensor.name.as_str())
        .collect();
    let wanted = ["layers.2.moving_mean", "layers.2.moving_variance", "layers.3.kernel"];
    assert_eq!(names[..3], wanted);
    check(&network, &[(0, 5), (1, 4)], "frozen");
}

/// Two rows of 1 and 3: mean 2, variance 1.
#[test]
fn values_by_hand() {
    let norm = BatchNorm::new().epsilon(3.0);
    let network = of_layers(1, vec![norm.into()], Loss::Mse, &[]);
    // Gamma, beta, moving mean and variance.
    let params = [4.0, 0.5, 1.0, 6.0];
    let (x, y) = (matrix(2, 1, 0) * 0.0 + ndarray::array![[1.0], [3.0]], matrix(2, 1, 0) * 0.0);
    let batches = microbatches(&[(0, 2)]);
    let found = gradient(&network, &params, (&x, &y), &batches, &[ShardTree::new(1).root()]);
    // Normalized to -0.5 and 0.5, so outputs are -1.5 and 2.5, with slopes of -3 and 5.
    assert_eq!(found.gradients[0], [-3.0 * -0.5 + 5.0 * 0.5, 2.0, 4.0, 2.0]);
    assert_eq!(found.sums[0][0], 1.5 * 1.5 + 2.5 * 2.5);
    // By the moving averages, of which the root is 3.
    let mut ws = Workspace::new(&network);
    let outputs = network.predict(&&params[..], x.view(), &mut ws);
    let outputs: Vec<f32> = outputs.iter().copied().collect();
    assert!((outputs[0] - 0.5).abs() < 1e-6 && (outputs[1] - (0.5 + 8.0 / 3.0)).abs() < 1e-6);
    // One row is its own mean.
    let (x, y) = (x.slice(s![1.., ..]).to_owned(), y.slice(s![1.., ..]).to_owned());
    let batches = microbatches(&[(0, 1)]);
    let found = gradient(&network, &params, (&x, &y), &batches, &[ShardTree::new(1).root()]);
    assert_eq!(found.gradients[0], [0.0, 1.0, 3.0, 0.0]);
}

/// Whatever microbatches are beside it in a call.
#[test]
fn a_microbatch_depends_on_no_other() {
    let layers = vec![
        Conv2d::new(3, [2, 2]).into(),
        BatchNorm::new().into(),
        Flatten::new().into(),
        dense(4, Activation::Relu),
        BatchNorm::new().into(),
        dense(2, Activation::Linear),
    ];
    let network = of_images([4, 5, 2], layers, Loss::Mse, &[]);
    let batches = microbatches(&[(0, 9), (1, 8), (2, 1)]);
    let (params, (x, y)) = (parameters(&network), data(&network, 18));
    let tree = ShardTree::new(3);
    let leaves: Vec<_> = (0..3).map(lockstep_proto::tree::Node::leaf).collect();
    let together = gradient(&network, &params, (&x, &y), &batches, &leaves);
    assert!(tree.root().contains(leaves[0]));
    for (batch, whole) in batches.iter().zip(&together.gradients) {
        let [x, y] = [&x, &y].map(|all| all.slice(s![batch.rows.clone(), ..]).to_owned());
        let alone = [Microbatch { shard: batch.shard, rows: 0..batch.rows.len() }];
        let node = [leaves[batch.shard as usize]];
        let alone = gradient(&network, &params, (&x, &y), &alone, &node);
        assert_eq!(bits(&alone.gradients[0]), bits(whole), "shard {}", batch.shard);
    }
}
