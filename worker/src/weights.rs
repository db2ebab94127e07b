//! A worker's two weight buffers: step t's stay until the first chunk of step t + 2 comes.
//!
//! All of t + 1 may be there before the pass on t is over, since loss sums may still be missing: a lost worker's
//! span can then be dealt again on t. A chunk of t + 2 says that the pass is over.

use std::sync::Arc;

use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::layout::Layout;

/// The newest whole weights, and the ones that are coming in or, before that, the ones they replaced.
#[derive(Debug)]
pub(crate) struct Weights {
    layout: Arc<Layout>,
    whole: Option<(Step, Arc<Vec<f32>>)>,
    before: Option<(Step, Arc<Vec<f32>>)>,
    /// Empty from the end of one version to the start of the next.
    coming: Vec<f32>,
    coming_step: Step,
    /// By chunk, for the weights that are coming in.
    here: Vec<bool>,
}

/// Whether weights of a step can be had.
#[derive(Debug)]
pub(crate) enum Version {
    /// They are whole.
    Here(Arc<Vec<f32>>),
    /// They are not whole yet.
    Coming,
    /// They have been replaced: whoever asked is late.
    Gone,
}

impl Weights {
    pub(crate) fn new(layout: Arc<Layout>) -> Weights {
        let (coming, here) = (vec![0.0; layout.len()], vec![false; layout.chunks().len()]);
        let coming_step = Step(0);
        Weights { layout, whole: None, before: None, coming, coming_step, here }
    }

    pub(crate) fn at(&self, step: Step) -> Version {
        let kept = || self.whole.iter().chain(&self.before);
        match kept().find(|(version, _)| *version == step) {
            Some((_, weights)) => Version::Here(weights.clone()),
            None if kept().any(|(version, _)| *version > step) => Version::Gone,
            None => Version::Coming,
        }
    }

    /// Takes in one chunk, which `fill` copies; it says false if the chunk is no longer there, since newer ones are on
    /// their way. Chunks of an older step than is coming in change nothing.
    pub(crate) fn receive(
        &mut self,
        step: Step,
        chunk: Chunk,
        fill: impl FnOnce(&mut [f32]) -> bool,
    ) {
        let known = self.whole.as_ref().is_some_and(|(whole, _)| *whole >= step);
        if known || step < self.coming_step {
            return;
        }
        if step > self.coming_step {
            self.coming_step = step;
            self.here.fill(false);
            if self.coming.is_empty() {
                let spare = self.before.take().and_then(|(_, old)| Arc::try_unwrap(old).ok());
                self.coming = spare.unwrap_or_else(|| vec![0.0; self.layout.len()]);
            }
        }
        let place = chunk.0 as usize;
        let range = self.layout.chunks()[place].range.clone();
        self.here[place] = fill(&mut self.coming[range]);
        if self.here.iter().all(|&here| here) {
            self.swap();
        }
    }

    fn swap(&mut self) {
        let coming = std::mem::take(&mut self.coming);
        self.before = self.whole.replace((self.coming_step, Arc::new(coming)));
        self.here.fill(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::layout::DenseShape;

    fn weights() -> Weights {
        // Two chunks: 200 x 100 does not share one with the small layer behind it.
        let shape = |inputs, units| DenseShape { inputs, units, bias: false };
        let layout = Layout::new(&[shape(200, 100), shape(100, 1)]);
        assert_eq!(layout.chunks().len(), 2);
        Weights::new(Arc::new(layout))
    }

    fn all(value: f32) -> impl FnOnce(&mut [f32]) -> bool {
        move |into| {
            into.fill(value);
            true
        }
    }

    #[test]
    fn old_weights_stay_until_the_new_ones_are_whole() {
        let mut weights = weights();
        assert!(matches!(weights.at(Step(0)), Version::Coming));
        weights.receive(Step(0), Chunk(0), all(1.0));
        weights.receive(Step(0), Chunk(1), all(1.0));
        weights.receive(Step(1), Chunk(1), all(2.0));
        assert!(matches!(weights.at(Step(0)), Version::Here(w) if w.iter().all(|&v| v == 1.0)));
        assert!(matches!(weights.at(Step(1)), Version::Coming));
        weights.receive(Step(1), Chunk(0), all(2.0));
        assert!(matches!(weights.at(Step(1)), Version::Here(w) if w.iter().all(|&v| v == 2.0)));
        assert!(matches!(weights.at(Step(0)), Version::Here(w) if w.iter().all(|&v| v == 1.0)));
        weights.receive(Step(2), Chunk(1), all(3.0));
        assert!(matches!(weights.at(Step(1)), Version::Here(_)));
        assert!(matches!(weights.at(Step(0)), Version::Gone));
    }

    #[test]
    fn a_step_that_was_skipped_leaves_nothing_behind() {
        let mut weights = weights();
        weights.receive(Step(3), Chunk(0), all(3.0));
        weights.receive(Step(4), Chunk(1), all(4.0));
        weights.receive(Step(3), Chunk(1), all(3.0));
        assert!(matches!(weights.at(Step(4)), Version::Coming));
        weights.receive(Step(4), Chunk(0), all(4.0));
        assert!(matches!(weights.at(Step(4)), Version::Here(w) if w.iter().all(|&v| v == 4.0)));
    }

    #[test]
    fn a_chunk_that_is_no_longer_there() {
        let mut weights = weights();
        weights.receive(Step(1), Chunk(0), |_| false);
        weights.receive(Step(1), Chunk(1), all(1.0));
        assert!(matches!(weights.at(Step(1)), Version::Coming));
        weights.receive(Step(3), Chunk(0), all(3.0));
        weights.receive(Step(3), Chunk(1), all(3.0));
        assert!(matches!(weights.at(Step(3)), Version::Here(w) if w.iter().all(|&v| v == 3.0)));
        assert!(matches!(weights.at(Step(1)), Version::Gone));
    }
}
