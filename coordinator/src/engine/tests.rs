//! The engine, one decision at a time. Whole runs of it are simulated with all of the core around it.

mod audits;
mod clock;
mod crews;
mod dealing;
mod divergence;
mod late;
mod speeds;
mod sums;
mod verdicts;
mod waits;

use std::time::{Duration, Instant};

use lockstep_proto::batches::Batches;
use lockstep_proto::frame::{Deal, Done};
use lockstep_proto::ids::{Chunk, Span, WorkerId};
use lockstep_proto::tree::ShardTree;

use super::{Action, Answered, Engine, Event, Schedule, Track, Verdict};

const CHUNKS: usize = 2;
const TRACKS: [Track; 1 + CHUNKS] = [Track::Sums, Track::Chunk(Chunk(0)), Track::Chunk(Chunk(1))];

/// An engine and the clock that it is shown.
struct Bench {
    engine: Engine,
    started: Instant,
    now: Instant,
    /// Dealt and not answered.
    outstanding: Vec<(WorkerId, Deal)>,
}

impl Bench {
    fn new(schedule: Schedule, workers_min: usize) -> Bench {
        let now = Instant::now();
        let engine = Engine::new(now, schedule, CHUNKS, workers_min);
        Bench { engine, started: now, now, outstanding: Vec::new() }
    }

    /// Workers 1 to `workers` are there and prepared, and one is enough to go on.
    fn with_workers(schedule: Schedule, workers: u64) -> Bench {
        Bench::new(schedule, 1).gather(workers)
    }

    fn gather(mut self, workers: u64) -> Bench {
        self.engine = self.engine.starting_with(workers as usize);
        for worker in 1..=workers {
            self.joined(worker);
        }
        for worker in 1..=workers {
            self.prepared(worker);
        }
        self
    }

    fn event(&mut self, event: Event) {
        if let Event::Left(worker) = event {
            self.outstanding.retain(|(owing, _)| *owing != worker);
        }
        self.engine.handle(self.now, event);
    }

    fn joined(&mut self, worker: u64) {
        self.event(Event::Joined { worker: WorkerId(worker), threads: 1 });
    }

    fn prepared(&mut self, worker: u64) {
        let worker = WorkerId(worker);
        let span = self.engine.members.get(worker).and_then(|member| member.fetches());
        let span = span.expect("it was told to prepare");
        assert!(self.engine.prepared(self.now, worker, span));
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.engine.handle_timeout(self.now);
    }

    fn actions(&mut self) -> Vec<Action> {
        let actions: Vec<Action> = std::iter::from_fn(|| self.engine.poll_action()).collect();
        let deal = |action: &Action| match action {
            Action::Deal(worker, deal) => Some((*worker, *deal)),
            _ => None,
        };
        self.outstanding.extend(actions.iter().filter_map(deal));
        actions
    }

    fn deals(&mut self) -> Vec<Deal> {
        self.dealt().into_iter().map(|(_, deal)| deal).collect()
    }

    fn dealt(&mut self) -> Vec<(WorkerId, Deal)> {
        let deal = |action| match action {
            Action::Deal(worker, deal) => Some((worker, deal)),
            _ => None,
        };
        self.actions().into_iter().filter_map(deal).collect()
    }

    fn dealt_spans(&mut self) -> Vec<(u64, Span)> {
        self.dealt().into_iter().map(|(worker, deal)| (worker.0, deal.span)).collect()
    }

    /// Answers a deal in full.
    fn answer(&mut self, worker: WorkerId, deal: Deal) {
        let tree = self.engine.schedule.tree;
        for track in TRACKS {
            for node in tree.nodes(deal.span) {
                let verdict = self.engine.accept(self.now, worker, deal.pass, track, node);
                assert_eq!(verdict, Verdict::Fold);
            }
        }
        self.done(worker, deal, Duration::ZERO);
    }

    fn done(&mut self, worker: WorkerId, deal: Deal, busy: Duration) {
        self.outstanding.retain(|outstanding| *outstanding != (worker, deal));
        let nodes = self.engine.schedule.tree.nodes(deal.span);
        for (track, node) in TRACKS.into_iter().flat_map(|t| nodes.iter().map(move |&n| (t, n))) {
            self.engine.accept(self.now, worker, deal.pass, track, node);
        }
        let done = Done { span: deal.span, busy };
        let answered = self.engine.answered(self.now, worker, deal.pass, done);
        assert_eq!(answered, Answered::Noted);
    }

    /// Ends the pass: all answers were given and added.
    fn commit_all(&mut self) {
        for (worker, deal) in std::mem::take(&mut self.outstanding) {
            self.done(worker, deal, Duration::ZERO);
        }
        for track in TRACKS {
            self.event(Event::Committed(track));
        }
    }
}

/// One batch of two rows for each shard, `epochs` times.
fn whole_batches(shards: u32, epochs: u32) -> Schedule {
    let rows = 2 * u64::from(shards);
    Schedule {
        tree: ShardTree::new(shards),
        train: Batches { rows, shards, batch_size: rows },
        validation_rows: None,
        test_rows: None,
        epochs,
        restores: false,
        steps_per_update: 1,
    }
}

fn span(start: u32, end: u32) -> Span {
    Span { start, end }
}
