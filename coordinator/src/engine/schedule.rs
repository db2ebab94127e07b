//! The fixed sequence of passes that a job asks for.

use lockstep_proto::batches::Batches;
use lockstep_proto::ids::{Pass, Span, Step, Table, Task};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_reduce::fold::LeafSet;

/// What a node of a span costs beside its rows, in rows. Both grow with the parameters alike, so their ratio does not:
/// two nodes more cost some 60 ms of a step in which a row costs 0.4 ms, on processes that share memory; a network costs
/// more.
const NODE_ROWS: f64 = 64.0;

/// What a run does, in order: every epoch its batches, then the validation table; at the end the test table.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The tree over the job's shards.
    pub tree: ShardTree,
    /// The training table.
    pub train: Batches,
    /// Rows of the validation table, if there is one.
    pub validation_rows: Option<u64>,
    /// Rows of the test table, if there is one.
    pub test_rows: Option<u64>,
    /// Times through the training table.
    pub epochs: u32,
    /// Whether the weights of an earlier epoch, or averages, take the place of the last one's at the end: a version of their own, on
    /// which the test table is measured.
    pub restores: bool,
    /// Steps of one update. The weights of a step are the version that is the step divided by this, rounded down.
    pub steps_per_update: u64,
}

/// One pass of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number.
    pub pass: Pass,
    /// What it computes.
    pub task: Task,
    /// The steps before it; [`Schedule::version`] says on which weights it computes.
    pub step: Step,
    /// Its rows.
    pub rows: u64,
}

impl Schedule {
    /// The pass of that number; `None` past the end of the run.
    pub fn planned(&self, pass: Pass) -> Option<Planned> {
        let per_epoch = self.passes_per_epoch();
        let (epoch, at) = (pass.0 / per_epoch, pass.0 % per_epoch);
        let (task, step, rows) = if epoch < u64::from(self.epochs) {
            let step = Step(epoch * self.train.count() + at);
            match self.validation_rows {
                Some(rows) if at == self.train.count() => {
                    (Task::Evaluate { table: Table::Validation }, step, rows)
                }
                _ => {
                    let task = Task::Train { epoch: epoch as u32 + 1, batch: at };
                    (task, step, self.train.batch_rows(at))
                }
            }
        } else {
            let rows = self.test_rows.filter(|_| pass.0 == per_epoch * u64::from(self.epochs))?;
            (Task::Evaluate { table: Table::Test }, self.kept_step(), rows)
        };
        Some(Planned { pass, task, step, rows })
    }

    /// Updates in the whole run.
    pub fn steps(&self) -> Step {
        Step(u64::from(self.epochs) * self.train.count())
    }

    /// The version of the weights after so many steps: how many updates these are.
    pub fn version(&self, step: Step) -> Step {
        Step(step.0 / self.steps_per_update)
    }

    /// The step whose weights the run ends with: the last one, or the first of the version after, where weights are restored.
    pub fn kept_step(&self) -> Step {
        match self.restores {
            true => Step((self.version(self.steps()).0 + 1) * self.steps_per_update),
            false => self.steps(),
        }
    }

    /// The steps before a pass.
    pub fn steps_before(&self, pass: Pass) -> Step {
        let (epochs, at) = (pass.0 / self.passes_per_epoch(), pass.0 % self.passes_per_epoch());
        Step((epochs * self.train.count() + at).min(self.steps().0))
    }

    /// The epochs that are over before a pass, their evaluations included.
    pub fn epochs_before(&self, pass: Pass) -> u32 {
        (pass.0 / self.passes_per_epoch()).min(u64::from(self.epochs)) as u32
    }

    /// Rows of a span in a pass, if that is a training step.
    pub fn training_rows(&self, pass: Pass, span: Span) -> Option<u64> {
        let Task::Train { batch, .. } = self.planned(pass)?.task else { return None };
        Some(self.train.span_rows(batch, span))
    }

    /// What a span with so many rows takes, in rows: they, and its nodes, each of which is a gradient more to write, to
    /// move and to add.
    pub fn work_rows(&self, rows: f64, span: Span) -> f64 {
        rows + NODE_ROWS * self.tree.nodes(span).len() as f64
    }

    /// The shards that have rows in a pass.
    pub fn leaves(&self, planned: &Planned) -> LeafSet {
        let (batches, batch) = self.batch(planned);
        LeafSet::of(self.tree, batches.spans(batch))
    }

    /// The rows of a node in a pass; `None` if the node is not in the tree.
    pub fn node_rows(&self, planned: &Planned, node: Node) -> Option<u64> {
        let (batches, batch) = self.batch(planned);
        Some(batches.span_rows(batch, self.tree.span(node)?))
    }

    /// Rows of a span in a pass.
    pub fn span_rows(&self, planned: &Planned, span: Span) -> u64 {
        let (batches, batch) = self.batch(planned);
        batches.span_rows(batch, span)
    }

    /// The batch that a pass is over, a table that is measured being one batch.
    fn batch(&self, planned: &Planned) -> (Batches, u64) {
        match planned.task {
            Task::Train { batch, .. } => (self.train, batch),
            Task::Evaluate { .. } => (Batches::whole(planned.rows, self.tree.shards()), 0),
        }
    }

    fn passes_per_epoch(&self) -> u64 {
        self.train.count() + u64::from(self.validation_rows.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_then_validation_then_test() {
        let schedule = Schedule {
            tree: ShardTree::new(4),
            train: Batches { rows: 25, shards: 4, batch_size: 10 },
            validation_rows: Some(3),
            test_rows: Some(7),
            epochs: 2,
            restores: false,
            steps_per_update: 1,
        };
        let passes: Vec<_> = (0..).map_while(|pass| schedule.planned(Pass(pass))).collect();
        let seen: Vec<_> = passes.iter().map(|p| (p.task, p.step.0, p.rows)).collect();
        let train = |epoch, batch| Task::Train { epoch, batch };
        let validation = Task::Evaluate { table: Table::Validation };
        assert_eq!(
            seen,
            [
                (train(1, 0), 0, 10),
                (train(1, 1), 1, 10),
                (train(1, 2), 2, 5),
                (validation, 3, 3),
                (train(2, 0), 3, 10),
                (train(2, 1), 4, 10),
                (train(2, 2), 5, 5),
                (validation, 6, 3),
                (Task::Evaluate { table: Table::Test }, 6, 7),
            ]
        );
        assert_eq!(schedule.leaves(&passes[3]).iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn weights_that_are_restored_are_a_version_of_their_own() {
        let (rows, shards) = (10, 1);
        let schedule = |epochs, restores, steps_per_update| Schedule {
            tree: ShardTree::new(shards),
            train: Batches { rows, shards, batch_size: 4 },
            validation_rows: Some(3),
            test_rows: Some(7),
            epochs,
            restores,
            steps_per_update,
        };
        for (epochs, restores, steps_per_update, step) in [
            (5, false, 1, 15),
            (2, false, 1, 6),
            (2, true, 1, 7),
            (2, false, 4, 6),
            (2, true, 4, 8),
            (2, true, 3, 9),
        ] {
            let schedule = schedule(epochs, restores, steps_per_update);
            let test = Pass(4 * u64::from(epochs));
            assert_eq!(schedule.planned(test).unwrap().step, Step(step));
            let last = schedule.version(schedule.steps()).0;
            assert_eq!(schedule.version(Step(step)), Step(last + u64::from(restores)));
            assert_eq!([6, 7, 8].map(|pass| schedule.steps_before(Pass(pass)).0), [5, 6, 6]);
            assert_eq!(schedule.planned(Pass(test.0 + 1)), None);
            assert_eq!(schedule.epochs_before(Pass(7)), 1);
            assert_eq!(schedule.epochs_before(Pass(8)), 2);
            assert_eq!(schedule.epochs_before(test), epochs);
        }
    }

    #[test]
    fn no_tables_beside_train() {
        let schedule = Schedule {
            tree: ShardTree::new(1),
            train: Batches { rows: 4, shards: 1, batch_size: 4 },
            validation_rows: None,
            test_rows: None,
            epochs: 3,
            restores: false,
            steps_per_update: 1,
        };
        assert_eq!((0..).map_while(|pass| schedule.planned(Pass(pass))).count(), 3);
    }
}
