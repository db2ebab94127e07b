//! A network in one queue: it owns the clock, the delays, the losses, and steps both sides.
//!
//! What one side says to the other arrives in order, whatever happens between other pairs. Deals overtake weights
//! on the way out, as they do in the coordinator's outbox.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lockstep_proto::frame::{FromWorker, ToWorker};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::random::{Purpose, Random};

use super::case::{Case, Leaving, Visit, When, one_in, up_to_ms};
use super::checkpoint::Checkpoint;
use super::driver::{Driver, Job, Outcome};
use super::ledger::Seen;
use super::worker::Worker;

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
    /// The coordinator is lost and another begins.
    Restarts,
    /// The worker reads its next message.
    Reads(WorkerId),
    /// The worker does the next piece of its work.
    Works(WorkerId),
    /// The worker has something to say beside its work.
    Says(WorkerId, FromWorker),
    /// The coordinator reads a worker's message.
    Arrives(WorkerId, FromWorker),
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
    messages: VecDeque<ToWorker>,
    weights: VecDeque<ToWorker>,
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
    driver: Driver<'a>,
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
        driver: Driver::new(case, started, Checkpoint::beginning(case)),
    };
    for (place, visit) in case.visits.iter().enumerate() {
        let worker = WorkerId(1 + place as u64);
        network.links.insert(worker, Link::new(*visit, case));
        network.queue(visit.joins_at, Happening::Joins(worker));
    }
    for &at in &case.blackouts {
        network.queue(at, Happening::BlacksOut);
    }
    for &at in &case.restarts {
        network.queue(at, Happening::Restarts);
    }
    while !network.driver.finished {
        network.step();
    }
    network.driver.outcome()
}

impl Link {
    fn new(visit: Visit, case: &Case) -> Link {
        Link {
            visit,
            worker: Some(Worker::new(case, visit)),
            joined: false,
            works: false,
            messages: VecDeque::new(),
            weights: VecDeque::new(),
            reads: false,
            sent: 0,
            last_arrival: Duration::ZERO,
            cut_at: Duration::MAX,
            stopped_until: Duration::ZERO,
        }
    }

    fn push(&mut self, message: ToWorker) {
        let ToWorker::Weights { step: new, .. } = message else {
            self.messages.push_back(message);
            return;
        };
        self.weights
            .retain(|old| !matches!(old, ToWorker::Weights { step, .. } if step.0 + 2 <= new.0));
        self.weights.push_back(message);
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
        let timeout = self.driver.engine.poll_timeout().expect("the run is not over");
        let timeout = timeout.duration_since(self.started);
        let next = at.min(timeout);
        assert!(next < RUN_TIME_MAX, "no end after {:?}: {:#?}", self.now, self.driver.engine);
        if timeout < at {
            self.now = timeout;
            self.driver.timeout(self.started + timeout);
            let next = self.driver.engine.poll_timeout();
            assert!(next.is_none_or(|at| at > self.started + timeout), "the timeout did not move");
            self.carry();
            return;
        }
        let ((now, _), happening) = self.queue.pop_first().expect("it was there");
        self.now = now;
        self.happen(happening);
        self.carry();
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.started + self.now;
        match happening {
            Happening::Joins(worker) => self.joins(worker),
            Happening::Leaves(worker, leaving) => self.leaves(worker, leaving),
            Happening::Stops(worker, pause) => self.stops(worker, pause),
            Happening::BlacksOut => self.black_out(),
            Happening::Restarts => self.restarts(),
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
                    self.driver.frame(now, worker, message);
                }
            }
            Happening::Ends(worker) => self.driver.leave(now, worker),
            Happening::Folds(job) => self.driver.folded(now, job),
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
            leaves.is_none() && lie.is_none() && self.driver.has_prepared(*other)
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
        let next = self.driver.next_pass();
        let link = self.link(worker);
        link.joined = true;
        if let Some(worker) = &mut link.worker {
            worker.lie_from(next);
        }
        self.driver.admit(self.started + self.now, worker);
    }

    fn stops(&mut self, worker: WorkerId, pause: Duration) {
        let now = self.now;
        let link = self.link(worker);
        link.stopped_until = now + pause;
        if pause > SILENCE_MAX && link.joined {
            link.worker = None;
            link.cut_at = link.cut_at.min(now);
            self.queue(now + SILENCE_MAX, Happening::Ends(worker));
        }
    }

    /// Everything on its way is lost, and those who are still there join again.
    fn restarts(&mut self) {
        self.driver.restart(self.started + self.now);
        self.queue.retain(|_, happening| {
            use Happening::{BlacksOut, Joins, Leaves, Restarts, Stops};
            matches!(happening, Joins(_) | Leaves(..) | Stops(..) | BlacksOut | Restarts)
        });
        let mut back = Vec::new();
        for (&worker, link) in self.links.iter_mut().filter(|(_, link)| link.joined) {
            if link.worker.is_some() {
                let sent = link.sent;
                *link = Link { sent, ..Link::new(link.visit, self.case) };
                back.push(worker);
            }
        }
        for worker in back {
            self.soon(1_000, Happening::Joins(worker));
        }
    }

    /// Puts what the coordinator just said and handed over on its way.
    fn carry(&mut self) {
        for (worker, message) in std::mem::take(&mut self.driver.outbound) {
            let link = self.link(worker);
            link.push(message);
            if !std::mem::replace(&mut link.reads, true) {
                self.soon(10, Happening::Reads(worker));
            }
        }
        for job in std::mem::take(&mut self.driver.jobs) {
            let most_ms = if one_in(&mut self.random, 16) { 3_000 } else { 2 };
            self.soon(most_ms, Happening::Folds(job));
        }
    }

    fn link(&mut self, worker: WorkerId) -> &mut Link {
        self.links.get_mut(&worker).expect("every worker has a link")
    }

    fn reads(&mut self, worker: WorkerId) {
        let link = self.link(worker);
        let next = link.messages.pop_front().or_else(|| link.weights.pop_front());
        let (Some(message), Some(reader)) = (next, &mut link.worker) else {
            link.reads = false;
            return;
        };
        let pause_ms_max = link.visit.pause_ms_max;
        let prepare = reader.receive(message);
        // It has read all that it was told.
        if link.messages.is_empty()
            && let Some(believed) = self.driver.believed(worker)
        {
            let has = |&shard: &u32| believed[shard as usize];
            let unknown = self.links[&worker].worker.iter().flat_map(|worker| worker.rows());
            let unknown: Vec<_> = unknown.filter(|shard| !has(shard)).collect();
            assert!(unknown.is_empty(), "{worker} keeps {unknown:?}, which it was told to let go");
        }
        if let Some(span) = prepare {
            self.soon(10 * pause_ms_max, Happening::Says(worker, FromWorker::Prepared(span)));
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
        let goodbye = message == FromWorker::Goodbye;
        if goodbye {
            link.worker = None;
        }
        self.send(worker, message);
        if !goodbye {
            self.wake(worker);
        }
    }

    fn send(&mut self, worker: WorkerId, message: FromWorker) {
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

    fn black_out(&mut self) {
        let passing = |link: &Link| link.joined && link.visit.leaves.is_some();
        let lost: Vec<WorkerId> = self
            .links
            .iter()
            .filter(|(_, link)| passing(link))
            .map(|(&worker, _)| worker)
            .collect();
        for worker in lost {
            self.leaves(worker, Leaving::ConnectionLost);
        }
    }

    fn leaves(&mut self, worker: WorkerId, leaving: Leaving) {
        let now = self.now;
        let cut_at = now + up_to_ms(&mut self.random, 10);
        let link = self.link(worker);
        if !link.joined {
            // It was looking for the coordinator.
            link.worker = None;
            return;
        }
        match leaving {
            Leaving::Goodbye => {
                if let Some(worker) = &mut link.worker {
                    worker.leave();
                }
                self.wake(worker);
            }
            Leaving::ConnectionLost => {
                link.worker = None;
                link.cut_at = link.cut_at.min(cut_at);
                let noticed_within_ms = if one_in(&mut self.random, 4) { 2_000 } else { 20 };
                let noticed = cut_at + up_to_ms(&mut self.random, noticed_within_ms);
                self.queue(noticed, Happening::Ends(worker));
            }
        }
    }
}
