//! The dense layer, `keras.layers.Dense`: `activation(input * kernel + bias)`.

use std::ops::Range;

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Range as Numbers, Slot};
use lockstep_proto::layout::TensorShape;
use lockstep_proto::penalties::Penalty;
use ndarray::s;

use super::layer::{
    Backward, Described, Forward, Gradient, Layer, Shape, Slopes, Stage, Tensor, TensorPart,
    with_scratch,
};
use super::spec::LayerSpec;
use crate::activation;
use crate::blocks::{each_beside, each_block, each_pair, view, view_mut};
use crate::fold::Order;
use crate::kinds::{Activation, Initializer};
use crate::leaves::KernelLeaves;
use crate::product;
use crate::tile::KernelTile;

/// Most units that a layer may have; the parameters of a network have a bound of their own.
const UNITS_MAX: u64 = 1 << 24;

/// Places of the tensors.
const KERNEL: usize = 0;
const BIAS: usize = 1;

/// One dense layer: `activation(input * kernel + bias)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Columns of the output.
    pub units: usize,
    /// Applied to the layer's sums.
    pub activation: Activation,
    /// Whether a bias is added.
    pub use_bias: bool,
    /// How the kernel starts.
    pub kernel_initializer: Initializer,
    /// How the bias starts.
    pub bias_initializer: Initializer,
    /// What the loss grows by for each absolute value of the kernel, if it does.
    pub kernel_l1: Option<f32>,
    /// What the loss grows by for each square of the kernel, if it does.
    pub kernel_l2: Option<f32>,
    /// Whether its weights change in training: they do, where nothing is said.
    pub trainable: Option<bool>,
}

impl Dense {
    /// A linear layer with a bias and Keras' default initializers: a glorot-uniform kernel and a bias of zeros.
    pub fn new(units: usize) -> Dense {
        Dense {
            units,
            activation: Activation::Linear,
            use_bias: true,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
            kernel_l1: None,
            kernel_l2: None,
            trainable: None,
        }
    }

    /// Sets the activation.
    pub fn activation(mut self, activation: Activation) -> Dense {
        self.activation = activation;
        self
    }

    /// Sets the kernel's initializer.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> Dense {
        self.kernel_initializer = initializer;
        self
    }

    /// Adds `l1` times the sum of the kernel's absolute values to the loss.
    pub fn kernel_l1(mut self, l1: f32) -> Dense {
        self.kernel_l1 = Some(l1);
        self
    }

    /// Adds `l2` times the sum of the kernel's squares to the loss.
    pub fn kernel_l2(mut self, l2: f32) -> Dense {
        self.kernel_l2 = Some(l2);
        self
    }

    /// Keeps the weights as they are: training changes none of them, and they have no penalty.
    pub fn frozen(mut self) -> Dense {
        self.trainable = Some(false);
        self
    }

    /// Leaves out the bias.
    pub fn without_bias(mut self) -> Dense {
        self.use_bias = false;
        self
    }
}

impl From<Dense> for LayerSpec {
    fn from(layer: Dense) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let penalty = |into| Slot::Number32(into, Numbers::AT_LEAST_0_F32);
        vec![
            Parameter::required("units", Slot::Whole(&mut self.units, 1, UNITS_MAX)),
            Parameter::optional("activation", Slot::Choice(&mut self.activation)),
            Parameter::optional("use_bias", Slot::Flag(&mut self.use_bias)),
            Parameter::optional("kernel_initializer", Slot::Choice(&mut self.kernel_initializer)),
            Parameter::optional("bias_initializer", Slot::Choice(&mut self.bias_initializer)),
            Parameter::optional("kernel_l1", penalty(&mut self.kernel_l1)),
            Parameter::optional("kernel_l2", penalty(&mut self.kernel_l2)),
            Parameter::optional("trainable", Slot::Flag(&mut self.trainable)),
        ]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        let of = |name, rate: Option<f32>| rate.map_or(String::new(), |r| format!(", {name} {r}"));
        let (l1, l2) = (of("l1", self.kernel_l1), of("l2", self.kernel_l2));
        let frozen = if self.is_frozen() { ", frozen" } else { "" };
        format!("{}{l1}{l2}{frozen}", self.activation)
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        let [inputs] = input else {
            return Err(format!(
                "found rows of shape {input:?}, wanted one side: put a `flatten` layer before it"
            ));
        };
        let (inputs, units) = (*inputs, self.units);
        if self.activation == Activation::Softmax && units == 1 {
            return Err("softmax over 1 unit is always 1; for two classes use 1 unit with sigmoid and loss \
                        binary_cross_entropy, or 2 units with softmax"
                .to_string());
        }
        let mut tensors = vec![Tensor {
            shape: TensorShape::new("kernel", [inputs, units]),
            initializer: self.kernel_initializer,
            fans: (inputs, units),
            penalty: Penalty {
                l1: self.kernel_l1.unwrap_or(0.0),
                l2: self.kernel_l2.unwrap_or(0.0),
            },
        }];
        if self.use_bias {
            let (shape, initializer) = (TensorShape::new("bias", [units]), self.bias_initializer);
            let (fans, penalty) = ((units, units), Penalty::default());
            tensors.push(Tensor { shape, initializer, fans, penalty });
        }
        // Products forward, for the gradient and for the slopes before: two for each element of the kernel.
        let flops = (inputs as u64).saturating_mul(units as u64).saturating_mul(6);
        let kept = if activation::keeps_input(self.activation) { units } else { 0 };
        Ok(Shape { output: vec![units], tensors, kept, flops })
    }

    fn units(&self) -> Option<usize> {
        Some(self.units)
    }

    fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
        let Described { input, tensors, .. } = pass;
        let shape = [input.width(), self.units];
        let kernel = graph.weights("kernel", &shape, tensors.get(KERNEL));
        let mut sums = graph.product(input, kernel);
        if self.use_bias {
            let bias = graph.weights("bias", &[self.units], tensors.get(BIAS));
            sums = graph.add(sums, bias);
        }
        activation::describe(self.activation, graph, sums)
    }

    fn is_frozen(&self) -> bool {
        self.trainable == Some(false)
    }

    fn is_rectified(&self) -> bool {
        self.use_bias && self.activation == Activation::Relu
    }

    fn output_activation(&self) -> Activation {
        self.activation
    }
}

impl Stage for Dense {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], kept: &mut [f32]) {
        let Forward { input, tensors, activates, pieces, .. } = *pass;
        let (rows, units) = (input.nrows(), self.units);
        let kernel = view(tensors.get(KERNEL), input.ncols(), units);
        let bias = tensors.get(BIAS);
        let activation = if activates { self.activation } else { Activation::Linear };
        if activation::keeps_input(activation) {
            product::multiply_in_pieces(input, kernel, view_mut(kept, rows, units), pieces);
            each_pair(kept, outputs, [units; 2], pieces, |_, sums, outputs| {
                activation::forward_keeping(activation, bias, units, sums, outputs);
            });
        } else {
            product::multiply_in_pieces(input, kernel, view_mut(outputs, rows, units), pieces);
            each_block(outputs, units, pieces, |outputs| {
                activation::forward(activation, bias, units, outputs);
            });
        }
    }

    /// Slopes by the sums.
    fn slopes_inside(&self, pass: &Backward<'_>, slopes: &mut [f32]) {
        let (activation, units) = (self.activation, self.units);
        let keeps = activation::keeps_input(activation);
        let known = if keeps { pass.kept } else { pass.outputs };
        each_beside(slopes, known, [units; 2], pass.pieces, |slopes, known| {
            activation::backward(activation, units, known, slopes);
        });
    }

    fn leaf_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let slopes = gradient.slopes.slice(s![rows.clone(), ..]);
        if part.tensor == KERNEL {
            let input = gradient.pass.input.slice(s![rows, part.places.clone()]);
            let out = view_mut(out, part.places.len(), self.units);
            return product::multiply(input.t(), slopes, out);
        }
        out.fill(0.0);
        for row in slopes.rows() {
            for (sum, &slope) in out.iter_mut().zip(row) {
                *sum += slope;
            }
        }
    }

    fn node_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        order: &Order,
        values: &mut [f32],
    ) -> bool {
        if part.tensor != KERNEL {
            return gradient.fold(self, part, order, values);
        }
        let Gradient { pass, slopes, precision } = *gradient;
        let (input, microbatches) = (pass.input, pass.training.microbatches);
        let layer = KernelLeaves { input, slopes, microbatches, precision };
        let inputs = part.places.clone();
        with_scratch(|scratch| KernelTile { layer, inputs, order, values, scratch }.compute())
    }

    fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        let (rows, inputs) = pass.input.dim();
        let kernel = view(pass.tensors.get(KERNEL), inputs, self.units);
        let kernel = kernel.slice(s![pass.slopes_from.., ..]);
        slopes.replace(rows * inputs, |inside, before| {
            let (inside, before) = (view(inside, rows, self.units), view_mut(before, rows, inputs));
            let before = before.slice_move(s![.., pass.slopes_from..]);
            product::multiply_in_pieces(inside, kernel.t(), before, pass.pieces);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer::Tensors;
    use super::*;
    use crate::leaves::{Microbatch, TrainingRows};
    use lockstep_proto::tree::ShardTree;
    use lockstep_proto::values::Precision;

    /// The kernel's own way gives what every layer's gradients are defined as: each microbatch by itself, then up the tree.
    #[test]
    fn the_fast_way_has_the_bits_of_the_plain_one() {
        const ROWS: usize = 300;
        let number = |i: usize| (i * 31 % 101) as f32 / 37.0 - 1.3;
        let values: Vec<f32> = (0..ROWS * 7).map(number).collect();
        let by_sums: Vec<f32> = (0..ROWS * 5).map(|i| number(i + 50)).collect();
        let rows = [0..1, 1..270, 270..290, 290..300];
        let microbatches: Vec<_> = [0, 1, 3, 4]
            .into_iter()
            .zip(rows)
            .map(|(shard, rows)| Microbatch { shard, rows })
            .collect();
        let order = Order::new(ShardTree::new(5).root(), &microbatches, 0);
        let training = TrainingRows { seed: 0, step: 0, microbatches: &microbatches };
        let pass = Backward {
            layer: 0,
            input: view(&values, ROWS, 7),
            sides: &[7],
            tensors: Tensors { values: &[], ranges: &[] },
            outputs: &[],
            kept: &[],
            slopes_from: 0,
            training,
            pieces: 1,
        };
        let dense = Dense::new(5);
        for precision in [Precision::F32, Precision::Bf16] {
            let gradient = Gradient { pass: &pass, slopes: view(&by_sums, ROWS, 5), precision };
            for places in [0..7, 2..3, 4..7] {
                let part = TensorPart { tensor: KERNEL, places };
                let mut fast = vec![f32::NAN; 5 * part.places.len()];
                let mut plain = fast.clone();
                assert!(dense.node_gradient(&gradient, &part, &order, &mut fast));
                assert!(gradient.fold(&dense, &part, &order, &mut plain));
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&fast), bits(&plain), "{part:?}");
            }
        }
    }
}
