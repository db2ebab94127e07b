//! What each member is doing, for people. Decides nothing.

use std::time::{Duration, Instant};

use lockstep_proto::ids::{Span, WorkerId};

use super::members::Member;
use super::open_pass::OpenPass;
use super::{Engine, Planned};

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It waits for others to join.
    Waiting,
    /// It fetches its first rows.
    Fetching,
    /// It has something to compute, or its results are on their way.
    Computing,
    /// Its answer takes so long that others compute the same as well, or is of a pass that is over.
    Late,
    /// An answer of it that is to be compared was waited for in vain.
    Silent,
    /// It has nothing to do.
    Idle,
    /// It has nothing to do: steps are shorter without it.
    Spare,
}

/// A member, as the engine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// Its name.
    pub worker: WorkerId,
    /// What it is doing.
    pub state: MemberState,
    /// For how long, where that is known.
    pub state_for: Option<Duration>,
    /// Its own span of the shards, as long as the plan holds.
    pub span: Option<Span>,
    /// Rows that it computes a second, smoothed; `None` if nothing was measured.
    pub rows_per_second: Option<f64>,
    /// Since it joined.
    pub joined_for: Duration,
}

impl Engine {
    /// What each member is doing, in order of names.
    pub fn look(&self, now: Instant) -> Vec<MemberView> {
        let planned = self.planned().or_else(|| self.schedule.planned(self.next));
        let task = planned.map(|planned| planned.task);
        let view = |(worker, member): (WorkerId, &Member)| {
            let (state, since) = self.state_of(worker, member);
            let own = task
                .and_then(|task| self.crews.spans(task).iter().find(|(owner, _)| *owner == worker));
            MemberView {
                worker,
                state,
                state_for: since.map(|since| now.saturating_duration_since(since)),
                span: own.map(|&(_, span)| span),
                rows_per_second: member.rows_per_second(),
                joined_for: now.saturating_duration_since(member.joined_at()),
            }
        };
        self.members.iter().map(view).collect()
    }

    /// The pass in hand.
    pub fn planned(&self) -> Option<Planned> {
        self.open.as_ref().map(|open| open.planned)
    }

    /// Whose spans became late since this was asked last.
    pub fn take_hedged(&mut self) -> Vec<(WorkerId, Span)> {
        std::mem::take(&mut self.hedged)
    }

    fn state_of(&self, worker: WorkerId, member: &Member) -> (MemberState, Option<Instant>) {
        if !member.prepared {
            return match member.fetches_since() {
                Some(since) => (MemberState::Fetching, Some(since)),
                None => (MemberState::Waiting, Some(member.joined_at())),
            };
        }
        if member.is_silent() {
            return (MemberState::Silent, None);
        }
        let unanswered = |open: &OpenPass| {
            let mut deals = open.deals.iter();
            let deal = deals.find(|deal| deal.worker == worker && deal.answered.is_none())?;
            let state = if deal.hedged { MemberState::Late } else { MemberState::Computing };
            Some((state, Some(deal.at)))
        };
        if let Some(open) = self.open.as_ref()
            && member.is_late_for(open.planned.pass)
        {
            return (MemberState::Late, None);
        }
        let is_spare = |open: &&OpenPass| !self.crews.has(open.planned.task, worker);
        let idle = match self.open.as_ref().filter(is_spare) {
            Some(_) => MemberState::Spare,
            None => MemberState::Idle,
        };
        self.open.as_ref().and_then(unanswered).unwrap_or((idle, None))
    }
}
