//! What each worker did in the pass in hand, and how long that took: for people. Decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lockstep_proto::ids::WorkerId;

use crate::observer::PassShare;

/// Looks that are closer to each other than this say nothing new of a wait.
pub(super) const WAIT_SHOWN_AFTER: Duration = Duration::from_secs(1);

/// See the file's text.
#[derive(Debug, Default)]
pub(super) struct Tally {
    began_at: Option<Instant>,
    dealt: BTreeMap<WorkerId, Dealt>,
}

#[derive(Debug, Default)]
struct Dealt {
    rows: u64,
    busy: Duration,
    open: u32,
    answered_at: Option<Instant>,
}

impl Tally {
    pub(super) fn begin(&mut self, now: Instant) {
        self.began_at = Some(now);
        self.dealt.clear();
    }

    pub(super) fn deal(&mut self, worker: WorkerId, rows: u64) {
        let dealt = self.dealt.entry(worker).or_default();
        dealt.rows += rows;
        dealt.open += 1;
    }

    /// A deal is answered, in the end.
    pub(super) fn answer(&mut self, now: Instant, worker: WorkerId, busy: Duration) {
        if let Some(dealt) = self.dealt.get_mut(&worker) {
            dealt.busy = dealt.busy.saturating_add(busy);
            dealt.open = dealt.open.saturating_sub(1);
            dealt.answered_at = Some(now);
        }
    }

    pub(super) fn leave(&mut self, worker: WorkerId) {
        self.dealt.remove(&worker);
    }

    /// How long the pass took, and what everybody did in it.
    pub(super) fn end(&mut self, now: Instant) -> (Duration, Vec<PassShare>) {
        let began_at = self.began_at.take().unwrap_or(now);
        let share = |(worker, dealt): (WorkerId, Dealt)| {
            let answered_at = dealt.answered_at.filter(|_| dealt.open == 0);
            let answered = answered_at.map(|at| at.saturating_duration_since(began_at));
            PassShare { worker, rows: dealt.rows, busy: dealt.busy, answered }
        };
        let shares = std::mem::take(&mut self.dealt).into_iter().map(share).collect();
        (now.saturating_duration_since(began_at), shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_missing_is_told_apart() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut tally = Tally::default();
        tally.begin(at(0));
        for (worker, rows) in [(1, 10), (2, 20), (1, 5), (3, 7)] {
            tally.deal(WorkerId(worker), rows);
        }
        let busy = Duration::from_millis(4);
        tally.answer(at(5), WorkerId(1), busy);
        tally.answer(at(6), WorkerId(2), busy);
        // Of a worker that was dealt nothing in this pass: it is of another.
        tally.answer(at(7), WorkerId(9), busy);
        tally.leave(WorkerId(3));
        let (took, shares) = tally.end(at(9));
        assert_eq!(took, Duration::from_millis(9));
        let answered = Some(Duration::from_millis(6));
        let first = PassShare { worker: WorkerId(1), rows: 15, busy, answered: None };
        let second = PassShare { worker: WorkerId(2), rows: 20, busy, answered };
        assert_eq!(shares, [first, second]);
        tally.begin(at(10));
        assert_eq!(tally.end(at(12)), (Duration::from_millis(2), Vec::new()));
    }
}
