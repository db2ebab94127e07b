//! `quantile`: the share of the training rows below a number, as the number below which a normal distribution has that share,
//! like scikit-learn's `QuantileTransformer(output_distribution="normal")`: any column becomes about normal, and only the order
//! of its numbers counts. A number that many rows have takes the middle of its ranks, which scikit-learn does but for the least
//! and the greatest. There is no way back, so that no target is scaled so: between two quantiles nothing is known, and beyond
//! the last ones everything is the same.

use std::sync::Arc;

use lockstep_graph::{Element, Graph, Value};

use super::quantiles::sorted;
use super::{Back, Encoder, Fitted, Looks, State, StateValue, math};

/// Quantiles that are kept, at most: scikit-learn's default.
const QUANTILES_MAX: usize = 1000;

/// Shares nearer to 0 or 1 count as this: no number becomes more than 5.2 in size.
const SHARE_MIN: f64 = 1e-7;

pub(super) static QUANTILE: Encoder = Encoder {
    name: "quantile",
    parameter: None,
    looks: Looks::Values,
    takes_any_size: true,
    fit: |_, seen| {
        let values = sorted(seen.values);
        let last = values.len().min(QUANTILES_MAX) - 1;
        let mut quantiles: Vec<f64> = (0..=last).map(|at| nth(&values, at, last)).collect();
        // Interpolating rounds, and what follows must not descend.
        for at in 1..quantiles.len() {
            quantiles[at] = quantiles[at].max(quantiles[at - 1]);
        }
        Arc::new(Quantiles(quantiles))
    },
    restore: |_, state| match state.get("quantiles") {
        Some(StateValue::Numbers(all)) if state.len() == 1 && are_quantiles(all) => {
            Some(Arc::new(Quantiles(all.clone())))
        }
        _ => None,
    },
};

/// The quantile of share `at / last`, as [`quantile`](super::quantiles::quantile) has it, but that places are whole numbers where
/// they can be: what is equal in the table is so among the quantiles.
fn nth(sorted: &[f64], at: usize, last: usize) -> f64 {
    let (place, last) = (at * (sorted.len() - 1), last.max(1));
    let (below, rest) = (place / last, place % last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    low + (high - low) * (rest as f64 / last as f64)
}

fn are_quantiles(all: &[f64]) -> bool {
    (1..=QUANTILES_MAX).contains(&all.len())
        && all.iter().all(|number| number.is_finite())
        && all.is_sorted()
}

/// Quantiles of equally spaced shares, from the least number to the greatest: one or more, ascending.
#[derive(Debug)]
struct Quantiles(Vec<f64>);

impl Quantiles {
    /// Which share of the training rows is below a number, those equal to it by half.
    fn share(&self, cell: f64) -> f64 {
        let all = &self.0;
        let (below, up_to) =
            (all.partition_point(|&one| one < cell), all.partition_point(|&one| one <= cell));
        let last = (all.len() - 1).max(1) as f64;
        match (below, up_to) {
            (_, 0) => 0.0,
            (below, _) if below == all.len() => 1.0,
            // Between two of them.
            (below, up_to) if below == up_to => {
                let (low, high) = (all[below - 1], all[below]);
                ((below - 1) as f64 + (cell - low) / (high - low)) / last
            }
            // Equal to all of these; to one that is alone at an end, the share is 0 or 1.
            _ if all.len() == 1 => 0.5,
            (below, up_to) => (below + up_to - 1) as f64 / (2.0 * last),
        }
    }
}

impl Quantiles {
    /// The operations of [`Quantiles::share`]. Places of quantiles are counted by comparing with all of them.
    fn describe_share(&self, graph: &mut Graph, cells: Value) -> Value {
        let (all, len) = (&self.0, self.0.len() as f64);
        let (quantiles, table) = (graph.row(&all[..]), graph.matrix(1, &all[..]));
        let count = |graph: &mut Graph, truths| {
            let truths = graph.convert(Element::Double, truths);
            graph.row_sum(truths)
        };
        let is_below = graph.less(quantiles, cells);
        let below = count(graph, is_below);
        let is_above = graph.greater(quantiles, cells);
        let above = count(graph, is_above);
        let [zero, half, one, whole] = [0.0, 0.5, 1.0, len].map(|number| graph.row(number));
        let up_to = graph.subtract(whole, above);
        let last = graph.row((len - 1.0).max(1.0));
        // Of equal ones.
        let ties = match all.len() {
            1 => half,
            _ => {
                let sum = graph.add(below, up_to);
                let sum = graph.subtract(sum, one);
                let sum = graph.multiply(sum, half);
                graph.divide(sum, last)
            }
        };
        // Between two: the last that is below, and the next.
        let first = graph.subtract(below, one);
        let is_none = graph.less(first, zero);
        let low_place = graph.choose(is_none, zero, first);
        let is_last = graph.equal(below, whole);
        let high_place = graph.choose(is_last, first, below);
        let [low, high] = [low_place, high_place].map(|place| {
            let place = graph.convert(Element::Whole, place);
            graph.rows(table, place)
        });
        let (above_low, gap) = (graph.subtract(cells, low), graph.subtract(high, low));
        let part = graph.divide(above_low, gap);
        let part = graph.add(first, part);
        let between = graph.divide(part, last);
        let is_between = graph.equal(below, up_to);
        let share = graph.choose(is_between, between, ties);
        let share = graph.choose(is_last, one, share);
        let is_below_all = graph.equal(up_to, zero);
        graph.choose(is_below_all, zero, share)
    }
}

impl Fitted for Quantiles {
    fn encode(&self, cells: &[f64], _: usize, out: &mut [f64]) {
        for (out, cell) in out.iter_mut().zip(cells) {
            *out = math::normal_quantile(self.share(*cell).clamp(SHARE_MIN, 1.0 - SHARE_MIN));
        }
    }

    fn describe(&self, graph: &mut Graph, cells: Value) -> Value {
        let share = self.describe_share(graph, cells);
        let [least, most] = [SHARE_MIN, 1.0 - SHARE_MIN].map(|end| graph.row(end));
        let is_less = graph.less(share, least);
        let share = graph.choose(is_less, least, share);
        let is_more = graph.greater(share, most);
        let share = graph.choose(is_more, most, share);
        let scaled = math::describe_normal_quantile(graph, share);
        // No comparison holds of NaN, and nothing of it would be left.
        let zero = graph.row(0.0);
        let nothing = graph.multiply(cells, zero);
        graph.add(scaled, nothing)
    }

    fn state(&self) -> State {
        [("quantiles".to_owned(), StateValue::Numbers(self.0.clone()))].into()
    }

    fn formula(&self, _: f64) -> Option<String> {
        None
    }

    fn back(&self) -> Option<Back> {
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::columns::{Scale, Seen, StateValue};

    fn encoded(values: &[f64], cells: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; cells.len()];
        Scale::named("quantile").unwrap().fit(&Seen::of(values)).encode(cells, 0, &mut out);
        out
    }

    /// scikit-learn 1.9, whose ends are the normal quantiles of shares that are half a unit of the last place of 1 nearer.
    #[test]
    fn scikit_learns_values() {
        let seven = [3.5, -1.0, 10.0, 0.25, 2.0, 8.0, 0.1];
        let ties = [1.0, 2.0, 2.0, 2.0, 3.0, 7.0, 7.0, 9.0];
        let many: Vec<f64> =
            (0..5000).map(|i| f64::from(i * 7919 % 5003)).map(|root| root * root.sqrt()).collect();
        let end = 5.199_337_582_6;
        for (values, cells, wanted) in [
            (
                &seven[..],
                &[-5.0, -1.0, -0.5, 0.1, 0.2, 2.0, 5.0, 9.0, 10.0, 11.0][..],
                &[
                    -end,
                    -end,
                    -1.434_200_159_686_379_2,
                    -0.967_421_566_101_699_8,
                    -0.589_455_797_849_778,
                    0.0,
                    0.589_455_797_849_778_3,
                    1.382_994_127_100_638,
                    end,
                    end,
                ][..],
            ),
            (
                &ties,
                &[1.0, 1.5, 2.0, 2.5, 5.0, 8.0, 9.0],
                &[
                    -end,
                    -1.465_233_792_685_523,
                    -0.565_948_821_932_863_1,
                    0.0,
                    0.366_106_356_800_569_5,
                    1.465_233_792_685_523,
                    end,
                ],
            ),
            (
                &many,
                &[10.0, 1000.0, 12_345.6, 200_000.0, 353_000.0],
                &[
                    -3.123_293_562_573_152_4,
                    -2.053_671_212_269_433_6,
                    -1.243_435_215_365_665_1,
                    0.478_146_710_659_917_43,
                    2.979_391_721_940_106_5,
                ],
            ),
        ] {
            for (found, wanted) in encoded(values, cells).into_iter().zip(wanted) {
                assert!((found - wanted).abs() < 2e-9, "{found}, not {wanted}");
            }
        }
    }

    #[test]
    fn what_many_rows_have_takes_the_middle_of_its_ranks() {
        assert_eq!(encoded(&[5.0; 9], &[5.0, 4.0, 6.0])[0], 0.0);
        assert_eq!(encoded(&[5.0], &[5.0]), [0.0]);
        let zeros = encoded(&[0.0, 0.0, 0.0, 1.0, 2.0], &[0.0, 2.0]);
        // Ranks 0 to 2 of 0 to 4.
        assert!((zeros[0] + 0.674_489_750_196_081_7).abs() < 1e-12 && zeros[1] > 5.0, "{zeros:?}");
        // A spread of whatever size.
        let small = encoded(&[1e-30, 2e-30, 3e-30], &[2e-30]);
        assert_eq!(small, [0.0]);
    }

    #[test]
    fn only_ascending_numbers_are_restored() {
        let scale = Scale::named("quantile").unwrap();
        let restored = |numbers: &[f64]| {
            let state = [("quantiles".to_owned(), StateValue::Numbers(numbers.to_vec()))].into();
            scale.restore(&state).is_some()
        };
        assert!(restored(&[1.0]) && restored(&[1.0, 1.0, 2.0]));
        assert!(!restored(&[]) && !restored(&[2.0, 1.0]) && !restored(&[1.0, f64::INFINITY]));
        assert!(!restored(&[0.0; 1001]));
    }
}
