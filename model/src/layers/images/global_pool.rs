//! Pooling over whole images, `keras.layers.GlobalAveragePooling2D` and `keras.layers.GlobalMaxPooling2D`: one value for each
//! channel.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::Parameter;

use super::grid::Grid;
use super::pooling::{Pool, Pooled};
use crate::layers::layer::{Backward, Described, Forward, Layer, Shape, Slopes, Stage};
use crate::layers::spec::LayerSpec;

/// A pooling layer without parameters.
macro_rules! global_pool {
    ($(#[$doc:meta])* $type:ident, $name:literal, $pooled:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $type {}

        impl $type {
            /// The one that there is.
            pub fn new() -> $type {
                $type {}
            }

            fn pool(sides: &[usize]) -> Result<Pool, String> {
                Ok(Pool { grid: Grid::whole(sides)?, pooled: $pooled })
            }
        }

        impl From<$type> for LayerSpec {
            fn from(layer: $type) -> LayerSpec {
                LayerSpec::of(layer)
            }
        }

        impl Layer for $type {
            fn name(&self) -> &'static str {
                $name
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

            fn takes_images(&self) -> bool {
                true
            }

            fn shape(&self, input: &[usize]) -> Result<Shape, String> {
                let pool = $type::pool(input)?;
                let channels = pool.grid.channels();
                Ok(pool.shape(vec![channels]))
            }

            fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
                $type::pool(pass.sides).expect("images").describe(graph, pass)
            }
        }

        impl Stage for $type {
            fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
                $type::pool(pass.sides).expect("images").forward(pass, outputs);
            }

            fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
                $type::pool(pass.sides).expect("images").input_slopes(pass, slopes);
            }
        }
    };
}

global_pool!(
    /// The mean of each channel.
    GlobalAvgPool,
    "global_avg_pool",
    Pooled::Mean
);
global_pool!(
    /// The largest value of each channel.
    GlobalMaxPool,
    "global_max_pool",
    Pooled::Max
);
