//! `date`: year, month (1 to 12), day (1 to 31), weekday (Monday is 0) and hour of a date, each scaled to mean 0 and population
//! standard deviation 1. The hour is left out where every training row has midnight. A cell is in seconds from the beginning
//! of 1970, by the clock that the date is written in.

use std::sync::Arc;

use lockstep_graph::{Graph, Value};

use super::calendar::{civil, describe_civil};
use super::standard::standard;
use super::{Back, Encoder, Fitted, Looks, Scaling, Seen, State, StateValue, affine};

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// Parts of a date with a time.
const PARTS: usize = 5;

pub(super) static DATE: Encoder = Encoder {
    name: "date",
    parameter: None,
    looks: Looks::Values,
    takes_any_size: false,
    fit: |_, seen| {
        let has_hours = seen.values.iter().any(|seconds| parts(*seconds)[4] != 0.0);
        let parts = (0..if has_hours { PARTS } else { PARTS - 1 }).map(|part| {
            let values: Vec<f64> =
                seen.values.iter().map(|seconds| parts(*seconds)[part]).collect();
            standard(&Seen::of(&values))
        });
        Arc::new(Dates { parts: parts.collect() })
    },
    restore: |_, state| {
        let numbers = |name: &str| match state.get(name) {
            Some(StateValue::Numbers(numbers)) => Some(numbers.clone()),
            _ => None,
        };
        let (offsets, divisors) = (numbers("offsets")?, numbers("divisors")?);
        let is_whole = state.len() == 2
            && (PARTS - 1..=PARTS).contains(&offsets.len())
            && divisors.len() == offsets.len();
        let scaling = |(offset, divisor)| affine::checked(Scaling { offset, divisor });
        let parts: Option<Vec<Scaling>> = offsets.into_iter().zip(divisors).map(scaling).collect();
        let parts = parts.filter(|_| is_whole)?;
        Some(Arc::new(Dates { parts }) as Arc<dyn Fitted>)
    },
};

#[derive(Debug)]
struct Dates {
    /// Of each part in turn.
    parts: Vec<Scaling>,
}

impl Fitted for Dates {
    fn outputs(&self) -> usize {
        self.parts.len()
    }

    fn encode(&self, cells: &[f64], output: usize, out: &mut [f64]) {
        let Scaling { offset, divisor } = self.parts[output];
        for (out, cell) in out.iter_mut().zip(cells) {
            *out = (parts(*cell)[output] - offset) / divisor;
        }
    }

    fn describe(&self, graph: &mut Graph, cells: Value) -> Value {
        let parts = describe_parts(graph, cells);
        let parts = graph.join(&parts[..self.parts.len()]);
        affine::describe(graph, &self.parts, parts)
    }

    fn state(&self) -> State {
        let of = |number: fn(&Scaling) -> f64| {
            StateValue::Numbers(self.parts.iter().map(number).collect())
        };
        [
            ("offsets".to_owned(), of(|scaling| scaling.offset)),
            ("divisors".to_owned(), of(|scaling| scaling.divisor)),
        ]
        .into()
    }

    fn formula(&self, _: f64) -> Option<String> {
        None
    }

    fn back(&self) -> Option<Back> {
        None
    }
}

/// Year, month, day, weekday and hour.
fn parts(seconds: f64) -> [f64; PARTS] {
    let day = (seconds / DAY).floor();
    let hour = ((seconds - day * DAY) / 3600.0).floor();
    let (year, month, day_of_month) = civil(day as i64);
    let weekday = (day as i64 + 3).rem_euclid(7);
    [year as f64, month as f64, day_of_month as f64, weekday as f64, hour]
}

/// The operations of [`parts`]. Days are whole numbers of few digits, so that a quotient's floor is that of whole numbers.
fn describe_parts(graph: &mut Graph, seconds: Value) -> [Value; PARTS] {
    let [a_day, an_hour, a_week, three] = [DAY, 3600.0, 7.0, 3.0].map(|number| graph.row(number));
    let day = graph.divide(seconds, a_day);
    let day = graph.floor(day);
    let midnight = graph.multiply(day, a_day);
    let of_day = graph.subtract(seconds, midnight);
    let hour = graph.divide(of_day, an_hour);
    let hour = graph.floor(hour);
    let (year, month, day_of_month) = describe_civil(graph, day);
    let from_monday = graph.add(day, three);
    let weeks = graph.divide(from_monday, a_week);
    let weeks = graph.floor(weeks);
    let weeks = graph.multiply(weeks, a_week);
    let weekday = graph.subtract(from_monday, weeks);
    [year, month, day_of_month, weekday, hour]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::date_form::DateForm;

    /// Python 3: `datetime.weekday()` and so on.
    #[test]
    fn parts_of_dates() {
        for (text, wanted) in [
            ("1970-01-01", [1970.0, 1.0, 1.0, 3.0, 0.0]),
            ("2000-02-29", [2000.0, 2.0, 29.0, 1.0, 0.0]),
            ("1969-12-31T23:59:59", [1969.0, 12.0, 31.0, 2.0, 23.0]),
            ("2024-03-01 05:30", [2024.0, 3.0, 1.0, 4.0, 5.0]),
            ("0001-01-01", [1.0, 1.0, 1.0, 0.0, 0.0]),
            ("9999-12-31", [9999.0, 12.0, 31.0, 4.0, 0.0]),
        ] {
            let seconds = DateForm::of(text).unwrap().seconds(text).unwrap();
            assert_eq!(parts(seconds), wanted, "{text}");
        }
    }
}
