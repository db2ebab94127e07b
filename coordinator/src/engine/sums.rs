//! Chunks that workers add up: which have a home in the pass in hand, what comes of them, and when that is late. A late one is
//! given to the coordinator: everybody sends its nodes again, and says so, as if it were dealt anew.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockstep_proto::ids::{Chunk, Pass, WorkerId};
use lockstep_proto::tree::Node;
use lockstep_reduce::fold::LeafSet;

use super::late::{self, FIRST_ANSWER, LATE_DELAY};
use super::open_pass::{Dealt, OpenPass};
use super::{Action, Answered, Engine, Track};

/// Sums that take so many times as long as usual are late. Adding them up anew sends all of it again, so that giving a home up that would
/// have been there soon costs more than waiting for it.
const LATE_FACTOR: f64 = 4.0;

/// Weight of the newest time in what is usual.
const SMOOTHING: f64 = 0.1;

/// The homes of a pass.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// By chunk; none where the coordinator adds up all of them.
    homes: Vec<Option<WorkerId>>,
    /// Who has not said yet that it has sent again what another home has now.
    unrouted: BTreeSet<WorkerId>,
    /// Since when all rows are answered for.
    answered_at: Option<Instant>,
}

impl Sums {
    /// Whether a track's nodes do not come here.
    pub(super) fn are_elsewhere(&self, track: Track) -> bool {
        self.home(track).is_some()
    }

    /// Whether any is.
    pub(super) fn are_anywhere(&self) -> bool {
        self.homes.iter().any(Option::is_some)
    }

    fn home(&self, track: Track) -> Option<WorkerId> {
        let Track::Chunk(chunk) = track else { return None };
        self.homes.get(chunk.0 as usize).copied().flatten()
    }

    /// Whether a worker may still send what it was dealt before.
    pub(super) fn wait_for(&self, worker: WorkerId) -> bool {
        self.unrouted.contains(&worker)
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.unrouted.remove(&worker);
    }
}

impl Engine {
    /// The open pass has these homes from now on, by chunk. `asked` are told to send again what has another home than before;
    /// they say when they have with [`Engine::routed`].
    pub fn route(
        &mut self,
        now: Instant,
        homes: &[Option<WorkerId>],
        asked: impl IntoIterator<Item = WorkerId>,
    ) {
        let Some(open) = &mut self.open else { return };
        open.sums.homes = homes.to_vec();
        open.sums.unrouted.extend(asked);
        open.reopen(now);
        self.note_answers(now);
        // Whoever had to send again may be idle now.
        self.hedge(now);
    }

    /// A worker has sent again what has another home than before.
    pub fn routed(&mut self, now: Instant, worker: WorkerId) -> Answered {
        let Some(open) = &mut self.open else { return Answered::Noted };
        if !open.sums.unrouted.remove(&worker) {
            return Answered::Noted;
        }
        let deals = open.deals.iter().filter(|deal| deal.worker == worker);
        let answered =
            deals.filter(|deal| deal.is_reopened || (deal.answered.is_some() && !deal.diverged));
        let spans: Vec<_> = answered.map(|deal| deal.span).collect();
        if spans.iter().any(|&span| open.lacks_values(worker, span)) {
            return Answered::Lacking;
        }
        for deal in open.deals.iter_mut().filter(|deal| deal.worker == worker && deal.is_reopened) {
            deal.is_reopened = false;
            deal.answered = Some(now.saturating_duration_since(deal.at));
        }
        self.note_answers(now);
        self.hedge(now);
        self.begin_pass(now);
        Answered::Noted
    }

    /// A home sends the sum of a node. Whether it is to be folded: not if it is there, or somebody else has to be asked about some
    /// of it.
    pub fn accept_sum(&mut self, now: Instant, pass: Pass, chunk: Chunk, node: Node) -> bool {
        let open = self.open.as_mut().filter(|open| open.planned.pass == pass);
        let Some((open, span)) = open.zip(self.schedule.tree.span(node)) else { return false };
        if !open.has(Track::Chunk(chunk)) || open.audits.open().next().is_some() {
            return false;
        }
        let is_new = open.cover(Track::Chunk(chunk), span);
        if is_new && open.late_sums().next().is_none() {
            let since = open.sums.answered_at;
            let lag = since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            let lag = lag.as_secs_f64();
            let usual = self.usual_lag.map_or(lag, |usual| usual + SMOOTHING * (lag - usual));
            self.usual_lag = Some(usual);
        }
        self.note_progress(now);
        is_new
    }

    /// Notes since when nothing but sums of homes is missing.
    pub(super) fn note_answers(&mut self, now: Instant) {
        let Some(open) = self.open.as_mut().filter(|open| !open.sums.homes.is_empty()) else {
            return;
        };
        match open.is_answered() {
            true => _ = open.sums.answered_at.get_or_insert(now),
            false => open.sums.answered_at = None,
        }
    }

    /// When sums that are still missing are late.
    pub(super) fn sums_at(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        let answered_at = open.sums.answered_at.filter(|_| open.late_sums().next().is_some())?;
        let usual = open.longest_answer().or_else(|| self.usual.of(open.planned.task));
        let lag = self.usual_lag.and_then(|lag| Duration::try_from_secs_f64(lag).ok());
        let patience = match lag {
            Some(lag) => (usual.unwrap_or_default() + lag).mul_f64(LATE_FACTOR),
            None => (usual.unwrap_or_default() + FIRST_ANSWER).mul_f64(late::LATE_FACTOR),
        };
        Some(answered_at + patience + LATE_DELAY)
    }

    /// Gives up waiting for sums that are late.
    pub(super) fn give_up_sums(&mut self, now: Instant) {
        if self.sums_at().is_none_or(|at| now < at) {
            return;
        }
        if let Some(open) = &mut self.open {
            let late: Vec<Chunk> = open.late_sums().collect();
            // Until whoever is told has routed them anew.
            open.sums.answered_at = None;
            self.actions.push_back(Action::LateSums(late));
        }
    }
}

impl OpenPass {
    /// Chunks with a home whose sums are missing.
    fn late_sums(&self) -> impl Iterator<Item = Chunk> {
        let chunks = (0..self.sums.homes.len() as u32).map(Chunk);
        chunks.filter(|&chunk| {
            self.sums.are_elsewhere(Track::Chunk(chunk)) && !self.is_covered(Track::Chunk(chunk))
        })
    }

    /// A home and a chunk that nothing but the sum is missing of.
    pub(super) fn waits_for_sum(&self) -> Option<(WorkerId, Chunk)> {
        let chunk = self.late_sums().next().filter(|_| self.is_answered())?;
        Some((self.sums.home(Track::Chunk(chunk))?, chunk))
    }

    /// Whether all that homes have to add up, and have not, is in deals that are answered.
    fn is_answered(&self) -> bool {
        let answered = self.answered();
        let lacks = |chunk| self.missing_in(Track::Chunk(chunk)).without(&answered);
        self.late_sums().all(|chunk| lacks(chunk).is_empty())
    }

    /// The shards in deals that are answered.
    pub(super) fn answered(&self) -> LeafSet {
        let is_answer = |deal: &&Dealt| deal.answered.is_some() && !deal.diverged;
        let spans = self.deals.iter().filter(is_answer).map(|deal| deal.span);
        LeafSet::of(self.tree(), spans)
    }

    /// What was answered, and has values missing that are to come here, is to be answered again.
    fn reopen(&mut self, now: Instant) {
        let waits: Vec<bool> = self
            .deals
            .iter()
            .map(|deal| {
                let may_come = deal.answered.is_some() && !deal.diverged;
                may_come
                    && self.sums.wait_for(deal.worker)
                    && self.lacks_values(deal.worker, deal.span)
            })
            .collect();
        for (deal, waits) in self.deals.iter_mut().zip(waits) {
            if waits {
                (deal.answered, deal.at) = (None, now);
                (deal.is_reopened, deal.hedged) = (true, false);
            }
        }
    }
}
