//! What a run tells the outside while it goes on. Whoever listens can change nothing.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use lockstep_proto::ids::{Span, Table, WorkerId};

use crate::departure::Departure;
use crate::engine::{MemberView, Planned, Wait};
use crate::peer::Peer;
use crate::policy::Best;
use crate::snapshot::Snapshot;

/// Listens to a run.
pub trait Observer: Send + 'static {
    /// Called in order, on the run's own task: keep it short, and wait for no disk.
    fn observe(&mut self, event: RunEvent<'_>);

    /// Asked after every pass but the test table's, when what it measured has been told: is a snapshot wanted? Only what
    /// will be used: the next thing is a copy of all weights and moments. `is_last` when the run is about to end early, and
    /// this state may be the last there is.
    fn wants_snapshot(&mut self, _is_last: bool) -> bool {
        false
    }

    /// Takes the snapshot that was wanted, always. Writing it is for another thread.
    fn take_snapshot(&mut self, _snapshot: Snapshot) {}

    /// How often it is told who does what ([`RunEvent::Members`]), also while nothing moves; `None` for never.
    fn look_interval(&self) -> Option<Duration> {
        None
    }
}

/// What a worker had to do in a pass, and how long that took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassShare {
    /// Its name.
    pub worker: WorkerId,
    /// Rows that it was dealt.
    pub rows: u64,
    /// How long it says that it computed; it may have begun before the pass did.
    pub busy: Duration,
    /// From the pass's begin to its last answer; `None` if it has left one open.
    pub answered: Option<Duration>,
}

/// Makes the weights as frames of `f32`, chunk by chunk in the layout's order, for whoever wants them. Where they were
/// published like that, nothing is copied.
#[derive(Clone, Copy)]
pub struct WeightFrames<'a>(pub &'a dyn Fn() -> Vec<Bytes>);

impl fmt::Debug for WeightFrames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeightFrames")
    }
}

/// What early stopping makes of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// From 1.
    pub epoch: u32,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// Whether the run ends after it.
    pub stops: bool,
    /// The best so far, if there is one.
    pub best: Option<Best>,
}

/// Something worth telling.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// A worker was let in.
    Joined {
        /// Its name.
        worker: WorkerId,
        /// Who it is.
        peer: &'a Peer,
    },
    /// A worker is gone.
    Left {
        /// Its name.
        worker: WorkerId,
        /// Who it was.
        peer: &'a Peer,
        /// Why.
        reason: &'a Departure,
        /// How many are left.
        workers: usize,
    },
    /// A worker was not let in.
    Refused {
        /// Who it is.
        peer: &'a Peer,
        /// Why not.
        reason: &'a str,
    },
    /// The run was told to stop: it ends after the pass in hand, which a snapshot may follow.
    Stopping,
    /// The run was told to stop a while ago, and the pass in hand goes on.
    StillStopping {
        /// The pass in hand.
        planned: Planned,
        /// How long ago.
        waited: Duration,
        /// What it waits for, if that can be said.
        wait: Option<Wait>,
    },
    /// The training is over, well or not; workers are about to be told.
    Ending,
    /// Something is odd, though the run goes on.
    Warning(&'a str),
    /// Nothing has moved for a while.
    Waiting {
        /// For what.
        wait: &'a Wait,
        /// Who that is, where it is a worker.
        peer: Option<&'a Peer>,
    },
    /// An update was made.
    Step {
        /// From 1.
        epoch: u32,
        /// From 1, through the whole run.
        step: u64,
        /// Rows of the batch, as they were added up.
        rows: u64,
        /// Loss and metric sums over the batch, before the update.
        sums: &'a [f64],
        /// The learning rate of this update.
        learning_rate: f32,
        /// Since the first step began.
        seconds: f64,
        /// Who was dealt what, in order.
        deals: &'a [(WorkerId, Span)],
        /// How many microbatches were dealt more often than once.
        recomputed: u64,
        /// The weights after the update.
        weights: WeightFrames<'a>,
        /// By layer that learns: what it is called, and the norm of its gradient; of some steps, the same ones whoever computes.
        norms: &'a [(String, f64)],
        /// After an epoch, by layer: what it is called, how many of its units gave 0 for every row of it, and how many there are.
        silent: &'a [(String, [u64; 2])],
    },
    /// A pass is over; what it made was told before.
    Passed {
        /// Which.
        planned: Planned,
        /// How long it took.
        took: Duration,
        /// Whoever was dealt something, in order of names. A worker that left in the pass is not there.
        shares: &'a [PassShare],
    },
    /// Who does what. See [`Observer::look_interval`].
    Members {
        /// In order of names.
        members: &'a [MemberView],
        /// The pass in hand.
        planned: Option<Planned>,
        /// What is waited for, if nothing has moved for a moment and it can be said.
        wait: Option<&'a Wait>,
        /// Who adds up gradients and why, in words.
        adds: &'a str,
    },
    /// A span was late, and was dealt to others as well: the first answer counts.
    Hedged {
        /// Whose answer is late.
        worker: WorkerId,
        /// Its span.
        span: Span,
    },
    /// Microbatches of the pass are computed again, for whatever reason.
    DealtAgain {
        /// Who does.
        worker: WorkerId,
        /// What it was dealt.
        span: Span,
        /// How many microbatches of it were dealt before.
        microbatches: u64,
    },
    /// A table was measured.
    Evaluated {
        /// Which.
        table: Table,
        /// Its rows.
        rows: u64,
        /// Loss and metric sums over the table.
        sums: &'a [f64],
        /// What early stopping makes of the epoch, where it is asked.
        judged: Option<Judged>,
    },
}
