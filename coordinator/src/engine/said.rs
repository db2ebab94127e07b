//! What goes into the engine and what comes out of it: plain values.

use lockstep_proto::frame::{Deal, Divergence};
use lockstep_proto::ids::{Chunk, Pass, Span, WorkerId};

use super::{Planned, Track, Wait};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker became a member.
    Joined {
        /// Its name.
        worker: WorkerId,
        /// Its compute threads: a first guess at its speed.
        threads: u32,
    },
    /// A worker's stream ended.
    Left(WorkerId),
    /// A chunk's sum is complete and held back until the global norm is known.
    Held,
    /// A track's sum is complete and stored.
    Committed(Track),
    /// What the evaluation of the validation table that ended means for the run: it has so many epochs, and if these are
    /// over, whether weights of an earlier one are restored. See [`Engine::judging`](super::Engine::judging).
    Judged {
        /// Times through the training table.
        epochs: u32,
        /// As in [`Schedule`](super::Schedule).
        restores: bool,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell a worker to fetch the shards of a span.
    Prepare(WorkerId, Span),
    /// Tell a worker to let go of the shards of these spans.
    Forget(WorkerId, Vec<Span>),
    /// Tell a worker to compute.
    Deal(WorkerId, Deal),
    /// Get ready to fold the values of this pass.
    BeginPass(Planned),
    /// Nobody is there to compare a span's values with: take the ones that are there.
    Waive {
        /// Of which pass.
        pass: Pass,
        /// The span.
        span: Span,
        /// Whether somebody was waited for.
        waited: bool,
    },
    /// A worker's answer about an audited span is not waited for any more.
    GiveUp(WorkerId, Span),
    /// A loss or gradient is really not finite: the run cannot go on.
    Diverged(Divergence),
    /// The homes of these chunks do not send their sums: have everybody send the nodes here.
    LateSums(Vec<Chunk>),
    /// Others computed finite values for what a worker said is not: end its membership.
    Refute(WorkerId, Divergence),
    /// All chunks are held: scale by the global norm, update, commit.
    Update,
    /// Every track of the pass is committed.
    EndPass(Planned),
    /// Say what the run waits for.
    Report(Wait),
    /// The schedule is done.
    Finish,
}

/// What a worker's word is worth that a deal is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is noted, or was before.
    Noted,
    /// Values are missing that nobody gave: end its membership, so that they are dealt again.
    Lacking,
    /// It was never dealt that: end its membership.
    Foreign,
}

/// What to do with one node's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are new: fold them.
    Fold,
    /// They are late or already known: drop them.
    Drop,
    /// They belong to an audited span: compare them with another worker's, and tell [`Engine::agreed`](super::Engine::agreed) or
    /// [`Engine::disputed`](super::Engine::disputed) how that ends.
    Compare,
    /// The worker was never asked for them: end its membership.
    Foreign,
}
