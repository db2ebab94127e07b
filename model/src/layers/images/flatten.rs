//! Flattening, `keras.layers.Flatten`: the values of an image as a row of one side, in their order.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::Parameter;

use crate::blocks::copy_rows;
use crate::layers::layer::{Described, Forward, Layer, Shape, Stage};
use crate::layers::spec::LayerSpec;

/// Floating point operations of matrix products that take about as long as copying a value.
const VALUE_FLOPS: u64 = 16;

/// Makes rows of one side of rows of any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flatten {}

impl Flatten {
    /// The one that there is.
    pub fn new() -> Flatten {
        Flatten {}
    }
}

impl From<Flatten> for LayerSpec {
    fn from(layer: Flatten) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        Vec::new()
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        String::new()
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        let len = input.iter().product::<usize>();
        let flops = VALUE_FLOPS.saturating_mul(len as u64);
        Ok(Shape { output: vec![len], tensors: Vec::new(), kept: 0, flops })
    }

    fn describe(&self, _: &mut Graph, pass: Described<'_>) -> Value {
        pass.input
    }
}

impl Stage for Flatten {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
        copy_rows(pass.input, outputs);
    }
}
