//! A network in one queue: it owns the clock, the delays, the losses, and steps both sides.
//!
//! What one side says to the other arrives in order, whatever happens between other pairs. Deals overtake weights
//! on the way out, as they do in the coordinator's outbox.

mod faults;
mod members;
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lockstep_coordinator::Stop;
use lockstep_coordinator::core::{Backlog, Input, Job};
use lockstep_proto::frame::ToWorker;
use lockstep_proto::ids::{Pass, WorkerId};
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::wire;
use lockstep_worker::core as worker_core;

use crate::book::Seen;
use crate::case::{Case, Ending, Leaving, Visit};
use crate::checkpoint::Checkpoint;
use crate::coordinator::{Coordinator, End, Outcome};
use crate::draw::up_to_ms;
use crate::worker::Worker;
use peers::{Connection, Pair};

/// No run of a drawn case needs more: a pass over 20 shards by the slowest worker is under a minute.
const RUN_TIME_MAX: Duration = Duration::from_secs(3600);

/// A peer that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Happening {
    Joins(WorkerId),
    Leaves(WorkerId, Leaving),
    /// The worker stops dead for so long.
    Stops(WorkerId, Duration),
    /// All who do not stay are lost.
    BlacksOut,
    /// The coordinator is killed, or told to stop, and another begins.
    Restarts(Ending),
    /// The coordinator's process stops dead for so long.
    StandsStill(Duration),
    /// It goes on, if it was not stopped again meanwhile.
    GoesOn,
    /// The disk has taken in a checkpoint.
    Writes,
    /// Somebody who is no member says something.
    Intrudes,
    /// Something happens at a worker.
    At(WorkerId, Deed),
    /// The coordinator reads a worker's message.
    Arrives(WorkerId, wire::WorkerMessage),
    /// The coordinator finds that a stream has ended.
    Ends(WorkerId),
    /// A thread gets to a job of the coordinator's.
    Folds(Job),
    /// Two workers find each other, or not.
    Connects(Pair),
    /// Their connection is lost.
    Cuts(Pair, u64),
    /// A worker's message to another comes, if their connection is still the same.
    Passes {
        from: WorkerId,
        to: WorkerId,
        connection: u64,
        message: wire::PeerMessage,
    },
}

/// What happens at a worker.
#[derive(Debug)]
enum Deed {
    /// It reads its next message, or the end of its stream.
    Reads,
    /// Its link takes its next message.
    Sends,
    /// A part of the rows that it asked for comes; `None`: their end.
    Rows(Option<Bytes>),
    /// It hears that they do not come.
    LacksRows,
    /// A thread gets to its job.
    Computes(worker_core::Job),
    /// A thread is done with it.
    Returns(worker_core::Finished),
    /// The time has come that it wants to be told.
    Wakes,
    /// It hears another worker, or itself.
    Hears(WorkerId, wire::PeerMessage),
    /// It is connected to another, or not any more.
    Finds(WorkerId),
    Loses(WorkerId),
    /// It goes on after a stop, if it was not stopped again meanwhile.
    GoesOn,
}

#[derive(Debug)]
struct Link {
    visit: Visit,
    /// `None` before it joined, and once it is gone.
    worker: Option<Worker>,
    /// It looks for the coordinator.
    seeks: bool,
    joined: bool,
    backlog: Backlog<ToWorker>,
    /// The coordinator ended the stream, and why, if the worker was at fault.
    closed: Option<Option<String>>,
    reads: bool,
    sends: bool,
    wakes_at: Option<Instant>,
    sent: u32,
    last_arrival: Duration,
    /// The workers that it is to be connected to.
    roster: BTreeSet<WorkerId>,
    /// When it hears the last that it said to itself.
    last_heard: Duration,
    /// What would arrive later is lost.
    cut_at: Duration,
    /// Until when it does nothing.
    stopped_until: Duration,
    /// What happens to it then, in order.
    held_back: Vec<Deed>,
}

struct Network<'a> {
    case: &'a Case,
    random: Random,
    started: Instant,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Happening>,
    queued: u64,
    links: BTreeMap<WorkerId, Link>,
    pairs: BTreeMap<Pair, Connection>,
    /// Of the coordinator.
    execution: u64,
    coordinator: Coordinator<'a>,
    /// Of workers. Those of the coordinator are in its book.
    seen: Seen,
    /// Whether the coordinator is still to be killed at an early end.
    dies_at_the_end: bool,
    /// Until when the coordinator's process does nothing.
    still_until: Duration,
    /// What happens to it then, in order.
    held_back: Vec<Happening>,
}

/// Runs a case to its end.
pub fn run(case: &Case) -> (Outcome, Seen) {
    let started = Instant::now();
    let beginning = Checkpoint::beginning(case.job.beginning());
    let mut network = Network {
        case,
        random: Random::new(case.seed, Purpose::Split, 1, 0),
        started,
        now: Duration::ZERO,
        queue: BTreeMap::new(),
        queued: 0,
        links: BTreeMap::new(),
        pairs: BTreeMap::new(),
        execution: 0,
        coordinator: Coordinator::new(case, started, beginning, Seen::default()),
        seen: Seen::default(),
        dies_at_the_end: case.dies_at_the_end,
        still_until: Duration::ZERO,
        held_back: Vec::new(),
    };
    for (place, visit) in case.visits.iter().enumerate() {
        let worker = WorkerId(1 + place as u64);
        network.links.insert(worker, Link::new(*visit, case.chunks()));
        network.queue(visit.joins_at, Happening::Joins(worker));
    }
    for &at in &case.blackouts {
        network.queue(at, Happening::BlacksOut);
    }
    for &(at, ending) in &case.restarts {
        network.queue(at, Happening::Restarts(ending));
    }
    for &(at, pause) in &case.standstills {
        network.queue(at, Happening::StandsStill(pause));
    }
    for &at in &case.strangers {
        network.queue(at, Happening::Intrudes);
    }
    while network.coordinator.end != Some(End::Finished) {
        network.step();
    }
    let (outcome, seen) = network.coordinator.outcome();
    (outcome, seen.and(network.seen))
}

impl Link {
    /// For weights of so many chunks.
    fn new(visit: Visit, chunks: usize) -> Link {
        Link {
            visit,
            worker: None,
            seeks: true,
            joined: false,
            backlog: Backlog::new(visit.messages_max, chunks),
            closed: None,
            reads: false,
            sends: false,
            wakes_at: None,
            sent: 0,
            last_arrival: Duration::ZERO,
            roster: BTreeSet::new(),
            last_heard: Duration::ZERO,
            cut_at: Duration::MAX,
            stopped_until: Duration::ZERO,
            held_back: Vec::new(),
        }
    }
}

impl Network<'_> {
    fn queue(&mut self, at: Duration, happening: Happening) {
        self.queue.insert((at, self.queued), happening);
        self.queued += 1;
    }

    fn soon(&mut self, most_ms: u32, happening: Happening) {
        let delay = up_to_ms(&mut self.random, most_ms);
        self.queue(self.now + delay, happening);
    }

    fn step(&mut self) {
        let at = self.queue.first_key_value().map_or(RUN_TIME_MAX, |(&(at, _), _)| at);
        let timeout = self.coordinator.core.poll_timeout().saturating_duration_since(self.started);
        // One that is past is wanted now.
        let timeout = timeout.max(self.still_until).max(self.now);
        let next = at.min(timeout);
        let core = &self.coordinator.core;
        assert!(next < RUN_TIME_MAX, "no end after {:?}: {core:#?}\n{:#?}", self.now, self.links);
        if timeout < at {
            self.now = timeout;
            let now = self.started + timeout;
            self.coordinator.handle(now, Input::Timeout);
            let next = self.coordinator.core.poll_timeout();
            assert!(self.coordinator.end.is_some() || next > now, "the timeout did not move");
        } else {
            let ((now, _), happening) = self.queue.pop_first().expect("it was there");
            self.now = now;
            self.happen(happening);
        }
        self.carry();
        if self.coordinator.end == Some(End::Stopped) || self.dies_now() {
            self.restarts();
            self.carry();
        }
    }

    /// Whether the coordinator is killed at an early end that is saved.
    fn dies_now(&mut self) -> bool {
        let mut book = self.coordinator.book();
        if !self.dies_at_the_end || self.coordinator.end.is_some() || !book.is_at_an_early_end() {
            return false;
        }
        book.disk.sync();
        self.dies_at_the_end = false;
        true
    }

    /// Whether it is the coordinator's process that does this.
    fn is_coordinators(happening: &Happening) -> bool {
        use Happening::{Arrives, Ends, Folds, Intrudes, Joins, Writes};
        matches!(happening, Arrives(..) | Ends(_) | Folds(_) | Intrudes | Joins(_) | Writes)
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.started + self.now;
        match happening {
            _ if Self::is_coordinators(&happening) && self.still_until > self.now => {
                self.held_back.push(happening);
            }
            Happening::Joins(worker) => self.joins(worker),
            Happening::Leaves(worker, leaving) => self.leaves(worker, leaving),
            Happening::Stops(worker, pause) => self.stops(worker, pause),
            Happening::BlacksOut => self.black_out(),
            Happening::Restarts(Ending::Killed) => self.restarts(),
            Happening::Restarts(Ending::ToldToStop) => {
                if !self.coordinator.core.is_stopping() {
                    self.coordinator.handle(now, Input::Stop(Stop::AfterPass));
                }
            }
            Happening::StandsStill(pause) => {
                self.still_until = self.still_until.max(self.now + pause);
                self.queue(self.still_until, Happening::GoesOn);
            }
            Happening::GoesOn => {
                for happening in std::mem::take(&mut self.held_back) {
                    self.happen(happening);
                    self.carry();
                }
            }
            Happening::Writes => {
                let mut book = self.coordinator.book();
                book.disk.write();
                book.seen.written += 1;
            }
            Happening::Intrudes => self.intrudes(),
            Happening::At(worker, deed) => self.does(worker, deed),
            Happening::Arrives(worker, message) => {
                if self.links[&worker].cut_at >= self.now {
                    self.coordinator.message(now, worker, message);
                }
            }
            Happening::Ends(worker) => self.coordinator.ended(now, worker),
            Happening::Connects(pair) => self.connects(pair),
            Happening::Cuts(pair, connection) => self.cuts(pair, connection),
            Happening::Passes { from, to, connection, message } => {
                self.passes(from, to, connection, message);
            }
            Happening::Folds(job) => self.coordinator.finished(now, job.run()),
        }
    }

    fn link(&mut self, worker: WorkerId) -> &mut Link {
        self.links.get_mut(&worker).expect("every worker has a link")
    }

    /// From which pass on a worker that joins now may lie.
    fn next_pass(&self) -> Pass {
        self.coordinator.core.next_pass()
    }
}
