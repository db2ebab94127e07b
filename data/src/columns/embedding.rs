//! `embedding`: the place of a category as it is, for the network to look up a vector that it learns. 0 is a category that
//! training never saw.

use std::sync::Arc;

use lockstep_graph::{Graph, Value};
use lockstep_parameters::Range;

use super::{Back, Encoder, Fitted, Looks, State};

/// Most values of a vector, as units of a layer.
pub(crate) const DIMENSION_MAX: usize = 1 << 24;

pub(super) static EMBEDDING: Encoder = Encoder {
    name: "embedding",
    parameter: Some(Range::new("a whole number from 1 to 16777216", |dimension| {
        dimension.fract() == 0.0 && (1.0..=DIMENSION_MAX as f64).contains(&dimension)
    })),
    looks: Looks::Nothing,
    takes_any_size: false,
    fit: |dimension, _| Arc::new(Place { dimension: dimension as usize }),
    restore: |dimension, state| {
        let place = Place { dimension: dimension as usize };
        state.is_empty().then(|| Arc::new(place) as Arc<dyn Fitted>)
    },
};

#[derive(Debug)]
struct Place {
    dimension: usize,
}

impl Fitted for Place {
    fn encode(&self, cells: &[f64], _: usize, out: &mut [f64]) {
        out.copy_from_slice(cells);
    }

    fn describe(&self, _: &mut Graph, cells: Value) -> Value {
        cells
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.dimension)
    }

    fn state(&self) -> State {
        State::new()
    }

    fn formula(&self, _: f64) -> Option<String> {
        None
    }

    fn back(&self) -> Option<Back> {
        None
    }
}
