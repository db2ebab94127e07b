//! `log1p`: `ln(1 + x)`, for amounts and counts, whose large values would outweigh all others. It learns nothing. Has no value
//! for a number of -1 or less, which whoever encodes one says.

use std::sync::Arc;

use lockstep_graph::{Graph, Value};

use super::{Back, Encoder, Fitted, Looks, State, math};

pub(super) static LOG1P: Encoder = Encoder {
    name: "log1p",
    parameter: None,
    looks: Looks::Nothing,
    takes_any_size: true,
    fit: |_, _| Arc::new(Log1p),
    restore: |_, state| state.is_empty().then(|| Arc::new(Log1p) as Arc<dyn Fitted>),
};

#[derive(Debug)]
struct Log1p;

impl Fitted for Log1p {
    fn encode(&self, cells: &[f64], _: usize, out: &mut [f64]) {
        out.iter_mut().zip(cells).for_each(|(out, cell)| *out = math::log1p(*cell));
    }

    /// `ln(u) + (x - (u - 1)) / u` for `u = 1 + x`: what the sum loses is put back.
    fn describe(&self, graph: &mut Graph, cells: Value) -> Value {
        let one = graph.row(1.0);
        let sum = graph.add(cells, one);
        let log = graph.log(sum);
        let kept = graph.subtract(sum, one);
        let lost = graph.subtract(cells, kept);
        let lost = graph.divide(lost, sum);
        graph.add(log, lost)
    }

    fn state(&self) -> State {
        State::new()
    }

    fn formula(&self, cell: f64) -> Option<String> {
        Some(format!("ln(1 + {cell:e})"))
    }

    fn back(&self) -> Option<Back> {
        Some(Back::Expm1)
    }
}
