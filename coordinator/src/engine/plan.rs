//! Who of those that are dealt to has which span from one pass to the next, and when that changes: with them, and with their
//! speeds where it pays.

use std::time::{Duration, Instant};

use lockstep_proto::ids::{Span, Task, WorkerId};

use super::members::Members;
use super::schedule::{Planned, Schedule};
use super::spans;

/// Speeds are looked at this often at most, and after this many passes at least.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const LOOK_PASSES: u32 = 2;

/// Spans change for a pass that is shorter by this share and by this time: less than that is noise, and every change
/// moves rows.
const GAIN_SHARE_MIN: f64 = 0.1;
const GAIN_SECONDS_MIN: f64 = 500e-6;

/// The spans of some of the prepared members, or of all.
#[derive(Debug)]
pub(super) struct SpanPlan {
    spans: Vec<(WorkerId, Span)>,
    stale: bool,
    looked_at: Instant,
    passes: u32,
}

impl SpanPlan {
    pub(super) fn new(now: Instant) -> SpanPlan {
        SpanPlan { spans: Vec::new(), stale: true, looked_at: now, passes: 0 }
    }

    /// Members have come or gone.
    pub(super) fn outdate(&mut self) {
        self.stale = true;
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Who has which span.
    pub(super) fn spans(&self) -> &[(WorkerId, Span)] {
        &self.spans
    }

    /// Brings the plan up to date for a pass that these workers are dealt, in the order of their seats. Needs one.
    pub(super) fn update(
        &mut self,
        now: Instant,
        members: &mut Members,
        schedule: &Schedule,
        planned: &Planned,
        workers: &[WorkerId],
    ) {
        self.passes += 1;
        let due = self.passes >= LOOK_PASSES
            && now.saturating_duration_since(self.looked_at) >= LOOK_INTERVAL;
        // Speeds are those of steps: in the measure of a table nobody is measured.
        if due && matches!(planned.task, Task::Train { .. }) {
            members.update_speeds(workers);
            self.looked_at = now;
            self.passes = 0;
        }
        if self.stale {
            self.spans = cut(members, schedule, workers);
            self.stale = false;
        } else if due && let Some(better) = self.better(members, schedule, planned, workers) {
            self.spans = better;
        }
    }

    /// Spans that are worth their move.
    fn better(
        &self,
        members: &Members,
        schedule: &Schedule,
        planned: &Planned,
        workers: &[WorkerId],
    ) -> Option<Vec<(WorkerId, Span)>> {
        let batch_rows = match planned.task {
            Task::Train { .. } => schedule.train.batch_size,
            Task::Evaluate { .. } => return None,
        };
        let rows_per_shard = batch_rows as f64 / f64::from(schedule.tree.shards());
        let seconds = |spans: &[(WorkerId, Span)]| {
            let each = spans.iter().map(|&(worker, span)| {
                let rows = f64::from(span.len()) * rows_per_shard;
                schedule.work_rows(rows, span) / members.speed(worker)
            });
            each.fold(0.0, f64::max)
        };
        let now = seconds(&self.spans);
        let speeds: f64 = workers.iter().map(|&worker| members.speed(worker)).sum();
        let gains = |then: f64| now - then >= (GAIN_SHARE_MIN * now).max(GAIN_SECONDS_MIN);
        // Even spans of a fraction of a shard would not be better: spare the search.
        if !gains(batch_rows as f64 / speeds) {
            return None;
        }
        let better = cut(members, schedule, workers);
        let then = seconds(&better);
        let steps_left = schedule.steps().0.saturating_sub(planned.step.0) as f64;
        let moves = better.iter().map(|&(worker, span)| members.fetch_time(worker, span));
        let move_seconds = moves.max().unwrap_or_default().as_secs_f64();
        (gains(then) && (now - then) * steps_left > move_seconds).then_some(better)
    }
}

/// One span for each of the workers that gets any.
pub(super) fn cut(
    members: &Members,
    schedule: &Schedule,
    workers: &[WorkerId],
) -> Vec<(WorkerId, Span)> {
    let spans = spans::cut(schedule.tree, &members.seats(workers));
    let with_shards = |(_, span): &(WorkerId, Span)| !span.is_empty();
    workers.iter().copied().zip(spans).filter(with_shards).collect()
}
