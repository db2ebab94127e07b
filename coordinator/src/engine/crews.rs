//! Who is dealt to, and with which spans: all members, or in short passes the crew that is fastest. Training steps and measures of
//! tables are of different lengths, and have a crew each. How many belong to one is decided in `crew_size`, how spans are cut in
//! `plan`; this is where numbers become names.
//!
//! Everybody else stays what they were: members who have rows, and are dealt what is late, lost or audited.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockstep_proto::ids::{Span, Task, WorkerId};

use super::Engine;
use super::crew_size::CrewSize;
use super::members::Members;
use super::plan::SpanPlan;
use super::schedule::{Planned, Schedule};
use crate::spec::CrewRule;

/// Nobody is dealt so much more than usual that moving the rows would take longer.
const MOVE_MAX: Duration = Duration::from_millis(250);

/// See the file's text.
#[derive(Debug)]
pub(super) struct Crews {
    rule: Option<CrewRule>,
    /// Whether anything may be tried at the moment.
    may_try: bool,
    /// Of all members.
    everyone: SpanPlan,
    /// For training steps, and for measures of tables.
    of: [Crew; 2],
    /// Members, those first who are likely to be done first on their own, as it was when steps were last tried; empty until that is
    /// asked.
    ranked: Vec<WorkerId>,
    least: usize,
}

#[derive(Debug)]
struct Crew {
    size: CrewSize,
    plan: SpanPlan,
    /// Who belongs to it; `None`: everybody.
    members: Option<BTreeSet<WorkerId>>,
}

impl Crews {
    pub(super) fn new(now: Instant) -> Crews {
        let crew = || Crew {
            size: CrewSize::new(CrewRule::default()),
            plan: SpanPlan::new(now),
            members: None,
        };
        Crews {
            rule: None,
            may_try: true,
            everyone: SpanPlan::new(now),
            of: [crew(), crew()],
            ranked: Vec::new(),
            least: 1,
        }
    }

    /// Looks for crews by this rule; without one, everybody is dealt to.
    pub(super) fn by(&mut self, rule: Option<CrewRule>) {
        self.rule = rule;
        if let Some(rule) = rule {
            self.of.iter_mut().for_each(|crew| crew.size = CrewSize::new(rule));
        }
    }

    /// Members have come or gone.
    pub(super) fn outdate(&mut self) {
        self.everyone.outdate();
        self.ranked.clear();
        for crew in &mut self.of {
            crew.size.members_changed();
            crew.members = None;
        }
    }

    /// Whether members have come or gone since spans were cut.
    pub(super) fn is_stale(&self) -> bool {
        self.everyone.is_stale()
    }

    /// Whether a trial may begin or go on.
    pub(super) fn allow_trials(&mut self, may: bool) {
        self.may_try = may;
    }

    /// Whether steps are tried with more or fewer members at the moment.
    pub(super) fn are_tried(&self) -> bool {
        self.of[0].size.is_tried()
    }

    /// Decides who is dealt to in a pass, and brings their spans up to date. Needs a prepared member.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        members: &mut Members,
        schedule: &Schedule,
        planned: &Planned,
    ) {
        let prepared = members.prepared();
        let place = place(planned.task);
        let all = prepared.len();
        let Some(rule) = self.rule else {
            return self.everyone.update(now, members, schedule, planned, &prepared);
        };
        self.least = rule.least.max(fewest(members, schedule));
        let were_tried = self.are_tried();
        let size = self.of[place].size.size(now, all, self.least, self.may_try);
        if size < all && self.ranked.is_empty() || self.are_tried() && !were_tried {
            let is_favored = |worker| {
                let favored = self.of[0].members.as_ref();
                favored.is_some_and(|favored| favored.contains(&worker))
            };
            self.ranked = members.ranked(schedule.train.batch_size as f64, is_favored);
        }
        let crew = &mut self.of[place];
        if size == all {
            crew.members = None;
            return self.everyone.update(now, members, schedule, planned, &prepared);
        }
        let chosen: BTreeSet<WorkerId> = self.ranked.iter().take(size).copied().collect();
        let seated: Vec<WorkerId> =
            prepared.into_iter().filter(|worker| chosen.contains(worker)).collect();
        if crew.members.as_ref() != Some(&chosen) {
            crew.plan.outdate();
            crew.members = Some(chosen);
        }
        crew.plan.update(now, members, schedule, planned, &seated);
    }

    /// The pass is over. `took`: for how long it lasted, unless that says nothing of who it was dealt to.
    pub(super) fn passed(&mut self, now: Instant, task: Task, took: Option<Duration>) {
        if self.rule.is_some() {
            self.of[place(task)].size.passed(now, took, self.least);
        }
    }

    /// Who has which span in passes like this.
    pub(super) fn spans(&self, task: Task) -> &[(WorkerId, Span)] {
        self.of[place(task)].spans(&self.everyone)
    }

    /// Whether a member is dealt to in passes like this as long as nothing happens.
    pub(super) fn has(&self, task: Task, worker: WorkerId) -> bool {
        let members = self.of[place(task)].members.as_ref();
        members.is_none_or(|members| members.contains(&worker))
    }

    /// A member's own spans, in whatever passes.
    pub(super) fn own(&self, worker: WorkerId) -> Vec<Span> {
        let of = |crew: &Crew| {
            let spans = crew.spans(&self.everyone);
            spans.iter().find(|(owner, _)| *owner == worker).map(|&(_, span)| span)
        };
        let mut spans: Vec<Span> = self.of.iter().filter_map(of).collect();
        spans.dedup();
        spans
    }

    /// Whether members may let go of rows: not while others have a turn in every other row of passes.
    pub(super) fn let_go(&self) -> bool {
        !self.of.iter().any(|crew| crew.size.is_tried())
    }
}

impl Engine {
    /// Deals short passes to fewer members than there are, by this rule, where that is faster. Not where spans are audited: whoever
    /// checks a span has to have its rows.
    pub fn choosing_crews(mut self, rule: Option<CrewRule>) -> Engine {
        self.crews.by(rule.filter(|_| self.audits.is_none()));
        self
    }

    /// Whether a worker is told of what is new in the pass in hand from its begin on: it is dealt to, or still owes an answer.
    pub(crate) fn takes_part(&self, worker: WorkerId) -> bool {
        let Some(open) = &self.open else { return true };
        let owes = || self.members.get(worker).is_none_or(|member| !member.is_idle());
        self.crews.has(open.planned.task, worker) || owes()
    }

    /// Whether steps are tried with more or fewer members at the moment.
    pub(crate) fn tries_crews(&self) -> bool {
        self.crews.are_tried()
    }

    /// Whether that may be tried.
    pub(crate) fn allow_crew_trials(&mut self, may: bool) {
        self.crews.allow_trials(may);
    }
}

impl Crew {
    fn spans<'a>(&'a self, everyone: &'a SpanPlan) -> &'a [(WorkerId, Span)] {
        if self.members.is_some() { self.plan.spans() } else { everyone.spans() }
    }
}

fn place(task: Task) -> usize {
    match task {
        Task::Train { .. } => 0,
        Task::Evaluate { .. } => 1,
    }
}

/// How many members a pass has to be dealt to at least, so that rows are moved in time.
fn fewest(members: &Members, schedule: &Schedule) -> usize {
    let all = members.move_seconds(schedule.tree.shards());
    (all / MOVE_MAX.as_secs_f64()).ceil() as usize
}
