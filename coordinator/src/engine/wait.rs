//! What a run waits for, in words.

use std::fmt;
use std::time::{Duration, Instant};

use lockstep_proto::ids::{Chunk, Span, WorkerId};
use lockstep_proto::words::count;

use super::Engine;
use super::schedule::Planned;

/// What a run waits for, and for how long so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For how long so far.
    pub waited: Duration,
    /// How long it may last before the run goes on by itself, where there is such a limit.
    pub limit: Option<Duration>,
    /// For what.
    pub reason: WaitReason,
}

/// Why nothing moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Fewer members than the job's minimum.
    Workers {
        /// Members now.
        joined: usize,
        /// Members wanted.
        wanted: usize,
    },
    /// Members are there, but not all that are needed have their shards.
    Shards {
        /// A member that still fetches.
        worker: WorkerId,
    },
    /// Everything is there; it is being added.
    Adding,
    /// A member has not answered for its span.
    Results {
        /// The member.
        worker: WorkerId,
        /// What it was dealt.
        span: Span,
        /// For which pass.
        planned: Planned,
    },
    /// All results are there, but a member has not sent what it added up.
    Sum {
        /// The member.
        worker: WorkerId,
        /// The part of the gradient that it is home to.
        chunk: Chunk,
        /// Of which pass.
        planned: Planned,
    },
    /// Nobody is there to compute an audited span as well, or one that a member says is not finite.
    Audit {
        /// The span.
        span: Span,
        /// Of which pass.
        planned: Planned,
        /// Who was dealt it, and can answer.
        workers: Vec<WorkerId>,
    },
    /// Two members computed different values for a span, and there is no third to settle it.
    Dispute {
        /// The span.
        span: Span,
        /// Of which pass.
        planned: Planned,
        /// Who was dealt it, and can answer.
        workers: Vec<WorkerId>,
    },
}

impl Wait {
    /// The member that the run waits for, if it is one.
    pub fn worker(&self) -> Option<WorkerId> {
        match self.reason {
            WaitReason::Shards { worker }
            | WaitReason::Results { worker, .. }
            | WaitReason::Sum { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// The members that it is about: whom the run waits for, or whose answers it cannot take as they are.
    pub fn workers(&self) -> Vec<WorkerId> {
        match &self.reason {
            WaitReason::Audit { workers, .. } | WaitReason::Dispute { workers, .. } => {
                workers.clone()
            }
            _ => self.worker().into_iter().collect(),
        }
    }
}

impl Engine {
    /// What the run waits for now, if that can be said.
    pub fn wait(&self, now: Instant) -> Option<Wait> {
        let reason = self.wait_reason()?;
        let waited = now.saturating_duration_since(self.progress_at());
        let ends_at = match reason {
            WaitReason::Audit { span, .. } => self.company_until(span),
            WaitReason::Sum { .. } => self.sums_at(),
            WaitReason::Results { worker, span, .. } => self.given_up_at(worker, span),
            _ => None,
        };
        let limit = ends_at.map(|at| waited + at.saturating_duration_since(now));
        Some(Wait { waited, limit, reason })
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited = self.waited.as_secs_f64();
        match &self.reason {
            WaitReason::Workers { joined, wanted } => {
                let workers = count(*joined as u64, "worker");
                write!(
                    f,
                    "waiting for workers for {waited:.1} s: {workers} connected, {wanted} needed"
                )
            }
            WaitReason::Shards { worker } => {
                write!(f, "waiting for {worker} for {waited:.1} s: it is fetching its shards")
            }
            WaitReason::Adding => {
                write!(f, "adding for {waited:.1} s: all results of the step are there")
            }
            WaitReason::Results { worker, span, planned } => write!(
                f,
                "waiting for {worker} for {waited:.1} s: no result for {span} on the weights of {}",
                planned.step
            ),
            WaitReason::Sum { worker, chunk, planned } => write!(
                f,
                "waiting for {worker} for {waited:.1} s: it adds up {chunk} of the gradient on the weights of {}",
                planned.step
            ),
            WaitReason::Audit { span, planned, .. } => write!(
                f,
                "waiting for another worker for {waited:.1} s: nobody is there to check {span} on the weights of {}",
                planned.step
            ),
            WaitReason::Dispute { span, planned, .. } => write!(
                f,
                "waiting for another worker for {waited:.1} s: two differ about {span} on the weights of {}, a \
                 third has to settle it",
                planned.step
            ),
        }
    }
}
