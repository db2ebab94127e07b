//! From a worker's results to sums: what the engine says to each, comparing what is audited, and words that there are no finite
//! results.

use lockstep_proto::frame::{Divergence, ResultPart, Slice};
use lockstep_proto::ids::{Pass, Span, Table, Task, WorkerId};
use lockstep_proto::tree::Node;

use super::Core;
use crate::account::{Bounds, complaint};
use crate::audit::{Judgement, Value};
use crate::engine::{Answered, Event, Track, Verdict};
use crate::error::RunError;
use crate::observer::RunEvent;

impl Core {
    pub(super) fn part(&mut self, worker: WorkerId, part: ResultPart) -> Result<(), RunError> {
        let ResultPart { pass, slices, sums, done } = part;
        let bounds = Bounds { of_table: &self.sum_bounds, step_sums: self.step_sums };
        let complain = |sums| complaint(&self.schedule, bounds, pass, sums);
        if let Some(complaint) = sums.iter().find_map(complain) {
            self.expel(worker, &complaint);
            return Ok(());
        }
        let sums = sums.into_iter().map(|s| (Track::Sums, s.node, Value::Sums(s)));
        let slices = slices
            .into_iter()
            .map(|slice| (Track::Chunk(slice.chunk), slice.node, Value::Slice(slice.values)));
        let mut values: Vec<_> = sums.chain(slices).collect();
        let foreign = |(track, node, _): &&(Track, Node, Value)| {
            !self.engine.was_asked(worker, pass, *track, *node)
        };
        if let Some((track, ..)) = values.iter().find(foreign) {
            self.expel(worker, not_asked_for(*track));
            return Ok(());
        }
        // Decided about before any is folded: folding the last one ends the pass and begins the next. What is compared comes
        // first: a worker that is found wrong gets nothing folded.
        values.sort_by_key(|(_, node, _)| !self.engine.is_audited(worker, pass, *node));
        let good = self.take_in(worker, pass, values);
        let mut is_lacking = false;
        if let Some(done) = done.filter(|_| self.members.contains_key(&worker)) {
            match self.engine.answered(self.now, worker, pass, done) {
                Answered::Noted if pass == self.pass && self.is_open => {
                    self.tally.answer(self.now, worker, done.busy);
                }
                Answered::Noted => {}
                Answered::Lacking => is_lacking = true,
                Answered::Foreign => {
                    self.expel(worker, "it says that it is done with what it was not asked for");
                }
            }
        }
        for (track, node, value, is_new) in good {
            if is_new || self.engine.agreed(pass, track, node) {
                self.fold(track, node, value)?;
            }
        }
        if let Some(done) = done.filter(|_| is_lacking) {
            let span = done.span;
            let reason = format!(
                "it said that it is done with {span} of {pass}, but did not send all values"
            );
            self.expel(worker, &reason);
        }
        Ok(())
    }

    /// Has the engine decide about values, and compares those that are to be. What is to be folded, and whether that is
    /// known to be new.
    fn take_in(
        &mut self,
        worker: WorkerId,
        pass: Pass,
        values: Vec<(Track, Node, Value)>,
    ) -> Vec<(Track, Node, Value, bool)> {
        let mut good = Vec::with_capacity(values.len());
        for (track, node, value) in values {
            if !self.members.contains_key(&worker) {
                break;
            }
            match self.engine.accept(self.now, worker, pass, track, node) {
                Verdict::Compare => good.extend(self.compare(worker, track, node, value)),
                Verdict::Fold => good.push((track, node, value, true)),
                Verdict::Drop => {}
                Verdict::Foreign => self.expel(worker, not_asked_for(track)),
            }
        }
        good
    }

    fn fold(&mut self, track: Track, node: Node, value: Value) -> Result<(), RunError> {
        match (track, value) {
            (Track::Chunk(chunk), Value::Slice(values)) => {
                let reduced = self.reducer.fold(Slice { node, chunk, values });
                self.reduced(reduced)
            }
            (Track::Sums, Value::Sums(sums)) => {
                if self.account.insert(sums) {
                    self.engine.handle(self.now, Event::Committed(Track::Sums));
                }
                Ok(())
            }
            _ => unreachable!("a track's values are of its kind"),
        }
    }

    /// Holds a value of the open pass against what other workers computed for the same node: what two agreed on, if they did.
    /// Not new: it may be there by the time that it is folded.
    fn compare(
        &mut self,
        worker: WorkerId,
        track: Track,
        node: Node,
        value: Value,
    ) -> Option<(Track, Node, Value, bool)> {
        let Judgement { agreed, wrong, disputed } =
            self.audit_book.judge(worker, track, node, value);
        if let Some(answers) = disputed {
            self.engine.disputed(self.now, node, answers);
        }
        for worker in wrong {
            self.expel(
                worker,
                "its values differ from those of two other workers: check that machine's processor and memory",
            );
        }
        agreed.map(|value| (track, node, value, false))
    }

    pub(super) fn divergence(&mut self, worker: WorkerId, divergence: Divergence) {
        if !self.engine.diverged(self.now, worker, divergence) {
            self.expel(worker, &format!("{}, which it was not dealt", reported(divergence)));
        } else if divergence.pass == self.pass {
            // What is found out about it is found out here.
            self.recall(|_, _| true);
        }
    }

    /// A loss or gradient is really not finite.
    pub(super) fn diverged(&mut self, divergence: Divergence) -> Result<(), RunError> {
        let Some(planned) = self.schedule.planned(divergence.pass) else { return Ok(()) };
        if let Task::Evaluate { table } = planned.task {
            let shard = Some(divergence.shard);
            let error = RunError::Unmeasurable { table, shard, step: planned.step };
            if table != Table::Test {
                return Err(error);
            }
            // The weights are final and good: the run ends well, but for this measure.
            self.observer.observe(RunEvent::Warning(&error.to_string()));
            self.finished = true;
            return Ok(());
        }
        Err(RunError::NonFinite {
            step: planned.step.0 + 1,
            shard: Some(divergence.shard),
            layer: divergence.layer.map(|layer| self.layout.layer_name(layer as usize)),
            what: if divergence.in_gradient { "gradient" } else { "loss" },
            learning_rate: self.rate,
        })
    }

    /// The pass has ended on finite values.
    pub(super) fn refute(&mut self, worker: WorkerId, divergence: Divergence) {
        let reported = reported(divergence);
        let reason = format!(
            "{reported}, where others computed finite ones: check that machine's processor and memory"
        );
        self.expel(worker, &reason);
    }

    /// A check goes on without the answer of somebody who is there.
    pub(super) fn give_up(&mut self, worker: WorkerId, span: Span) {
        let machine = self
            .members
            .get(&worker)
            .map_or(String::new(), |member| format!(" on {}", member.peer.host));
        let warning = format!(
            "{worker}{machine} is connected but does not answer: {span} is not checked by it, nor any other before it \
             answers"
        );
        self.observer.observe(RunEvent::Warning(&warning));
    }

    /// Takes the values of a span that nobody is there to compare with.
    pub(super) fn waive(&mut self, pass: Pass, span: Span, waited: bool) -> Result<(), RunError> {
        if waited {
            let warning = format!(
                "nobody came to check {span} of {pass}: the values of one worker are taken"
            );
            self.observer.observe(RunEvent::Warning(&warning));
        }
        for (track, node, value) in self.audit_book.waive(self.schedule.tree, span) {
            if self.engine.agreed(pass, track, node) {
                self.fold(track, node, value)?;
            }
        }
        Ok(())
    }
}

fn not_asked_for(track: Track) -> &'static str {
    match track {
        Track::Sums => "it sent sums that it was not asked for",
        Track::Chunk(_) => "it sent a gradient that it was not asked for",
    }
}

fn reported(divergence: Divergence) -> String {
    let Divergence { pass, shard, .. } = divergence;
    format!("it reported a loss or gradient that is not finite in {shard} of {pass}")
}
