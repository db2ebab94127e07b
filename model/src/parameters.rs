//! Where the values of a network's parameters are: one flat vector, or a vector for each layer.

use lockstep_proto::layout::Layout;

/// The parameters of a network.
pub trait Parameters {
    /// One layer's: its tensors, row-major, in the order in which it declares them.
    ///
    /// # Panics
    /// If they are not those of a network with this layout.
    fn layer(&self, layout: &Layout, layer: usize) -> &[f32];
}

impl Parameters for &[f32] {
    fn layer(&self, layout: &Layout, layer: usize) -> &[f32] {
        in_flat(self, layout, layer)
    }
}

impl Parameters for Vec<f32> {
    fn layer(&self, layout: &Layout, layer: usize) -> &[f32] {
        in_flat(self, layout, layer)
    }
}

fn in_flat<'p>(values: &'p [f32], layout: &Layout, layer: usize) -> &'p [f32] {
    assert_eq!(values.len(), layout.len(), "number of parameters");
    &values[layout.layers()[layer].clone()]
}
