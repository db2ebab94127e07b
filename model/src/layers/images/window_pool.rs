//! Pooling in windows, `keras.layers.MaxPooling2D` and `keras.layers.AveragePooling2D`: one value of a window, channel by channel, of
//! the values that are inside the image. The slope by a largest value goes to the first of equal ones.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Slot};

use super::grid::{Grid, Padding, SIDE_MAX};
use super::pooling::{Pool, Pooled};
use crate::layers::layer::{Backward, Described, Forward, Layer, Shape, Slopes, Stage};
use crate::layers::spec::LayerSpec;

/// A pooling layer with a window.
macro_rules! window_pool {
    ($(#[$doc:meta])* $type:ident, $name:literal, $pooled:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $type {
            /// Height and width of the window.
            pub pool_size: [usize; 2],
            /// Places between two positions of the window, down and across; those of its size, if they are left out.
            pub strides: Option<[usize; 2]>,
            /// What is beyond the edge.
            pub padding: Padding,
        }

        impl $type {
            /// With Keras' defaults for the rest: windows beside each other, and no padding.
            pub fn new(pool_size: [usize; 2]) -> $type {
                $type { pool_size, strides: None, padding: Padding::Valid }
            }

            /// Sets the places between two positions, down and across.
            pub fn strides(mut self, strides: [usize; 2]) -> $type {
                self.strides = Some(strides);
                self
            }

            /// Sets what is beyond the edge.
            pub fn padding(mut self, padding: Padding) -> $type {
                self.padding = padding;
                self
            }

            fn pool(&self, sides: &[usize]) -> Result<Pool, String> {
                let strides = self.strides.unwrap_or(self.pool_size);
                let grid = Grid::new(sides, self.pool_size, strides, self.padding)?;
                Ok(Pool { grid, pooled: $pooled })
            }
        }

        impl Default for $type {
            fn default() -> $type {
                $type::new([2, 2])
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
                vec![
                    Parameter::optional("pool_size", Slot::Sides(&mut self.pool_size, 1, SIDE_MAX)),
                    Parameter::optional("strides", Slot::Sides(&mut self.strides, 1, SIDE_MAX)),
                    Parameter::optional("padding", Slot::Choice(&mut self.padding)),
                ]
            }

            fn boxed(&self) -> Box<dyn Layer> {
                Box::new(self.clone())
            }

            fn summary(&self) -> String {
                let [rows, columns] = self.pool_size;
                let strides = match self.strides {
                    Some([down, across]) if self.strides != Some(self.pool_size) => {
                        format!(", strides {down} x {across}")
                    }
                    _ => String::new(),
                };
                format!("{rows} x {columns}{strides}, {}", self.padding)
            }

            fn takes_images(&self) -> bool {
                true
            }

            fn shape(&self, input: &[usize]) -> Result<Shape, String> {
                let pool = self.pool(input)?;
                let [height, width] = pool.grid.output();
                Ok(pool.shape(vec![height, width, pool.grid.channels()]))
            }

            fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
                self.pool(pass.sides).expect("images that fit").describe(graph, pass)
            }

            fn refuses_last_place(&self) -> Option<&'static str> {
                Some(super::LAST)
            }
        }

        impl Stage for $type {
            fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
                self.pool(pass.sides).expect("images that fit").forward(pass, outputs);
            }

            fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
                self.pool(pass.sides).expect("images that fit").input_slopes(pass, slopes);
            }
        }
    };
}

window_pool!(
    /// The largest values of a window.
    MaxPool,
    "max_pool",
    Pooled::Max
);
window_pool!(
    /// The means of a window.
    AvgPool,
    "avg_pool",
    Pooled::Mean
);
