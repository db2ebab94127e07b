//! What the coordinator's shell does with a worker's results, as `driver::results` does.

use std::time::Instant;

use lockstep_proto::frame::{Part, Slice};
use lockstep_proto::ids::{Pass, WorkerId};
use lockstep_proto::tree::Node;

use super::super::super::{Answered, Event, Track, Verdict};
use super::{Driver, Job};
use crate::audit::Value;

impl Driver<'_> {
    /// Only who lies is ever found to.
    pub(super) fn expel(&mut self, now: Instant, worker: WorkerId) {
        assert!(self.case.lies(worker), "{worker} is honest and was found wrong");
        let disputes = self.audit_book.strike(worker);
        if self.members.remove(&worker) {
            self.ledger.seen.expelled += 1;
            self.prepared.remove(&worker);
            self.dealt.retain(|&(dealt_to, _)| dealt_to != worker);
        }
        self.engine.expelled(now, worker, &disputes);
    }

    pub(super) fn part(&mut self, now: Instant, worker: WorkerId, part: Part) {
        let Part { pass, slices, sums, done } = part;
        let sums = sums.into_iter().map(|s| (Track::Sums, s.node, Value::Sums(s)));
        let slices = slices
            .into_iter()
            .map(|slice| (Track::Chunk(slice.chunk), slice.node, Value::Slice(slice.values)));
        let mut values: Vec<_> = sums.chain(slices).collect();
        for (track, node, _) in &values {
            assert!(self.engine.was_asked(worker, pass, *track, *node), "{worker}: {node}");
        }
        values.sort_by_key(|(_, node, _)| !self.engine.is_audited(worker, pass, *node));
        let good = self.take_in(now, worker, pass, values);
        let mut is_lacking = false;
        if self.members.contains(&worker) {
            match done.map(|done| self.engine.answered(now, worker, pass, done)) {
                None | Some(Answered::Noted) => {}
                Some(Answered::Lacking) => is_lacking = true,
                Some(Answered::Foreign) => panic!("{worker}: {done:?}"),
            }
        }
        for (track, node, value, is_new) in good {
            if is_new {
                self.take(now, track, node, value);
            } else {
                self.settle(now, pass, track, node, value);
            }
        }
        if is_lacking {
            self.ledger.seen.lacking += 1;
            self.expel(now, worker);
        }
    }

    fn take_in(
        &mut self,
        now: Instant,
        worker: WorkerId,
        pass: Pass,
        values: Vec<(Track, Node, Value)>,
    ) -> Vec<(Track, Node, Value, bool)> {
        let mut good = Vec::with_capacity(values.len());
        for (track, node, value) in values {
            if !self.members.contains(&worker) {
                break;
            }
            let verdict = self.engine.accept(now, worker, pass, track, node);
            if verdict == Verdict::Compare {
                good.extend(self.compare(now, worker, track, node, value));
                continue;
            }
            self.ledger.judge(pass, track, node, verdict);
            if verdict == Verdict::Fold {
                good.push((track, node, value, true));
            }
        }
        good
    }

    fn take(&mut self, now: Instant, track: Track, node: Node, value: Value) {
        match (track, value) {
            (Track::Sums, Value::Sums(sums)) => {
                self.ledger.fold(Track::Sums, node);
                let fold = self.sums.as_mut().expect("a pass is open");
                if let Some(root) = fold.insert(node, sums.values) {
                    self.root_sums = root;
                    self.engine.handle(now, Event::Committed(Track::Sums));
                }
            }
            (Track::Chunk(chunk), Value::Slice(values)) => {
                let job = Job { step: self.step, slice: Slice { node, chunk, values } };
                if self.case.pooled {
                    self.jobs.push(job);
                } else {
                    self.fold(now, job);
                }
            }
            (track, value) => panic!("{value:?} on {track:?}"),
        }
    }

    fn compare(
        &mut self,
        now: Instant,
        worker: WorkerId,
        track: Track,
        node: Node,
        value: Value,
    ) -> Option<(Track, Node, Value, bool)> {
        let judgement = self.audit_book.judge(worker, track, node, value);
        if let Some(answers) = judgement.disputed {
            self.engine.disputed(now, node, answers);
        }
        for worker in judgement.wrong {
            self.expel(now, worker);
        }
        let value = judgement.agreed?;
        self.ledger.seen.agreed += 1;
        Some((track, node, value, false))
    }

    pub(super) fn settle(
        &mut self,
        now: Instant,
        pass: Pass,
        track: Track,
        node: Node,
        value: Value,
    ) {
        let new = self.engine.agreed(pass, track, node);
        let verdict = if new { Verdict::Fold } else { Verdict::Drop };
        self.ledger.judge(pass, track, node, verdict);
        if new {
            self.take(now, track, node, value);
        }
    }
}
