//! What happens at a simulated worker and on its way to the coordinator and back.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lockstep_coordinator::core::{Input, Next, Way};
use lockstep_proto::ids::{Shard, Table, WorkerId};
use lockstep_proto::wire;
use lockstep_worker::core::{Ended, Input as WorkerInput};
use lockstep_worker::{Lost, WorkerError};

use super::{Deed, Happening, Network};
use crate::case::{Leaving, Visit, When};
use crate::coordinator::Outbound;
use crate::draw::{one_in, up_to_ms};
use crate::worker::{Wish, Worker};

/// How a membership ended that a worker ended itself.
type End = Result<Ended, WorkerError>;

impl Network<'_> {
    pub(super) fn joins(&mut self, worker: WorkerId) {
        let (visit, seeks) = (self.links[&worker].visit, self.links[&worker].seeks);
        if !seeks {
            // It was lost while it looked for the coordinator.
            return;
        }
        let honest_and_staying = |(other, link): (&WorkerId, &super::Link)| {
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
        let now = self.started + self.now;
        let name = (worker, self.execution);
        let joined = Worker::new(self.case, visit, now, self.next_pass(), name);
        let link = self.link(worker);
        (link.joined, link.seeks, link.worker) = (true, false, Some(joined));
        self.coordinator.admit(now, worker);
        if visit.shares {
            self.coordinator.handle(now, Input::Shares(worker));
        }
        self.tend(worker);
    }

    /// Puts what the coordinator just said and handed over on its way.
    pub(super) fn carry(&mut self) {
        while !self.coordinator.outbound.is_empty() {
            for (worker, said) in std::mem::take(&mut self.coordinator.outbound) {
                let link = self.link(worker);
                let has_room = match said {
                    Outbound::Message(message) => link.backlog.say(message),
                    Outbound::Weights(mut weights) => {
                        let memory = link.worker.as_ref().and_then(|worker| worker.memory.as_ref());
                        if let (Some(memory), Way::Sent(values, _)) = (memory, &weights.way) {
                            memory.write(weights.step, weights.chunk, values.frame.clone());
                            weights.way = Way::Shared;
                        }
                        link.backlog.send_weights(weights);
                        true
                    }
                    Outbound::Close(fault) => {
                        link.closed.get_or_insert(fault);
                        true
                    }
                };
                if !has_room {
                    let now = self.started + self.now;
                    self.coordinator.handle(now, Input::Unread(worker));
                }
                self.wake_reader(worker, 10);
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

    fn wake_reader(&mut self, worker: WorkerId, most_ms: u32) {
        let link = self.link(worker);
        if !std::mem::replace(&mut link.reads, true) {
            self.soon(most_ms, Happening::At(worker, Deed::Reads));
        }
    }

    /// Something happens at a worker, if it is still there.
    pub(super) fn does(&mut self, worker: WorkerId, deed: Deed) {
        let now = self.started + self.now;
        let (case, pause_ms_max) = (self.case, self.link(worker).visit.pause_ms_max);
        let link = self.links.get_mut(&worker).expect("every worker has a link");
        if link.stopped_until > self.now {
            link.held_back.push(deed);
            return;
        }
        let Some(process) = &mut link.worker else { return };
        let handled = match deed {
            Deed::GoesOn => {
                for deed in std::mem::take(&mut link.held_back) {
                    self.does(worker, deed);
                }
                return;
            }
            Deed::Reads => return self.reads(worker),
            Deed::Sends => return self.sends(worker),
            Deed::Rows(part) => process.rows(now, part),
            Deed::LacksRows => {
                let lost = WorkerError::Lost(Lost::Broken("no rows".to_string()));
                process.handle(now, WorkerInput::NoRows(lost))
            }
            Deed::Computes(job) => {
                let finished = process.compute(now, job, case, &mut self.random, &mut self.seen);
                self.soon(pause_ms_max, Happening::At(worker, Deed::Returns(finished)));
                self.tell(worker);
                ControlFlow::Continue(())
            }
            Deed::Hears(other, message) => process.hear(now, other, message, &mut self.seen),
            Deed::Finds(other) => process.handle(now, Network::found(other, true)),
            Deed::Loses(other) => process.handle(now, Network::found(other, false)),
            Deed::Returns(finished) => process.handle(now, WorkerInput::Finished(finished)),
            Deed::Wakes => {
                link.wakes_at = None;
                process.handle(now, WorkerInput::Timeout)
            }
        };
        self.went_on(worker, handled);
    }

    /// What follows from what a worker was shown.
    fn went_on(&mut self, worker: WorkerId, handled: ControlFlow<End>) {
        match handled {
            ControlFlow::Break(end) => self.ended(worker, end),
            ControlFlow::Continue(()) => self.tend(worker),
        }
    }

    fn reads(&mut self, worker: WorkerId) {
        let now = self.started + self.now;
        let link = self.links.get_mut(&worker).expect("every worker has a link");
        link.reads = false;
        let Some(process) = link.worker.as_mut().filter(|process| process.reads()) else { return };
        let message = match link.backlog.pop() {
            Some(Next::Message(message)) => message,
            Some(Next::Weights(weights, has_before)) => weights.into_message(has_before),
            None => {
                let Some(fault) = link.closed.clone() else { return };
                let end = fault.map_or(WorkerError::Lost(Lost::Dismissed), WorkerError::Expelled);
                let handled = process.handle(now, WorkerInput::Ended(end));
                return self.went_on(worker, handled);
            }
        };
        let handled = process.receive(now, message, &mut self.seen);
        // It has read all that it was told. One that leaves takes in nothing more.
        if !process.is_leaving()
            && link.backlog.messages().next().is_none()
            && let Some(believed) = self.coordinator.core.holdings(worker)
        {
            let mut kept = process.kept();
            kept.retain(|shard| !believed[shard.0 as usize]);
            assert!(kept.is_empty(), "{worker} keeps {kept:?}, which it was told to let go");
        }
        self.went_on(worker, handled);
    }

    /// Does what a worker's core wants, and sees to it that it is told what it waits for.
    pub(super) fn tend(&mut self, worker: WorkerId) {
        let now = self.started + self.now;
        loop {
            let link = self.links.get_mut(&worker).expect("every worker has a link");
            let Some(process) = &mut link.worker else { return };
            match process.poll(now, self.case, &mut self.random, &mut self.seen) {
                ControlFlow::Break(end) => return self.ended(worker, end),
                ControlFlow::Continue(None) => break,
                ControlFlow::Continue(Some(Wish::Connect(roster))) => {
                    self.is_to_connect(worker, roster);
                }
                ControlFlow::Continue(Some(Wish::Fetch(table, shard))) => {
                    self.fetches(worker, table, shard);
                }
                ControlFlow::Continue(Some(Wish::Compute(job))) => {
                    let pause_ms_max = link.visit.pause_ms_max;
                    self.soon(pause_ms_max, Happening::At(worker, Deed::Computes(job)));
                }
            }
        }
        self.tell(worker);
        let link = self.links.get_mut(&worker).expect("every worker has a link");
        let Some(process) = &link.worker else { return };
        let pause_ms_max = link.visit.pause_ms_max;
        let has_news = link.backlog.messages().next().is_some() || link.closed.is_some();
        let (reads, timeout) = (process.reads(), process.timeout());
        let sends = !process.outbox.is_empty() && !std::mem::replace(&mut link.sends, true);
        // A clock that stands never gets there.
        let timeout = timeout.filter(|_| !link.visit.clock_stands);
        let wakes = timeout.filter(|at| link.wakes_at.is_none_or(|known| known > *at));
        link.wakes_at = wakes.or(link.wakes_at);
        if reads && (has_news || link.backlog.has_weights()) {
            self.wake_reader(worker, pause_ms_max);
        }
        if sends {
            self.soon(pause_ms_max, Happening::At(worker, Deed::Sends));
        }
        if let Some(at) = wakes {
            let at = at.saturating_duration_since(self.started).max(self.now);
            self.queue(at, Happening::At(worker, Deed::Wakes));
        }
    }

    /// A worker asks for rows: they come in one part or two, and sometimes not at all.
    fn fetches(&mut self, worker: WorkerId, table: Table, shard: Shard) {
        let rows = self.case.job.rows(table, shard);
        let Visit { rows_ms_max, lacks_rows, clock_stands, .. } = self.link(worker).visit;
        // Not again and again, or a worker that has to be there never gets all.
        let lacks =
            lacks_rows && self.case.times_renamed(worker) < 4 && one_in(&mut self.random, 8);
        let cut = 4 * self.random.below(rows.len() as u32 / 4 + 1) as usize;
        let mut parts =
            vec![Deed::Rows(Some(rows.slice(..cut))), Deed::Rows(Some(rows.slice(cut..)))];
        parts.push(Deed::Rows(None));
        if lacks {
            parts.truncate(self.random.below(3) as usize);
            // Otherwise it hears nothing more of them.
            if clock_stands || one_in(&mut self.random, 2) {
                parts.push(Deed::LacksRows);
            }
        }
        let mut at = self.now;
        for part in parts {
            at += up_to_ms(&mut self.random, rows_ms_max);
            self.queue(at, Happening::At(worker, part));
        }
    }

    fn sends(&mut self, worker: WorkerId) {
        let (started, now) = (self.started, self.started + self.now);
        let link = self.links.get_mut(&worker).expect("every worker has a link");
        let Some(process) = &mut link.worker else { return };
        if let Some(until) = process.pace.hold_until(now) {
            self.seen.held_back += 1;
            let until: Instant = until.min(now + Duration::from_millis(5));
            let until = until.saturating_duration_since(started);
            return self.queue(until, Happening::At(worker, Deed::Sends));
        }
        link.sends = false;
        let Some(message) = process.send() else { return };
        self.send(worker, message);
        self.tend(worker);
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

    /// A worker's core ended its membership. One that lost the coordinator looks for it again, and gets a new name.
    pub(super) fn ended(&mut self, worker: WorkerId, end: End) {
        let now = self.now;
        self.is_gone(worker);
        let link = self.link(worker);
        link.worker = None;
        let (visit, is_closed) = (link.visit, link.closed.is_some());
        match end {
            Ok(Ended::SaidGoodbye) => self.seen.goodbyes += 1,
            Ok(Ended::Stopped) => {}
            Err(WorkerError::Expelled(_)) => {}
            Err(WorkerError::Lost(loss)) => {
                let lacked = matches!(&loss, Lost::NoRows(..) | Lost::Broken(_));
                self.seen.no_rows += u64::from(lacked);
                if lacked {
                    let again = self.case.renamed(worker);
                    self.links.insert(again, super::Link::new(visit, self.case.chunks()));
                    self.soon(1_000, Happening::Joins(again));
                }
            }
            end => panic!("{worker} ended with {end:?}"),
        }
        if !is_closed {
            let link = self.link(worker);
            link.cut_at = link.cut_at.min(now);
            self.soon(20, Happening::Ends(worker));
        }
    }

    pub(super) fn leaves(&mut self, worker: WorkerId, leaving: Leaving) {
        let now = self.now;
        let cut_at = now + up_to_ms(&mut self.random, 10);
        let started = self.started;
        let link = self.link(worker);
        if !link.joined {
            // It was looking for the coordinator.
            link.seeks = false;
            return;
        }
        let Some(process) = &mut link.worker else { return };
        match leaving {
            Leaving::Goodbye if process.is_leaving() => {}
            Leaving::Goodbye => {
                let handled = process.handle(started + now, WorkerInput::Stop);
                self.went_on(worker, handled);
            }
            Leaving::ConnectionLost => {
                link.worker = None;
                link.cut_at = link.cut_at.min(cut_at);
                self.is_gone(worker);
                let noticed_within_ms = if one_in(&mut self.random, 4) { 2_000 } else { 20 };
                let noticed = cut_at + up_to_ms(&mut self.random, noticed_within_ms);
                self.queue(noticed, Happening::Ends(worker));
            }
        }
    }
}
