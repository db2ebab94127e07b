//! A worker's weights: step t's stay until the first chunk of step t + 2 comes.
//!
//! All of t + 1 may be there before the pass on t is over, since loss sums may still be missing: a lost worker's
//! span can then be dealt again on t. A chunk of t + 2 says that the pass is over. A layer can be read as soon as all of its
//! chunks are here, while others still come in. Those of frozen layers come once, and are of every step.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use lockstep_model::Parameters;
use lockstep_proto::buffer::Buffer;
use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::layout::Layout;
use lockstep_proto::values::Precision;

/// The weights of one step, layer by layer as they come in.
#[derive(Debug)]
pub(crate) struct Version {
    step: Step,
    layers: Vec<OnceLock<Vec<f32>>>,
    /// The layers that are the same at every step.
    frozen: Frozen,
}

/// By layer: its values, if they never change and are here.
type Frozen = Arc<Vec<OnceLock<Vec<f32>>>>;

impl Version {
    /// Layers without tensors have nothing to wait for.
    fn new(step: Step, layout: &Layout, frozen: &Frozen) -> Version {
        let is_here = |layer: &Range<usize>| layer.is_empty();
        let layer = |layer| if is_here(layer) { Vec::new().into() } else { OnceLock::new() };
        let layers = layout.layers().iter().map(layer).collect();
        Version { step, layers, frozen: frozen.clone() }
    }

    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// A layer's values, once they are here, if there is such a layer.
    pub(crate) fn layer(&self, layer: usize) -> Option<&[f32]> {
        let here = self.layers.get(layer)?.get().or_else(|| self.frozen.get(layer)?.get());
        here.map(Vec::as_slice)
    }

    /// A chunk of whole weights as a frame.
    pub(crate) fn frame(&self, layout: &Layout, chunk: Chunk, precision: Precision) -> Buffer {
        let chunk = &layout.chunks()[chunk.0 as usize];
        let mut frame = Buffer::new(chunk.range.len() * precision.width());
        for layer in chunk.layers.clone() {
            let own = &layout.layers()[layer];
            let [start, end] = [chunk.range.start.max(own.start), chunk.range.end.min(own.end)];
            let values =
                &self.layer(layer).expect("whole weights")[start - own.start..end - own.start];
            let [start, end] =
                [start, end].map(|place| (place - chunk.range.start) * precision.width());
            precision.encode_into(values, &mut frame[start..end]);
        }
        frame
    }
}

/// Of whole weights.
impl Parameters for Version {
    fn layer(&self, _: &Layout, layer: usize) -> &[f32] {
        self.layer(layer).expect("nothing is computed on weights that are not here")
    }
}

/// The newest whole weights, the ones that they replaced, and the ones that are coming in.
#[derive(Debug)]
pub(crate) struct Weights {
    layout: Arc<Layout>,
    whole: Option<Arc<Version>>,
    before: Option<Arc<Version>>,
    /// The same as the whole ones from the end of one version to the start of the next.
    coming: Arc<Version>,
    frozen: Frozen,
    /// By chunk of what is coming in.
    here: Vec<bool>,
    /// By layer of what is coming in: its values, if some but not all are here. Otherwise memory for them, or nothing.
    filling: Vec<Vec<f32>>,
    /// The values of a chunk that holds several layers.
    chunk: Vec<f32>,
}

/// Whether weights of a step can be had.
#[derive(Debug)]
pub(crate) enum Found {
    /// They are whole.
    Here(Arc<Version>),
    /// They are not whole yet.
    Coming,
    /// They have been replaced: whoever asked is late.
    Gone,
}

impl Weights {
    pub(crate) fn new(layout: Arc<Layout>) -> Weights {
        let frozen = Arc::new(layout.layers().iter().map(|_| OnceLock::new()).collect());
        Weights {
            whole: None,
            before: None,
            coming: Arc::new(Version::new(Step(0), &layout, &frozen)),
            frozen,
            here: vec![false; layout.chunks().len()],
            filling: vec![Vec::new(); layout.layers().len()],
            chunk: Vec::new(),
            layout,
        }
    }

    pub(crate) fn at(&self, step: Step) -> Found {
        let kept = || self.whole.iter().chain(&self.before);
        match kept().find(|version| version.step == step) {
            Some(version) => Found::Here(version.clone()),
            None if kept().any(|version| version.step > step) => Found::Gone,
            None => Found::Coming,
        }
    }

    /// The weights of a step, to be read layer by layer as they come in; `None` if newer ones are coming in by now.
    pub(crate) fn ahead(&mut self, step: Step) -> Option<Arc<Version>> {
        if step > self.coming.step {
            self.begin(step);
        }
        (step == self.coming.step).then(|| self.coming.clone())
    }

    /// Takes in one chunk, which `fill` copies; it says false if the chunk is no longer there, since newer ones are on
    /// their way. Chunks of an older step than is coming in change nothing, unless they are of layers that never change.
    pub(crate) fn receive(
        &mut self,
        step: Step,
        chunk: Chunk,
        fill: impl FnOnce(&mut [f32]) -> bool,
    ) {
        let place = chunk.0 as usize;
        if !self.layout.chunks()[place].is_frozen {
            let known = self.whole.as_ref().is_some_and(|whole| whole.step >= step);
            if known || step < self.coming.step {
                return;
            }
            if step > self.coming.step {
                self.begin(step);
            }
            if let Some(before) = self.before.take() {
                self.reuse(before);
            }
        }
        if self.here[place] || !self.fill(place, fill) {
            return;
        }
        self.here[place] = true;
        self.hand_out(place);
        let is_whole = self.whole.as_ref().is_some_and(|whole| Arc::ptr_eq(whole, &self.coming));
        if self.here.iter().all(|&here| here) && !is_whole {
            self.before = self.whole.replace(self.coming.clone());
        }
    }

    /// Values in memory.
    pub(crate) fn values(&self) -> usize {
        let mut versions = vec![&self.coming];
        versions.extend(self.whole.iter().chain(&self.before));
        versions.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let here = versions.iter().flat_map(|version| &version.layers).chain(&*self.frozen);
        let here = here.filter_map(OnceLock::get);
        let filling = self.filling.iter().chain([&self.chunk]);
        here.chain(filling).map(Vec::len).sum()
    }

    fn begin(&mut self, step: Step) {
        let version = Arc::new(Version::new(step, &self.layout, &self.frozen));
        let abandoned = std::mem::replace(&mut self.coming, version);
        for (here, chunk) in self.here.iter_mut().zip(self.layout.chunks()) {
            *here &= chunk.is_frozen;
        }
        self.reuse(abandoned);
    }

    /// Takes the memory of weights that nobody reads any more.
    fn reuse(&mut self, version: Arc<Version>) {
        let Ok(version) = Arc::try_unwrap(version) else { return };
        for (values, old) in self.filling.iter_mut().zip(version.layers) {
            if let Some(old) = old.into_inner().filter(|_| values.is_empty()) {
                *values = old;
            }
        }
    }

    /// Copies a chunk to where its layers' values gather.
    fn fill(&mut self, place: usize, fill: impl FnOnce(&mut [f32]) -> bool) -> bool {
        let (chunk, layers) = (&self.layout.chunks()[place], self.layout.layers());
        for layer in chunk.layers.clone() {
            self.filling[layer].resize(layers[layer].len(), 0.0);
        }
        let first = chunk.layers.start;
        if chunk.layers.len() == 1 {
            let start = chunk.range.start - layers[first].start;
            return fill(&mut self.filling[first][start..start + chunk.range.len()]);
        }
        self.chunk.resize(chunk.range.len(), 0.0);
        let is_there = fill(&mut self.chunk);
        let mut rest = &self.chunk[..];
        for values in &mut self.filling[chunk.layers.clone()] {
            let (own, after) = rest.split_at(values.len());
            values.copy_from_slice(own);
            rest = after;
        }
        is_there
    }

    /// Hands out the layers of a chunk of which all is here, if any.
    fn hand_out(&mut self, place: usize) {
        for layer in self.layout.chunks()[place].layers.clone() {
            if self.here[self.layout.chunks_of(layer)].iter().all(|&here| here) {
                let values = std::mem::take(&mut self.filling[layer]);
                let layers = match self.layout.is_frozen(layer) {
                    true => &self.frozen,
                    false => &self.coming.layers,
                };
                layers[layer].get_or_init(|| values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::layout::TensorShape;

    /// Layers of two chunks, one, and one; the last two share theirs.
    fn weights() -> Weights {
        let shape = |inputs: usize, units: usize| [TensorShape::new("kernel", [inputs, units])];
        let layout = Layout::new(&[shape(1000, 100), shape(100, 2), shape(2, 1)]);
        assert_eq!(layout.chunks().len(), 3);
        Weights::new(Arc::new(layout))
    }

    fn all(value: f32) -> impl FnOnce(&mut [f32]) -> bool {
        move |into| {
            into.fill(value);
            true
        }
    }

    fn receive(weights: &mut Weights, step: u64, chunks: &[u32]) {
        for &chunk in chunks {
            weights.receive(Step(step), Chunk(chunk), all(step as f32));
        }
    }

    fn is_here(weights: &Weights, step: u64) -> bool {
        let Found::Here(version) = weights.at(Step(step)) else { return false };
        let (layout, value) = (weights.layout.clone(), step as f32);
        let mut layers = layout.layers().iter().enumerate();
        layers.all(|(layer, range)| version.layer(layer).unwrap() == vec![value; range.len()])
    }

    #[test]
    fn old_weights_stay_until_the_new_ones_are_whole() {
        let mut weights = weights();
        assert!(matches!(weights.at(Step(0)), Found::Coming));
        receive(&mut weights, 0, &[0, 1, 2]);
        receive(&mut weights, 1, &[1, 2, 2]);
        assert!(is_here(&weights, 0));
        assert!(matches!(weights.at(Step(1)), Found::Coming));
        receive(&mut weights, 1, &[0]);
        assert!(is_here(&weights, 0) && is_here(&weights, 1));
        receive(&mut weights, 2, &[1]);
        assert!(is_here(&weights, 1));
        assert!(matches!(weights.at(Step(0)), Found::Gone));
    }

    #[test]
    fn layers_can_be_read_as_they_come() {
        let mut weights = weights();
        let ahead = weights.ahead(Step(1)).unwrap();
        let here = |version: &Version| [0, 1, 2].map(|layer| version.layer(layer).is_some());
        for (chunk, want) in [(0, [false; 3]), (2, [false, true, true]), (1, [true; 3])] {
            receive(&mut weights, 1, &[chunk]);
            assert_eq!(here(&ahead), want);
        }
        assert!(is_here(&weights, 1));
        assert!(weights.ahead(Step(0)).is_none());
        assert_eq!(here(&weights.ahead(Step(1)).unwrap()), [true; 3]);
        assert_eq!(here(&weights.ahead(Step(2)).unwrap()), [false; 3]);
        assert!(is_here(&weights, 1), "waiting for new weights takes none away");
    }

    #[test]
    fn a_step_that_was_skipped_leaves_nothing_behind() {
        let mut weights = weights();
        let ahead = weights.ahead(Step(3)).unwrap();
        receive(&mut weights, 3, &[0, 2]);
        receive(&mut weights, 4, &[1]);
        receive(&mut weights, 3, &[1]);
        assert!(ahead.layer(0).is_none());
        assert!(matches!(weights.at(Step(4)), Found::Coming));
        receive(&mut weights, 4, &[0, 2]);
        assert!(is_here(&weights, 4));
    }

    #[test]
    fn a_chunk_that_is_no_longer_there() {
        let mut weights = weights();
        weights.receive(Step(1), Chunk(0), |_| false);
        receive(&mut weights, 1, &[1, 2]);
        assert!(matches!(weights.at(Step(1)), Found::Coming));
        receive(&mut weights, 3, &[0, 1, 2]);
        assert!(is_here(&weights, 3));
        assert!(matches!(weights.at(Step(1)), Found::Gone));
    }

    /// Also the first layer and the last, and between layers that share a chunk or not.
    #[test]
    fn layers_without_tensors_are_here_at_once() {
        let dense = |inputs: usize, units: usize| vec![TensorShape::new("kernel", [inputs, units])];
        let none = Vec::new;
        let layers =
            [none(), dense(1000, 100), none(), none(), dense(100, 2), none(), dense(2, 1), none()];
        let layout = Layout::new(&layers);
        assert_eq!(layout.chunks().len(), 3);
        let mut weights = Weights::new(Arc::new(layout));
        let ahead = weights.ahead(Step(1)).unwrap();
        let here = |version: &Version| [1, 4, 6].map(|layer| version.layer(layer).is_some());
        for (chunk, want) in [(0, [false; 3]), (2, [false, true, true]), (1, [true; 3])] {
            assert!([0, 2, 3, 5, 7].iter().all(|&layer| ahead.layer(layer) == Some(&[])));
            receive(&mut weights, 1, &[chunk]);
            assert_eq!(here(&ahead), want);
        }
        assert!(is_here(&weights, 1));
        receive(&mut weights, 2, &[0, 1, 2]);
        receive(&mut weights, 3, &[2, 1, 0]);
        assert!(is_here(&weights, 2) && is_here(&weights, 3));
    }

    /// Before, between and after those of a step.
    #[test]
    fn frozen_layers_come_once() {
        for (first, second) in [(0, 0), (0, 7), (7, 0)] {
            let layout = (*weights().layout).clone().freezing(vec![true, false, true]);
            assert_eq!(layout.chunks().len(), 4);
            let mut weights = Weights::new(Arc::new(layout));
            let fill = |weights: &mut Weights, step, chunk, value| {
                weights.receive(Step(step), Chunk(chunk), all(value));
            };
            if first == 0 {
                fill(&mut weights, 0, 0, 0.5);
            }
            fill(&mut weights, 3, 2, 3.0);
            fill(&mut weights, second, 3, 0.25);
            fill(&mut weights, 0, 1, 0.5);
            fill(&mut weights, first, 0, 0.5);
            fill(&mut weights, 9, 0, 9.0);
            for step in [3, 4, 5] {
                let Found::Here(version) = weights.at(Step(step)) else { panic!("{step}") };
                let found = [0, 1, 2].map(|layer| version.layer(layer).unwrap()[0]);
                assert_eq!(found, [0.5, step as f32, 0.25]);
                assert!(version.layer(0).unwrap().iter().all(|&value| value == 0.5));
                fill(&mut weights, step + 1, 2, (step + 1) as f32);
            }
        }
    }

    #[test]
    fn memory_is_used_again() {
        let mut weights = weights();
        receive(&mut weights, 0, &[0, 1, 2]);
        let place = |weights: &Weights, step| match weights.at(Step(step)) {
            Found::Here(version) => version.layer(0).unwrap().as_ptr(),
            _ => panic!("not whole"),
        };
        let first = place(&weights, 0);
        for step in 1..=4 {
            receive(&mut weights, step, &[0, 1, 2]);
        }
        assert_eq!(place(&weights, 4), first);
    }
}
