//! Two ways of doing the same, of which nobody can say beforehand which is faster: a few steps are done in one way, a few in the other, by
//! turns, and what was faster stays until it is tried again. No number of a run depends on it.

use std::time::{Duration, Instant};

/// Steps in a row in one way in a trial. The first is not counted: some of it was done before.
const STEPS_IN_A_ROW: u32 = 4;

/// Rows of steps in a trial, by turns in the first way and in the second.
const ROWS: u32 = 4;

/// The steps of a trial.
#[cfg(test)]
pub(super) const TRIAL: u32 = ROWS * STEPS_IN_A_ROW;

/// The second way has to make steps shorter by this share.
const GAIN_MIN: f64 = 0.03;

/// From the end of a trial to the next: at least so long, and so many times as long as the trial took.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(30);
const PAUSE_OF_TRIAL: u32 = 20;

/// See the file's text.
#[derive(Debug, Default)]
pub(super) struct Turns {
    is_second: bool,
    /// When the step in hand began, if nobody came or left since.
    begun: Option<Instant>,
    trial: Option<Trial>,
    /// When it is tried again.
    tried_again_at: Option<Instant>,
}

#[derive(Debug)]
struct Trial {
    began: Instant,
    /// Steps so far.
    steps: u32,
    /// In the first way and in the second.
    times: [Vec<Duration>; 2],
}

impl Turns {
    /// Whether the step in hand is done in the second way.
    pub(super) fn is_second(&self) -> bool {
        self.is_second
    }

    /// Whether a trial goes on.
    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// A worker came or left: what was found out does not hold for those that are there now.
    pub(super) fn members_changed(&mut self) {
        (self.begun, self.trial, self.tried_again_at) = (None, None, None);
    }

    /// A step begins, right after the one before if there is no pass between them. `pays`: there may be something to gain.
    /// `may_begin`: nothing else is tried at the time.
    pub(super) fn step_begins(&mut self, now: Instant, pays: bool, may_begin: bool) {
        let taken = self.begun.replace(now).map(|begun| now.saturating_duration_since(begun));
        if !pays {
            (self.trial, self.is_second) = (None, false);
            return;
        }
        let Some(trial) = &mut self.trial else {
            let is_time = self.tried_again_at.is_none_or(|at| now >= at);
            if may_begin && taken.is_some() && is_time {
                self.trial = Some(Trial { began: now, steps: 0, times: [Vec::new(), Vec::new()] });
                self.is_second = false;
            }
            return;
        };
        let Some(taken) = taken else { return };
        if !trial.steps.is_multiple_of(STEPS_IN_A_ROW) {
            trial.times[usize::from(self.is_second)].push(taken);
        }
        trial.steps += 1;
        if trial.steps < ROWS * STEPS_IN_A_ROW {
            self.is_second = !(trial.steps / STEPS_IN_A_ROW).is_multiple_of(2);
            return;
        }
        let [first, second] = trial.times.each_mut().map(|times| median(times));
        self.is_second = second.as_secs_f64() <= (1.0 - GAIN_MIN) * first.as_secs_f64();
        let pause = PAUSE_MIN.max(PAUSE_OF_TRIAL * now.saturating_duration_since(trial.began));
        self.tried_again_at = now.checked_add(pause);
        self.trial = None;
    }

    /// Something other than a step begins.
    pub(super) fn other_begins(&mut self) {
        self.begun = None;
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs so many steps, which take these milliseconds in the first way and in the second. How many were done in the second.
    fn steps(turns: &mut Turns, now: &mut Instant, count: u32, times: [u64; 2]) -> u32 {
        let mut second = 0;
        for _ in 0..count {
            turns.step_begins(*now, true, true);
            second += u32::from(turns.is_second());
            *now += Duration::from_millis(times[usize::from(turns.is_second())]);
        }
        second
    }

    #[test]
    fn what_is_faster_stays_until_it_is_tried_again() {
        let mut now = Instant::now();
        for (times, wins) in [([100, 60], true), ([100, 99], false), ([10, 20], false)] {
            let mut turns = Turns::default();
            assert_eq!(steps(&mut turns, &mut now, TRIAL + 1, times), TRIAL / 2, "{times:?}");
            let second = steps(&mut turns, &mut now, 20, times);
            assert_eq!(second, if wins { 20 } else { 0 }, "{times:?}");
            now += 20 * PAUSE_MIN;
            turns.other_begins();
            assert_eq!(steps(&mut turns, &mut now, 1, times), u32::from(wins));
            // It pays no more, or now it does.
            let [first, second] = times;
            assert_eq!(steps(&mut turns, &mut now, TRIAL, [second, first]), TRIAL / 2);
            let wins = second as f64 * 0.97 >= first as f64;
            let found = steps(&mut turns, &mut now, 9, [second, first]);
            assert_eq!(found, if wins { 9 } else { 0 }, "{times:?}");
        }
    }

    #[test]
    fn steps_beside_a_change_are_not_compared() {
        let (mut turns, mut now) = (Turns::default(), Instant::now());
        steps(&mut turns, &mut now, 7, [100, 60]);
        turns.members_changed();
        assert!(steps(&mut turns, &mut now, 1 + TRIAL, [100, 60]) > 0 && turns.is_trying());
        steps(&mut turns, &mut now, 1, [100, 60]);
        assert!(!turns.is_trying() && turns.is_second());
        turns.step_begins(now, false, true);
        assert!(!turns.is_second(), "there is nothing to gain");
    }

    #[test]
    fn a_trial_begins_only_when_no_other_goes_on() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        for _ in 0..3 {
            turns.step_begins(now, true, false);
            assert!(!turns.is_trying());
        }
        turns.step_begins(now, true, true);
        assert!(turns.is_trying());
        turns.step_begins(now, true, false);
        assert!(turns.is_trying(), "it has begun");
    }
}
