//! Memory of the passes, kept between calls so that a step allocates nothing once it has seen its size.

use crate::activation;
use crate::network::Network;

/// Buffers for one caller's passes through one network. Contents between calls mean nothing.
#[derive(Debug)]
pub struct Workspace {
    /// Outputs of each layer.
    pub(crate) outputs: Vec<Vec<f32>>,
    /// Sums of each layer before its activation; empty where the backward pass does not need them.
    pub(crate) sums: Vec<Vec<f32>>,
    /// Slopes by the sums of the layer at hand, and of the one before it.
    pub(crate) slopes: [Vec<f32>; 2],
    /// Losses of the rows.
    pub(crate) losses: Vec<f32>,
    /// Gradient sums of the layer at hand, node after node.
    pub(crate) gradients: Vec<f32>,
    widths: Vec<usize>,
    keeps: Vec<bool>,
}

impl Workspace {
    /// An empty workspace for this network. It grows to the largest call it sees.
    pub fn new(network: &Network) -> Workspace {
        let layers = &network.spec().layers;
        Workspace {
            outputs: vec![Vec::new(); layers.len()],
            sums: vec![Vec::new(); layers.len()],
            slopes: [Vec::new(), Vec::new()],
            losses: Vec::new(),
            gradients: Vec::new(),
            widths: layers.iter().map(|layer| layer.units).collect(),
            keeps: layers.iter().map(|layer| activation::keeps_input(layer.activation)).collect(),
        }
    }

    /// Makes room for a forward pass over `rows` rows.
    pub(crate) fn reserve_forward(&mut self, rows: usize) {
        for (layer, &width) in self.widths.iter().enumerate() {
            grow(&mut self.outputs[layer], rows * width);
            if self.keeps[layer] {
                grow(&mut self.sums[layer], rows * width);
            }
        }
        grow(&mut self.losses, rows);
    }

    /// Makes room for a backward pass over `rows` rows.
    pub(crate) fn reserve_backward(&mut self, rows: usize) {
        let widest = self.widths.iter().max().copied().unwrap_or(0);
        for slopes in &mut self.slopes {
            grow(slopes, rows * widest);
        }
    }

    /// Lends memory for at least so many values of gradients, to be put back.
    pub(crate) fn take_gradients(&mut self, len: usize) -> Vec<f32> {
        grow(&mut self.gradients, len);
        std::mem::take(&mut self.gradients)
    }

    /// Whether it was made for a network of these layers.
    pub(crate) fn fits(&self, network: &Network) -> bool {
        let layers = &network.spec().layers;
        layers.len() == self.widths.len()
            && layers.iter().zip(self.widths.iter().zip(&self.keeps)).all(
                |(layer, (&width, &keeps))| {
                    layer.units == width && activation::keeps_input(layer.activation) == keeps
                },
            )
    }
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
