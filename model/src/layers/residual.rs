//! A residual block, `keras.layers.Add` of what goes into a stack of layers and what comes out: `x + layers(x)`.
//!
//! The layers inside are stages like any other, which come before this one: they are sent, waited for and run ahead one by one. What
//! is left for the block itself is the sum.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Slot};

use super::layer::{Described, Forward, Layer, Shape, Stage};
use super::spec::LayerSpec;

/// Most layers that a block may have.
const LAYERS_MAX: usize = 1024;

/// Floating point operations of matrix products that take about as long as a value of this layer in a training step: an estimate
/// of 0.4 ns, as for a value that embeddings copy, where a thread makes 80 of them a ns.
const VALUE_FLOPS: u64 = 32;

/// Adds what goes into its layers to what comes out of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Residual {
    /// First to last. What comes out has as many values as what goes in.
    pub layers: Vec<LayerSpec>,
}

impl Residual {
    /// A block around no layers yet.
    pub fn new() -> Residual {
        Residual::default()
    }

    /// Adds a layer behind the others.
    pub fn layer(mut self, layer: impl Into<LayerSpec>) -> Residual {
        self.layers.push(layer.into());
        self
    }
}

impl From<Residual> for LayerSpec {
    fn from(layer: Residual) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![Parameter::required("layers", Slot::Choices(&mut self.layers, LAYERS_MAX))]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        "plus its input".to_string()
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        if self.layers.is_empty() {
            return Err("`layers`: found none, wanted at least one".to_string());
        }
        let width: usize = input.iter().product();
        let flops = VALUE_FLOPS.saturating_mul(width as u64);
        // The slopes by the outputs, which the input gets as well.
        Ok(Shape { output: input.to_vec(), tensors: Vec::new(), kept: width, flops })
    }

    fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
        let whole = pass.beside.expect("the input of a block");
        graph.add(whole, pass.input)
    }

    fn inside(&self) -> Vec<&dyn Layer> {
        self.layers.iter().map(LayerSpec::layer).collect()
    }

    fn units(&self) -> Option<usize> {
        self.layers.iter().rev().find_map(|layer| layer.layer().units())
    }

    fn refuses_last_place(&self) -> Option<&'static str> {
        self.layers.last().and_then(|last| last.layer().refuses_last_place())
    }
}

impl Stage for Residual {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
        let width = pass.input.ncols();
        let whole = pass.beside.expect("the input of a block");
        let rows = outputs.chunks_exact_mut(width).zip(pass.input.rows()).zip(whole.rows());
        for ((outputs, inside), whole) in rows {
            for ((output, &inside), &whole) in outputs.iter_mut().zip(inside).zip(whole) {
                *output = whole + inside;
            }
        }
    }
}
