//! Who takes part: what each member has, what it owes and how fast it is. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lockstep_proto::ids::{Pass, Shard, Span, WorkerId};

use super::holdings::Holdings;
use super::spans::Seat;

/// Weight of the newest measurement in a smoothed one.
const SMOOTHING: f64 = 0.5;

/// How much faster a member is taken to be each time that nothing was measured: one that was slow and got no work
/// is tried again some day.
const FORGIVENESS: f64 = 1.1;

/// So many times as fast as a favored member another has to be to take its place.
const FAVOR: f64 = 1.5;

/// A member keeps the rows of as many spans as its own.
const SPANS_KEPT: u32 = 2;

#[derive(Debug)]
pub(super) struct Member {
    joined_at: Instant,
    pub(super) prepared: bool,
    threads: u32,
    holdings: Holdings,
    /// Deals that it has not answered, of whatever pass.
    owes: Vec<(Pass, Span)>,
    /// What it owes was waited for in vain.
    is_silent: bool,
    /// The spans that it was told to get and still fetches: since when, and how many shards it lacked.
    fetches: Vec<(Span, Instant, u32)>,
    /// Smoothed.
    rows_per_second: Option<f64>,
    /// How much longer than it computes its answers take, smoothed.
    answer_seconds: Option<f64>,
    /// Measured since the speed was last brought up to date.
    work_rows: f64,
    busy: Duration,
}

/// All members.
#[derive(Debug)]
pub(super) struct Members {
    shards: u32,
    by_id: BTreeMap<WorkerId, Member>,
    /// Who sits where, so that someone who comes takes the place, and so the shards, of someone who left.
    seats: Vec<Option<WorkerId>>,
    /// What fetching one shard was measured to take, smoothed.
    fetch_seconds: Option<f64>,
    /// When a prepared member left last.
    left_at: Option<Instant>,
}

impl Member {
    pub(super) fn is_idle(&self) -> bool {
        self.prepared && self.owes.is_empty()
    }

    /// Whether an answer of it was waited for in vain, and it has given none since.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether it owes results of a pass before this one.
    pub(super) fn is_late_for(&self, pass: Pass) -> bool {
        self.owes.iter().any(|&(owed, _)| owed < pass)
    }

    pub(super) fn owes(&self) -> &[(Pass, Span)] {
        &self.owes
    }

    /// How many shards of the span it would have to fetch.
    pub(super) fn lacks(&self, span: Span) -> u32 {
        self.holdings.lacks(span)
    }

    /// The shards that it has, or was told to get.
    pub(super) fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// When it joined.
    pub(super) fn joined_at(&self) -> Instant {
        self.joined_at
    }

    /// Since when it fetches what it still does.
    pub(super) fn fetches_since(&self) -> Option<Instant> {
        self.fetches.first().map(|&(_, since, _)| since)
    }

    /// As measured; `None` if nothing was.
    pub(super) fn rows_per_second(&self) -> Option<f64> {
        self.rows_per_second
    }

    /// What it was told to get first, of what it still fetches.
    #[cfg(test)]
    pub(super) fn fetches(&self) -> Option<Span> {
        self.fetches.first().map(|&(span, ..)| span)
    }

    /// What it is still to compute or to fetch.
    fn in_hand(&self) -> impl Iterator<Item = Span> {
        let owed = self.owes.iter().map(|&(_, span)| span);
        owed.chain(self.fetches.iter().map(|&(span, ..)| span))
    }
}

impl Members {
    pub(super) fn new(shards: u32) -> Members {
        let (by_id, seats) = (BTreeMap::new(), Vec::new());
        Members { shards, by_id, seats, fetch_seconds: None, left_at: None }
    }

    pub(super) fn join(&mut self, now: Instant, worker: WorkerId, threads: u32) {
        let member = Member {
            joined_at: now,
            prepared: false,
            threads: threads.max(1),
            holdings: Holdings::none(self.shards),
            owes: Vec::new(),
            is_silent: false,
            fetches: Vec::new(),
            rows_per_second: None,
            answer_seconds: None,
            work_rows: 0.0,
            busy: Duration::ZERO,
        };
        self.by_id.insert(worker, member);
        match self.seats.iter_mut().find(|seat| seat.is_none()) {
            Some(seat) => *seat = Some(worker),
            None => self.seats.push(Some(worker)),
        }
    }

    /// Whether it was a member.
    pub(super) fn leave(&mut self, now: Instant, worker: WorkerId) -> bool {
        if let Some(seat) = self.seats.iter_mut().find(|seat| **seat == Some(worker)) {
            *seat = None;
        }
        let member = self.by_id.remove(&worker);
        if member.as_ref().is_some_and(|member| member.prepared) {
            self.left_at = Some(now);
        }
        member.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Member> {
        self.by_id.get(&worker)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Member)> {
        self.by_id.iter().map(|(&worker, member)| (worker, member))
    }

    /// Members in the order of their seats.
    pub(super) fn seated(&self) -> impl Iterator<Item = WorkerId> {
        self.seats.iter().filter_map(|seat| *seat)
    }

    /// Those who have their shards, in the order of their seats.
    pub(super) fn prepared(&self) -> Vec<WorkerId> {
        self.seated().filter(|worker| self.by_id[worker].prepared).collect()
    }

    /// Notes that a member was told to get the shards of a span, for this pass.
    pub(super) fn fetch(&mut self, now: Instant, worker: WorkerId, span: Span, pass: Pass) {
        if let Some(member) = self.by_id.get_mut(&worker) {
            let lacks = member.lacks(span);
            member.fetches.push((span, now, lacks));
            member.holdings.hold(span, pass);
        }
    }

    /// Notes that a member has the shards of a span; false if it was not told to get them.
    pub(super) fn fetched(&mut self, now: Instant, worker: WorkerId, span: Span) -> bool {
        let Some(member) = self.by_id.get_mut(&worker) else { return true };
        let Some(told) = member.fetches.iter().position(|&(told, ..)| told == span) else {
            return false;
        };
        let (_, since, shards) = member.fetches.remove(told);
        member.prepared = true;
        if shards > 0 {
            let took = now.saturating_duration_since(since).as_secs_f64() / f64::from(shards);
            self.fetch_seconds = Some(smoothed(self.fetch_seconds, took));
        }
        true
    }

    /// How long it is likely to take a member to fetch what it lacks of a span.
    pub(super) fn fetch_time(&self, worker: WorkerId, span: Span) -> Duration {
        let lacks = self.get(worker).map_or(0, |member| member.lacks(span));
        // Not even a shard a minute: a clock that jumped, or a link that is gone.
        let seconds = self.fetch_seconds.unwrap_or(0.0).min(60.0);
        Duration::from_secs_f64(f64::from(lacks) * seconds)
    }

    /// Notes a deal.
    pub(super) fn owe(&mut self, worker: WorkerId, pass: Pass, span: Span) {
        if let Some(member) = self.by_id.get_mut(&worker) {
            member.owes.push((pass, span));
            member.holdings.hold(span, pass);
        }
    }

    /// Has every member let go of shards that it has beyond its limit, and says which: the limit is twice its own span (the
    /// longest of them), or twice an even share of all shards where that is more. So much covers what it computes for others, in audits
    /// and when they are late or lost, without its rows coming and going. What it has in hand stays in any case.
    pub(super) fn trim(
        &mut self,
        own: impl Fn(WorkerId) -> Vec<Span>,
    ) -> Vec<(WorkerId, Vec<Span>)> {
        let share = self.shards.div_ceil(self.by_id.len().max(1) as u32);
        let mut let_go = Vec::new();
        for (&worker, member) in &mut self.by_id {
            if member.holdings.count() <= SPANS_KEPT * share {
                continue;
            }
            let own = own(worker);
            let longest = own.iter().map(|span| span.len()).max().unwrap_or(0);
            let most = SPANS_KEPT * longest.max(share);
            let needed: Vec<Span> = own.into_iter().chain(member.in_hand()).collect();
            let spans = member.holdings.trim(most, &needed);
            if !spans.is_empty() {
                let_go.push((worker, spans));
            }
        }
        let_go
    }

    /// Notes that a member's answer is not waited for any more.
    pub(super) fn silence(&mut self, worker: WorkerId) {
        if let Some(member) = self.by_id.get_mut(&worker) {
            member.is_silent = true;
        }
    }

    /// Notes that a deal is answered; false if there was no such deal.
    pub(super) fn answer(&mut self, worker: WorkerId, pass: Pass, span: Span) -> bool {
        let Some(member) = self.by_id.get_mut(&worker) else { return true };
        member.is_silent = false;
        let place = member.owes.iter().position(|&owed| owed == (pass, span));
        place.map(|place| member.owes.remove(place)).is_some()
    }

    /// Notes that a deal over this shard was answered with a divergence, if there was such a deal.
    pub(super) fn diverged(&mut self, worker: WorkerId, pass: Pass, shard: Shard) {
        if let Some(member) = self.by_id.get_mut(&worker) {
            let over = |(owed, span): &(Pass, Span)| {
                *owed == pass && (span.start..span.end).contains(&shard.0)
            };
            if let Some(place) = member.owes.iter().position(over) {
                member.owes.remove(place);
            }
        }
    }

    /// When somebody was there last, or came, who could compute beside those who did: the newest time that a member left, or
    /// that one joined that still fetches its shards. `None` if nobody else ever did.
    pub(super) fn company_at(&self, beside: &BTreeSet<WorkerId>) -> Option<Instant> {
        let fetches =
            |(worker, member): &(WorkerId, &Member)| !member.prepared && !beside.contains(worker);
        let joined = self.iter().filter(fetches).map(|(_, member)| member.joined_at).max();
        joined.max(self.left_at)
    }

    /// Notes how long a member took for work worth so many rows.
    pub(super) fn measure(&mut self, worker: WorkerId, work_rows: f64, busy: Duration) {
        if let Some(member) = self.by_id.get_mut(&worker) {
            member.work_rows += work_rows;
            member.busy = member.busy.saturating_add(busy);
        }
    }

    /// Notes how long an answer took beside computing.
    pub(super) fn note_answer(&mut self, worker: WorkerId, beside: Duration) {
        if let Some(member) = self.by_id.get_mut(&worker) {
            member.answer_seconds = Some(smoothed(member.answer_seconds, beside.as_secs_f64()));
        }
    }

    /// Prepared members, those first who are likely to be done first if one computes all of these rows; others than the favored
    /// only if they are much faster, and equals in the order of their seats.
    pub(super) fn ranked(&self, rows: f64, is_favored: impl Fn(WorkerId) -> bool) -> Vec<WorkerId> {
        let seconds = |worker: &WorkerId| {
            let beside = self.get(*worker).and_then(|member| member.answer_seconds);
            let seconds = beside.unwrap_or(0.0) + rows / self.speed(*worker);
            if is_favored(*worker) { seconds / FAVOR } else { seconds }
        };
        let mut ranked = self.prepared();
        ranked.sort_by(|one, other| seconds(one).total_cmp(&seconds(other)));
        ranked
    }

    /// How long it is likely to take to move so many shards.
    pub(super) fn move_seconds(&self, shards: u32) -> f64 {
        f64::from(shards) * self.fetch_seconds.unwrap_or(0.0)
    }

    /// Brings the speeds of those who are dealt to up to date with what was measured since the last time.
    pub(super) fn update_speeds(&mut self, workers: &[WorkerId]) {
        for worker in workers {
            let Some(member) = self.by_id.get_mut(worker) else { continue };
            let busy = member.busy.as_secs_f64();
            if member.work_rows > 0.0 && busy > 0.0 {
                let measured = member.work_rows / busy;
                member.rows_per_second = Some(smoothed(member.rows_per_second, measured));
            } else if let Some(speed) = &mut member.rows_per_second {
                *speed *= FORGIVENESS;
            }
            member.work_rows = 0.0;
            member.busy = Duration::ZERO;
        }
    }

    /// Rows a second, or a guess by the others and the number of threads. With nothing measured at all, threads.
    pub(super) fn speed(&self, worker: WorkerId) -> f64 {
        let Some(member) = self.get(worker) else { return 1.0 };
        if let Some(speed) = member.rows_per_second {
            return speed;
        }
        let (mut sum, mut count) = (0.0, 0.0);
        for other in self.by_id.values() {
            if let Some(speed) = other.rows_per_second {
                sum += speed / f64::from(other.threads);
                count += 1.0;
            }
        }
        let each = if count > 0.0 { sum / count } else { 1.0 };
        each * f64::from(member.threads)
    }

    /// What the cut has to know of these members.
    pub(super) fn seats(&self, workers: &[WorkerId]) -> Vec<Seat<'_>> {
        let seat =
            |&worker| Seat { speed: self.speed(worker), holds: self.by_id[&worker].holdings.has() };
        workers.iter().map(seat).collect()
    }
}

fn smoothed(before: Option<f64>, newest: f64) -> f64 {
    before.map_or(newest, |before| before + SMOOTHING * (newest - before))
}
