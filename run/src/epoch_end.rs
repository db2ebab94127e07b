//! Asking at the end of every epoch whether the run goes on.
//!
//! The run waits for the answer, as Keras does for its callbacks: so what the answer depends on decides when the run ends, never how
//! fast it came. The run then ends with the weights of that very epoch. Whoever answers may take any time: connections are looked
//! after meanwhile.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_coordinator::{Outcome, Snapshot, Stop};
use tokio::sync::Notify;

use crate::plan::Plan;
use crate::report::Values;

/// Answers: the epoch, from 1, and its loss and metrics.
type Answer = dyn FnMut(u32, &Values) -> ControlFlow<()> + Send;

/// Who is asked, and what became of that.
#[derive(Clone)]
pub struct EpochEnd(Arc<Asked>);

struct Asked {
    answer: Mutex<Box<Answer>>,
    state: Mutex<State>,
    kept: Notify,
}

/// How far the run is from its end.
enum State {
    GoesOn,
    /// The epoch in hand is the last; its weights are still to be kept.
    Reached,
    /// They are kept, with the number of the epoch.
    Kept(Box<Snapshot>, u32),
    Taken,
}

impl fmt::Debug for EpochEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochEnd")
    }
}

impl EpochEnd {
    /// Asks this; a break ends the run after the epoch. It is not called from within an asynchronous task that others wait for.
    pub fn new(answer: impl FnMut(u32, &Values) -> ControlFlow<()> + Send + 'static) -> EpochEnd {
        let answer: Box<Answer> = Box::new(answer);
        EpochEnd(Arc::new(Asked {
            answer: Mutex::new(answer),
            state: Mutex::new(State::GoesOn),
            kept: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of an epoch, and waits for the answer, which counts unless the run ends anyway.
    pub(crate) fn ask(&self, epoch: u32, values: &Values, is_last: bool) {
        // A runtime's thread that waits here gives its other tasks away.
        let answer = tokio::task::block_in_place(|| {
            self.0.answer.lock().unwrap_or_else(PoisonError::into_inner)(epoch, values)
        });
        if answer.is_break() && !is_last {
            *self.state() = State::Reached;
        }
    }

    /// Whether the run is to have ended by now.
    pub(crate) fn is_reached(&self) -> bool {
        !matches!(*self.state(), State::GoesOn)
    }

    /// Whether the weights are still to be kept.
    pub(crate) fn wants_snapshot(&self) -> bool {
        matches!(*self.state(), State::Reached)
    }

    /// Keeps the state after the last epoch; the run may stop now.
    pub(crate) fn keep(&self, snapshot: Snapshot, epoch: u32) {
        *self.state() = State::Kept(Box::new(snapshot), epoch);
        self.0.kept.notify_one();
    }

    /// Ready when the run is to stop: as `stop` says, or because its last epoch was said to be the last.
    pub(crate) async fn or_stop(end: Option<EpochEnd>, stop: impl Future<Output = Stop>) -> Stop {
        let Some(end) = end else { return stop.await };
        tokio::select! {
            how = stop => how,
            () = end.0.kept.notified() => Stop::Done,
        }
    }

    /// What the run ends with, if it was ended: the best epoch's weights, the averages, or those of the last epoch.
    pub(crate) fn outcome(&self, plan: &Plan) -> Option<Outcome> {
        let state = std::mem::replace(&mut *self.state(), State::Taken);
        let State::Kept(snapshot, epochs) = state else { return None };
        let Snapshot { mut weights, average, watch, best_weights, .. } = *snapshot;
        if let Some(best) = best_weights {
            weights.copy_from_slice(&best);
        } else if let Some(average) = average.filter(|_| plan.ends_with_averages()) {
            let mut average = average.as_slice();
            for chunk in plan.network.layout().trained() {
                let (own, rest) = average.split_at(chunk.range.len());
                weights[chunk.range.clone()].copy_from_slice(own);
                average = rest;
            }
        }
        Some(Outcome { weights, epochs, watch, test_sums: None })
    }
}
