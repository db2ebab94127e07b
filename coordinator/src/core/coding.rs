//! Whether gradients and weights are coded on their way. Coding takes time and saves bytes; which of the two is worth more depends
//! on links, processors and values, so it is tried: a few steps with it, a few without, and what was faster stays until it is
//! tried again. No number of a run depends on it.

use std::time::{Duration, Instant};

use crate::spec::Coding;

/// Steps in a row with coding, or without, in a trial. The first is not counted: some of it was done before.
const STEPS_IN_A_ROW: u32 = 4;

/// Rows of steps in a trial, by turns without and with.
const ROWS: u32 = 4;

/// Coding has to make steps shorter by this share.
const GAIN_MIN: f64 = 0.03;

/// From the end of a trial to the next: at least so long, and so many times as long as the trial took.
const PAUSE_MIN: Duration = Duration::from_secs(30);
const PAUSE_OF_TRIAL: u32 = 20;

/// See the file's text.
#[derive(Debug)]
pub(super) struct Coder {
    coding: Coding,
    is_on: bool,
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
    /// Without coding, and with it.
    times: [Vec<Duration>; 2],
}

impl Coder {
    pub(super) fn new(coding: Coding) -> Coder {
        let is_on = coding == Coding::On;
        Coder { coding, is_on, begun: None, trial: None, tried_again_at: None }
    }

    /// Whether what is sent is coded.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// A worker came or left: what was found out does not hold for those that are there now.
    pub(super) fn members_changed(&mut self) {
        (self.begun, self.trial, self.tried_again_at) = (None, None, None);
    }

    /// Whether a trial goes on.
    pub(super) fn is_tried(&self) -> bool {
        self.trial.is_some()
    }

    /// A step begins, right after the one before if there is no pass between them. `pays`: there may be something to gain; a trial
    /// begins only if it `may`.
    pub(super) fn step_begins(&mut self, now: Instant, pays: bool, may: bool) {
        let taken = self.begun.replace(now).map(|begun| now.saturating_duration_since(begun));
        if self.coding != Coding::Auto {
            return;
        }
        if !pays {
            (self.trial, self.is_on) = (None, false);
            return;
        }
        let Some(trial) = &mut self.trial else {
            if may && taken.is_some() && self.tried_again_at.is_none_or(|at| now >= at) {
                self.trial = Some(Trial { began: now, steps: 0, times: [Vec::new(), Vec::new()] });
                self.is_on = false;
            }
            return;
        };
        let Some(taken) = taken else { return };
        if !trial.steps.is_multiple_of(STEPS_IN_A_ROW) {
            trial.times[usize::from(self.is_on)].push(taken);
        }
        trial.steps += 1;
        if trial.steps < ROWS * STEPS_IN_A_ROW {
            self.is_on = !(trial.steps / STEPS_IN_A_ROW).is_multiple_of(2);
            return;
        }
        let [without, with] = trial.times.each_mut().map(|times| median(times));
        self.is_on = with.as_secs_f64() <= (1.0 - GAIN_MIN) * without.as_secs_f64();
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

    /// Runs so many steps, which take these milliseconds without and with coding. How many were coded.
    fn steps(coder: &mut Coder, now: &mut Instant, count: u32, times: [u64; 2]) -> u32 {
        let mut coded = 0;
        for _ in 0..count {
            coder.step_begins(*now, true, true);
            coded += u32::from(coder.is_on());
            *now += Duration::from_millis(times[usize::from(coder.is_on())]);
        }
        coded
    }

    #[test]
    fn what_is_faster_stays_until_it_is_tried_again() {
        let mut now = Instant::now();
        let trial = ROWS * STEPS_IN_A_ROW;
        for (times, wins) in [([100, 60], true), ([100, 99], false), ([10, 20], false)] {
            let mut coder = Coder::new(Coding::Auto);
            assert_eq!(steps(&mut coder, &mut now, trial + 1, times), trial / 2, "{times:?}");
            let coded = steps(&mut coder, &mut now, 20, times);
            assert_eq!(coded, if wins { 20 } else { 0 }, "{times:?}");
            now += 20 * PAUSE_MIN;
            coder.other_begins();
            assert_eq!(steps(&mut coder, &mut now, 1, times), u32::from(wins));
            // It pays no more, or now it does.
            let [without, with] = times;
            let coded = steps(&mut coder, &mut now, trial, [with, without]);
            assert_eq!(coded, trial / 2);
            let coded = steps(&mut coder, &mut now, 9, [with, without]);
            assert_eq!(
                coded,
                if with as f64 * 0.97 >= without as f64 { 9 } else { 0 },
                "{times:?}"
            );
        }
    }

    #[test]
    fn steps_beside_a_change_are_not_compared() {
        let (mut coder, mut now) = (Coder::new(Coding::Auto), Instant::now());
        steps(&mut coder, &mut now, 7, [100, 60]);
        coder.members_changed();
        let coded = steps(&mut coder, &mut now, 1 + ROWS * STEPS_IN_A_ROW, [100, 60]);
        assert!(coded > 0 && coder.trial.is_some());
        steps(&mut coder, &mut now, 1, [100, 60]);
        assert!(coder.trial.is_none() && coder.is_on());
        coder.step_begins(now, false, true);
        assert!(!coder.is_on(), "nobody is sent anything of weight");
    }

    #[test]
    fn a_job_may_say() {
        for (coding, is_on) in [(Coding::On, true), (Coding::Off, false)] {
            let (mut coder, mut now) = (Coder::new(coding), Instant::now());
            let coded = steps(&mut coder, &mut now, 50, [10, 1]);
            assert_eq!(coded, if is_on { 50 } else { 0 });
        }
    }
}
