//! Leaving on purpose: what is computed is finished, goodbye is said, and the coordinator is given time to hear it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lockstep_proto::frame::FromWorker;

use super::{Core, End, Input};

/// Longest wait for the step in hand to be computed and the coordinator to hear a goodbye.
const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(20);

/// How a membership ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The run reached its end.
    Finished,
    /// The worker was told to stop, finished what it computed and said goodbye.
    SaidGoodbye,
    /// The worker was told to stop, and nobody was there to say goodbye to.
    Stopped,
}

/// A worker that was told to leave.
#[derive(Debug)]
pub(super) struct Leaving {
    until: Instant,
    /// Something is at work, which is waited for.
    computes: bool,
    has_said_goodbye: bool,
}

impl Leaving {
    /// Until when it stays at most.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

impl Core {
    /// Deals that were not begun are given back by leaving, and nothing is worth to be run ahead.
    pub(super) fn begin_leaving(&mut self, now: Instant) -> ControlFlow<End> {
        let (until, computes) = (now + FAREWELL_WAIT_MAX, self.compute.is_none());
        self.leaving = Some(Leaving { until, computes, has_said_goodbye: false });
        self.ahead = None;
        self.outputs.clear();
        ControlFlow::Continue(())
    }

    /// Takes in what happens until the coordinator ends the stream, which says that it has heard the goodbye.
    pub(super) fn leave(&mut self, now: Instant, input: Input) -> ControlFlow<End> {
        let Some(leaving) = &mut self.leaving else { return ControlFlow::Continue(()) };
        match input {
            // Whatever it ended with: nobody waits for it any more.
            Input::Finished(_) => leaving.computes = false,
            Input::Ended(_) if leaving.has_said_goodbye => {
                return ControlFlow::Break(Ok(Ended::SaidGoodbye));
            }
            Input::Ended(_) | Input::Unsaid => return ControlFlow::Break(Ok(Ended::Stopped)),
            Input::Timeout if now >= leaving.until => {
                return ControlFlow::Break(Ok(Ended::Stopped));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// The last word, once nothing is computed any more.
    pub(super) fn goodbye(&mut self) -> Option<FromWorker> {
        let leaving = self.leaving.as_mut().filter(|leaving| !leaving.computes)?;
        let is_said = std::mem::replace(&mut leaving.has_said_goodbye, true);
        (!is_said).then_some(FromWorker::Goodbye)
    }
}
