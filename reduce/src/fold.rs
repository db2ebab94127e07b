//! Adding node values up the shard tree as they arrive, in any order, to the same bits.
//!
//! `f32` and `f64` additions commute exactly, so only the tree's shape matters, and that is fixed. A node that
//! arrives twice, or whole after parts of it, changes nothing: recomputation gives the same bits.

use std::collections::BTreeMap;

use lockstep_proto::ids::Span;
use lockstep_proto::tree::{Node, ShardTree};

/// A set of leaves (shards), as a bitset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafSet {
    words: Vec<u64>,
}

impl LeafSet {
    /// The shards for which `has_rows` holds.
    pub fn new(tree: ShardTree, has_rows: impl Fn(u32) -> bool) -> LeafSet {
        let mut leaves = LeafSet::none(tree);
        for shard in (0..tree.shards()).filter(|&shard| has_rows(shard)) {
            leaves.words[shard as usize / 64] |= 1 << (shard % 64);
        }
        leaves
    }

    /// The shards of these spans.
    pub fn of(tree: ShardTree, spans: impl IntoIterator<Item = Span>) -> LeafSet {
        let mut leaves = LeafSet::none(tree);
        for (word, mask) in spans.into_iter().flat_map(words_of) {
            leaves.words[word] |= mask;
        }
        leaves
    }

    /// No leaf.
    pub fn none(tree: ShardTree) -> LeafSet {
        LeafSet { words: vec![0; (tree.shards() as usize).div_ceil(64)] }
    }

    /// Whether the shard is in the set.
    pub fn contains(&self, shard: u32) -> bool {
        self.words[shard as usize / 64] >> (shard % 64) & 1 == 1
    }

    /// Whether any shard of the span is in the set.
    pub fn any_in(&self, span: Span) -> bool {
        words_of(span).any(|(word, mask)| self.words[word] & mask != 0)
    }

    /// Whether all shards of the span are in the set that are in `of`.
    pub fn covers(&self, span: Span, of: &LeafSet) -> bool {
        words_of(span).all(|(word, mask)| of.words[word] & mask & !self.words[word] == 0)
    }

    /// The shards in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(0..).flat_map(|(&word, place)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(64 * place + bit)
            })
        })
    }

    /// Adds the shards of `span` that are in `of`. Returns whether any of them was new.
    pub fn cover(&mut self, span: Span, of: &LeafSet) -> bool {
        let mut new = false;
        for (word, mask) in words_of(span) {
            let bits = of.words[word] & mask;
            new |= bits & !self.words[word] != 0;
            self.words[word] |= bits;
        }
        new
    }

    /// The shards of `self` that are not in `other`.
    pub fn without(&self, other: &LeafSet) -> LeafSet {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| a & !b).collect();
        LeafSet { words }
    }

    /// The shards that are in either.
    pub fn union(&self, other: &LeafSet) -> LeafSet {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| a | b).collect();
        LeafSet { words }
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }
}

/// The words of a bitset that a span touches, and the bits of each that are in it.
fn words_of(span: Span) -> impl Iterator<Item = (usize, u64)> {
    let (start, end) = (span.start as usize, span.end as usize);
    (start / 64..end.div_ceil(64)).map(move |word| {
        let (first, last) = (start.saturating_sub(64 * word), (end - 64 * word).min(64));
        (word, u64::MAX << first & u64::MAX >> (64 - last))
    })
}

/// What can be added up the tree. `merge` must commute exactly.
pub trait Addend {
    /// The sum of two siblings.
    fn merge(self, other: Self) -> Self;

    /// The sum at the root; it may be put off until it is used.
    fn merge_last(self, other: Self) -> Self
    where
        Self: Sized,
    {
        self.merge(other)
    }
}

impl Addend for Vec<f64> {
    fn merge(mut self, other: Self) -> Self {
        debug_assert_eq!(self.len(), other.len());
        for (sum, value) in self.iter_mut().zip(other) {
            *sum += value;
        }
        self
    }
}

/// Loss and metric sums with the rows that were counted into them: both go up the tree together, so the root's rows
/// are those that were really added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// How many rows.
    pub rows: u64,
    /// The sums over them.
    pub values: Vec<f64>,
}

impl Addend for Counted {
    fn merge(self, other: Self) -> Self {
        // Saturating: a count that cannot be is then still one that differs from the plan's.
        let rows = self.rows.saturating_add(other.rows);
        Counted { rows, values: self.values.merge(other.values) }
    }
}

/// One tree being added. Holds only values whose sibling is still missing.
#[derive(Debug)]
pub struct Fold<T> {
    tree: ShardTree,
    leaves: LeafSet,
    pending: BTreeMap<Node, T>,
    done: bool,
}

impl<T: Addend> Fold<T> {
    /// A sum over these leaves; the others are absent and add nothing.
    pub fn new(tree: ShardTree, leaves: LeafSet) -> Fold<T> {
        Fold { tree, leaves, pending: BTreeMap::new(), done: false }
    }

    /// Whether a node's value would only be kept until its sibling is there: nothing would be added.
    pub fn keeps(&self, node: Node) -> bool {
        let sibling = node.sibling();
        node != self.tree.root() && self.has_leaves(sibling) && !self.pending.contains_key(&sibling)
    }

    /// What waits for its sibling.
    pub fn pending(&self) -> impl Iterator<Item = (Node, &T)> {
        self.pending.iter().map(|(&node, value)| (node, value))
    }

    /// Whether there is anything to add at this node.
    fn has_leaves(&self, node: Node) -> bool {
        self.tree.span(node).is_some_and(|span| self.leaves.any_in(span))
    }

    /// Takes one node's value; returns the root's value when it is complete, once.
    pub fn insert(&mut self, mut node: Node, mut value: T) -> Option<T> {
        if self.done || self.pending.keys().any(|known| known.contains(node)) {
            return None;
        }
        self.pending.retain(|known, _| !node.contains(*known));
        while node != self.tree.root() {
            let sibling = node.sibling();
            if self.has_leaves(sibling) {
                let Some(other) = self.pending.remove(&sibling) else {
                    self.pending.insert(node, value);
                    return None;
                };
                let is_last = node.parent() == self.tree.root();
                value = if is_last { value.merge_last(other) } else { value.merge(other) };
            }
            node = node.parent();
        }
        self.done = true;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::random::{Purpose, Random};

    /// The definition: children first, absent ones skipped.
    fn by_definition(tree: ShardTree, leaves: &LeafSet, values: &[f64], node: Node) -> Option<f64> {
        let span = tree.span(node)?;
        let Some((left, right)) = node.children() else {
            return leaves.contains(span.start).then(|| values[span.start as usize]);
        };
        let left = by_definition(tree, leaves, values, left);
        let right = by_definition(tree, leaves, values, right);
        match (left, right) {
            (Some(left), Some(right)) => Some(left + right),
            (one, other) => one.or(other),
        }
    }

    #[test]
    fn sets_of_leaves_are_as_shard_by_shard() {
        let tree = ShardTree::new(200);
        let of = LeafSet::new(tree, |shard| shard % 3 != 0);
        let edges = [0, 1, 5, 63, 64, 65, 127, 128, 190, 199, 200];
        for (start, end) in edges.iter().flat_map(|&s| edges.iter().map(move |&e| (s, e))) {
            if start > end {
                continue;
            }
            let span = Span { start, end };
            let inside: Vec<u32> = (start..end).filter(|&shard| of.contains(shard)).collect();
            assert_eq!(
                LeafSet::of(tree, [span]),
                LeafSet::new(tree, |shard| (start..end).contains(&shard))
            );
            let mut found = LeafSet::none(tree);
            assert_eq!(found.covers(span, &of), inside.is_empty());
            assert_eq!(found.cover(span, &of), !inside.is_empty());
            assert!(found.covers(span, &of) && !found.cover(span, &of));
            assert_eq!(found.iter().collect::<Vec<_>>(), inside);
            assert_eq!(of.any_in(span), !inside.is_empty());
        }
    }

    #[test]
    fn any_arrival_order_and_any_spans_give_the_bits_of_the_definition() {
        for seed in 0..500 {
            let mut random = Random::new(seed, Purpose::Split, 9, 9);
            let tree = ShardTree::new(1 + random.below(20));
            let keep: Vec<bool> = (0..tree.shards()).map(|_| random.below(4) > 0).collect();
            let leaves = LeafSet::new(tree, |shard| keep[shard as usize]);
            if leaves.is_empty() {
                continue;
            }
            let values: Vec<f64> = (0..tree.shards()).map(|_| random.unit_f64() - 0.5).collect();
            let node_value = |node| by_definition(tree, &leaves, &values, node);
            let mut nodes = Vec::new();
            // Three overlapping ways to cut the tree into spans: duplicates and parts of wholes.
            for _ in 0..3 {
                let mut start = 0;
                while start < tree.shards() {
                    let end = (start + 1 + random.below(6)).min(tree.shards());
                    nodes.extend(tree.nodes(Span { start, end }));
                    start = end;
                }
            }
            random.shuffle(&mut nodes);
            let mut fold = Fold::new(tree, leaves.clone());
            let roots: Vec<f64> = nodes
                .into_iter()
                .filter_map(|node| Some((node, node_value(node)?)))
                .filter_map(|(node, value)| {
                    let keeps = fold.keeps(node);
                    let root = fold.insert(node, vec![value]);
                    assert!(!keeps || root.is_none(), "seed {seed}: {node}");
                    root
                })
                .map(|root| root[0])
                .collect();
            assert_eq!(roots.len(), 1, "seed {seed}");
            let expected = node_value(tree.root()).unwrap();
            assert_eq!(roots[0].to_bits(), expected.to_bits(), "seed {seed}");
        }
    }

    #[test]
    fn a_node_is_only_kept_while_its_sibling_is_missing() {
        let tree = ShardTree::new(3);
        let [first, second, last] = [0, 1, 2].map(Node::leaf);
        let mut fold = Fold::new(tree, LeafSet::new(tree, |_| true));
        assert!(fold.keeps(first) && fold.keeps(second));
        assert!(fold.insert(first, vec![1.0]).is_none());
        assert!(!fold.keeps(second) && fold.keeps(first.parent()));
        assert!(!fold.keeps(tree.root()));
        // Its sibling leaf is not in the tree: what it waits for is further up.
        assert!(!fold.keeps(last));
    }

    #[test]
    fn leaves_cover_counts_only_what_is_new() {
        let tree = ShardTree::new(70);
        let all = LeafSet::new(tree, |shard| shard != 65);
        let mut covered = LeafSet::none(tree);
        assert!(covered.cover(Span { start: 60, end: 70 }, &all));
        assert!(!covered.cover(Span { start: 63, end: 66 }, &all));
        assert!(!covered.contains(65) && covered.contains(69));
        assert_eq!(all.without(&covered).iter().collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
        assert_eq!(all.without(&covered).union(&covered), all);
    }
}
