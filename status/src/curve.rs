//! Values over all steps in a bounded number of places: when there is no more room, neighbours are put together, so that each
//! place stands for twice as many steps.

use crate::value::{Curve, finite};

/// Most places: even, so that all have a neighbour.
const PLACES_MAX: usize = 1024;

/// What is told of a step.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// From 1.
    pub step: u64,
    /// Mean loss over its batch.
    pub loss: f64,
    /// Of its update.
    pub learning_rate: f64,
    /// Rows of its batch.
    pub rows: u64,
    /// When it was made, in seconds since the first step began.
    pub seconds: f64,
}

/// Some neighbouring steps.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: u64,
    last: u64,
    sum: f64,
    min: f64,
    max: f64,
    learning_rate: f64,
    rows: u64,
    /// From the end of the step before to the end of the last.
    seconds: f64,
}

impl Place {
    fn with(self, next: Place) -> Place {
        Place {
            first: self.first,
            last: next.last,
            sum: self.sum + next.sum,
            min: self.min.min(next.min),
            max: self.max.max(next.max),
            learning_rate: next.learning_rate,
            rows: self.rows + next.rows,
            seconds: self.seconds + next.seconds,
        }
    }

    fn steps(self) -> u64 {
        self.last - self.first + 1
    }
}

/// See the file's text.
#[derive(Clone, Debug)]
pub(crate) struct CurveBook {
    places: Vec<Place>,
    steps_a_place: u64,
    seconds: f64,
}

impl Default for CurveBook {
    fn default() -> CurveBook {
        CurveBook { places: Vec::new(), steps_a_place: 1, seconds: 0.0 }
    }
}

impl CurveBook {
    /// Adds the next step.
    pub(crate) fn add(&mut self, point: Point) {
        let Point { step, loss, learning_rate, rows, seconds } = point;
        let took = (seconds - self.seconds).max(0.0);
        self.seconds = seconds;
        let (sum, min, max) = (loss, loss, loss);
        let place =
            Place { first: step, last: step, sum, min, max, learning_rate, rows, seconds: took };
        match self.places.last_mut() {
            // A step that comes again, as after a coordinator that was restarted, has its place.
            Some(last) if step <= last.last => {}
            Some(last) if last.steps() < self.steps_a_place => *last = last.with(place),
            _ => {
                if self.places.len() == PLACES_MAX {
                    self.halve();
                }
                self.places.push(place);
            }
        }
    }

    fn halve(&mut self) {
        let pairs = self.places.chunks(2);
        let joined = pairs.map(|pair| match *pair {
            [one, other] => one.with(other),
            _ => pair[0],
        });
        self.places = joined.collect();
        self.steps_a_place *= 2;
    }

    pub(crate) fn value(&self) -> Curve {
        let column = |of: &dyn Fn(&Place) -> f64| {
            self.places.iter().map(|place| finite(of(place))).collect::<Vec<_>>()
        };
        Curve {
            steps_a_place: self.steps_a_place,
            step: self.places.iter().map(|place| place.last).collect(),
            loss: column(&|place| place.sum / place.steps() as f64),
            loss_min: column(&|place| place.min),
            loss_max: column(&|place| place.max),
            learning_rate: column(&|place| place.learning_rate),
            rows_per_second: column(&|place| place.rows as f64 / place.seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: u64) -> CurveBook {
        let mut book = CurveBook::default();
        for step in 1..=steps {
            let (loss, seconds) = (step as f64, step as f64 * 0.5);
            book.add(Point { step, loss, learning_rate: 0.1, rows: 8, seconds });
        }
        book
    }

    #[test]
    fn a_million_steps_take_no_more_room_than_a_thousand() {
        for steps in [1, 1023, 1024, 1025, 5000, 1_000_000] {
            let curve = of(steps).value();
            assert!(curve.step.len() <= PLACES_MAX, "{steps}");
            assert!(curve.step.len() as u64 >= steps.min(PLACES_MAX as u64 / 2), "{steps}");
            assert_eq!(curve.step.last(), Some(&steps));
            assert!(curve.step.is_sorted());
            // The mean over all steps is that of the places, each by its steps.
            let mut before = 0;
            let mut sum = 0.0;
            for (last, loss) in curve.step.iter().zip(&curve.loss) {
                sum += loss.unwrap() * (last - before) as f64;
                before = *last;
            }
            let wanted = (steps + 1) as f64 / 2.0;
            assert!((sum / steps as f64 - wanted).abs() < 1e-6 * wanted, "{steps}");
            assert_eq!((curve.loss_min[0], curve.rows_per_second[0]), (Some(1.0), Some(16.0)));
            assert_eq!(curve.loss_max.last(), Some(&Some(steps as f64)));
        }
    }

    #[test]
    fn steps_that_come_again_have_their_place_and_what_is_no_number_is_none() {
        let mut book = of(10);
        book.add(Point { step: 8, loss: 99.0, learning_rate: 0.1, rows: 8, seconds: 5.5 });
        assert_eq!(book.value().step.len(), 10);
        book.add(Point { step: 11, loss: f64::NAN, learning_rate: 0.1, rows: 8, seconds: 5.5 });
        assert_eq!(book.value().loss.last(), Some(&None));
    }
}
