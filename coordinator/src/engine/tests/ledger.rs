//! What a run has to keep to, whatever happens: passes in the schedule's order, each over every row once.

use std::collections::BTreeSet;

use lockstep_proto::fold::Fold;
use lockstep_proto::ids::{Pass, Task};
use lockstep_proto::tree::Node;

use super::super::{Planned, Track, Verdict};
use super::case::{Case, add_up};

/// How often a run got to what the simulation is for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Nodes of a pass that was over.
    pub(super) late: u64,
    /// Nodes that were already there.
    pub(super) twice: u64,
    /// Nodes of which some leaves, not all, were already there.
    pub(super) in_part: u64,
    /// Deals after the first ones of a pass.
    pub(super) dealt_again: u64,
    /// Members that left inside a pass.
    pub(super) left: u64,
    /// Folds that a thread got to when their pass was over.
    pub(super) stale_folds: u64,
    /// Reports of a wait.
    pub(super) reports: u64,
    /// Deals of what somebody else already had in hand.
    pub(super) hedged: u64,
    /// Nodes of which two workers gave the same.
    pub(super) agreed: u64,
    /// Workers whose values were wrong.
    pub(super) expelled: u64,
    /// Audits that nobody was left for.
    pub(super) waived: u64,
    /// Workers whose word that something is not finite was wrong.
    pub(super) refuted: u64,
    /// Workers that said that they were done and were not.
    pub(super) lacking: u64,
    /// Times that the coordinator began anew.
    pub(super) restarts: u64,
    /// Times that a member was told to let go of shards.
    pub(super) let_go: u64,
}

impl Seen {
    pub(super) fn and(self, other: Seen) -> Seen {
        Seen {
            late: self.late + other.late,
            twice: self.twice + other.twice,
            in_part: self.in_part + other.in_part,
            dealt_again: self.dealt_again + other.dealt_again,
            left: self.left + other.left,
            stale_folds: self.stale_folds + other.stale_folds,
            reports: self.reports + other.reports,
            hedged: self.hedged + other.hedged,
            agreed: self.agreed + other.agreed,
            expelled: self.expelled + other.expelled,
            waived: self.waived + other.waived,
            refuted: self.refuted + other.refuted,
            lacking: self.lacking + other.lacking,
            restarts: self.restarts + other.restarts,
            let_go: self.let_go + other.let_go,
        }
    }

    /// Whether a thousand seeds went where faults are. Stale folds are rarer than that.
    pub(super) fn is_enough(&self) -> bool {
        let counts = [
            self.late,
            self.twice,
            self.dealt_again,
            self.left,
            self.reports,
            self.hedged,
            self.agreed,
            self.expelled,
            self.waived,
            self.refuted,
            self.lacking,
            self.restarts,
            self.let_go,
        ];
        self.in_part > 0 && counts.iter().all(|&count| count >= 5)
    }
}

#[derive(Debug)]
pub(super) struct Ledger<'a> {
    case: &'a Case,
    pub(super) seen: Seen,
    open: Option<Page>,
    pub(super) ended: u64,
}

#[derive(Debug)]
struct Page {
    planned: Planned,
    tracks: Vec<Account>,
}

/// One track: the leaves that the engine took, and the rows that reached the root.
#[derive(Debug)]
struct Account {
    taken: BTreeSet<u32>,
    rows: Fold<Vec<f64>>,
    at_root: Option<Vec<f64>>,
}

impl<'a> Ledger<'a> {
    /// The accounts of a run that starts at this pass.
    pub(super) fn new(case: &'a Case, pass: Pass) -> Ledger<'a> {
        Ledger { case, seen: Seen::default(), open: None, ended: pass.0 }
    }

    pub(super) fn open_pass(&self) -> Option<Planned> {
        self.open.as_ref().map(|page| page.planned)
    }

    /// Whether a training step is open.
    pub(super) fn trains(&self) -> bool {
        self.open.as_ref().is_some_and(|page| matches!(page.planned.task, Task::Train { .. }))
    }

    pub(super) fn begin(&mut self, planned: Planned) {
        assert!(self.open.is_none(), "{planned:?} begins inside {:?}", self.open_pass());
        assert_eq!(Some(planned), self.case.schedule.planned(Pass(self.ended)));
        let tracks = match planned.task {
            Task::Train { .. } => 1 + self.case.chunk_lens.len(),
            Task::Evaluate { .. } => 1,
        };
        let account = |_| Account {
            taken: BTreeSet::new(),
            rows: Fold::new(self.case.tree(), self.case.schedule.leaves(&planned)),
            at_root: None,
        };
        self.open = Some(Page { planned, tracks: (0..tracks).map(account).collect() });
    }

    /// Checks a verdict on an honest worker's node.
    pub(super) fn judge(&mut self, pass: Pass, track: Track, node: Node, verdict: Verdict) {
        let Some(page) = self.open.as_mut().filter(|page| page.planned.pass == pass) else {
            assert!(pass.0 < self.ended, "{pass} was dealt before it began");
            assert_eq!(verdict, Verdict::Drop, "a node of {pass} came late");
            self.seen.late += 1;
            return;
        };
        if verdict == Verdict::Compare {
            return;
        }
        let span = self.case.tree().span(node).expect("honest nodes lie in the tree");
        let task = page.planned.task;
        let taken = &mut page.tracks[index(track)].taken;
        let with_rows = (span.start..span.end).filter(|&shard| self.case.rows(task, shard) > 0);
        let leaves = with_rows.clone().count();
        let new = with_rows.filter(|&shard| taken.insert(shard)).count();
        let wanted = if new > 0 { Verdict::Fold } else { Verdict::Drop };
        assert_eq!(verdict, wanted, "{track:?} {node} of {pass}");
        self.seen.twice += u64::from(new == 0);
        self.seen.in_part += u64::from(new > 0 && new < leaves);
    }

    /// Follows a node's rows up the tree.
    pub(super) fn fold(&mut self, track: Track, node: Node) {
        let page = self.open.as_mut().expect("values are folded only inside a pass");
        let shards = self.case.tree().shards();
        let rows = add_up(self.case.tree(), node, &|_| {}, &|leaf| {
            let rows = self.case.rows(page.planned.task, leaf);
            let of = |shard| if shard == leaf { rows as f64 } else { 0.0 };
            (rows > 0).then(|| (0..shards).map(of).collect())
        });
        let account = &mut page.tracks[index(track)];
        if let Some(root) = account.rows.insert(node, rows.expect("honest nodes have rows")) {
            assert!(account.at_root.replace(root).is_none(), "{track:?} was added twice");
        }
    }

    pub(super) fn end(&mut self, planned: Planned) {
        let page = self.open.take().expect("only an open pass ends");
        assert_eq!(page.planned, planned);
        let shards = 0..self.case.tree().shards();
        let rows: Vec<f64> =
            shards.map(|shard| self.case.rows(planned.task, shard) as f64).collect();
        assert_eq!(rows.iter().sum::<f64>(), planned.rows as f64);
        for (track, account) in page.tracks.iter().enumerate() {
            let found = account.at_root.as_ref();
            assert_eq!(found, Some(&rows), "track {track} of {planned:?} ended early or wrong");
        }
        self.ended += 1;
    }

    pub(super) fn finish(&self) {
        let schedule = &self.case.schedule;
        let per_epoch = schedule.train.count() + u64::from(schedule.validation_rows.is_some());
        let passes =
            u64::from(schedule.epochs) * per_epoch + u64::from(schedule.test_rows.is_some());
        assert!(self.open.is_none(), "finished inside {:?}", self.open_pass());
        assert_eq!(self.ended, passes, "passes ended");
    }
}

fn index(track: Track) -> usize {
    match track {
        Track::Sums => 0,
        Track::Chunk(chunk) => 1 + chunk.0 as usize,
    }
}
