//! `none`: numbers as they are in the table.

use std::sync::Arc;

use lockstep_graph::{Graph, Value};

use super::{Back, Encoder, Fitted, Looks, Scaling, State};

pub(super) static NONE: Encoder = Encoder {
    name: "none",
    parameter: None,
    looks: Looks::Nothing,
    takes_any_size: false,
    fit: |_, _| Arc::new(AsItIs),
    restore: |_, state| state.is_empty().then(|| Arc::new(AsItIs) as Arc<dyn Fitted>),
};

#[derive(Debug)]
struct AsItIs;

impl Fitted for AsItIs {
    fn encode(&self, cells: &[f64], _: usize, out: &mut [f64]) {
        out.copy_from_slice(cells);
    }

    fn describe(&self, _: &mut Graph, cells: Value) -> Value {
        cells
    }

    fn state(&self) -> State {
        State::new()
    }

    fn formula(&self, _: f64) -> Option<String> {
        None
    }

    fn back(&self) -> Option<Back> {
        Some(Back::Affine(Scaling { offset: 0.0, divisor: 1.0 }))
    }
}
