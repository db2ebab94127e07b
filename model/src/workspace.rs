//! Memory of the passes, kept between calls so that a step allocates nothing once it has seen its size.

use crate::layers::Slopes;
use crate::network::Network;

/// Buffers for one caller's passes through one network. Contents between calls mean nothing.
#[derive(Debug)]
pub struct Workspace {
    /// Outputs of each layer.
    pub(crate) outputs: Vec<Vec<f32>>,
    /// What each layer keeps for its backward pass besides.
    pub(crate) kept: Vec<Vec<f32>>,
    /// Slopes of the layer at hand.
    pub(crate) slopes: Slopes,
    /// Losses of the rows.
    pub(crate) losses: Vec<f32>,
    /// Gradient sums of the layer at hand, node after node.
    pub(crate) gradients: Vec<f32>,
    widths: Vec<Widths>,
}

/// Values a row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Widths {
    outputs: usize,
    kept: usize,
}

fn widths(network: &Network) -> impl Iterator<Item = Widths> {
    network.layers().iter().map(|layer| Widths { outputs: layer.outputs, kept: layer.shape.kept })
}

impl Workspace {
    /// An empty workspace for this network. It grows to the largest call it sees.
    pub fn new(network: &Network) -> Workspace {
        let widths: Vec<Widths> = widths(network).collect();
        Workspace {
            outputs: vec![Vec::new(); widths.len()],
            kept: vec![Vec::new(); widths.len()],
            slopes: Slopes::default(),
            losses: Vec::new(),
            gradients: Vec::new(),
            widths,
        }
    }

    /// Makes room for a forward pass over `rows` rows.
    pub(crate) fn reserve_forward(&mut self, rows: usize) {
        for (layer, widths) in self.widths.iter().enumerate() {
            grow(&mut self.outputs[layer], rows * widths.outputs);
            grow(&mut self.kept[layer], rows * widths.kept);
        }
        grow(&mut self.losses, rows);
    }

    /// Makes room for a backward pass over `rows` rows.
    pub(crate) fn reserve_backward(&mut self, rows: usize) {
        let widest = self.widths.iter().map(|widths| widths.outputs).max().unwrap_or(0);
        self.slopes.reserve(rows * widest);
    }

    /// Whether it was made for a network of these layers.
    pub(crate) fn fits(&self, network: &Network) -> bool {
        widths(network).eq(self.widths.iter().copied())
    }
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
