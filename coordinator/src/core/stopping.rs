//! Ending early: what is still waited for, what is still saved, and what workers are told.
//!
//! A run that is told to stop ends the pass in hand for as long as workers are at it. Where that does not end, the state
//! before the pass is saved as long as nothing of it has been overwritten.

use std::time::{Duration, Instant};

use lockstep_proto::frame::Ending;

use super::Core;
use super::plateau::RateWatcher;
use crate::error::RunError;
use crate::observer::RunEvent;
use crate::spec::Stop;

/// A pass that takes longer than this may be cut short by whoever has no patience: the state before it is saved first.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// How often it is said what a run that is told to stop waits for.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// How long workers that are all gone get to come back, if the state before the pass cannot be saved any more.
const ALONE_WAIT_MAX: Duration = Duration::from_secs(10);

/// A pass that nothing has come for is given up after this long, or this many times the longest pass so far.
const IDLE_WAIT: Duration = Duration::from_secs(60);
const IDLE_WAIT_PASSES: u32 = 10;

/// How long passes take, and what has become of a wish to stop.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    began_at: Option<Instant>,
    longest: Duration,
    stopping: Option<Stopping>,
}

#[derive(Debug)]
struct Stopping {
    how: Stop,
    since: Instant,
    told_at: Instant,
    /// Whether it was tried to save the state before the pass in hand.
    has_saved: bool,
    /// Since when there is no worker.
    alone_since: Option<Instant>,
}

impl Stopwatch {
    pub(super) fn begin(&mut self, now: Instant) {
        self.began_at = Some(now);
    }

    pub(super) fn end(&mut self, now: Instant) {
        let took = self.began_at.take().map(|at| now.saturating_duration_since(at));
        self.longest = self.longest.max(took.unwrap_or_default());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// What workers are told.
    pub(super) fn ending(&self, result: &Result<(), RunError>) -> Ending {
        let how = self.stopping.as_ref().map(|stopping| stopping.how);
        match (result, how) {
            (Ok(()), _) | (Err(RunError::Stopped), Some(Stop::Done)) => Ending::Finished,
            (Err(RunError::Stopped), Some(Stop::AfterPass)) => Ending::Stopped,
            (Err(error), _) => Ending::Failed(error.to_string()),
        }
    }

    /// How long nothing may come for a pass before it is given up.
    fn idle_wait_max(&self) -> Duration {
        IDLE_WAIT.max(self.longest.saturating_mul(IDLE_WAIT_PASSES))
    }
}

impl Core {
    /// Ends the run as it was told to.
    pub(super) fn stop(&mut self, how: Stop) -> Result<(), RunError> {
        let now = self.now;
        self.stopwatch.stopping =
            Some(Stopping { how, since: now, told_at: now, has_saved: false, alone_since: None });
        if matches!(how, Stop::Now | Stop::Done) {
            return Err(RunError::Stopped);
        }
        self.observer.observe(RunEvent::Stopping);
        if self.is_open { Ok(()) } else { Err(RunError::Stopped) }
    }

    /// When [`Core::tend_stop`] has something to do.
    pub(super) fn stop_timeout(&self) -> Option<Instant> {
        let stopping = self.stopwatch.stopping.as_ref()?;
        let save_at = (!stopping.has_saved).then(|| stopping.since + SAVE_AFTER);
        let alone_until = stopping.alone_since.map(|since| since + ALONE_WAIT_MAX);
        let times = [
            save_at,
            alone_until,
            Some(stopping.told_at + TELL_INTERVAL),
            Some(self.idle_since(stopping) + self.stopwatch.idle_wait_max()),
        ];
        times.into_iter().flatten().min()
    }

    fn idle_since(&self, stopping: &Stopping) -> Instant {
        self.engine.progress_at().max(stopping.since)
    }

    /// Goes on with ending a run that was told to stop while a pass was in hand.
    ///
    /// # Errors
    /// [`RunError::Stopped`] when the pass is given up.
    pub(super) fn tend_stop(&mut self) -> Result<(), RunError> {
        if !self.is_open || self.finished {
            return Ok(());
        }
        let Some(mut stopping) = self.stopwatch.stopping.take() else { return Ok(()) };
        let now = self.now;
        let idle = now.saturating_duration_since(self.idle_since(&stopping));
        let mut is_over = idle >= self.stopwatch.idle_wait_max();
        if !self.members.is_empty() {
            stopping.alone_since = None;
        } else if stopping.alone_since.is_none() {
            stopping.alone_since = Some(now);
            // Nothing is lost by ending now.
            is_over |= self.offer_snapshot(true);
        }
        let is_due = |since: Instant, wait| now.saturating_duration_since(since) >= wait;
        is_over |= stopping.alone_since.is_some_and(|since| is_due(since, ALONE_WAIT_MAX));
        if !stopping.has_saved && is_due(stopping.since, SAVE_AFTER) {
            stopping.has_saved = true;
            self.offer_snapshot(true);
        }
        if is_due(stopping.told_at, TELL_INTERVAL) {
            stopping.told_at = now;
            self.tell_stopping(now, now.saturating_duration_since(stopping.since));
        }
        self.stopwatch.stopping = Some(stopping);
        if is_over { Err(RunError::Stopped) } else { Ok(()) }
    }

    fn tell_stopping(&mut self, now: Instant, waited: Duration) {
        if let Some(planned) = self.schedule.planned(self.pass) {
            let wait = self.engine.wait(now);
            self.observer.observe(RunEvent::StillStopping { planned, waited, wait });
        }
    }

    /// Saves the state before a pass that ends the run, if it is still there.
    pub(super) fn save_before(&mut self, error: &RunError) {
        match error {
            RunError::Stopped | RunError::NonFinite { .. } | RunError::Unmeasurable { .. } => {
                self.offer_snapshot(true);
            }
            // What has gone wrong may be in the weights.
            _ => {}
        }
    }

    /// Has the observer take the state before the pass in hand, or the next one, if it wants that. Whether the state is
    /// saved by now, or about to be.
    pub(super) fn offer_snapshot(&mut self, is_last: bool) -> bool {
        if self.reducer.is_restored() {
            // The last state was offered before.
            return true;
        }
        if !self.reducer.is_before_update() {
            return false;
        }
        if !self.observer.wants_snapshot(is_last) {
            return true;
        }
        // A thread may have begun to update meanwhile.
        let step = self.schedule.steps_before(self.pass);
        let Some(mut snapshot) = self.reducer.snapshot(self.pass, step) else { return false };
        if let Some(stopper) = &self.early_stopper {
            stopper.note_in(&mut snapshot);
        }
        snapshot.plateau = self.rate_watcher.as_ref().map(RateWatcher::seen);
        self.observer.take_snapshot(snapshot);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_told_whether_to_look_for_the_coordinator_again() {
        let mut stopwatch = Stopwatch::default();
        assert_eq!(stopwatch.ending(&Ok(())), Ending::Finished);
        let now = Instant::now();
        for (how, ending) in [
            (Stop::AfterPass, Ending::Stopped),
            (Stop::Now, Ending::Failed(RunError::Stopped.to_string())),
            (Stop::Done, Ending::Finished),
        ] {
            let (has_saved, alone_since) = (false, None);
            let stopping = Stopping { how, since: now, told_at: now, has_saved, alone_since };
            stopwatch.stopping = Some(stopping);
            assert_eq!(stopwatch.ending(&Err(RunError::Stopped)), ending);
            // What goes wrong, or well, while a run stops is told as it is.
            assert_eq!(stopwatch.ending(&Ok(())), Ending::Finished);
            let failed = stopwatch.ending(&Err(RunError::Server("broken".to_string())));
            assert!(matches!(failed, Ending::Failed(_)));
        }
    }

    #[test]
    fn a_pass_gets_a_multiple_of_what_passes_take() {
        let mut stopwatch = Stopwatch::default();
        let start = Instant::now();
        let seconds = Duration::from_secs;
        for (took, wanted) in [(1, 60), (5, 60), (30, 300), (2, 300)] {
            stopwatch.begin(start);
            stopwatch.end(start + seconds(took));
            assert_eq!(stopwatch.idle_wait_max(), seconds(wanted));
        }
    }
}
