//! The next batch, run forward before it is dealt: layer by layer, as its weights come in.
//!
//! A guess, which costs nothing but idle time: a deal that turns out to be another is computed as if nothing had been. Whoever
//! runs forward never waits: it goes as far as weights are here, and says where it stopped. It sees by itself what comes
//! meanwhile, the deal included; letting go of the [`Ahead`] ends it before its next layer. Knows no threads and no clock.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use lockstep_proto::ids::Shard;

use crate::compute::{Compute, SpanBatch, Work};
use crate::shards::Rows;
use crate::weights::Version;

/// The end that knows what comes.
#[derive(Debug)]
pub(crate) struct Ahead {
    batch: SpanBatch,
    deal: SyncSender<Work>,
    /// The other end, while nobody runs it.
    resting: Option<Box<Running>>,
}

/// The end that computes.
#[derive(Debug)]
pub(crate) struct Running {
    batch: SpanBatch,
    weights: Arc<Version>,
    shards: Vec<(Shard, Rows)>,
    deals: Receiver<Work>,
    dealt: Option<Work>,
    /// The layer that is run next; `None` until the rows are gathered.
    layer: Option<usize>,
    busy: Duration,
}

/// How far a batch was run.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It was dealt, and has run through all layers.
    Dealt(Work),
    /// Its next weights are not here, or it was not dealt yet.
    Waits(Box<Running>),
    /// It was let go.
    LetGo,
}

/// Both ends.
pub(crate) fn ahead(
    batch: SpanBatch,
    weights: Arc<Version>,
    shards: Vec<(Shard, Rows)>,
) -> (Ahead, Box<Running>) {
    // Never full: there is one deal.
    let (deal, deals) = sync_channel(1);
    let (dealt, layer, busy) = (None, None, Duration::ZERO);
    let running = Running { batch, weights, shards, deals, dealt, layer, busy };
    (Ahead { batch, deal, resting: None }, Box::new(running))
}

impl Ahead {
    pub(crate) fn is_for(&self, batch: SpanBatch) -> bool {
        self.batch == batch
    }

    /// Keeps the other end, which waits.
    pub(crate) fn rest(&mut self, running: Box<Running>) {
        self.resting = Some(running);
    }

    /// The other end, if it waits and could go on: more of its weights are here.
    pub(crate) fn wake(&mut self) -> Option<Box<Running>> {
        self.resting.take_if(|running| running.can_go_on())
    }

    /// The batch was dealt, and its weights are whole. Gives back the other end if nobody runs it.
    pub(crate) fn deal(self, work: Work) -> Option<Box<Running>> {
        let _ = self.deal.try_send(work);
        self.resting
    }
}

impl Running {
    /// Whether the batch was dealt by now.
    pub(crate) fn is_dealt(&mut self) -> bool {
        self.hear();
        self.dealt.is_some()
    }

    fn can_go_on(&self) -> bool {
        self.layer.is_none_or(|layer| self.weights.layer(layer).is_some())
    }

    /// Runs forward as far as that can be.
    pub(crate) fn run(
        mut self: Box<Self>,
        compute: &mut Compute,
        now: &dyn Fn() -> Instant,
    ) -> Ran {
        let started = now();
        if self.layer.is_none() {
            compute.gather(self.batch, &self.shards);
            self.layer = Some(0);
        }
        let layers = self.weights.layers();
        while let Some(layer) = self.layer.filter(|&layer| layer < layers) {
            if !self.hear() {
                return Ran::LetGo;
            }
            let weights = self.dealt.as_ref().map_or(&self.weights, |work| &work.weights);
            let Some(values) = weights.layer(layer) else { break };
            compute.forward(layer, values);
            self.layer = Some(layer + 1);
        }
        self.busy += now().saturating_duration_since(started);
        let is_wanted = self.hear();
        if self.layer == Some(layers)
            && let Some(work) = self.dealt.take()
        {
            compute.note_forward(self.batch, self.busy);
            return Ran::Dealt(work);
        }
        if is_wanted { Ran::Waits(self) } else { Ran::LetGo }
    }

    /// Takes in the deal, if it came. False if there will be none.
    fn hear(&mut self) -> bool {
        if self.dealt.is_none() {
            match self.deals.try_recv() {
                Ok(work) => self.dealt = Some(work),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
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
            image: None,
            embeddings: Vec::new(),
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
        Compute::new(network(), ShardTree::new(2), order, frames, false)
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
        let mut after = compute();
        let Ran::Waits(running) = running.run(&mut after, &Instant::now) else {
            panic!("no weights")
        };
        told.rest(running);
        receive(&mut weights, Step(1), 1..2);
        assert!(told.wake().is_none(), "the first dense layer is missing");
        receive(&mut weights, Step(1), 0..1);
        let running = told.wake().expect("all is here");
        let Ran::Waits(mut running) = running.run(&mut after, &Instant::now) else {
            panic!("no deal")
        };
        assert!(!running.is_dealt());
        assert!(told.is_for(batch));
        assert!(told.deal(work(&weights, 1)).is_none(), "it does not rest");
        assert!(running.is_dealt());
        let Ran::Dealt(dealt) = running.run(&mut after, &Instant::now) else { panic!("a deal") };
        let ran_ahead = results(&mut after, &dealt);
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
        let mut after = compute();
        // The weights that it waits for never come.
        let Ran::Waits(running) = running.run(&mut after, &Instant::now) else {
            panic!("no weights")
        };
        drop(told);
        assert!(matches!(running.run(&mut after, &Instant::now), Ran::LetGo));
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
