//! The account of the open pass: its loss and metric sums with the rows that were really counted into them, and who was
//! dealt what. Every row of a batch counts exactly once, whatever was computed again: here that is checked, by what a
//! worker says of each node when it comes, and by what went up the tree when the pass ends.
//!
//! Decides nothing: the engine does, and nothing here can reach the weights.

use lockstep_proto::frame::NodeSums;
use lockstep_proto::ids::{Pass, Span, Task, WorkerId};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::words::count;
use lockstep_reduce::fold::{Counted, Fold, LeafSet};

use crate::engine::{Planned, Schedule};
use crate::error::RunError;
use crate::spec::SumBounds;

#[derive(Debug, Default)]
pub(crate) struct Account {
    sums: Option<Fold<Counted>>,
    root: Counted,
    /// The shards that have rows, and those of them that were dealt.
    leaves: Option<(LeafSet, LeafSet)>,
    deals: Vec<(WorkerId, Span)>,
    recomputed: u64,
}

impl Account {
    /// Opens the account of a pass over these leaves.
    pub(crate) fn begin(&mut self, tree: ShardTree, leaves: LeafSet) {
        self.leaves = Some((leaves.clone(), LeafSet::none(tree)));
        self.sums = Some(Fold::new(tree, leaves));
        self.root = Counted::default();
        self.deals.clear();
        self.recomputed = 0;
    }

    /// Notes a deal of the open pass.
    pub(crate) fn deal(&mut self, worker: WorkerId, span: Span) {
        self.deals.push((worker, span));
        let Some((leaves, dealt)) = &mut self.leaves else { return };
        let again = |&shard: &u32| leaves.contains(shard) && dealt.contains(shard);
        self.recomputed += (span.start..span.end).filter(again).count() as u64;
        dealt.cover(span, leaves);
    }

    /// Adds sums that the engine wants folded; true when that completes them.
    pub(crate) fn insert(&mut self, sums: NodeSums) -> bool {
        let NodeSums { node, rows, values } = sums;
        let root = self.sums.as_mut().and_then(|fold| fold.insert(node, Counted { rows, values }));
        let is_complete = root.is_some();
        self.root = root.unwrap_or_else(|| std::mem::take(&mut self.root));
        is_complete
    }

    /// The pass's sums. `learning_rate` is that of its update, for the error.
    ///
    /// # Errors
    /// If other rows were counted than the pass has, or a sum is not finite.
    pub(crate) fn end(
        &mut self,
        planned: &Planned,
        learning_rate: f32,
    ) -> Result<Counted, RunError> {
        let root = std::mem::take(&mut self.root);
        if root.rows != planned.rows {
            let (pass, counted, wanted) = (planned.pass, root.rows, planned.rows);
            return Err(RunError::Miscounted { pass, counted, wanted });
        }
        if !root.values.iter().all(|sum| sum.is_finite()) {
            return Err(match planned.task {
                Task::Train { .. } => RunError::NonFinite {
                    step: planned.step.0 + 1,
                    shard: None,
                    layer: None,
                    what: "loss",
                    learning_rate,
                },
                Task::Evaluate { table } => {
                    RunError::Unmeasurable { table, shard: None, step: planned.step }
                }
            });
        }
        Ok(root)
    }

    /// Whether the open pass was dealt so that these nodes add up to that one: each was dealt to its sender, and together they
    /// have the node's rows.
    pub(crate) fn adds_up(&self, tree: ShardTree, node: Node, of: &[(Node, WorkerId)]) -> bool {
        let (Some((leaves, _)), Some(whole)) = (&self.leaves, tree.span(node)) else {
            return false;
        };
        let was_dealt = |&(node, worker): &(Node, WorkerId)| {
            let span = tree.span(node)?;
            let is_it = |(to, dealt): &(WorkerId, Span)| *to == worker && dealt.contains(span);
            self.deals.iter().any(is_it).then_some(span)
        };
        let spans: Option<Vec<Span>> = of.iter().map(was_dealt).collect();
        spans.is_some_and(|spans| LeafSet::of(tree, spans).covers(whole, leaves))
    }

    /// Who was dealt what in the pass, in order.
    pub(crate) fn deals(&self) -> &[(WorkerId, Span)] {
        &self.deals
    }

    /// How many microbatches of the pass were dealt again.
    pub(crate) fn recomputed(&self) -> u64 {
        self.recomputed
    }
}

/// Sums over many rows are rounded: they may be beyond the rows' bounds by this factor.
const ROUNDING: f64 = 1.0 + 1e-6;

/// What the sums of a pass can be.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// Of a table that is measured.
    pub(crate) of_table: &'a [SumBounds],
    /// How many of them, from the first, a training step has.
    pub(crate) step_sums: usize,
}

impl<'a> Bounds<'a> {
    fn of(self, task: Task) -> &'a [SumBounds] {
        match task {
            Task::Train { .. } => &self.of_table[..self.step_sums],
            Task::Evaluate { .. } => self.of_table,
        }
    }
}

/// What is wrong with the rows that a worker says it counted, or with its sums, if anything. Passes and nodes that the run
/// does not have are the engine's business.
pub(crate) fn complaint(
    schedule: &Schedule,
    bounds: Bounds<'_>,
    pass: Pass,
    sums: &NodeSums,
) -> Option<String> {
    let planned = schedule.planned(pass)?;
    let wanted = schedule.node_rows(&planned, sums.node)?;
    let NodeSums { node, rows, ref values } = *sums;
    if rows != wanted {
        return Some(format!(
            "it counted {} in {node} of {pass}, which has {wanted} there: what it computes cannot be trusted",
            count(rows, "row")
        ));
    }
    let bounds = bounds.of(planned.task);
    if values.len() != bounds.len() {
        return Some(format!(
            "it sent {} in {node} of {pass}, which has {}: what it computes cannot be trusted",
            count(values.len() as u64, "sum"),
            bounds.len()
        ));
    }
    let (place, sum, bounds) =
        values.iter().zip(bounds).enumerate().find_map(|(place, (&sum, b))| {
            let least = if b.low > 0.0 { b.low / ROUNDING } else { b.low * ROUNDING };
            let most = if b.high < 0.0 { b.high / ROUNDING } else { b.high * ROUNDING };
            let is_possible = (least * rows as f64..=most * rows as f64).contains(&sum)
                && (!b.is_whole || sum.fract() == 0.0);
            (!is_possible).then_some((place, sum, b))
        })?;
    let SumBounds { low, high, is_whole } = bounds;
    let kind = if *is_whole { "whole numbers" } else { "numbers" };
    Some(format!(
        "it sent a sum of {sum:?} over {} in {node} of {pass} (number {place} of loss and metrics), to which each row \
         adds {kind} from {low:?} to {high:?}: what it computes cannot be trusted",
        count(rows, "row")
    ))
}

#[cfg(test)]
mod tests {
    use lockstep_proto::batches::Batches;

    use super::*;

    const SHARDS: u32 = 4;

    fn schedule() -> Schedule {
        Schedule {
            tree: ShardTree::new(SHARDS),
            train: Batches { rows: 13, shards: SHARDS, batch_size: 6 },
            validation_rows: Some(3),
            test_rows: None,
            epochs: 1,
            restores: false,
            steps_per_update: 1,
        }
    }

    fn sums(node: Node, rows: u64) -> NodeSums {
        NodeSums { node, rows, values: vec![1.0] }
    }

    fn open(schedule: &Schedule, pass: u64) -> (Account, Planned) {
        let planned = schedule.planned(Pass(pass)).unwrap();
        let mut account = Account::default();
        account.begin(schedule.tree, schedule.leaves(&planned));
        (account, planned)
    }

    #[test]
    fn rows_that_come_twice_count_once() {
        let schedule = schedule();
        let (mut account, planned) = open(&schedule, 0);
        let pair = |index| Node { level: 1, index };
        assert!(!account.insert(sums(Node::leaf(0), 2)));
        assert!(!account.insert(sums(Node::leaf(0), 2)));
        assert!(!account.insert(sums(pair(0), 4)));
        assert!(account.insert(sums(pair(1), 2)));
        assert!(!account.insert(sums(pair(1), 2)));
        assert_eq!(account.end(&planned, 0.1).unwrap(), Counted { rows: 6, values: vec![2.0] });
    }

    #[test]
    fn a_pass_with_other_rows_is_an_error() {
        let schedule = schedule();
        let (mut account, planned) = open(&schedule, 1);
        assert!(account.insert(sums(schedule.tree.root(), 7)));
        let error = account.end(&planned, 0.1).unwrap_err().to_string();
        assert!(error.contains("7 rows were counted in pass 1, which has 6"), "{error}");
        assert!(account.end(&planned, 0.1).is_err(), "nothing is left of it");
    }

    #[test]
    fn what_a_worker_counted_is_held_against_the_batch() {
        let schedule = schedule();
        let free = SumBounds { low: -1e9, high: 1e9, is_whole: false };
        let bounds = Bounds { of_table: &[free], step_sums: 1 };
        let check = |pass, node, rows| complaint(&schedule, bounds, Pass(pass), &sums(node, rows));
        // Batch 2 is the last row; a table that is measured is whole.
        for (pass, rows) in [(0, 6), (1, 6), (2, 1), (3, 3)] {
            assert_eq!(check(pass, schedule.tree.root(), rows), None);
            let found = check(pass, schedule.tree.root(), rows + 1).unwrap();
            assert!(found.starts_with(&format!("it counted {} rows in node 2:0", rows + 1)));
        }
        assert_eq!(check(0, Node::leaf(1), 2), None);
        assert!(check(0, Node::leaf(2), 2).is_some());
        assert_eq!(check(4, Node::leaf(1), 9), None);
        assert_eq!(check(0, Node { level: 3, index: 0 }, 9), None);
    }

    #[test]
    fn sums_that_rows_cannot_add_up_to() {
        let schedule = schedule();
        let bounds = [
            SumBounds { low: 0.0, high: 2.0, is_whole: false },
            SumBounds { low: -1.0, high: 1.0, is_whole: true },
            SumBounds { low: 1.0, high: 1.0, is_whole: true },
        ];
        let check = |values: [f64; 2]| {
            let values = [values[0], values[1], 6.0];
            let sums = NodeSums { node: schedule.tree.root(), rows: 6, values: values.to_vec() };
            let bounds = Bounds { of_table: &bounds, step_sums: 3 };
            complaint(&schedule, bounds, Pass(0), &sums)
        };
        for good in [[0.0, 0.0], [-0.0, -6.0], [12.000_000_1, 6.0]] {
            assert_eq!(check(good), None, "{good:?}");
        }
        for bad in [[-1e-300, 0.0], [12.1, 0.0], [1.0, 0.5], [1.0, 7.0], [1.0, -7.0]] {
            assert!(
                check(bad).is_some_and(|found| found.starts_with("it sent a sum of ")),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_step_has_fewer_sums_than_a_table() {
        let schedule = schedule();
        let count = SumBounds { low: 0.0, high: 1.0, is_whole: true };
        let bounds = Bounds { of_table: &[count; 3], step_sums: 2 };
        let check = |pass, len| {
            let rows = if pass == 3 { 3 } else { 6 };
            let sums = NodeSums { node: schedule.tree.root(), rows, values: vec![1.0; len] };
            complaint(&schedule, bounds, Pass(pass), &sums)
        };
        assert_eq!((check(0, 2), check(3, 3)), (None, None));
        assert!(
            check(0, 3).is_some_and(|found| found.starts_with("it sent 3 sums in node 2:0 of"))
        );
        assert!(
            check(3, 2)
                .is_some_and(|found| found.contains("2 sums in node 2:0 of pass 3, which has 3"))
        );
    }

    #[test]
    fn a_total_that_is_not_finite_is_an_error() {
        let schedule = schedule();
        let (mut account, planned) = open(&schedule, 1);
        let huge =
            |index| NodeSums { node: Node { level: 1, index }, rows: 0, values: vec![1e308] };
        account.insert(NodeSums { rows: 4, ..huge(0) });
        assert!(account.insert(NodeSums { rows: 2, ..huge(1) }));
        let error = account.end(&planned, 0.1).unwrap_err().to_string();
        assert!(error.starts_with("the loss is not finite at step 2 (the sum over all"), "{error}");
    }

    #[test]
    fn only_rows_that_are_dealt_again_are_recomputed() {
        let schedule = schedule();
        // The one row of batch 2 is shard 0's.
        let (mut account, _) = open(&schedule, 2);
        let span = |start, end| Span { start, end };
        account.deal(WorkerId(1), span(0, 2));
        account.deal(WorkerId(2), span(2, 4));
        account.deal(WorkerId(1), span(2, 4));
        assert_eq!(account.recomputed(), 0);
        account.deal(WorkerId(2), span(0, 2));
        assert_eq!((account.recomputed(), account.deals().len()), (1, 4));
        account.begin(schedule.tree, schedule.leaves(&schedule.planned(Pass(0)).unwrap()));
        assert_eq!((account.recomputed(), account.deals().len()), (0, 0));
    }
}
