//! `one_hot`: an input for each category, 1 where the cell is of it. A cell is the place of its category, from 1 on; 0 is one
//! that training never saw, and all its inputs are 0.

use std::sync::Arc;

use lockstep_graph::{Element, Graph, Value};

use super::{Back, Encoder, Fitted, Looks, State, StateValue};

/// Most inputs of a column.
pub(crate) const OUTPUTS_MAX: usize = 1 << 16;

pub(super) static ONE_HOT: Encoder = Encoder {
    name: "one_hot",
    parameter: None,
    looks: Looks::Range,
    takes_any_size: false,
    fit: |_, seen| Arc::new(OneHot { categories: seen.max as usize }),
    restore: |_, state| match state.get("categories") {
        Some(&StateValue::Number(categories)) if state.len() == 1 => {
            let fits =
                categories.fract() == 0.0 && (1.0..=OUTPUTS_MAX as f64).contains(&categories);
            fits.then(|| Arc::new(OneHot { categories: categories as usize }) as Arc<dyn Fitted>)
        }
        _ => None,
    },
};

#[derive(Debug)]
struct OneHot {
    categories: usize,
}

impl Fitted for OneHot {
    fn outputs(&self) -> usize {
        self.categories
    }

    fn encode(&self, cells: &[f64], output: usize, out: &mut [f64]) {
        let wanted = (output + 1) as f64;
        out.iter_mut().zip(cells).for_each(|(out, cell)| *out = f64::from(*cell == wanted));
    }

    fn describe(&self, graph: &mut Graph, cells: Value) -> Value {
        let places: Vec<f64> = (1..=self.categories).map(|place| place as f64).collect();
        let places = graph.row(&places[..]);
        let is_it = graph.equal(cells, places);
        graph.convert(Element::Double, is_it)
    }

    fn state(&self) -> State {
        [("categories".to_owned(), StateValue::Number(self.categories as f64))].into()
    }

    fn formula(&self, _: f64) -> Option<String> {
        None
    }

    fn back(&self) -> Option<Back> {
        None
    }
}
