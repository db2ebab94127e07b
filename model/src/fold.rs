//! The one order of additions over the shard tree: gradient tiles, bias gradients and metric sums all follow it.
//!
//! A subtree is flattened into [`Order`], a list of steps for a stack. Knows nothing about where leaves come from.

use std::ops::{AddAssign, Range};

use lockstep_proto::tree::Node;

use crate::leaves::Microbatch;

/// The additions of one subtree: at every node `left + right`, an absent child adding nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// One for each leaf, left to right.
    pub(crate) steps: Vec<Step>,
    /// Most values on the stack at a time.
    pub(crate) height: usize,
}

/// Put the leaf's value on the stack; then, `merges` times, add the top value to the one under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Place among the call's microbatches.
    pub(crate) leaf: usize,
    pub(crate) merges: u32,
}

impl Order {
    /// The additions of `node`. `leaves` are the microbatches under it, at least one; `first` is the place of
    /// the first of them among all.
    pub(crate) fn new(node: Node, leaves: &[Microbatch], first: usize) -> Order {
        let mut order = Order { steps: Vec::with_capacity(leaves.len()), height: 0 };
        order.visit(node, leaves, first, 0);
        order
    }

    /// Appends a subtree whose result goes on a stack of `under` values.
    fn visit(&mut self, node: Node, leaves: &[Microbatch], first: usize, under: usize) {
        if leaves.len() == 1 {
            self.steps.push(Step { leaf: first, merges: 0 });
            self.height = self.height.max(under + 1);
            return;
        }
        let (left, right) = node.children().expect("two microbatches of one shard");
        let middle = u64::from(right.index) << right.level;
        let split = leaves.partition_point(|leaf| u64::from(leaf.shard) < middle);
        let (left_leaves, right_leaves) = leaves.split_at(split);
        if right_leaves.is_empty() {
            return self.visit(left, leaves, first, under);
        }
        if left_leaves.is_empty() {
            return self.visit(right, leaves, first, under);
        }
        self.visit(left, left_leaves, first, under);
        self.visit(right, right_leaves, first + split, under + 1);
        if let Some(last) = self.steps.last_mut() {
            last.merges += 1;
        }
    }

    /// No addition: one leaf by itself.
    pub(crate) fn of_leaf(leaf: usize) -> Order {
        Order { steps: vec![Step { leaf, merges: 0 }], height: 1 }
    }

    /// The rows of its microbatches, which lie together.
    pub(crate) fn rows(&self, microbatches: &[Microbatch]) -> Range<usize> {
        let (first, last) = (self.steps[0].leaf, self.steps[self.steps.len() - 1].leaf);
        microbatches[first].rows.start..microbatches[last].rows.end
    }

    /// Values of scratch that [`fold`] needs for results of `len` values.
    pub(crate) fn scratch_len(&self, len: usize) -> usize {
        len * (self.height - 1)
    }
}

/// The values at the leaves of the tree, all of one length.
pub(crate) trait Leaves {
    /// What is added.
    type Value: Copy + AddAssign;

    /// Overwrites `out` with the value of leaf `leaf`, counted among the microbatches.
    fn write(&self, leaf: usize, out: &mut [Self::Value]);

    /// Rounds the sum of a node, leaves included, if sums are rounded.
    fn round(&self, _sum: &mut [Self::Value]) {}
}

/// Writes the sum of a subtree to `out`.
pub(crate) fn fold<L: Leaves>(
    source: &L,
    order: &Order,
    out: &mut [L::Value],
    scratch: &mut [L::Value],
) {
    let len = out.len();
    if len == 0 {
        return;
    }
    // The stack is `out` and then the slots of `scratch`.
    let mut height = 0;
    for step in &order.steps {
        height += 1;
        let (_, top) = top_two(out, scratch, height);
        source.write(step.leaf, top);
        source.round(top);
        for _ in 0..step.merges {
            let (under, top) = top_two(out, scratch, height);
            for (sum, &value) in under.iter_mut().zip(&*top) {
                *sum += value;
            }
            source.round(under);
            height -= 1;
        }
    }
    debug_assert_eq!((height, len), (1, out.len()));
}

/// The second value from the top of a stack of `height` values (empty if there is none), and the top.
fn top_two<'a, T>(
    out: &'a mut [T],
    scratch: &'a mut [T],
    height: usize,
) -> (&'a mut [T], &'a mut [T]) {
    let len = out.len();
    match height {
        1 => (&mut [], out),
        2 => (out, &mut scratch[..len]),
        _ => scratch[(height - 3) * len..][..2 * len].split_at_mut(len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::tree::ShardTree;

    /// Leaves that write down how they were added.
    struct Words<'a>(&'a [Microbatch], Way);

    #[derive(Clone, Copy, PartialEq)]
    enum Way {
        Plain,
        Rounded,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Sum(f64);

    impl AddAssign for Sum {
        fn add_assign(&mut self, other: Sum) {
            // Neither commutative nor associative.
            self.0 = 0.7 * self.0 + 1.3 * other.0 + 0.01;
        }
    }

    impl Leaves for Words<'_> {
        type Value = Sum;

        fn write(&self, leaf: usize, out: &mut [Sum]) {
            out.fill(Sum(f64::from(self.0[leaf].shard)));
        }

        fn round(&self, sum: &mut [Sum]) {
            sum.iter_mut().for_each(|sum| *sum = self.1.round(*sum));
        }
    }

    impl Way {
        fn round(self, sum: Sum) -> Sum {
            if self == Way::Rounded { Sum((sum.0 * 4.0).round() / 4.0 + 0.1) } else { sum }
        }
    }

    fn definition(tree: ShardTree, node: Node, shards: &[u32], way: Way) -> Option<Sum> {
        let span = tree.span(node)?;
        let Some((left, right)) = node.children() else {
            let is_there = shards.contains(&span.start);
            return is_there.then(|| way.round(Sum(f64::from(span.start))));
        };
        match (definition(tree, left, shards, way), definition(tree, right, shards, way)) {
            (Some(mut left), Some(right)) => {
                left += right;
                Some(way.round(left))
            }
            (left, right) => left.or(right),
        }
    }

    #[test]
    fn every_set_of_leaves_folds_as_defined() {
        let tree = ShardTree::new(11);
        for set in 1u32..1 << 11 {
            let shards: Vec<u32> = (0..11).filter(|shard| set >> shard & 1 == 1).collect();
            let leaves: Vec<_> =
                shards.iter().map(|&shard| Microbatch { shard, rows: 0..1 }).collect();
            let order = Order::new(tree.root(), &leaves, 0);
            for way in [Way::Plain, Way::Rounded] {
                let want = definition(tree, tree.root(), &shards, way).unwrap();
                let mut out = [Sum(f64::NAN); 2];
                let mut scratch = vec![Sum(f64::NAN); order.scratch_len(2)];
                fold(&Words(&leaves, way), &order, &mut out, &mut scratch);
                assert_eq!(out, [want; 2], "{shards:?}");
            }
        }
    }
}
