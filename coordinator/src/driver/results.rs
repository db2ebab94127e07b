//! From a worker's results to sums: what the engine says to each, and comparing what is audited.

use std::time::Instant;

use lockstep_proto::frame::{Part, Slice};
use lockstep_proto::ids::{Pass, Span, WorkerId};
use lockstep_proto::tree::Node;

use super::Driver;
use crate::account::complaint;
use crate::audit::{Judgement, Value};
use crate::engine::{Event, Track, Verdict};
use crate::run::RunError;

impl Driver {
    pub(super) fn part(&mut self, worker: WorkerId, part: Part) -> Result<(), RunError> {
        let now = Instant::now();
        let complain = |sums| complaint(&self.schedule, part.pass, sums);
        if let Some(complaint) = part.sums.iter().find_map(complain) {
            self.expel(worker, &complaint);
            return Ok(());
        }
        let sums = part.sums.into_iter().map(|s| (Track::Sums, s.node, Value::Sums(s)));
        let slices = part
            .slices
            .into_iter()
            .map(|slice| (Track::Chunk(slice.chunk), slice.node, Value::Slice(slice.values)));
        let values: Vec<_> = sums.chain(slices).collect();
        // Decided about before any is folded: folding the last one ends the pass and begins the next.
        let mut verdicts = Vec::with_capacity(values.len());
        for (track, node, _) in &values {
            let verdict = self.engine.accept(now, worker, part.pass, *track, *node);
            if verdict == Verdict::Foreign {
                let what = match track {
                    Track::Sums => "it sent sums that it was not asked for",
                    Track::Chunk(_) => "it sent a gradient that it was not asked for",
                };
                self.expel(worker, what);
                break;
            }
            verdicts.push(verdict);
        }
        if let Some(done) = part.done.filter(|_| self.members.contains_key(&worker))
            && !self.engine.answered(now, worker, part.pass, done)
        {
            self.expel(worker, "it says that it is done with what it was not asked for");
        }
        for ((track, node, value), verdict) in values.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Fold => self.fold(track, node, value)?,
                Verdict::Compare => self.compare(worker, part.pass, track, node, value)?,
                Verdict::Drop | Verdict::Foreign => {}
            }
        }
        Ok(())
    }

    fn fold(&mut self, track: Track, node: Node, value: Value) -> Result<(), RunError> {
        match (track, value) {
            (Track::Chunk(chunk), Value::Slice(values)) => {
                match self.reducer.fold(Slice { node, chunk, values }) {
                    Some(reduced) => self.reduced(reduced),
                    None => Ok(()),
                }
            }
            (Track::Sums, Value::Sums(sums)) => {
                if self.account.insert(sums) {
                    self.engine.handle(Instant::now(), Event::Committed(Track::Sums));
                }
                Ok(())
            }
            _ => unreachable!("a track's values are of its kind"),
        }
    }

    /// Holds a value against what other workers computed for the same node.
    fn compare(
        &mut self,
        worker: WorkerId,
        pass: Pass,
        track: Track,
        node: Node,
        value: Value,
    ) -> Result<(), RunError> {
        // A value before it may have ended the pass: this one was settled then.
        if !self.engine.is_open(pass) {
            return Ok(());
        }
        let Judgement { agreed, wrong, disputed } =
            self.audit_book.judge(worker, track, node, value);
        if let Some(answers) = disputed {
            self.engine.disputed(Instant::now(), node, answers);
        }
        for worker in wrong {
            self.expel(
                worker,
                "it computed other values than two other workers: check that machine's processor and memory",
            );
        }
        match agreed {
            Some(value) if self.engine.agreed(pass, track, node) => self.fold(track, node, value),
            _ => Ok(()),
        }
    }

    pub(super) fn waive(&mut self, pass: Pass, span: Span) -> Result<(), RunError> {
        for (track, node, value) in self.audit_book.waive(self.tree, span) {
            if self.engine.agreed(pass, track, node) {
                self.fold(track, node, value)?;
            }
        }
        Ok(())
    }
}
