//! How large the gradient of each layer is, over a run: kept in a bounded number of places, of which every other goes when there is
//! no more room; and what there is to warn of. A warning is told once, and again only after what it warned of went away. Changes
//! nothing in a run.

use std::collections::BTreeMap;

use crate::recent::Recent;
use crate::value::{Gradients, LayerGradient, finite};

/// Most steps that are kept.
const PLACES_MAX: usize = 256;

/// Most layers.
const LAYERS_MAX: usize = 64;

/// A gradient vanishes that is so small beside the largest of all layers; above the other it is back.
const VANISHES: f64 = 1e-4;
const IS_BACK: f64 = 1e-3;

/// The gradient of all layers explodes when it is so many times the least that it was, and larger than in the beginning; below the
/// other it is back.
const EXPLODES: f64 = 100.0;
const IS_CALM: f64 = 10.0;

/// Units are dead that give nothing in so many epochs in a row, if they are this share of their layer's; below the other they are
/// back.
const DEAD_EPOCHS: u32 = 3;
const DEAD: f64 = 0.25;
const ALIVE: f64 = 0.125;

/// Epochs in a row in which so many units of a layer gave nothing, and whether that was told.
#[derive(Clone, Debug, Default)]
struct Silence {
    epochs: u32,
    is_told: bool,
}

/// See the file's text.
#[derive(Clone, Debug)]
pub(crate) struct GradientBook {
    steps: Vec<u64>,
    layers: Vec<Layer>,
    /// Every so many measures are kept, and the last.
    every: u64,
    /// How many there were.
    measures: u64,
    all: All,
    /// By layer.
    silence: BTreeMap<String, Silence>,
}

#[derive(Clone, Debug, Default)]
struct Layer {
    name: String,
    norms: Vec<f64>,
    /// The norms of the last measures.
    recent: Recent,
    is_vanishing: bool,
}

impl Layer {
    /// Beside the layer with the largest gradient.
    fn vanishing(&mut self, (other, most): &(String, f64)) -> Option<String> {
        let share = self.recent.median()? / most;
        let was = self.is_vanishing;
        self.is_vanishing = share < if was { IS_BACK } else { VANISHES };
        (self.is_vanishing && !was).then(|| {
            format!(
                "the gradient of {} vanishes: its norm is {share:.1e} of that of {other}, so that it hardly learns; another activation \
                 (relu, gelu), layer_norm, batch_norm or residual blocks help",
                self.name
            )
        })
    }
}

/// The gradient of all layers together.
#[derive(Clone, Debug, Default)]
struct All {
    recent: Recent,
    /// The first median.
    first: Option<f64>,
    /// The least so far.
    least: Option<f64>,
    is_exploding: bool,
}

impl All {
    fn exploding(&mut self, (largest, _): &(String, f64)) -> Option<String> {
        let now = self.recent.median()?;
        let first = *self.first.get_or_insert(now);
        let least = *self.least.get_or_insert(now);
        self.least = Some(least.min(now));
        let was = self.is_exploding;
        let times: f64 = if was { IS_CALM } else { EXPLODES };
        self.is_exploding = now > times * least && now > first * times.sqrt();
        (self.is_exploding && !was).then(|| {
            format!(
                "the gradient explodes: its norm was {least:.2e} and is {now:.2e}, most of it in {largest}; gradient_clip_norm or a lower \
                 learning rate keep it from that"
            )
        })
    }
}

impl Default for GradientBook {
    fn default() -> Self {
        GradientBook {
            steps: Vec::new(),
            layers: Vec::new(),
            every: 1,
            measures: 0,
            all: All::default(),
            silence: BTreeMap::new(),
        }
    }
}

impl GradientBook {
    /// The norms of a step, by layer: what there is to warn of now that was not before.
    pub(crate) fn add(&mut self, step: u64, norms: Vec<(String, Option<f64>)>) -> Vec<String> {
        if self.layers.is_empty() {
            let of = |(name, _): &(String, _)| Layer { name: name.clone(), ..Layer::default() };
            self.layers = norms.iter().take(LAYERS_MAX).map(of).collect();
        }
        // The last is always there; of those before it, every so many.
        if self.measures > 0 && !(self.measures - 1).is_multiple_of(self.every) {
            self.steps.pop();
            for layer in &mut self.layers {
                layer.norms.pop();
            }
        }
        if self.steps.len() == PLACES_MAX {
            self.every *= 2;
            keep_every_other(&mut self.steps);
            self.layers.iter_mut().for_each(|layer| keep_every_other(&mut layer.norms));
        }
        self.measures += 1;
        self.steps.push(step);
        let norm = |place: usize| norms.get(place).and_then(|(_, norm)| *norm).unwrap_or(f64::NAN);
        for (place, layer) in self.layers.iter_mut().enumerate() {
            layer.norms.push(norm(place));
            layer.recent.see(norm(place));
        }
        let squares = (0..norms.len()).map(|place| norm(place) * norm(place));
        self.all.recent.see(squares.sum::<f64>().sqrt());
        self.warnings()
    }

    fn warnings(&mut self) -> Vec<String> {
        let medians = self.layers.iter().filter_map(|layer| Some((layer, layer.recent.median()?)));
        let largest = medians.max_by(|(_, one), (_, other)| one.total_cmp(other));
        // Where all are 0 there is nothing left to learn.
        let Some((layer, most)) = largest.filter(|&(_, most)| most > 0.0 && most.is_finite())
        else {
            return Vec::new();
        };
        let largest = (layer.name.clone(), most);
        let vanishing = self.layers.iter_mut().filter_map(|layer| layer.vanishing(&largest));
        vanishing.chain(self.all.exploding(&largest)).collect()
    }

    /// The units of each layer that gave nothing in an epoch, and all: what there is to warn of now that was not before.
    pub(crate) fn silent(&mut self, silent: &[(String, [u64; 2])]) -> Vec<String> {
        // Where no layer has a gradient there is nothing left to learn, and a unit without one may well be alive.
        let is_still = |layer: &Layer| layer.norms.last() == Some(&0.0);
        if !self.layers.is_empty() && self.layers.iter().all(is_still) {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for (name, [silent, of]) in silent.iter().take(LAYERS_MAX) {
            let share = *silent as f64 / (*of).max(1) as f64;
            let seen = self.silence.entry(name.clone()).or_default();
            seen.epochs = if share >= DEAD { seen.epochs.saturating_add(1) } else { 0 };
            seen.is_told &= share >= ALIVE;
            if seen.epochs >= DEAD_EPOCHS && !seen.is_told {
                seen.is_told = true;
                warnings.push(format!(
                    "{silent} of {of} units of {name} are dead: they gave 0 for every row in each of the last {DEAD_EPOCHS} epochs, and \
                     learn nothing; a lower learning rate, leaky_relu or gelu keep units alive"
                ));
            }
        }
        warnings
    }

    /// As it is shown.
    pub(crate) fn value(&self) -> Gradients {
        let layer = |layer: &Layer| LayerGradient {
            name: layer.name.clone(),
            norm: layer.norms.iter().map(|&norm| finite(norm)).collect(),
        };
        Gradients { step: self.steps.clone(), layers: self.layers.iter().map(layer).collect() }
    }
}

fn keep_every_other<T>(values: &mut Vec<T>) {
    let mut place = 0;
    values.retain(|_| {
        place += 1;
        place % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In which measures what is warned of, of two layers.
    fn warned(norms: impl IntoIterator<Item = [f64; 2]>) -> Vec<(u64, String)> {
        let (mut book, mut found) = (GradientBook::default(), Vec::new());
        for (place, [one, two]) in norms.into_iter().enumerate() {
            let step = place as u64 + 1;
            let norms =
                vec![("layer 0".to_string(), Some(one)), ("layer 1".to_string(), Some(two))];
            for text in book.add(step, norms) {
                found.push((step, text.split(':').next().unwrap_or_default().to_string()));
            }
        }
        found
    }

    #[test]
    fn what_learns_is_left_alone() {
        let falls = (0..400).map(|at| [0.97f64.powi(at), 3.0 * 0.96f64.powi(at)]);
        assert_eq!(warned(falls), []);
        // Noise, odd steps, and nothing left to learn.
        let noisy = (0..100).map(|at| [if at % 7 == 6 { 0.0 } else { 1.0 }, f64::from(1 + at % 9)]);
        assert_eq!(warned(noisy), []);
        assert_eq!(warned([[0.0, 0.0]; 50]), []);
    }

    #[test]
    fn a_gradient_that_vanishes_is_told_once_and_again_after_it_was_back() {
        let name = "the gradient of layer 0 vanishes".to_string();
        assert_eq!(warned([[1e-6, 1.0]; 60]), [(5, name.clone())]);
        let again = [[1e-6, 1.0]; 10].into_iter().chain([[0.1, 1.0]; 10]).chain([[0.0, 1.0]; 10]);
        assert_eq!(warned(again), [(5, name.clone()), (23, name)]);
        // On the border it does not flap.
        let border = (0..200).map(|at| [1e-4 * if at % 10 < 5 { 0.9 } else { 1.1 }, 1.0]);
        assert!(warned(border).len() <= 1);
    }

    #[test]
    fn a_gradient_that_explodes() {
        let found = warned((0..60).map(|at| match at {
            0..20 => [1.0, 0.1],
            _ => [1.0, 0.1 * 2f64.powi(at - 20)],
        }));
        assert_eq!(found[0], (33, "the gradient explodes".to_string()), "{found:?}");
        // One that was as large in the beginning is back, no more.
        let back =
            (0..60).map(|at| if (20..40).contains(&at) { [0.001, 0.001] } else { [1.0, 1.0] });
        assert_eq!(warned(back), []);
    }

    #[test]
    fn places_are_bounded_and_the_last_is_there() {
        let mut book = GradientBook::default();
        for step in 1..=10_000 {
            book.add(step, vec![("layer 0".to_string(), Some(step as f64))]);
        }
        let Gradients { step, layers } = book.value();
        assert!(step.len() <= PLACES_MAX && step.len() > PLACES_MAX / 2, "{}", step.len());
        assert_eq!((step[0], step.last()), (1, Some(&10_000)));
        assert!(step.windows(2).all(|pair| pair[0] < pair[1]));
        let norms: Vec<_> = step.iter().map(|&step| Some(step as f64)).collect();
        assert_eq!(layers[0].norm, norms);
    }

    #[test]
    fn numbers_that_are_none_are_passed_over() {
        let mut book = GradientBook::default();
        for step in 1..20 {
            let warned = book.add(step, vec![("a".to_string(), None), ("b".to_string(), None)]);
            assert_eq!(warned, [""; 0]);
        }
        assert_eq!(book.value().layers[1].norm[0], None);
    }

    #[test]
    fn units_that_are_dead_are_told_once_and_again_after_they_were_back() {
        let mut book = GradientBook::default();
        let mut told = |silent: &[u64]| -> usize {
            let one = |&silent: &u64| {
                let of = [("layer 0".to_string(), [silent, 16]), ("layer 1".to_string(), [0, 8])];
                book.silent(&of).len()
            };
            silent.iter().map(one).sum()
        };
        assert_eq!(told(&[0, 9, 9, 0, 3, 3, 3, 3]), 0);
        assert_eq!(told(&[4, 4]), 0);
        assert_eq!(told(&[4]), 1);
        assert_eq!(told(&[4, 3, 4, 5, 6, 7, 8]), 0);
        assert_eq!(told(&[1, 8, 8]), 0);
        assert_eq!(told(&[8]), 1);
        // Nothing is left to learn.
        let mut book = GradientBook::default();
        book.add(1, vec![("layer 0".to_string(), Some(0.0))]);
        let all = [("layer 0".to_string(), [4, 4])];
        assert!((0..9).all(|_| book.silent(&all).is_empty()));
    }
}
