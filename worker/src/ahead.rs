//! The next batch, run forward before it is dealt: layer by layer, as its weights come in.
//!
//! A guess, which costs nothing but idle time: a deal that turns out to be another is computed as if nothing had been. The
//! thread that runs forward waits for the weights and then for the deal; letting go of the [`Ahead`] ends both.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use lockstep_proto::ids::Shard;

use crate::compute::{Compute, SpanBatch, Work};
use crate::shards::Rows;
use crate::weights::Version;

/// What the thread is told.
enum Word {
    /// The next layer is here, and maybe others.
    Layers,
    /// The batch was dealt, and its weights are whole.
    Dealt(Work),
}

/// The end that knows what comes.
pub(crate) struct Ahead {
    batch: SpanBatch,
    weights: Arc<Version>,
    /// Layers, from the first on, that were here when the thread was told last.
    told: usize,
    words: SyncSender<Word>,
}

impl Ahead {
    pub(crate) fn is_for(&self, batch: SpanBatch) -> bool {
        self.batch == batch
    }

    /// More of the weights may be here: the thread is woken if it can go on.
    pub(crate) fn look(&mut self) {
        let here = (self.told..).take_while(|&layer| self.weights.layer(layer).is_some()).count();
        if here > 0 {
            self.told += here;
            let _ = self.words.try_send(Word::Layers);
        }
    }

    /// The batch was dealt.
    pub(crate) fn deal(self, work: Work) {
        let _ = self.words.try_send(Word::Dealt(work));
    }
}

/// The end that computes.
pub(crate) struct Running {
    batch: SpanBatch,
    weights: Arc<Version>,
    shards: Vec<(Shard, Rows)>,
    words: Receiver<Word>,
    dealt: Option<Work>,
}

/// Both ends.
pub(crate) fn ahead(
    batch: SpanBatch,
    weights: Arc<Version>,
    shards: Vec<(Shard, Rows)>,
) -> (Ahead, Running) {
    // Never full: each layer comes once, and one deal.
    let (tell, words) = sync_channel(weights.layers() + 1);
    let ahead = Ahead { batch, weights: weights.clone(), told: 0, words: tell };
    (ahead, Running { batch, weights, shards, words, dealt: None })
}

impl Running {
    /// Runs forward as the weights come, and waits for the deal. `None` if there will be none.
    pub(crate) fn run(mut self, compute: &mut Compute) -> Option<Work> {
        let started = Instant::now();
        compute.gather(self.batch, &self.shards);
        let mut busy = started.elapsed();
        for layer in 0..self.weights.layers() {
            busy += self.forward(layer, compute)?;
        }
        while self.dealt.is_none() {
            self.hear(true)?;
        }
        compute.note_forward(self.batch, busy);
        self.dealt
    }

    /// Runs a layer forward when its weights are here; how long that took.
    fn forward(&mut self, layer: usize, compute: &mut Compute) -> Option<Duration> {
        self.hear(false)?;
        while self.dealt.is_none() && self.weights.layer(layer).is_none() {
            self.hear(true)?;
        }
        let weights = self.dealt.as_ref().map_or(&self.weights, |work| &work.weights);
        let started = Instant::now();
        compute.forward(layer, weights.layer(layer)?);
        Some(started.elapsed())
    }

    /// Takes in what was said, or waits for a word. `None` if it was let go.
    fn hear(&mut self, waits: bool) -> Option<()> {
        let gone = |_| TryRecvError::Disconnected;
        let mut next = if waits { self.words.recv().map_err(gone) } else { self.words.try_recv() };
        loop {
            match next {
                Ok(Word::Layers) => {}
                Ok(Word::Dealt(work)) => self.dealt = Some(work),
                Err(TryRecvError::Empty) => return Some(()),
                Err(TryRecvError::Disconnected) => return self.dealt.as_ref().map(|_| ()),
            }
            next = self.words.try_recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Frames;
    use crate::weights::{Found, Weights};
    use lockstep_data::RowOrder;
    use lockstep_model::{Activation, Dense, Dropout, LayerSpec, Loss, Network, NetworkSpec};
    use lockstep_proto::batches::Batches;
    use lockstep_proto::frame::{Deal, FromWorker};
    use lockstep_proto::ids::{Chunk, Pass, Span, Step, Task};
    use lockstep_proto::tree::ShardTree;
    use lockstep_proto::values::Precision;

    const SPAN: Span = Span { start: 0, end: 2 };
    const BATCHES: Batches = Batches { rows: 12, shards: 2, batch_size: 4 };

    fn network() -> Arc<Network> {
        let layers: Vec<LayerSpec> = vec![
            Dropout::new(0.3).into(),
            Dense::new(300).activation(Activation::Tanh).into(),
            Dropout::new(0.5).into(),
            Dense::new(1).into(),
        ];
        let spec = NetworkSpec {
            inputs: 60,
            layers,
            loss: Loss::Mse,
            metrics: Vec::new(),
            units: Vec::new(),
        };
        Arc::new(Network::new(spec).unwrap())
    }

    fn compute() -> Compute {
        let order = RowOrder { batches: BATCHES, shuffle: true, seed: 3 };
        let frames = Frames { precision: Precision::F32, lane: None };
        Compute::new(network(), ShardTree::new(2), order, frames)
    }

    fn shards() -> Vec<(Shard, Rows)> {
        let value = |at: usize| (at * 31 % 97) as f32 / 97.0;
        let rows = |shard: usize| {
            Arc::new((0..6 * 61).map(|at| value(at + 7 * shard)).collect::<Vec<_>>())
        };
        vec![(Shard(0), rows(0)), (Shard(1), rows(1))]
    }

    /// Gives chunks of the weights of a step, the last ones first.
    fn receive(weights: &mut Weights, step: Step, chunks: std::ops::Range<u32>) {
        let network = network();
        let (values, layout) = (network.initial_parameters(step.0), network.layout());
        for chunk in chunks.rev() {
            let range = layout.chunks()[chunk as usize].range.clone();
            weights.receive(step, Chunk(chunk), |into| {
                into.copy_from_slice(&values[range]);
                true
            });
        }
    }

    fn work(weights: &Weights, batch: u64) -> Work {
        let Found::Here(version) = weights.at(Step(batch)) else { panic!("not whole") };
        let task = Task::Train { epoch: 1, batch };
        let deal = Deal { pass: Pass(batch), step: Step(batch), task, span: SPAN };
        Work { deal, weights: version, shards: shards() }
    }

    fn results(compute: &mut Compute, work: &Work) -> Vec<FromWorker> {
        let mut results = Vec::new();
        compute.run(work, &mut |mut result| {
            if let FromWorker::Part(part) = &mut result {
                part.done.iter_mut().for_each(|done| done.busy = Duration::ZERO);
            }
            results.push(result);
        });
        results
    }

    #[test]
    fn what_ran_ahead_gives_the_results_of_what_did_not() {
        let layout = Arc::new(network().layout().clone());
        let chunks = layout.chunks().len() as u32;
        assert_eq!(chunks, 2);
        let mut weights = Weights::new(layout);
        let batch = SpanBatch { step: Step(1), epoch: 1, batch: 1, span: SPAN };
        let (mut told, running) = ahead(batch, weights.ahead(Step(1)).unwrap(), shards());
        let thread = std::thread::spawn(move || {
            let mut compute = compute();
            let work = running.run(&mut compute).expect("it was dealt");
            (results(&mut compute, &work), compute)
        });
        receive(&mut weights, Step(1), 1..2);
        told.look();
        receive(&mut weights, Step(1), 0..1);
        told.look();
        assert!(told.is_for(batch));
        told.deal(work(&weights, 1));
        let (ran_ahead, mut after) = thread.join().unwrap();
        let want = results(&mut compute(), &work(&weights, 1));
        assert_eq!(ran_ahead, want);
        // Nothing of it is left for another deal.
        receive(&mut weights, Step(2), 0..2);
        let next = work(&weights, 2);
        assert_eq!(results(&mut after, &next), results(&mut compute(), &next));
        assert_ne!(results(&mut after, &next), want);
    }

    #[test]
    fn a_wrong_guess_is_let_go_and_changes_nothing() {
        let mut weights = Weights::new(Arc::new(network().layout().clone()));
        receive(&mut weights, Step(1), 0..2);
        let batch = SpanBatch { step: Step(2), epoch: 1, batch: 2, span: SPAN };
        let (told, running) = ahead(batch, weights.ahead(Step(2)).unwrap(), shards());
        let thread = std::thread::spawn(move || {
            let mut compute = compute();
            assert!(running.run(&mut compute).is_none());
            compute
        });
        // The weights that it waits for never come.
        drop(told);
        let mut after = thread.join().unwrap();
        let other = work(&weights, 1);
        assert_eq!(results(&mut after, &other), results(&mut compute(), &other));
    }

    #[test]
    fn the_next_batch_is_guessed() {
        let batch = SpanBatch { step: Step(6), epoch: 1, batch: 1, span: SPAN };
        let next = batch.next(BATCHES, true).unwrap();
        assert_eq!(next, SpanBatch { step: Step(7), epoch: 1, batch: 2, span: SPAN });
        let first = SpanBatch { step: Step(8), epoch: 2, batch: 0, span: SPAN };
        assert_eq!(next.next(BATCHES, false), Some(first));
        assert_eq!(next.next(BATCHES, true), None);
    }
}
