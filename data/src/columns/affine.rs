//! What the linear scales share: `(cell - offset) / divisor`, in `f64`.

use std::sync::Arc;

use lockstep_graph::{Graph, Value};

use super::{Back, Fitted, Scaling, State, StateValue};

/// Smallest divisor. Squares of what is smaller vanish, so that its deviation is not known.
const DIVISOR_MIN: f64 = 1e-150;

/// The operations of linear scales side by side, a column of cells each.
pub(super) fn describe(graph: &mut Graph, scalings: &[Scaling], cells: Value) -> Value {
    let mut of_each = |number: fn(&Scaling) -> f64, same: f64| {
        let numbers: Vec<f64> = scalings.iter().map(number).collect();
        numbers.iter().any(|number| *number != same).then(|| graph.row(&numbers[..]))
    };
    let (offsets, divisors) =
        (of_each(|scaling| scaling.offset, 0.0), of_each(|scaling| scaling.divisor, 1.0));
    let shifted = offsets.map_or(cells, |offsets| graph.subtract(cells, offsets));
    divisors.map_or(shifted, |divisors| graph.divide(shifted, divisors))
}

/// A linear scale, fitted.
#[derive(Debug)]
struct Affine(Scaling);

/// With this offset and the divisor that it was given, whatever that is.
pub(super) fn exactly(offset: f64, divisor: f64) -> Arc<dyn Fitted> {
    Arc::new(Affine(Scaling { offset, divisor }))
}

/// With a divisor that was found in the rows: 0 only shifts.
pub(super) fn fitted(offset: f64, divisor: f64) -> Arc<dyn Fitted> {
    Arc::new(Affine(scaling(offset, divisor)))
}

pub(super) fn restore(_: f64, state: &State) -> Option<Arc<dyn Fitted>> {
    let number = |name: &str| match state.get(name) {
        Some(StateValue::Number(number)) if number.is_finite() => Some(*number),
        _ => None,
    };
    let (offset, divisor) = (number("offset")?, number("divisor")?);
    let Scaling { offset, divisor } = checked(Scaling { offset, divisor })?;
    (state.len() == 2).then(|| exactly(offset, divisor))
}

/// The same, if it is one.
pub(super) fn checked(scaling: Scaling) -> Option<Scaling> {
    let Scaling { offset, divisor } = scaling;
    (offset.is_finite() && divisor.is_finite() && divisor > 0.0).then_some(scaling)
}

/// As [`fitted`] has it.
pub(super) fn scaling(offset: f64, divisor: f64) -> Scaling {
    let divisor = if divisor == 0.0 { 1.0 } else { divisor.max(DIVISOR_MIN) };
    Scaling { offset, divisor }
}

impl Fitted for Affine {
    fn encode(&self, cells: &[f64], _: usize, out: &mut [f64]) {
        let Scaling { offset, divisor } = self.0;
        for (out, cell) in out.iter_mut().zip(cells) {
            *out = (cell - offset) / divisor;
        }
    }

    fn describe(&self, graph: &mut Graph, cells: Value) -> Value {
        describe(graph, &[self.0], cells)
    }

    fn state(&self) -> State {
        let Scaling { offset, divisor } = self.0;
        [("offset", offset), ("divisor", divisor)]
            .map(|(name, number)| (name.to_owned(), StateValue::Number(number)))
            .into()
    }

    fn formula(&self, cell: f64) -> Option<String> {
        let Scaling { offset, divisor } = self.0;
        Some(format!("({cell:e} - {offset:e}) / {divisor:e}"))
    }

    fn back(&self) -> Option<Back> {
        Some(Back::Affine(self.0))
    }
}
