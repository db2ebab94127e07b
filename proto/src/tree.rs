//! The fixed binary tree over shards in which gradient sums are added.
//!
//! Node `(level, index)` covers shards `index * 2^level .. (index + 1) * 2^level`, cut off at `S`. Its sum is
//! `left + right`; a child without rows is absent and adds nothing, not even zero. The tree depends on `S` alone,
//! so the order of every addition is known before any worker joins. Knows no values.

use std::fmt;

use crate::ids::Span;

/// Most shards a job may have: bounds every bitset and every node list.
pub const SHARDS_MAX: u32 = 4096;

/// A subtree. Ordered by level, then index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// 0 for a leaf.
    pub level: u32,
    /// Position among the nodes of the level.
    pub index: u32,
}

impl Node {
    /// The leaf of one shard.
    pub fn leaf(shard: u32) -> Node {
        Node { level: 0, index: shard }
    }

    /// The node one level up.
    pub fn parent(self) -> Node {
        Node { level: self.level + 1, index: self.index / 2 }
    }

    /// The other child of the parent. May lie outside the tree.
    pub fn sibling(self) -> Node {
        Node { level: self.level, index: self.index ^ 1 }
    }

    /// Left and right child; `None` for a leaf.
    pub fn children(self) -> Option<(Node, Node)> {
        let level = self.level.checked_sub(1)?;
        let index = self.index * 2;
        Some((Node { level, index }, Node { level, index: index + 1 }))
    }

    /// Whether `other` lies in this node's subtree (a node contains itself).
    pub fn contains(self, other: Node) -> bool {
        other.level <= self.level && other.index >> (self.level - other.level) == self.index
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}:{}", self.level, self.index)
    }
}

/// The tree over shards `0..shards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardTree {
    shards: u32,
}

impl ShardTree {
    /// # Panics
    /// If `shards` is 0 or above [`SHARDS_MAX`]; job files and frames are checked before they get here.
    pub fn new(shards: u32) -> ShardTree {
        assert!((1..=SHARDS_MAX).contains(&shards), "shards {shards} outside 1..={SHARDS_MAX}");
        ShardTree { shards }
    }

    /// `S`.
    pub fn shards(self) -> u32 {
        self.shards
    }

    /// The whole tree as a span.
    pub fn all(self) -> Span {
        Span { start: 0, end: self.shards }
    }

    /// The node that covers every shard.
    pub fn root(self) -> Node {
        Node { level: u32::BITS - (self.shards - 1).leading_zeros(), index: 0 }
    }

    /// The shards under a node, cut off at `S`; `None` if the node is not in the tree.
    pub fn span(self, node: Node) -> Option<Span> {
        if node.level > self.root().level {
            return None;
        }
        let start = node.index.checked_mul(1 << node.level)?;
        let end = start.checked_add(1 << node.level)?.min(self.shards);
        (start < end).then_some(Span { start, end })
    }

    /// The canonical nodes of a span: the fewest whole subtrees that cover exactly its shards, left to right.
    /// One where the span is an aligned power of two (or runs to `S` from such a start), `O(log S)` otherwise.
    ///
    /// # Panics
    /// If the span does not lie in the tree.
    pub fn nodes(self, span: Span) -> Vec<Node> {
        assert!(span.end <= self.shards && span.start < span.end, "{span} outside the tree");
        let mut nodes = Vec::new();
        let mut start = span.start;
        while start < span.end {
            let mut node = Node::leaf(start);
            let mut end = start + 1;
            while node.index.is_multiple_of(2) && node != self.root() {
                let Some(wider) = self.span(node.parent()) else { break };
                if wider.end > span.end {
                    break;
                }
                node = node.parent();
                end = wider.end;
            }
            nodes.push(node);
            start = end;
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_covers_all_shards() {
        for shards in 1..=70 {
            let tree = ShardTree::new(shards);
            assert_eq!(tree.span(tree.root()), Some(tree.all()), "S = {shards}");
            assert_eq!(tree.nodes(tree.all()), vec![tree.root()], "S = {shards}");
        }
    }

    #[test]
    fn nodes_tile_every_span_exactly() {
        for shards in 1..=33 {
            let tree = ShardTree::new(shards);
            for start in 0..shards {
                for end in start + 1..=shards {
                    let mut at = start;
                    for node in tree.nodes(Span { start, end }) {
                        let span = tree.span(node).unwrap();
                        assert_eq!(span.start, at);
                        at = span.end;
                    }
                    assert_eq!(at, end);
                }
            }
        }
    }

    #[test]
    fn aligned_power_of_two_is_one_node() {
        let tree = ShardTree::new(16);
        assert_eq!(tree.nodes(Span { start: 8, end: 12 }), vec![Node { level: 2, index: 2 }]);
        assert_eq!(ShardTree::new(10).nodes(Span { start: 8, end: 10 }).len(), 1);
        assert_eq!(ShardTree::new(11).nodes(Span { start: 8, end: 11 }).len(), 1);
    }

    #[test]
    fn contains_follows_the_children() {
        let node = Node { level: 2, index: 1 };
        assert!(
            node.contains(node) && node.contains(Node::leaf(4)) && node.contains(Node::leaf(7))
        );
        assert!(!node.contains(Node::leaf(3)) && !node.contains(node.parent()));
    }
}
