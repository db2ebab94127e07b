//! Comparing what different workers computed for the same nodes of the open pass, bit for bit.
//!
//! A value is right once two workers gave it. Whoever gave another is wrong. Which spans are compared, and what
//! happens to a worker that is wrong, is decided elsewhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use lockstep_proto::frame::NodeSums;
use lockstep_proto::ids::{Span, WorkerId};
use lockstep_proto::tree::{Node, ShardTree};

use crate::engine::Track;

/// One node's values in one track.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Slice(Bytes),
    Sums(NodeSums),
}

impl Value {
    fn digest(&self) -> blake3::Hash {
        match self {
            Value::Slice(bytes) => blake3::hash(bytes),
            Value::Sums(sums) => {
                let mut bytes = sums.rows.to_le_bytes().to_vec();
                bytes.extend(sums.values.iter().flat_map(|sum| sum.to_le_bytes()));
                blake3::hash(&bytes)
            }
        }
    }
}

/// What one more answer led to.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// The value that two workers gave, once, when the second does.
    pub(crate) agreed: Option<Value>,
    /// Workers that gave another.
    pub(crate) wrong: Vec<WorkerId>,
    /// All answers so far, more than one, differ; how many.
    pub(crate) disputed: Option<usize>,
}

#[derive(Debug, Default)]
struct Entry {
    answers: Vec<(WorkerId, blake3::Hash)>,
    /// The first answer's values, until they are agreed on or waived.
    values: Vec<(WorkerId, Value)>,
    settled: Option<blake3::Hash>,
}

/// The answers of the open pass to what is audited.
#[derive(Debug, Default)]
pub(crate) struct AuditBook {
    entries: BTreeMap<(Track, Node), Entry>,
}

impl AuditBook {
    /// Forgets everything: a pass begins.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Takes in a worker's answer.
    pub(crate) fn judge(
        &mut self,
        worker: WorkerId,
        track: Track,
        node: Node,
        value: Value,
    ) -> Judgement {
        let entry = self.entries.entry((track, node)).or_default();
        let mut judgement = Judgement::default();
        if entry.answers.iter().any(|&(known, _)| known == worker) {
            // It was asked once: its first word counts.
            return judgement;
        }
        let digest = value.digest();
        entry.answers.push((worker, digest));
        if let Some(settled) = entry.settled {
            judgement.wrong.extend((digest != settled).then_some(worker));
            return judgement;
        }
        let same = entry.answers.iter().filter(|(_, other)| *other == digest).count();
        if same > 1 {
            entry.settled = Some(digest);
            entry.values.clear();
            let differs =
                |(worker, other): &(WorkerId, blake3::Hash)| (*other != digest).then_some(*worker);
            judgement.wrong.extend(entry.answers.iter().filter_map(differs));
            judgement.agreed = Some(value);
        } else {
            entry.values.push((worker, value));
            judgement.disputed = Some(entry.answers.len()).filter(|&answers| answers > 1);
        }
        judgement
    }

    /// Forgets all that a worker gave. Nodes that others still differ about, and how many answers each has.
    pub(crate) fn strike(&mut self, worker: WorkerId) -> Vec<(Node, usize)> {
        let mut disputes = Vec::new();
        for (&(_, node), entry) in &mut self.entries {
            entry.answers.retain(|&(known, _)| known != worker);
            entry.values.retain(|&(known, _)| known != worker);
            if entry.settled.is_none() && entry.answers.len() > 1 {
                disputes.push((node, entry.answers.len()));
            }
        }
        disputes
    }

    /// Gives up comparing a span: the values that are there, each once.
    pub(crate) fn waive(&mut self, tree: ShardTree, span: Span) -> Vec<(Track, Node, Value)> {
        let inside = |node| tree.span(node).is_some_and(|of| span.contains(of));
        let mut values = Vec::new();
        for (&(track, node), entry) in
            self.entries.iter_mut().filter(|((_, node), _)| inside(*node))
        {
            if let Some((_, value)) = entry.values.drain(..).next() {
                values.push((track, node, value));
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Node = Node { level: 1, index: 0 };

    fn judge(book: &mut AuditBook, worker: u64, value: u8) -> (bool, Vec<u64>, Option<usize>) {
        let value = Value::Slice(Bytes::from(vec![value; 4]));
        let judgement = book.judge(WorkerId(worker), Track::Sums, NODE, value);
        let wrong = judgement.wrong.iter().map(|worker| worker.0).collect();
        (judgement.agreed.is_some(), wrong, judgement.disputed)
    }

    #[test]
    fn two_that_agree_are_right() {
        let mut book = AuditBook::default();
        assert_eq!(judge(&mut book, 1, 7), (false, vec![], None));
        assert_eq!(judge(&mut book, 1, 7), (false, vec![], None));
        assert_eq!(judge(&mut book, 2, 7), (true, vec![], None));
        assert_eq!(judge(&mut book, 3, 7), (false, vec![], None));
        assert_eq!(judge(&mut book, 4, 8), (false, vec![4], None));
    }

    #[test]
    fn a_third_settles_a_dispute_and_the_odd_ones_are_wrong() {
        let mut book = AuditBook::default();
        judge(&mut book, 1, 7);
        assert_eq!(judge(&mut book, 2, 8), (false, vec![], Some(2)));
        assert_eq!(judge(&mut book, 3, 9), (false, vec![], Some(3)));
        assert_eq!(judge(&mut book, 4, 8), (true, vec![1, 3], None));
    }

    #[test]
    fn a_waived_span_gives_what_is_there() {
        let mut book = AuditBook::default();
        judge(&mut book, 1, 7);
        let tree = ShardTree::new(4);
        assert!(book.waive(tree, Span { start: 2, end: 4 }).is_empty());
        assert_eq!(book.waive(tree, Span { start: 0, end: 2 }).len(), 1);
        assert!(book.waive(tree, Span { start: 0, end: 2 }).is_empty());
    }

    #[test]
    fn nothing_of_a_worker_that_is_struck_counts() {
        let mut book = AuditBook::default();
        judge(&mut book, 1, 7);
        assert_eq!(book.strike(WorkerId(1)), []);
        assert!(book.waive(ShardTree::new(4), Span { start: 0, end: 4 }).is_empty());
        assert_eq!(judge(&mut book, 2, 7), (false, vec![], None), "alone");
        assert_eq!(judge(&mut book, 3, 8), (false, vec![], Some(2)));
        assert_eq!(judge(&mut book, 4, 9), (false, vec![], Some(3)));
        assert_eq!(book.strike(WorkerId(2)), [(NODE, 2)]);
        assert_eq!(judge(&mut book, 5, 9), (true, vec![3], None));
    }

    #[test]
    fn sums_differ_in_bits() {
        let digest =
            |sum: f64| Value::Sums(NodeSums { node: NODE, rows: 1, values: vec![sum] }).digest();
        assert_ne!(digest(0.0), digest(-0.0));
        assert_eq!(digest(1.5), digest(1.5));
    }
}
