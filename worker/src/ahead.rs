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

    /// More of the weights is here: the thread is woken if it can go on.
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
