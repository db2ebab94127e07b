//! Who did what in the last passes, and what follows from that of each worker: where its time goes, and whether it lags.

use std::collections::{BTreeMap, VecDeque};

use crate::value::{Spent, Strip, StripRow};

/// Passes that are looked back at.
const PASSES_MAX: usize = 60;

/// Most workers of the strip: of more, those that lag most.
const ROWS_MAX: usize = 64;

/// An answer is slow when it takes so many times as long as the median, and so many seconds longer.
const SLOW_FACTOR: f64 = 1.5;
const SLOW_SECONDS: f64 = 0.025;

/// What a worker did in a pass. Times are seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Its number.
    pub worker: u64,
    /// How long it computed.
    pub busy: f64,
    /// When its last answer was there, since the pass's begin; `None` if one never came.
    pub answered: Option<f64>,
}

impl Share {
    /// Until when it had something to do in a pass that took so long.
    fn until(&self, seconds: f64) -> f64 {
        self.answered.unwrap_or(seconds).min(seconds)
    }

    /// How long it computed in such a pass, sent, and waited.
    fn of_pass(&self, seconds: f64) -> [f64; 3] {
        let until = self.until(seconds);
        // What it ran ahead of the pass is not of the pass's time.
        let busy = self.busy.min(until);
        [busy, until - busy, seconds - until]
    }
}

#[derive(Clone, Debug)]
struct Passed {
    name: String,
    seconds: f64,
    /// The median of when answers were there, the lower of two.
    median: Option<f64>,
    shares: Vec<Share>,
}

/// Where a worker's time went in the last passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) computing: f64,
    pub(crate) sending: f64,
    pub(crate) waiting: f64,
    /// Against the median of all.
    pub(crate) lag: Option<f64>,
    /// Whether that stands out.
    pub(crate) is_slow: bool,
}

/// See the file's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct StripBook {
    passes: VecDeque<Passed>,
    /// Of all passes.
    spent: Spent,
}

impl StripBook {
    /// Adds a pass that took so many seconds.
    pub(crate) fn add(&mut self, name: String, seconds: f64, shares: Vec<Share>) {
        let mut answers: Vec<f64> = shares.iter().filter_map(|share| share.answered).collect();
        answers.sort_by(f64::total_cmp);
        let median = answers.get(answers.len().saturating_sub(1) / 2).copied();
        self.spent.passes += 1;
        for share in &shares {
            let [computing, sending, waiting] = share.of_pass(seconds);
            self.spent.computing += computing;
            self.spent.sending += sending;
            self.spent.waiting += waiting;
        }
        if self.passes.len() == PASSES_MAX {
            self.passes.pop_front();
        }
        self.passes.push_back(Passed { name, seconds, median, shares });
    }

    /// Where the time of all went, in all passes.
    pub(crate) fn spent(&self) -> Spent {
        self.spent
    }

    /// Goes on from what was spent before.
    pub(crate) fn remember(&mut self, spent: Spent) {
        self.spent = spent;
    }

    /// Where each worker's time went.
    pub(crate) fn times(&self) -> BTreeMap<u64, Times> {
        #[derive(Default)]
        struct Sums {
            seconds: f64,
            busy: f64,
            sending: f64,
            answered: f64,
            median: f64,
            answers: u32,
            slow: u32,
        }
        let mut sums: BTreeMap<u64, Sums> = BTreeMap::new();
        for passed in &self.passes {
            for share in &passed.shares {
                let sum = sums.entry(share.worker).or_default();
                let [busy, sending, _] = share.of_pass(passed.seconds);
                let until = share.until(passed.seconds);
                sum.seconds += passed.seconds;
                sum.busy += busy;
                sum.sending += sending;
                sum.answered += until;
                sum.median += passed.median.unwrap_or(until);
                sum.answers += 1;
                sum.slow += u32::from(cell(passed, share) != "ok");
            }
        }
        let times = |sum: Sums| {
            let of = |part: f64| if sum.seconds > 0.0 { part / sum.seconds } else { 0.0 };
            let (computing, sending) = (of(sum.busy), of(sum.sending));
            Times {
                computing,
                sending,
                waiting: (1.0 - computing - sending).max(0.0),
                lag: (sum.median > 0.0).then(|| sum.answered / sum.median),
                is_slow: sum.slow * 3 > sum.answers,
            }
        };
        sums.into_iter().map(|(worker, sum)| (worker, times(sum))).collect()
    }

    /// The strip; `host` says which machine a worker is on.
    pub(crate) fn value(&self, host: impl Fn(u64) -> String) -> Strip {
        let mut workers: Vec<(u64, f64)> = self
            .times()
            .into_iter()
            .map(|(worker, times)| (worker, times.lag.unwrap_or(0.0)))
            .collect();
        if workers.len() > ROWS_MAX {
            workers.sort_by(|one, other| other.1.total_cmp(&one.1));
            workers.truncate(ROWS_MAX);
            workers.sort_by_key(|&(worker, _)| worker);
        }
        let row = |(worker, _): (u64, f64)| {
            let mut row = StripRow { worker, host: host(worker), ..StripRow::default() };
            for passed in &self.passes {
                let share = passed.shares.iter().find(|share| share.worker == worker);
                row.cells.push(share.map_or("none", |share| cell(passed, share)).to_string());
                row.seconds.push(share.and_then(|share| share.answered));
            }
            row
        };
        Strip {
            passes: self.passes.iter().map(|passed| passed.name.clone()).collect(),
            seconds: self.passes.iter().map(|passed| passed.seconds).collect(),
            rows: workers.into_iter().map(row).collect(),
        }
    }
}

fn cell(passed: &Passed, share: &Share) -> &'static str {
    match (share.answered, passed.median) {
        (None, _) => "open",
        (Some(answered), Some(median))
            if answered > SLOW_FACTOR * median && answered > median + SLOW_SECONDS =>
        {
            "slow"
        }
        (Some(_), _) => "ok",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(worker: u64, busy: f64, answered: Option<f64>) -> Share {
        Share { worker, busy, answered }
    }

    #[test]
    fn a_straggler_stands_out_and_times_add_up() {
        let mut book = StripBook::default();
        for step in 1..=100 {
            let shares = vec![
                share(1, 0.1, Some(0.1)),
                share(2, 0.05, Some(0.1)),
                share(3, 0.3, Some(0.4)),
                share(4, 0.0, None),
            ];
            book.add(format!("step {step}"), 0.4, shares);
        }
        let strip = book.value(|worker| format!("host {worker}"));
        assert_eq!((strip.passes.len(), strip.rows.len()), (PASSES_MAX, 4));
        assert_eq!((strip.passes[0].as_str(), strip.rows[2].host.as_str()), ("step 41", "host 3"));
        let cells: Vec<_> = strip.rows.iter().map(|row| row.cells[7].as_str()).collect();
        assert_eq!(cells, ["ok", "ok", "slow", "open"]);
        let times = book.times();
        assert!((times[&3].lag.unwrap() - 4.0).abs() < 1e-9, "{times:?}");
        // Over all passes, and not only those that are looked back at.
        let Spent { passes, computing, sending, waiting } = book.spent();
        assert_eq!(passes, 100);
        for (found, wanted) in [(computing, 45.0), (sending, 55.0), (waiting, 60.0)] {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
        let slow: Vec<bool> = times.values().map(|times| times.is_slow).collect();
        assert_eq!(slow, [false, false, true, true]);
        for times in times.values() {
            let Times { computing, sending, waiting, .. } = times;
            assert!((computing + sending + waiting - 1.0).abs() < 1e-9, "{times:?}");
        }
        assert!(
            (times[&2].waiting - 0.75).abs() < 1e-9 && (times[&2].sending - 0.125).abs() < 1e-9
        );
    }

    #[test]
    fn of_many_workers_those_that_lag_are_shown() {
        let mut book = StripBook::default();
        let answered = |worker: u64| if worker == 99 { 0.9 } else { 0.1 };
        let shares = (0..200).map(|worker| share(worker, 0.1, Some(answered(worker)))).collect();
        book.add("step 1".to_string(), 1.0, shares);
        let strip = book.value(|_| String::new());
        assert_eq!(strip.rows.len(), ROWS_MAX);
        assert!(strip.rows.iter().any(|row| row.worker == 99 && row.cells == ["slow"]));
    }

    #[test]
    fn a_pass_without_time_or_answers_is_no_trouble() {
        let mut book = StripBook::default();
        book.add("step 1".to_string(), 0.0, vec![share(1, 0.0, None), share(2, 0.0, Some(0.0))]);
        book.add("step 2".to_string(), 0.0, Vec::new());
        assert_eq!(book.times()[&1].lag, None);
        assert_eq!(book.value(|_| String::new()).rows[1].cells, ["ok", "none"]);
    }
}
