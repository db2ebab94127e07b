//! Whether a model still learns, from its loss by epoch: rules that warn once, and again only after what they warn of went away.
//! Medians of several epochs count, so that one odd epoch neither warns nor takes a warning back. Changes nothing in a run.

use crate::recent::{Recent, WINDOW};
use crate::value::Values;

/// A loss whose median gets no lower by this share of its size for a tenth of all epochs so far, and those of a window, does not
/// fall. Lower by the other, it falls again; higher by that, it rises, which is a matter of its own.
const FALL_MIN: f64 = 0.001;
const FALLS_AGAIN: f64 = 0.01;
const STANDS_SHARE: u32 = 10;

/// A validation loss is rising that is by this share of its size above its best, while the training loss fell by the other.
const RISE_MIN: f64 = 0.05;
const TRAINING_FALL_MIN: f64 = 0.01;

/// A training loss explodes that is so many times its least; below the other it is back.
const EXPLODES: f64 = 3.0;
const IS_BACK: f64 = 1.2;

/// The best validation loss so far.
#[derive(Clone, Copy, Debug)]
struct Best {
    epoch: u32,
    validation: f64,
    training: Option<f64>,
}

/// See the file's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learning {
    training: Recent,
    validation: Recent,
    least: Option<(u32, f64)>,
    best: Option<Best>,
    /// The lowest median of the training loss, and the epoch since which it was no lower.
    level: Option<(u32, f64)>,
    is_flat: bool,
    is_exploding: bool,
    is_overfitting: bool,
}

impl Learning {
    /// An epoch is over: what there is to warn of now that was not before.
    pub(crate) fn epoch(&mut self, epoch: u32, values: &Values) -> Vec<String> {
        let value = |name| values.get(name).copied().flatten();
        let (training, validation) = (value("loss"), value("validation_loss"));
        let mut warnings = Vec::new();
        if let Some(loss) = training {
            self.training.see(loss);
            if self.least.is_none_or(|(_, least)| loss < least) {
                self.least = Some((epoch, loss));
            }
            warnings.extend(self.flat(epoch));
            warnings.extend(self.exploding());
        }
        if let Some(loss) = validation {
            self.validation.see(loss);
            if self.best.is_none_or(|best| loss < best.validation) {
                self.best = Some(Best { epoch, validation: loss, training });
                self.is_overfitting = false;
            }
            warnings.extend(self.overfitting(epoch));
        }
        warnings
    }

    fn flat(&mut self, epoch: u32) -> Option<String> {
        let now = self.training.median()?;
        let (since, level) = *self.level.get_or_insert((epoch, now));
        let fall = (level - now) / level.abs().max(f64::MIN_POSITIVE);
        if fall >= if self.is_flat { FALLS_AGAIN } else { FALL_MIN } {
            (self.level, self.is_flat) = (Some((epoch, now)), false);
            return None;
        }
        let epochs = epoch - since;
        let stands = epochs >= (epoch / STANDS_SHARE).max(WINDOW as u32) && -fall < FALLS_AGAIN;
        (stands && !std::mem::replace(&mut self.is_flat, true)).then(|| {
            format!(
                "the training loss has not fallen in {epochs} epochs (epoch {epoch}, about {}): the model learns nothing more at this \
                 learning rate; early_stopping ends such a run, the schedule `plateau` lowers the rate",
                shown(now)
            )
        })
    }

    fn exploding(&mut self) -> Option<String> {
        let (epoch, least) = self.least?;
        if least <= 0.0 {
            return None;
        }
        let (now, newest) = self.training.median_of(3).zip(self.training.newest())?;
        let was = self.is_exploding;
        // A loss that falls fast is not far above its least any more.
        self.is_exploding = match was {
            true => now > least * IS_BACK,
            false => now.min(newest) > least * EXPLODES,
        };
        (self.is_exploding && !was).then(|| {
            format!(
                "the training loss is {} and was {} after epoch {epoch}: a lower learning rate, or gradient_clip_norm, keeps it from \
                 exploding",
                shown(now),
                shown(least)
            )
        })
    }

    fn overfitting(&mut self, epoch: u32) -> Option<String> {
        let best = self.best?;
        if self.is_overfitting || epoch < best.epoch + WINDOW as u32 {
            return None;
        }
        let training = self.training.median_of(self.training.len());
        let (validation, training) = self.validation.median().zip(training)?;
        let then = best.training?;
        let has_risen = validation - best.validation > RISE_MIN * best.validation.abs();
        let has_fallen = then - training > TRAINING_FALL_MIN * then.abs();
        self.is_overfitting = has_risen && has_fallen;
        self.is_overfitting.then(|| {
            format!(
                "overfitting since epoch {}: the validation loss was {} then and is about {} now, while the training loss went on \
                 falling; early_stopping keeps the best weights, dropout and kernel_l2 work against it",
                best.epoch,
                shown(best.validation),
                shown(validation)
            )
        })
    }
}

/// Five digits.
fn shown(value: f64) -> String {
    let digits = if value == 0.0 { 0.0 } else { 4.0 - value.abs().log10().floor() };
    match digits {
        0.0..=12.0 => format!("{value:.*}", digits as usize),
        _ => format!("{value:.4e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In which epochs what is warned of, by its first words.
    fn warned(losses: impl IntoIterator<Item = (f64, Option<f64>)>) -> Vec<(u32, String)> {
        let mut learning = Learning::default();
        let mut found = Vec::new();
        for (place, (training, validation)) in losses.into_iter().enumerate() {
            let epoch = place as u32 + 1;
            let mut values: Values = [("loss".to_string(), Some(training))].into();
            values.extend(validation.map(|loss| ("validation_loss".to_string(), Some(loss))));
            for text in learning.epoch(epoch, &values) {
                let words: Vec<&str> = text.split(' ').take(4).collect();
                found.push((epoch, words.join(" ")));
            }
        }
        found
    }

    #[test]
    fn a_model_that_learns_is_left_alone() {
        let falls = (0..200).map(|epoch| (0.98f64.powi(epoch), Some(1.1 * 0.98f64.powi(epoch))));
        assert_eq!(warned(falls), []);
        // Odd epochs and noise, too.
        let odd =
            (0..60).map(|epoch| (if epoch % 9 == 8 { 5.0 } else { 0.9f64.powi(epoch) }, None));
        let odd: Vec<_> = odd.take(20).collect();
        assert_eq!(warned(odd), []);
        assert_eq!(warned([]), []);
    }

    #[test]
    fn a_loss_that_stands_is_told_once_and_again_after_it_fell() {
        let stands = [(2.0, None); 40];
        let told = "the training loss has".to_string();
        assert_eq!(warned(stands), [(10, told.clone())]);
        let falls = (0..20).map(|epoch| (2.0 * 0.9f64.powi(epoch), None));
        let again = stands.into_iter().chain(falls).chain([(0.2, None); 30]);
        let found = warned(again);
        assert_eq!((found.len(), found[0].0), (2, 10));
        assert!(found[1].0 > 60, "{found:?}");
        // On the border it does not flap.
        let border =
            (0..300).map(|epoch| (1.0 - 0.0002 * f64::from(epoch) * f64::from(epoch % 2), None));
        assert!(warned(border).len() <= 1);
    }

    #[test]
    fn a_loss_that_explodes() {
        let calm = (0..8).map(|epoch| (1.0 - 0.05 * f64::from(epoch), None));
        let found =
            warned(calm.chain([(9.0, None), (0.6, None), (9.0, None), (9.0, None), (9.0, None)]));
        assert_eq!(found, [(11, "the training loss is".to_string())]);
    }

    #[test]
    fn overfitting_is_dated_to_the_best_epoch() {
        let curve = (1..=40).map(|epoch| {
            let training = 0.95f64.powi(epoch);
            let validation = if epoch <= 12 {
                1.0 - 0.03 * f64::from(epoch)
            } else {
                0.64 + 0.02 * f64::from(epoch - 12)
            };
            (training, Some(validation))
        });
        let mut learning = Learning::default();
        let mut found = Vec::new();
        for (place, (training, validation)) in curve.enumerate() {
            let values: Values =
                [("loss".to_string(), Some(training)), ("validation_loss".to_string(), validation)]
                    .into();
            found.extend(learning.epoch(place as u32 + 1, &values));
        }
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .starts_with("overfitting since epoch 12: the validation loss was 0.64000 then"),
            "{found:?}"
        );
        // Where the training loss stands as well, nothing is overfitted.
        let both = (1..=30).map(|epoch| (1.0, Some(if epoch <= 12 { 1.0 } else { 1.5 })));
        assert!(warned(both).iter().all(|(_, text)| !text.starts_with("overfitting")));
    }

    #[test]
    fn numbers_that_are_none_are_passed_over() {
        let mut learning = Learning::default();
        for epoch in 1..30 {
            let values: Values =
                [("loss".to_string(), None), ("validation_loss".to_string(), None)].into();
            assert_eq!(learning.epoch(epoch, &values), [""; 0]);
        }
    }
}
