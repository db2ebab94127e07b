//! Which deal is computed next and on which weights, which is too late, and what is run ahead meanwhile.

use std::time::{Duration, Instant};

use lockstep_proto::frame::{Deal, Done, FromWorker, ResultPart};
use lockstep_proto::ids::{Step, Table, Task};

use super::{Core, Job, Output};
use crate::WorkerError;
use crate::ahead::{Running, ahead};
use crate::compute::{Compute, SpanBatch, Work};
use crate::weights::Found;

impl Core {
    /// The weights that a step computes on.
    fn version(&self, step: Step) -> Step {
        Step(step.0 / self.steps_per_update)
    }

    /// What computes is back.
    pub(super) fn returned(&mut self, compute: Box<Compute>, waits: Option<Box<Running>>) {
        self.compute = Some(compute);
        let Some(mut running) = waits else { return };
        match &mut self.ahead {
            Some(ahead) => ahead.rest(running),
            // It was dealt after it had looked for the last time, or let go.
            None => self.dealt_ahead = running.is_dealt().then_some(running),
        }
    }

    /// Begins the next deal, if its weights are here. One that came too late is dropped: others have done it. Without any,
    /// the next batch is run forward.
    pub(super) fn work(&mut self, now: Instant) -> Result<Option<Output>, WorkerError> {
        if self.compute.is_some()
            && let Some(running) = self.dealt_ahead.take()
        {
            return Ok(self.start_ahead(running));
        }
        let Some(&deal) = self.deals.front() else { return Ok(self.run_ahead()) };
        let batch = SpanBatch::of(&deal);
        // What is dealt was not guessed.
        self.ahead.take_if(|ahead| !batch.is_some_and(|batch| ahead.is_for(batch)));
        if self.compute.is_none() && self.ahead.is_none() {
            return Ok(None);
        }
        let weights = match self.weights.at(self.version(deal.step)) {
            Found::Here(weights) => weights,
            Found::Coming => return Ok(self.run_ahead()),
            Found::Gone => {
                self.deals.pop_front();
                return Ok(Some(Output::Say(dropped(&deal))));
            }
        };
        let table = table_of(&deal);
        let Some(shards) = self.shards.here(table, deal.span) else {
            let missing = self.shards.missing_of(table, deal.span);
            let (table, shard) = missing.expect("not all are here");
            return self.fetch(now, table, shard).map(Some);
        };
        self.deals.pop_front();
        match self.start(Work { deal, weights, shards }) {
            Some(job) => Ok(Some(job)),
            // Whoever runs it ahead was told.
            None => self.work(now),
        }
    }

    /// Begins a deal; `None` if it is run ahead at the moment.
    fn start(&mut self, work: Work) -> Option<Output> {
        self.has_worked = true;
        let guess = SpanBatch::of(&work.deal)
            .and_then(|batch| batch.next(self.limits.batches, self.epochs_are_measured));
        if let Some(ahead) = self.ahead.take() {
            self.next = guess;
            let running = ahead.deal(work)?;
            return self.start_ahead(running);
        }
        let compute = self.take_compute()?;
        let is_small = compute.flops(&work.deal, &work.shards) < self.small_flops_max;
        self.next = guess.filter(|_| !is_small);
        let outlet = self.outlet.clone();
        Some(Output::Start(Job::deal(compute, work, outlet, is_small)))
    }

    /// Runs the batch that is likely to be dealt next forward, as far as its weights are here.
    fn run_ahead(&mut self) -> Option<Output> {
        if let Some(ahead) = &mut self.ahead {
            let running = ahead.wake()?;
            return self.start_ahead(running);
        }
        if !self.deals.is_empty() {
            return None;
        }
        let batch = self.next.take_if(|_| self.compute.is_some())?;
        let weights = self.weights.ahead(self.version(batch.step))?;
        // A guess is worth no rows: those that are not here were let go.
        let shards = self.shards.here(Table::Train, batch.span)?;
        let (ahead, running) = ahead(batch, weights, shards);
        self.ahead = Some(ahead);
        self.start_ahead(running)
    }

    fn start_ahead(&mut self, running: Box<Running>) -> Option<Output> {
        let compute = self.take_compute()?;
        Some(Output::Start(Job::ahead(compute, running, self.outlet.clone())))
    }

    /// What computes, if it is here. It knows orders of kept shards alone.
    fn take_compute(&mut self) -> Option<Box<Compute>> {
        let mut compute = self.compute.take()?;
        if std::mem::take(&mut self.has_forgotten) {
            compute.forget_orders(|shard| self.shards.is_kept(Table::Train, shard));
        }
        Some(compute)
    }
}

pub(super) fn table_of(deal: &Deal) -> Table {
    match deal.task {
        Task::Train { .. } => Table::Train,
        Task::Evaluate { table } => table,
    }
}

/// The answer to a deal whose weights are gone.
fn dropped(deal: &Deal) -> FromWorker {
    let done = Some(Done { span: deal.span, busy: Duration::ZERO });
    FromWorker::Part(ResultPart { pass: deal.pass, slices: Vec::new(), sums: Vec::new(), done })
}
