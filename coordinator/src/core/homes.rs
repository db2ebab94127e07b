//! What follows from routes: who is told of them and of what was dealt, what becomes of the sums of homes, and who is sent
//! weights by whom.

use std::sync::Arc;

use lockstep_proto::frame::{Dealt, DealtSpan, HomeSum, Listens, ToWorker, digest};
use lockstep_proto::ids::{Chunk, Pass, Span, Step, Task, WorkerId};

use super::Core;
use super::route::{Fact, Facts, Star, choose};
use crate::backlog::{ChunkValues, Way, Weights};
use crate::engine::{Answered, Planned};
use crate::error::RunError;
use crate::spec::Homes;

impl Core {
    /// A training pass is open: decides who is home to what in it.
    pub(super) fn route_pass(&mut self, planned: &Planned) {
        if self.homes == Homes::Off {
            return;
        }
        let found = choose(&self.facts());
        let is_tried = self.homes == Homes::Auto;
        let may_begin = !self.coder.is_trying() && !self.engine.tries_crews();
        self.home_turns.step_begins(self.now, is_tried && found.is_ok(), may_begin);
        self.star = match found {
            Ok(_) if is_tried && !self.home_turns.is_second() => Some(Star::Slower),
            Ok(_) => None,
            Err(star) => Some(star),
        };
        let homes = found.ok().filter(|_| self.star.is_none()).unwrap_or_default();
        if self.router.begin(planned.pass, homes).is_some() {
            self.tell_route();
        }
        let homes = self.router.route().homes.clone();
        self.engine.route(self.now, &homes, []);
    }

    /// Who adds up gradients and why, in words.
    pub(super) fn who_adds(&self) -> String {
        if let (Some(star), false) = (self.star, self.home_turns.is_trying()) {
            return format!("the coordinator: {star}");
        }
        let homes = self.router.chosen();
        let workers = if homes == 1 { "1 worker".to_string() } else { format!("{homes} workers") };
        let why = match self.homes {
            _ if self.home_turns.is_trying() => "the coordinator and workers are tried by turns",
            Homes::Auto => "that is faster than the coordinator alone",
            Homes::On | Homes::Off => "the job says so",
        };
        match self.star {
            Some(_) => format!("the coordinator: {why}"),
            None => format!("{workers}: {why}"),
        }
    }

    fn facts(&self) -> Facts {
        let others = |worker| {
            let all = self.members.keys().copied();
            all.filter(|&other| other != worker && self.router.exchange(worker, other)).count()
        };
        let prepared = self.members.iter().filter(|(_, member)| member.gets_weights);
        let members = prepared.map(|(&worker, member)| Fact {
            worker,
            shares: member.shares,
            rests: self.router.rests(self.now, worker),
            reached: others(worker),
        });
        Facts {
            homes: self.homes,
            is_small: self.reducer.is_small(),
            is_audited: self.is_audited,
            members: members.collect(),
        }
    }

    /// Chunks of the pass in hand go to the coordinator, whoever was home to them.
    pub(super) fn recall(&mut self, is_meant: impl Fn(Chunk, WorkerId) -> bool) {
        if !self.is_open || self.router.recall(self.pass, is_meant).is_none() {
            return;
        }
        self.tell_route();
        let homes = self.router.route().homes.clone();
        let told = self.routed_members();
        self.engine.route(self.now, &homes, told);
    }

    /// The members that follow routes.
    fn routed_members(&self) -> Vec<WorkerId> {
        let members = self.members.iter().filter(|(_, member)| member.gets_weights);
        members.map(|(&worker, _)| worker).collect()
    }

    fn tell_route(&mut self) {
        let route = self.router.route().clone();
        for worker in self.routed_members() {
            self.say(worker, ToWorker::Route(route.clone()));
        }
    }

    /// Tells homes what was dealt in the pass in hand: these deals, or, to one of them, what it is to know now of these.
    pub(super) fn tell_dealt(&mut self, deals: &[(WorkerId, Span)], only: Option<WorkerId>) {
        if deals.is_empty() || !self.is_open {
            return;
        }
        let Some(planned) = self.schedule.planned(self.pass) else { return };
        let Task::Train { batch, .. } = planned.task else { return };
        for home in self.router.homes() {
            if only.is_some_and(|only| only != home) {
                continue;
            }
            let spans = deals.iter().map(|&(worker, span)| {
                let is_apart = !self.router.sends_to(worker, home);
                DealtSpan { worker, span, is_apart }
            });
            let dealt = Dealt { pass: planned.pass, batch, spans: spans.collect() };
            self.say(home, ToWorker::Dealt(dealt));
        }
    }

    pub(super) fn listens(&mut self, worker: WorkerId, listens: Listens) {
        if self.homes == Homes::Off {
            return self.expel(worker, "it says where it listens, and nobody asked");
        }
        let Some(member) = self.members.get(&worker) else { return };
        if self.roster.listens(worker, &member.peer, listens) {
            self.tell_roster();
        }
    }

    pub(super) fn tell_roster(&mut self) {
        let listed: Vec<WorkerId> = self.roster.members().collect();
        for worker in listed {
            self.say(worker, self.roster.message());
        }
    }

    /// A member says whether it can exchange messages with another.
    pub(super) fn reach(&mut self, worker: WorkerId, other: WorkerId, is_up: bool) {
        // Of others nothing is kept: they may be gone by now.
        let is_known = self.members.contains_key(&other) && worker != other;
        if !is_known || !self.router.reach(worker, other, is_up) || is_up {
            return;
        }
        let deals = self.account.deals().iter().copied();
        let own: Vec<_> = deals.filter(|&(to, _)| to == worker).collect();
        self.tell_dealt(&own, Some(other));
    }

    /// A member has sent again what another route asks for.
    pub(super) fn routed(&mut self, worker: WorkerId, number: u64) {
        if number > self.router.route().number {
            self.expel(worker, "it follows a route that there is not");
        } else if number == self.router.route().number
            && self.engine.routed(self.now, worker) == Answered::Lacking
        {
            let pass = self.pass;
            self.expel(worker, &format!("it did not send all values of {pass} again"));
        }
    }

    /// A home sends what it added up.
    pub(super) fn sum(&mut self, worker: WorkerId, sum: HomeSum) -> Result<(), RunError> {
        let HomeSum { pass, slice, of } = sum;
        if !self.may_sum(worker, pass, slice.chunk) {
            return Ok(());
        }
        if !self.account.adds_up(self.schedule.tree, slice.node, &of) {
            let reason = "it sent a sum of what was not dealt: what it adds up cannot be trusted";
            self.expel(worker, reason);
        } else if self.engine.accept_sum(self.now, pass, slice.chunk, slice.node) {
            let reduced = self.reducer.fold(slice);
            self.reduced(reduced)?;
        }
        Ok(())
    }

    /// What a home added up is not finite: whether that is so, and why, is found out here.
    pub(super) fn overflow(&mut self, worker: WorkerId, pass: Pass, chunk: Chunk) {
        if self.may_sum(worker, pass, chunk) {
            self.recall(|of, _| of == chunk);
        }
    }

    /// Whether a sum of a worker is looked at. One that is home to something else is shut out.
    fn may_sum(&mut self, worker: WorkerId, pass: Pass, chunk: Chunk) -> bool {
        let is_open = self.is_open && pass == self.pass;
        if !is_open && pass < self.pass {
            // It comes too late.
            return false;
        }
        let may = is_open && self.router.was_home(worker, chunk);
        if !may {
            self.expel(worker, "it sent a sum that it was not asked for");
        }
        may
    }

    /// Sums are late: whoever was home to them is not asked for a while.
    pub(super) fn late_sums(&mut self, chunks: &[Chunk]) {
        for &chunk in chunks {
            if let Some(home) = self.router.home(chunk)
                && !self.router.rests(self.now, home)
            {
                self.router.rest(self.now, home);
            }
        }
        self.recall(|chunk, _| chunks.contains(&chunk));
    }

    /// A member lacks a chunk of weights, which was not passed on to it or follows on what it does not have: it is sent the values
    /// as they are.
    pub(super) fn missing(&mut self, worker: WorkerId, step: Step, chunk: Chunk) {
        let Some(member) = self.members.get_mut(&worker) else { return };
        // What it was sent, or asked for before, it has; and what is kept no more is not the newest, which is on its way.
        if member.may_lack.remove(&(step, chunk))
            && let Some(values) = self.reducer.kept(step, chunk, false)
        {
            let way = sent(&Arc::new(values), &[]);
            let is_lasting = self.reducer.is_frozen(chunk);
            let weights = Weights { step, chunk, way, is_lasting };
            self.outputs.push_back(super::Output::Weights(worker, weights));
        }
    }

    /// Sends a chunk of weights to one member, or to all that get them: by its home, to those that exchange messages with it. Those
    /// that can read it where it was published are only told.
    pub(super) fn send_weights(&mut self, step: Step, chunk: Chunk, only: Option<WorkerId>) {
        let is_shared = self.reducer.is_shared(chunk);
        let is_lasting = self.reducer.is_frozen(chunk);
        let is_there = |home: &WorkerId| self.members.get(home).is_some_and(|m| m.gets_weights);
        let home = self.router.home(chunk).filter(|home| only.is_none() && is_there(home));
        let passes_on = |home: WorkerId, worker: WorkerId| self.router.exchange(home, worker);
        let mut ways: Vec<(WorkerId, Option<bool>)> = Vec::new();
        for (&worker, member) in &mut self.members {
            if !member.gets_weights || only.is_some_and(|only| only != worker) {
                continue;
            }
            if !member.is_awake {
                member.lacks.get_or_insert(step);
                continue;
            }
            let is_named = is_shared && member.shares;
            let by_home = home.is_some_and(|home| passes_on(home, worker));
            ways.push((worker, (!is_named).then_some(by_home)));
        }
        if ways.iter().all(|(_, way)| way.is_none()) {
            return self.send_shared(step, chunk, ways);
        }
        let values = Arc::new(self.reducer.values(step, chunk, self.coder.is_on()));
        let by_home =
            |(worker, way): &(WorkerId, Option<bool>)| (*way == Some(true)).then_some(*worker);
        let pass_on: Arc<[WorkerId]> = ways.iter().filter_map(by_home).collect();
        let digest = home.filter(|_| !pass_on.is_empty()).map(|_| digest(&values.frame));
        for (worker, way) in ways {
            let way = match (way, home, digest) {
                (None, ..) => Way::Shared,
                (Some(true), Some(home), Some(digest)) => Way::PassedOn { home, digest },
                _ => sent(&values, if home == Some(worker) { &pass_on } else { &[] }),
            };
            self.note_lack(worker, step, chunk, &way);
            let weights = Weights { step, chunk, way, is_lasting };
            self.outputs.push_back(super::Output::Weights(worker, weights));
        }
    }

    fn send_shared(&mut self, step: Step, chunk: Chunk, to: Vec<(WorkerId, Option<bool>)>) {
        for (worker, _) in to {
            let is_lasting = self.reducer.is_frozen(chunk);
            let weights = Weights { step, chunk, way: Way::Shared, is_lasting };
            self.outputs.push_back(super::Output::Weights(worker, weights));
        }
    }

    /// Notes what a member may ask for: of the newest two steps.
    fn note_lack(&mut self, worker: WorkerId, step: Step, chunk: Chunk, way: &Way) {
        let Some(member) = self.members.get_mut(&worker) else { return };
        let may_lack = match way {
            Way::PassedOn { .. } => true,
            // Before there was a route it has all that was before.
            Way::Sent(values, _) => values.before.is_some() && self.router.route().number > 0,
            Way::Shared => false,
        };
        if !may_lack {
            return;
        }
        if member.may_lack.last().is_some_and(|(newest, _)| *newest < step) {
            let kept = (Step(step.0.saturating_sub(1)), Chunk(0));
            member.may_lack = member.may_lack.split_off(&kept);
        }
        member.may_lack.insert((step, chunk));
    }
}

fn sent(values: &Arc<ChunkValues>, pass_on: &[WorkerId]) -> Way {
    Way::Sent(values.clone(), pass_on.into())
}
