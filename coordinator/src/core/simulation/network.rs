//! A network in one queue: it owns the clock, the delays, the losses, and steps both sides.
//!
//! What one side says to the other arrives in order, whatever happens between other pairs. Deals overtake weights
//! on the way out, as they do in the coordinator's outbox.

mod faults;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lockstep_proto::frame::{FromWorker, ToWorker};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::wire;

use super::super::{Input, Job};
use super::book::Seen;
use super::case::{Case, Ending, Leaving, Visit, When, one_in, up_to_ms};
use super::checkpoint::Checkpoint;
use super::coordinator::{Coordinator, End, Outcome};
use super::worker::Worker;
use crate::backlog::{Backlog, Next};
use crate::spec::Stop;

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
    /// The worker reads its next message.
    Reads(WorkerId),
    /// The worker does the next piece of its work.
    Works(WorkerId),
    /// The worker has something to say beside its work.
    Says(WorkerId, wire::WorkerMessage),
    /// The coordinator reads a worker's message.
    Arrives(WorkerId, wire::WorkerMessage),
    /// The coordinator finds that a stream has ended.
    Ends(WorkerId),
    /// A thread gets to a job.
    Folds(Job),
}

#[derive(Debug)]
struct Link {
    visit: Visit,
    /// `None` once it is gone.
    worker: Option<Worker>,
    joined: bool,
    works: bool,
    backlog: Backlog<ToWorker>,
    reads: bool,
    sent: u32,
    last_arrival: Duration,
    /// What would arrive later is lost.
    cut_at: Duration,
    /// Until when it does nothing.
    stopped_until: Duration,
}

pub(super) struct Network<'a> {
    case: &'a Case,
    random: Random,
    started: Instant,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Happening>,
    queued: u64,
    links: BTreeMap<WorkerId, Link>,
    coordinator: Coordinator<'a>,
    /// Until when the coordinator's process does nothing.
    still_until: Duration,
    /// What happens to it then, in order.
    held_back: Vec<Happening>,
}

/// Runs a case to its end.
pub(super) fn run(case: &Case) -> (Outcome, Seen) {
    let started = Instant::now();
    let mut network = Network {
        case,
        random: Random::new(case.seed, Purpose::Split, 1, 0),
        started,
        now: Duration::ZERO,
        queue: BTreeMap::new(),
        queued: 0,
        links: BTreeMap::new(),
        coordinator: Coordinator::new(case, started, Checkpoint::beginning(case), Seen::default()),
        still_until: Duration::ZERO,
        held_back: Vec::new(),
    };
    for (place, visit) in case.visits.iter().enumerate() {
        let worker = WorkerId(1 + place as u64);
        network.links.insert(worker, Link::new(*visit, case));
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
    network.coordinator.outcome()
}

impl Link {
    fn new(visit: Visit, case: &Case) -> Link {
        Link {
            visit,
            worker: Some(Worker::new(case, visit)),
            joined: false,
            works: false,
            backlog: Backlog::new(visit.messages_max),
            reads: false,
            sent: 0,
            last_arrival: Duration::ZERO,
            cut_at: Duration::MAX,
            stopped_until: Duration::ZERO,
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
        let timeout = timeout.max(self.still_until);
        let next = at.min(timeout);
        let core = &self.coordinator.core;
        assert!(next < RUN_TIME_MAX, "no end after {:?}: {:#?}", self.now, core.engine);
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
        if self.coordinator.end == Some(End::Stopped) {
            self.restarts();
            self.carry();
        }
    }

    /// Whether it is the coordinator's process that does this.
    fn is_coordinators(happening: &Happening) -> bool {
        use Happening::{Arrives, Ends, Folds, Intrudes, Joins, Writes};
        matches!(happening, Arrives(..) | Ends(_) | Folds(_) | Intrudes | Joins(_) | Writes)
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.started + self.now;
        match happening {
            Happening::Joins(worker) => self.joins(worker),
            Happening::Leaves(worker, leaving) => self.leaves(worker, leaving),
            Happening::Stops(worker, pause) => self.stops(worker, pause),
            Happening::BlacksOut => self.black_out(),
            _ if Self::is_coordinators(&happening) && self.still_until > self.now => {
                self.held_back.push(happening);
            }
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
            Happening::Reads(worker) | Happening::Works(worker) | Happening::Says(worker, _)
                if self.links[&worker].stopped_until > self.now =>
            {
                self.queue(self.links[&worker].stopped_until, happening);
            }
            Happening::Reads(worker) => self.reads(worker),
            Happening::Works(worker) => self.works(worker),
            Happening::Says(worker, message) => {
                if self.links[&worker].worker.is_some() {
                    self.send(worker, message);
                }
            }
            Happening::Arrives(worker, message) => {
                if self.links[&worker].cut_at >= self.now {
                    self.coordinator.message(now, worker, message);
                }
            }
            Happening::Ends(worker) => self.coordinator.ended(now, worker),
            Happening::Folds(job) => self.coordinator.finished(now, job.run()),
        }
    }

    fn joins(&mut self, worker: WorkerId) {
        let Link { visit, worker: process, .. } = &self.links[&worker];
        let visit = *visit;
        if process.is_none() {
            // It was lost while it looked for the coordinator.
            return;
        }
        let honest_and_staying = |(other, link): (&WorkerId, &Link)| {
            let Visit { leaves, lie, .. } = link.visit;
            leaves.is_none() && lie.is_none() && self.coordinator.has_prepared(*other)
        };
        let honest_min = if self.case.audit_fraction > 0.0 { 2 } else { 1 };
        let honest = self.links.iter().filter(|&link| honest_and_staying(link)).count();
        if visit.lie.is_some() && honest < honest_min {
            self.queue(self.now + Duration::from_millis(20), Happening::Joins(worker));
            return;
        }
        if let Some((When::After(after), leaving)) = visit.leaves {
            self.queue(self.now + after, Happening::Leaves(worker, leaving));
        }
        if let Some((When::After(after), pause)) = visit.stops {
            self.queue(self.now + after, Happening::Stops(worker, pause));
        }
        let next = self.coordinator.next_pass();
        let link = self.link(worker);
        link.joined = true;
        if let Some(worker) = &mut link.worker {
            worker.lie_from(next);
        }
        self.coordinator.admit(self.started + self.now, worker);
    }

    /// Puts what the coordinator just said and handed over on its way.
    fn carry(&mut self) {
        while !self.coordinator.outbound.is_empty() {
            for (worker, next) in std::mem::take(&mut self.coordinator.outbound) {
                let link = self.link(worker);
                let has_room = match next {
                    Some(Next::Message(message)) => link.backlog.say(message),
                    Some(Next::Weights(weights)) => {
                        link.backlog.send_weights(weights);
                        true
                    }
                    // What it says from now on still comes.
                    None => true,
                };
                if !has_room {
                    let now = self.started + self.now;
                    self.coordinator.handle(now, Input::Unread(worker));
                }
                if !std::mem::replace(&mut self.link(worker).reads, true) {
                    self.soon(10, Happening::Reads(worker));
                }
            }
        }
        for job in std::mem::take(&mut self.coordinator.jobs) {
            let most_ms = if one_in(&mut self.random, 16) { 3_000 } else { 2 };
            self.soon(most_ms, Happening::Folds(job));
        }
        let is_written = self.coordinator.book().disk.is_new();
        if is_written {
            self.soon(self.case.write_ms_max, Happening::Writes);
        }
    }

    fn link(&mut self, worker: WorkerId) -> &mut Link {
        self.links.get_mut(&worker).expect("every worker has a link")
    }

    fn reads(&mut self, worker: WorkerId) {
        let link = self.link(worker);
        let next = link.backlog.next();
        let (Some(message), Some(reader)) = (next, &mut link.worker) else {
            link.reads = false;
            return;
        };
        let pause_ms_max = link.visit.pause_ms_max;
        let prepare = reader.receive(message);
        // It has read all that it was told.
        if link.backlog.messages().next().is_none()
            && let Some(believed) = self.coordinator.believed(worker)
        {
            let has = |&shard: &u32| believed[shard as usize];
            let unknown = self.links[&worker].worker.iter().flat_map(|worker| worker.rows());
            let unknown: Vec<_> = unknown.filter(|shard| !has(shard)).collect();
            assert!(unknown.is_empty(), "{worker} keeps {unknown:?}, which it was told to let go");
        }
        if let Some(span) = prepare {
            self.soon(
                10 * pause_ms_max,
                Happening::Says(worker, FromWorker::Prepared(span).into_wire()),
            );
        }
        self.wake(worker);
        self.soon(pause_ms_max, Happening::Reads(worker));
    }

    fn wake(&mut self, worker: WorkerId) {
        let link = self.link(worker);
        if !std::mem::replace(&mut link.works, true) {
            let pause_ms_max = link.visit.pause_ms_max;
            self.soon(pause_ms_max, Happening::Works(worker));
        }
    }

    fn works(&mut self, worker: WorkerId) {
        let case = self.case;
        let link = self.links.get_mut(&worker).expect("every worker has a link");
        link.works = false;
        let Some(message) =
            link.worker.as_mut().and_then(|worker| worker.work(case, &mut self.random))
        else {
            return;
        };
        let goodbye = Worker::is_goodbye(&message);
        if goodbye {
            link.worker = None;
        }
        self.send(worker, message);
        if !goodbye {
            self.wake(worker);
        }
    }

    fn send(&mut self, worker: WorkerId, message: wire::WorkerMessage) {
        let arrival = self.now + up_to_ms(&mut self.random, 10);
        let link = self.link(worker);
        link.last_arrival = link.last_arrival.max(arrival);
        link.sent += 1;
        let (at, sent) = (link.last_arrival, link.sent);
        let Visit { leaves, stops, .. } = link.visit;
        self.queue(at, Happening::Arrives(worker, message));
        if let Some((When::Sent(most), leaving)) = leaves
            && most == sent
        {
            self.leaves(worker, leaving);
        }
        if let Some((When::Sent(most), pause)) = stops
            && most == sent
        {
            self.stops(worker, pause);
        }
    }
}
