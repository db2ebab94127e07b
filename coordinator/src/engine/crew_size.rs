//! How many members a pass is dealt to: all of them, or fewer where that is faster. Dealing to a worker and hearing from it takes
//! a while, whatever it computes, so that a short pass may be over sooner without it; how many are best depends on network,
//! machines and links, so it is tried: a row of passes with one number, a row with the next, by turns, and what was faster stays
//! until it is tried again. Knows numbers and times, no members. No number of a run depends on it.

use std::time::{Duration, Instant};

use crate::spec::CrewRule;

/// So many short passes in a row make it worth a try.
const SHORT_PASSES: u32 = 4;

/// Rows of passes in a trial: by turns of the number that there is and of another.
const ROWS: u32 = 4;

/// Another number has to make passes shorter by this share.
const GAIN_MIN: f64 = 0.05;

/// It is tried again at once after so many passes in a row that took so many times as long as in the last trial.
const SLOW_PASSES: u32 = 8;
const SLOW_FACTOR: u32 = 4;

/// From the end of a round of trials to the next, so many times as long as the round took, at least: what is lost by trying is
/// less than a hundredth.
const PAUSE_OF_ROUND: u32 = 100;

/// See the file's text.
#[derive(Debug)]
pub(super) struct CrewSize {
    rule: CrewRule,
    /// Who there is to deal to.
    members: usize,
    /// How many of them are dealt to, if not all.
    kept: Option<usize>,
    /// Short passes, one after the other.
    short: u32,
    /// Slow ones, likewise.
    slow: u32,
    /// How long a pass took in the last trial, with the number that is kept.
    usual: Option<Duration>,
    round: Option<Round>,
    /// When it is tried again.
    tried_again_at: Option<Instant>,
}

/// Trials, one after the other, until neither more nor fewer are faster.
#[derive(Debug)]
struct Round {
    began: Instant,
    /// Numbers that were tried.
    tried: Vec<usize>,
    trial: Trial,
}

#[derive(Debug)]
struct Trial {
    /// The number that there is, and another.
    sizes: [usize; 2],
    /// Passes so far.
    passes: u32,
    times: [Vec<Duration>; 2],
}

impl Trial {
    fn new(sizes: [usize; 2]) -> Trial {
        Trial { sizes, passes: 0, times: [Vec::new(), Vec::new()] }
    }

    /// Which of the two has its turn.
    fn turn(&self, row: u32) -> usize {
        (self.passes / row % 2) as usize
    }
}

impl CrewSize {
    pub(super) fn new(rule: CrewRule) -> CrewSize {
        CrewSize {
            rule,
            members: 0,
            kept: None,
            short: 0,
            slow: 0,
            usual: None,
            round: None,
            tried_again_at: None,
        }
    }

    /// Somebody came or left: what was found out does not hold for those who are there now.
    pub(super) fn members_changed(&mut self) {
        *self = CrewSize::new(self.rule);
    }

    /// Whether a trial goes on.
    pub(super) fn is_tried(&self) -> bool {
        self.round.is_some()
    }

    /// How many of so many members the pass that begins is dealt to. A trial begins, or goes on, only if it `may`; fewer than
    /// `least` are not tried.
    pub(super) fn size(&mut self, now: Instant, members: usize, least: usize, may: bool) -> usize {
        if members != self.members {
            self.members_changed();
            self.members = members;
        }
        let kept = self.kept.unwrap_or(members);
        if !may {
            self.round = None;
        } else if self.round.is_none() && self.is_due(now) {
            self.round = self.next(kept, &[kept], least).map(|other| Round {
                began: now,
                tried: vec![kept, other],
                trial: Trial::new([kept, other]),
            });
        }
        let Some(Round { trial, .. }) = &self.round else { return kept };
        trial.sizes[trial.turn(self.rule.row_passes)]
    }

    /// The pass is over. `took`: for how long it lasted, unless that says nothing of how many it was dealt to.
    pub(super) fn passed(&mut self, now: Instant, took: Option<Duration>, least: usize) {
        let row = self.rule.row_passes;
        let Some(round) = &mut self.round else {
            let is_short = took.is_some_and(|took| took < self.rule.short);
            self.short = if is_short { self.short.saturating_add(1) } else { 0 };
            let is_slow =
                took.zip(self.usual).is_some_and(|(took, usual)| took > SLOW_FACTOR * usual);
            self.slow = if is_slow { self.slow.saturating_add(1) } else { 0 };
            if self.slow == SLOW_PASSES && self.kept.is_some() {
                self.tried_again_at = None;
            }
            return;
        };
        let trial = &mut round.trial;
        // In the first of a row, rows of tables and weights go to those who had no part in the one before.
        if let Some(took) = took.filter(|_| !trial.passes.is_multiple_of(row)) {
            let turn = trial.turn(row);
            trial.times[turn].push(took);
        }
        trial.passes += 1;
        if trial.passes == ROWS * row {
            self.judge(now, least);
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        // Whoever has fewer looks for more, however long passes are by now.
        let pays = self.short >= SHORT_PASSES || self.kept.is_some();
        pays && self.tried_again_at.is_none_or(|at| now >= at)
    }

    /// A trial is over.
    fn judge(&mut self, now: Instant, least: usize) {
        let Some(mut round) = self.round.take() else { return };
        let enough = self.rule.row_passes as usize - 1;
        let [kept, other] = round.trial.times.each_mut().map(|times| median(times, enough));
        let is_faster = kept.zip(other).is_some_and(|(kept, other)| {
            other.as_secs_f64() <= (1.0 - GAIN_MIN) * kept.as_secs_f64()
        });
        let size = round.trial.sizes[usize::from(is_faster)];
        (self.usual, self.slow) = (if is_faster { other } else { kept }, 0);
        self.kept = (size < self.members).then_some(size);
        if let Some(next) = self.next(size, &round.tried, least) {
            round.tried.push(next);
            round.trial = Trial::new([size, next]);
            self.round = Some(round);
            return;
        }
        let took = now.saturating_duration_since(round.began);
        self.tried_again_at = now.checked_add(self.rule.pause.max(PAUSE_OF_ROUND * took));
        self.short = 0;
    }

    /// What to try beside this number, if anything is left: of all members, half of them, half of those and so on the next larger
    /// one, or the next smaller.
    fn next(&self, size: usize, tried: &[usize], least: usize) -> Option<usize> {
        let halved = |&size: &usize| (size > 1).then(|| size.div_ceil(2));
        let sizes: Vec<usize> = std::iter::successors(Some(self.members), halved).collect();
        let place = sizes.iter().position(|&known| known == size)?;
        let larger = place.checked_sub(1).map(|place| sizes[place]);
        let smaller = sizes.get(place + 1).copied().filter(|&size| size >= least);
        larger.into_iter().chain(smaller).find(|size| !tried.contains(size))
    }
}

/// Of enough times; `None` of fewer.
fn median(times: &mut [Duration], enough: usize) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied().filter(|_| times.len() >= enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: usize = 4;

    /// Crews of a clock that moves by what passes take.
    struct Bench {
        crew: CrewSize,
        now: Instant,
        least: usize,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { crew: CrewSize::new(CrewRule::default()), now: Instant::now(), least: 1 }
        }

        /// Makes so many passes, which take these microseconds with 1, 2, 3 and 4 members; by how many each was computed.
        fn passes(&mut self, count: usize, micros: [u64; MEMBERS]) -> Vec<usize> {
            let pass = |_| {
                let size = self.crew.size(self.now, MEMBERS, self.least, true);
                let took = Duration::from_micros(micros[size - 1]);
                self.now += took;
                self.crew.passed(self.now, Some(took), self.least);
                size
            };
            (0..count).map(pass).collect()
        }

        /// Goes on until no trial does; passes so far.
        fn settle(&mut self, micros: [u64; MEMBERS]) -> usize {
            let mut passes = self.passes(SHORT_PASSES as usize + 1, micros).len();
            while self.crew.is_tried() {
                passes += self.passes(1, micros).len();
                assert!(passes < 1000, "{:?}", self.crew);
            }
            passes
        }
    }

    #[test]
    fn the_fastest_number_is_found_and_kept() {
        for (micros, best) in [
            ([240, 450, 600, 800], 1),
            ([900, 400, 600, 800], 2),
            ([3000, 1600, 1100, 800], 4),
            ([800, 790, 790, 800], 4),
        ] {
            let mut bench = Bench::new();
            assert!(bench.settle(micros) <= 100, "{micros:?}");
            assert_eq!(bench.passes(1000, micros), [best; 1000], "{micros:?}");
        }
    }

    #[test]
    fn long_passes_are_dealt_to_all() {
        let mut bench = Bench::new();
        assert_eq!(bench.passes(1000, [4000; MEMBERS]), [MEMBERS; 1000]);
        // A short one now and then is no reason.
        for _ in 0..100 {
            bench.passes(3, [300; MEMBERS]);
            assert_eq!(bench.passes(1, [5000; MEMBERS]), [MEMBERS]);
        }
    }

    #[test]
    fn it_is_tried_again_and_costs_little() {
        let (mut bench, micros) = (Bench::new(), [240, 450, 600, 800]);
        bench.settle(micros);
        let began = bench.now;
        let passes = bench.passes(1_000_000, micros);
        let lost: u64 = passes.iter().map(|&size| micros[size - 1] - micros[0]).sum();
        let lost = Duration::from_micros(lost);
        assert!(!lost.is_zero() && 100 * lost < bench.now - began, "{lost:?}");
    }

    #[test]
    fn more_are_dealt_to_when_that_has_become_faster() {
        let mut bench = Bench::new();
        bench.settle([240, 450, 600, 800]);
        bench.now += CrewRule::default().pause;
        // However long passes are by now.
        let slower = [40_000, 21_000, 15_000, 11_000];
        bench.settle(slower);
        assert_eq!(bench.passes(100, slower), [MEMBERS; 100]);
    }

    #[test]
    fn it_is_tried_again_at_once_when_passes_have_become_slow() {
        let (mut bench, micros) = (Bench::new(), [240, 450, 600, 800]);
        bench.settle(micros);
        let slower = micros.map(|micros| 10 * micros);
        assert_eq!(bench.passes(SLOW_PASSES as usize, slower), [1; SLOW_PASSES as usize]);
        bench.passes(1, slower);
        assert!(bench.crew.is_tried());
        bench.settle(slower);
        // They are usual by now.
        assert_eq!(bench.passes(100, slower), [1; 100]);
    }

    #[test]
    fn one_that_is_disturbed_is_not_compared() {
        let (mut bench, micros) = (Bench::new(), [240, 450, 600, 800]);
        bench.passes(SHORT_PASSES as usize, micros);
        while bench.crew.short > 0 {
            bench.crew.size(bench.now, MEMBERS, 1, true);
            bench.crew.passed(bench.now, None, 1);
        }
        assert_eq!(bench.passes(100, micros), [MEMBERS; 100]);
    }

    #[test]
    fn everybody_is_dealt_to_when_members_have_changed() {
        let (mut bench, micros) = (Bench::new(), [240, 450, 600, 800]);
        bench.settle(micros);
        assert_eq!(bench.crew.size(bench.now, 3, 1, true), 3);
        bench.crew.members_changed();
        assert_eq!(bench.passes(1, micros), [MEMBERS]);
        bench.settle(micros);
        assert_eq!(bench.passes(1, micros), [1]);
    }

    #[test]
    fn no_fewer_than_are_needed_and_no_trial_where_none_may_be() {
        let (mut bench, micros) = (Bench::new(), [240, 450, 600, 800]);
        bench.least = 2;
        bench.settle(micros);
        assert_eq!(bench.passes(1000, micros), [2; 1000]);
        let mut bench = Bench::new();
        bench.passes(SHORT_PASSES as usize + 10, micros);
        assert!(bench.crew.is_tried());
        assert_eq!(bench.crew.size(bench.now, MEMBERS, 1, false), MEMBERS);
        assert!(!bench.crew.is_tried());
    }
}
