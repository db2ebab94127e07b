//! What an execution tells of itself, held against the schedule; and a disk for its checkpoints that takes its time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockstep_coordinator::engine::{Planned, Schedule, WAIT_REPORT_INTERVAL, Wait};
use lockstep_coordinator::policy::{Plateau, Watch, Watched};
use lockstep_coordinator::{Departure, Judged, Observer, RunEvent, Snapshot};
use lockstep_proto::ids::{Pass, Table, Task, WorkerId};

use crate::case::Case;
use crate::checkpoint::{Checkpoint, Disk};

/// How often a run got to what the simulation is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Nodes of a pass that was over.
    pub(crate) late: u64,
    /// Nodes that were already there.
    pub(crate) twice: u64,
    /// Nodes of which some leaves, not all, were already there.
    pub(crate) in_part: u64,
    /// Deals of what somebody else already had in hand.
    pub(crate) dealt_again: u64,
    /// Members that left inside a pass.
    pub(crate) left: u64,
    /// Reports of a wait.
    pub(crate) reports: u64,
    /// Workers that were shut out, for whatever reason.
    pub(crate) expelled: u64,
    /// Of these: whose values were wrong.
    pub(crate) wrong: u64,
    /// Whose word that something is not finite was wrong.
    pub(crate) refuted: u64,
    /// That said that they were done and were not.
    pub(crate) lacking: u64,
    /// That did not read their messages.
    pub(crate) unread: u64,
    /// Whose messages were none.
    pub(crate) broken: u64,
    /// Audits that nobody was left for.
    pub(crate) waived: u64,
    /// Answers that were given up.
    pub(crate) given_up: u64,
    /// Times that the coordinator began anew.
    pub(crate) restarts: u64,
    /// Of these: after it was told to stop.
    pub(crate) stopped: u64,
    /// Times that a member was told to let go of shards.
    pub(crate) let_go: u64,
    /// Times that a message had to wait for threads.
    pub(crate) full: u64,
    /// Checkpoints that were whole on the disk.
    pub(crate) written: u64,
    /// Deals that workers computed on the spot.
    pub(crate) small: u64,
    /// Deals that they had a thread compute, not run ahead.
    pub(crate) pooled: u64,
    /// Times that they went on with a batch that ran ahead, or began one.
    pub(crate) ahead: u64,
    /// Deals that they computed what had run ahead for.
    pub(crate) guessed: u64,
    /// Deals that came too late to be computed.
    pub(crate) dropped: u64,
    /// Memberships that ended since rows did not come.
    pub(crate) no_rows: u64,
    /// Goodbyes that were heard.
    pub(crate) goodbyes: u64,
    /// Times that a message was held back.
    pub(crate) held_back: u64,
    /// Times that nothing was decided since the outbox was full.
    pub(crate) blocked: u64,
    /// Weights that were read in shared memory.
    pub(crate) shared: u64,
    /// Times that a worker got weights that were not the next: it had no part in the passes between.
    pub(crate) spared: u64,
    /// Weights that came as what had changed.
    pub(crate) coded: u64,
    /// Runs that ended early.
    pub(crate) ended_early: u64,
    /// Runs that began anew when they had ended early, but for their last evaluation.
    pub(crate) begun_at_the_end: u64,
    /// Runs that ended with the weights of an earlier epoch.
    pub(crate) restored: u64,
    /// Runs that ended with the averages of their weights.
    pub(crate) averaged: u64,
    /// Runs that began anew between the steps of one update.
    pub(crate) begun_between: u64,
    /// Steps with a learning rate that had been reduced.
    pub(crate) reduced: u64,
    /// Sums of homes.
    pub(crate) sums: u64,
    /// Of these: of nodes below the root.
    pub(crate) parts: u64,
    /// Weights that a worker passed on to another.
    pub(crate) passed_on: u64,
    /// Of these: as what had changed.
    pub(crate) passed_on_coded: u64,
    /// Times that weights were asked for since they were not passed on, or followed on others that were not.
    pub(crate) asked_for: u64,
    /// Times that a member was told to send nodes elsewhere in mid-pass.
    pub(crate) recalled: u64,
    /// Deals of which a home was told that they do not come to it.
    pub(crate) apart: u64,
    /// Connections between workers that were lost.
    pub(crate) cut: u64,
    /// Workers that were shut out since a sum of theirs was none.
    pub(crate) false_sums: u64,
    /// Workers that were shut out since they did not send again what they said they had sent.
    pub(crate) unsent: u64,
}

impl Seen {
    fn counts(&mut self) -> [&mut u64; 47] {
        [
            &mut self.late,
            &mut self.twice,
            &mut self.in_part,
            &mut self.dealt_again,
            &mut self.left,
            &mut self.reports,
            &mut self.expelled,
            &mut self.wrong,
            &mut self.refuted,
            &mut self.lacking,
            &mut self.unread,
            &mut self.broken,
            &mut self.waived,
            &mut self.given_up,
            &mut self.restarts,
            &mut self.stopped,
            &mut self.let_go,
            &mut self.full,
            &mut self.written,
            &mut self.small,
            &mut self.pooled,
            &mut self.ahead,
            &mut self.guessed,
            &mut self.dropped,
            &mut self.no_rows,
            &mut self.goodbyes,
            &mut self.held_back,
            &mut self.blocked,
            &mut self.shared,
            &mut self.spared,
            &mut self.coded,
            &mut self.ended_early,
            &mut self.begun_at_the_end,
            &mut self.restored,
            &mut self.averaged,
            &mut self.begun_between,
            &mut self.reduced,
            &mut self.sums,
            &mut self.parts,
            &mut self.passed_on,
            &mut self.passed_on_coded,
            &mut self.asked_for,
            &mut self.recalled,
            &mut self.apart,
            &mut self.cut,
            &mut self.false_sums,
            &mut self.unsent,
        ]
    }

    /// Both.
    pub fn and(mut self, mut other: Seen) -> Seen {
        for (count, more) in self.counts().into_iter().zip(other.counts()) {
            *count += *more;
        }
        self
    }

    /// Whether a thousand seeds went where faults are. Answers that are given up are rarer than that.
    pub fn is_enough(mut self) -> bool {
        self.given_up += 5;
        // It takes several rare draws at once to make one of these.
        self.false_sums += 4;
        self.unsent += 4;
        self.counts().into_iter().all(|count| *count >= 5)
    }
}

pub(crate) struct Book {
    case: Case,
    /// As it is by what was judged so far.
    schedule: Schedule,
    /// When the coordinator was last shown anything.
    pub(crate) now: Option<Instant>,
    pub(crate) seen: Seen,
    pub(crate) disk: Disk,
    /// By pass: the sums and the weights after it, in bits.
    history: Vec<Vec<u64>>,
    reported_at: Option<Instant>,
    has_ended: bool,
}

impl Book {
    pub(crate) fn new(case: Case, start: Checkpoint, mut seen: Seen) -> Book {
        let (history, mut schedule) = (start.history.clone(), case.job.schedule);
        schedule.restores = case.job.ends_with_averages();
        seen.begun_between += u64::from(start.accumulated.is_some());
        let disk = Disk::new(start);
        let (now, reported_at, has_ended) = (None, None, false);
        let mut book = Book { case, schedule, now, seen, disk, history, reported_at, has_ended };
        book.judge();
        seen.begun_at_the_end += u64::from(book.schedule.epochs < book.case.job.schedule.epochs);
        Book { seen, ..book }
    }

    pub(crate) fn history(&self) -> &[Vec<u64>] {
        &self.history
    }

    /// What a pass of the run is to be.
    pub(crate) fn planned(&self, pass: Pass) -> Option<Planned> {
        self.schedule.planned(pass)
    }

    /// Every pass of the schedule is over, and these are the weights that it is to end with.
    pub(crate) fn finish(&mut self, weights: &[u32]) {
        assert!(self.has_ended);
        assert_eq!(self.planned(Pass(self.history.len() as u64)), None);
        let Schedule { epochs, restores, .. } = self.schedule;
        self.seen.ended_early += u64::from(epochs < self.case.job.schedule.epochs);
        if self.case.job.ends_with_averages() {
            assert!(restores, "averages are a version of their own");
            self.seen.averaged += 1;
            return;
        }
        self.seen.restored += u64::from(restores);
        let kept = match self.judge() {
            Some((_, Watch { best: Some(best), .. })) if restores => best.epoch,
            _ => epochs,
        };
        if self.schedule.validation_rows.is_some() {
            // The step before the evaluation.
            let last = self.passes_per_epoch() * u64::from(kept) - 2;
            let after = &self.history[last as usize];
            let after = &after[after.len() - weights.len()..];
            assert!(after.iter().copied().eq(weights.iter().copied().map(u64::from)));
        }
    }

    /// Whether the run ended early with the last pass that was told of, and the test table is still to be measured.
    pub(crate) fn is_at_an_early_end(&self) -> bool {
        let (epochs, passes) = (self.schedule.epochs, self.history.len() as u64);
        epochs < self.case.job.schedule.epochs
            && passes == u64::from(epochs) * self.passes_per_epoch()
            && self.planned(Pass(passes)).is_some()
    }

    fn passes_per_epoch(&self) -> u64 {
        self.schedule.train.count() + u64::from(self.schedule.validation_rows.is_some())
    }

    /// Judges all epochs that are over, from the first on, and ends the schedule where that says so. The last verdict, and what
    /// led to it.
    fn judge(&mut self) -> Option<(Judged, Watch)> {
        let Watched { rule, mode, measure } = self.case.job.early_stopping.as_ref()?;
        let (per_epoch, rows) = (self.passes_per_epoch(), self.schedule.validation_rows?);
        let mut watch = Watch::default();
        let mut last = None;
        for epoch in 1..=self.case.job.schedule.epochs {
            let Some(sums) = self.history.get((per_epoch * u64::from(epoch) - 1) as usize) else {
                break;
            };
            let sums: Vec<f64> = sums.iter().copied().map(f64::from_bits).collect();
            let is_best = rule.judge(*mode, &mut watch, epoch, measure.value(&sums, rows));
            last = Some((Judged { epoch, is_best, stops: watch.stopped, best: watch.best }, watch));
            if watch.stopped {
                self.schedule.epochs = epoch;
                break;
            }
        }
        let best = watch.best.filter(|_| rule.restore_best_weights);
        let is_over = last.is_some_and(|(judged, _)| judged.epoch == self.schedule.epochs);
        self.schedule.restores |= is_over && best.is_some_and(|b| b.epoch < self.schedule.epochs);
        last
    }

    /// What a learning rate that is reduced on a plateau has seen of all epochs that are over.
    fn plateau(&self) -> Option<Plateau> {
        let Watched { rule, mode, measure } = self.case.job.plateau()?;
        let (per_epoch, rows) = (self.passes_per_epoch(), self.schedule.validation_rows?);
        let mut seen = rule.beginning();
        for epoch in 1..=u64::from(self.case.job.schedule.epochs) {
            let Some(sums) = self.history.get((per_epoch * epoch - 1) as usize) else { break };
            let sums: Vec<f64> = sums.iter().copied().map(f64::from_bits).collect();
            rule.judge(mode, &mut seen, measure.value(&sums, rows));
        }
        Some(seen)
    }

    /// Notes the end of the next pass of the schedule.
    fn pass(&mut self, is_of: impl Fn(Task) -> bool, rows: u64, sums: &[f64], weights: &[f32]) {
        let planned = self.planned(Pass(self.history.len() as u64));
        let planned = planned.expect("no pass comes after the last");
        assert!(is_of(planned.task), "{planned:?}");
        assert_eq!(rows, planned.rows, "{planned:?}");
        let sums = sums.iter().map(|sum| sum.to_bits());
        let weights = weights.iter().map(|weight| u64::from(weight.to_bits()));
        self.history.push(sums.chain(weights).collect());
    }

    fn report(&mut self, wait: &Wait) {
        self.seen.reports += 1;
        assert!(wait.waited >= WAIT_REPORT_INTERVAL, "reported too early: {wait}");
        let now = self.now.expect("it is shown the time");
        if let Some(last) = self.reported_at.replace(now) {
            assert!(now - last >= WAIT_REPORT_INTERVAL, "reported too often: {wait}");
        }
    }

    fn left(&mut self, worker: WorkerId, reason: &Departure) {
        let Departure::Expelled(reason) = reason else {
            self.seen.left += 1;
            return;
        };
        assert!(self.case.may_be_shut_out(worker), "{worker} is honest: {reason}");
        let seen = &mut self.seen;
        seen.expelled += 1;
        for (text, count) in [
            ("its values differ", &mut seen.wrong),
            ("where others computed finite ones", &mut seen.refuted),
            ("did not send all values", &mut seen.lacking),
            ("does not read its messages", &mut seen.unread),
            ("broken message", &mut seen.broken),
            ("a sum of what was not dealt", &mut seen.false_sums),
            ("did not send all values of", &mut seen.unsent),
        ] {
            *count += u64::from(reason.contains(text));
        }
    }
}

/// What the core tells it goes into the book.
pub(crate) struct Teller(pub(crate) Arc<Mutex<Book>>);

impl Observer for Teller {
    fn observe(&mut self, event: RunEvent<'_>) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            RunEvent::Step { epoch, step, rows, sums, learning_rate, weights, .. } => {
                let plateau = book.plateau();
                let scheduled = book.case.job.learning_rate.after(step - 1);
                let wanted = plateau.map_or(scheduled, |plateau| plateau.learning_rate);
                assert_eq!(learning_rate, wanted);
                book.seen.reduced += u64::from(plateau.is_some() && learning_rate < scheduled);
                let frames = weights.0();
                let weights = frames.iter().flat_map(|frame| {
                    lockstep_proto::values::decode(frame).expect("frames hold whole numbers")
                });
                let weights: Vec<f32> = weights.collect();
                let is_of = |task| matches!(task, Task::Train { epoch: of, .. } if of == epoch);
                book.pass(is_of, rows, sums, &weights);
            }
            RunEvent::Evaluated { table, rows, sums, judged } => {
                book.pass(|task| task == Task::Evaluate { table }, rows, sums, &[]);
                let wanted = book.judge().map(|(judged, _)| judged);
                assert_eq!(judged, wanted.filter(|_| table == Table::Validation));
            }
            RunEvent::Left { worker, reason, .. } => book.left(worker, reason),
            RunEvent::Waiting { wait, .. } => book.report(wait),
            RunEvent::Warning(text) => {
                book.seen.waived += u64::from(text.starts_with("nobody came to check"));
                book.seen.given_up += u64::from(text.contains("does not answer"));
            }
            RunEvent::Ending => {
                assert!(!std::mem::replace(&mut book.has_ended, true), "it ended twice");
            }
            RunEvent::StillStopping { waited, .. } => assert!(waited >= Duration::from_secs(5)),
            RunEvent::Passed { planned, shares, .. } => {
                // All of them but whoever left after giving values.
                assert!(shares.iter().all(|share| share.rows > 0), "{planned:?}: {shares:?}");
            }
            RunEvent::Joined { .. }
            | RunEvent::Refused { .. }
            | RunEvent::Stopping
            | RunEvent::Members { .. }
            | RunEvent::Hedged { .. }
            | RunEvent::DealtAgain { .. } => {}
        }
    }

    fn wants_snapshot(&mut self, is_last: bool) -> bool {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = book.case.dies_at_the_end && book.is_at_an_early_end();
        let (passes, every) = (book.history.len() as u64, book.case.checkpoint_passes);
        is_last || is_wanted || book.disk.is_due(passes, every)
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(snapshot.pass.0, book.history.len() as u64, "of a state that is not told of");
        if book.case.job.early_stopping.is_some() {
            let wanted = book.judge().map_or(Watch::default(), |(_, watch)| watch);
            assert_eq!(snapshot.watch, Some(wanted));
        }
        assert_eq!(snapshot.plateau, book.plateau());
        let history = book.history.clone();
        book.disk.take(Checkpoint { snapshot, history });
    }
}
