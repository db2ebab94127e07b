//! A home: adding up the chunks that a route gives this worker, of one pass at a time.
//!
//! Whose nodes are added follows from what the coordinator says was dealt: none but those inside a span of the
//! authenticated sender. What comes before that was said waits, bounded for each sender. A sum goes to the coordinator with
//! the nodes in it, and is the root's, unless some nodes do not come here: then it is what can be added up without them.
//! Keeps nothing that could not be computed again; knows no weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_proto::batches::Batches;
use lockstep_proto::frame::{
    Dealt, DealtSpan, FromWorker, HomeSum, Limits, Member, PeerSlices, Route, Slice,
};
use lockstep_proto::ids::{Chunk, Pass, WorkerId};
use lockstep_proto::layout::Layout;
use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::Precision;
use lockstep_reduce::NodeValues;
use lockstep_reduce::fold::{Addend, Fold, LeafSet};
use tracing::trace_span;

/// Most bytes of one sender that wait for the word that they were dealt.
const EARLY_BYTES_MAX: usize = 64 << 20;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Home {
    own: WorkerId,
    tree: ShardTree,
    batches: Batches,
    layout: Arc<Layout>,
    precision: Precision,
    route: Route,
    open: Option<OpenPass>,
    early: BTreeMap<WorkerId, Early>,
}

#[derive(Debug)]
struct OpenPass {
    pass: Pass,
    leaves: LeafSet,
    spans: Vec<DealtSpan>,
    sums: BTreeMap<Chunk, Sum>,
}

#[derive(Debug)]
struct Sum {
    fold: Fold<Tracked>,
    covered: LeafSet,
    /// Nodes that the coordinator was told the sum of.
    told: BTreeSet<Node>,
    /// The root's sum is told, or there is none.
    is_done: bool,
}

/// A node's values, and what was added to get them.
#[derive(Debug)]
struct Tracked {
    values: NodeValues,
    of: Vec<(Node, WorkerId)>,
}

/// What came too early.
#[derive(Debug, Default)]
struct Early {
    bytes: usize,
    slices: Vec<(Pass, u64, Slice)>,
}

impl Addend for Tracked {
    fn merge(self, other: Self) -> Self {
        let values = self.values.merge(other.values);
        Tracked { values, of: [self.of, other.of].concat() }
    }
}

impl Home {
    pub(crate) fn new(own: WorkerId, limits: &Limits) -> Home {
        Home {
            own,
            tree: limits.tree,
            batches: limits.batches,
            layout: limits.layout.clone(),
            precision: limits.precision,
            route: Route::default(),
            open: None,
            early: BTreeMap::new(),
        }
    }

    /// Takes in a route. What it is no longer home to is let go.
    pub(crate) fn route(&mut self, route: &Route) -> Vec<FromWorker> {
        self.route = route.clone();
        if let Some(open) = &mut self.open {
            let (route, own) = (&self.route, self.own);
            open.sums.retain(|&chunk, _| route.home(open.pass, chunk) == Some(own));
        }
        self.try_early()
    }

    /// Takes in what was dealt. A newer pass lets go of the one before.
    pub(crate) fn dealt(&mut self, dealt: Dealt) -> Vec<FromWorker> {
        let Dealt { pass, batch, spans } = dealt;
        if self.open.as_ref().is_some_and(|open| open.pass > pass) {
            return Vec::new();
        }
        if self.open.as_ref().is_none_or(|open| open.pass < pass) {
            let leaves = LeafSet::of(self.tree, self.batches.spans(batch));
            self.open = Some(OpenPass { pass, leaves, spans: Vec::new(), sums: BTreeMap::new() });
        }
        if let Some(open) = &mut self.open {
            for new in spans {
                open.spans.retain(|known| (known.worker, known.span) != (new.worker, new.span));
                open.spans.push(new);
            }
        }
        let mut said = self.try_early();
        said.extend(self.tell_parts());
        said
    }

    /// Takes in who else is there: what others were dealt does not come any more.
    pub(crate) fn roster(&mut self, members: &[Member]) -> Vec<FromWorker> {
        let is_there = |worker| members.iter().any(|member| member.worker == worker);
        self.early.retain(|&worker, _| is_there(worker));
        if let Some(open) = &mut self.open {
            open.spans.retain(|dealt| dealt.is_apart || is_there(dealt.worker));
        }
        self.tell_parts()
    }

    /// Takes in nodes of a sender. What this leads to is for the coordinator.
    pub(crate) fn slices(&mut self, sender: WorkerId, slices: PeerSlices) -> Vec<FromWorker> {
        let PeerSlices { pass, route, slices } = slices;
        let each = slices.into_iter();
        each.flat_map(|slice| self.slice(sender, pass, route, slice)).collect()
    }

    fn slice(&mut self, sender: WorkerId, pass: Pass, route: u64, slice: Slice) -> Vec<FromWorker> {
        let newest = self.open.as_ref().map(|open| open.pass);
        if newest.is_some_and(|newest| pass < newest) {
            return Vec::new();
        }
        let is_mine = self.route.home(pass, slice.chunk) == Some(self.own);
        if route <= self.route.number && !is_mine {
            return Vec::new();
        }
        match self.open.as_mut().filter(|open| is_mine && open.pass == pass) {
            Some(open) if open.was_dealt(self.tree, sender, slice.node) => {
                let chunk = slice.chunk;
                let rule = (self.tree, self.precision);
                let root = open.add(rule, sender, slice);
                let told = root.map(|root| self.told(pass, chunk, self.tree.root(), &root));
                told.map_or_else(|| self.tell_parts_of(chunk), |told| vec![told])
            }
            _ => {
                self.early.entry(sender).or_default().keep(pass, route, slice);
                Vec::new()
            }
        }
    }

    /// Tries what came too early again.
    fn try_early(&mut self) -> Vec<FromWorker> {
        let mut said = Vec::new();
        for (sender, early) in std::mem::take(&mut self.early) {
            for (pass, route, slice) in early.slices {
                said.extend(self.slice(sender, pass, route, slice));
            }
        }
        said
    }

    fn told(&self, pass: Pass, chunk: Chunk, node: Node, sum: &Tracked) -> FromWorker {
        let len = self.layout.chunks()[chunk.0 as usize].sums_len();
        let values = sum.values.frame(len);
        if !self.precision.frame_is_finite(&values) {
            return FromWorker::Overflow(pass, chunk);
        }
        let mut of = sum.of.clone();
        of.sort_by_key(|(node, _)| u64::from(node.index) << node.level);
        FromWorker::Sum(HomeSum { pass, slice: Slice { node, chunk, values }, of })
    }

    /// Tells what can be added up without what does not come here, in all chunks.
    fn tell_parts(&mut self) -> Vec<FromWorker> {
        let chunks = self.open.as_ref().map(|open| open.sums.keys().copied().collect());
        let chunks: Vec<Chunk> = chunks.unwrap_or_default();
        chunks.into_iter().flat_map(|chunk| self.tell_parts_of(chunk)).collect()
    }

    fn tell_parts_of(&mut self, chunk: Chunk) -> Vec<FromWorker> {
        let Some(open) = &self.open else { return Vec::new() };
        let Some(sum) = open.sums.get(&chunk).filter(|sum| !sum.is_done) else {
            return Vec::new();
        };
        if !open.wants_no_more(self.tree, sum) {
            return Vec::new();
        }
        let new = sum.fold.pending().filter(|(node, _)| !sum.told.contains(node));
        let (nodes, said): (Vec<_>, Vec<_>) =
            new.map(|(node, value)| (node, self.told(open.pass, chunk, node, value))).unzip();
        let is_done = said.iter().any(|said| matches!(said, FromWorker::Overflow(..)));
        if let Some(sum) = self.open.as_mut().and_then(|open| open.sums.get_mut(&chunk)) {
            sum.told.extend(nodes);
            sum.is_done = is_done;
        }
        said
    }
}

impl OpenPass {
    fn was_dealt(&self, tree: ShardTree, worker: WorkerId, node: Node) -> bool {
        let span = tree.span(node);
        let is_it = |dealt: &DealtSpan| {
            dealt.worker == worker && span.is_some_and(|span| dealt.span.contains(span))
        };
        self.spans.iter().any(is_it)
    }

    /// Adds a node; the root, once it is complete.
    fn add(
        &mut self,
        (tree, precision): (ShardTree, Precision),
        sender: WorkerId,
        slice: Slice,
    ) -> Option<Tracked> {
        let Slice { node, chunk, values } = slice;
        let span = tree.span(node).filter(|&span| self.leaves.any_in(span))?;
        let sum = self.sums.entry(chunk).or_insert_with(|| Sum {
            fold: Fold::new(tree, self.leaves.clone()),
            covered: LeafSet::none(tree),
            told: BTreeSet::new(),
            is_done: false,
        });
        if sum.is_done {
            return None;
        }
        let _span = trace_span!(target: TARGET, "fold", chunk = chunk.0).entered();
        sum.covered.cover(span, &self.leaves);
        let (values, of) = (NodeValues::new(precision, values), vec![(node, sender)]);
        let root = sum.fold.insert(node, Tracked { values, of });
        sum.is_done = root.is_some();
        root
    }

    /// Whether everything is there of a sum that is to come here, though the root is not.
    fn wants_no_more(&self, tree: ShardTree, sum: &Sum) -> bool {
        let spans = |is_apart| {
            let of = self.spans.iter().filter(move |dealt| dealt.is_apart == is_apart);
            LeafSet::of(tree, of.map(|dealt| dealt.span))
        };
        let (coming, apart) = (spans(false), spans(true));
        let is_there = |shard| {
            sum.covered.contains(shard) || (apart.contains(shard) && !coming.contains(shard))
        };
        self.leaves.iter().all(is_there)
    }
}

impl Early {
    fn keep(&mut self, pass: Pass, route: u64, slice: Slice) {
        // What is dropped is computed or sent again once the sum is late.
        if self.bytes + slice.values.len() <= EARLY_BYTES_MAX {
            self.bytes += slice.values.len();
            self.slices.push((pass, route, slice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::ids::Span;
    use lockstep_proto::layout::TensorShape;

    const OWN: WorkerId = WorkerId(1);
    const OTHER: WorkerId = WorkerId(2);
    const CHUNK: Chunk = Chunk(0);

    /// Home to the only chunk, of two values, of a run of four shards.
    fn home() -> Home {
        let layout = Arc::new(Layout::new(&[[TensorShape::new("kernel", [2, 1])]]));
        let batches = Batches { rows: 16, shards: 4, batch_size: 8 };
        let (tree, precision) = (ShardTree::new(4), Precision::F32);
        let limits = Limits { batches, tree, layout, precision, sums_len: 1, table_sums_len: 1 };
        let mut home = Home::new(OWN, &limits);
        assert!(home.route(&route(1, Some(OWN))).is_empty());
        home
    }

    fn route(number: u64, home: Option<WorkerId>) -> Route {
        Route { number, from: Pass(1), homes: vec![home] }
    }

    /// The first two shards are this worker's, the others the other's.
    fn dealt(pass: u64, is_apart: bool) -> Dealt {
        let span = |start, end| Span { start, end };
        let spans = vec![
            DealtSpan { worker: OWN, span: span(0, 2), is_apart: false },
            DealtSpan { worker: OTHER, span: span(2, 4), is_apart },
        ];
        Dealt { pass: Pass(pass), batch: 0, spans }
    }

    fn send(
        home: &mut Home,
        sender: WorkerId,
        pass: u64,
        node: Node,
        value: f32,
    ) -> Vec<FromWorker> {
        let values = Precision::F32.encode(&[value, -value]);
        let slices = vec![Slice { node, chunk: CHUNK, values }];
        home.slices(sender, PeerSlices { pass: Pass(pass), route: 1, slices })
    }

    fn pair(index: u32) -> Node {
        Node { level: 1, index }
    }

    fn sum(pass: u64, level: u32, value: f32, of: &[(Node, WorkerId)]) -> Vec<FromWorker> {
        let values = Precision::F32.encode(&[value, -value]);
        let slice = Slice { node: Node { level, index: 0 }, chunk: CHUNK, values };
        vec![FromWorker::Sum(HomeSum { pass: Pass(pass), slice, of: of.to_vec() })]
    }

    #[test]
    fn the_root_is_told_with_what_was_added() {
        let mut home = home();
        assert!(home.dealt(dealt(1, false)).is_empty());
        assert!(send(&mut home, OTHER, 1, Node::leaf(3), 4.0).is_empty());
        assert!(send(&mut home, OWN, 1, pair(0), 1.0).is_empty());
        let root = send(&mut home, OTHER, 1, Node::leaf(2), 2.0);
        let of = [(pair(0), OWN), (Node::leaf(2), OTHER), (Node::leaf(3), OTHER)];
        assert_eq!(root, sum(1, 2, 7.0, &of));
        assert!(send(&mut home, OTHER, 1, Node::leaf(2), 2.0).is_empty(), "once");
    }

    #[test]
    fn what_was_not_dealt_waits_and_is_never_added() {
        let mut home = home();
        // Before it is known what was dealt, and what was dealt to somebody else.
        assert!(send(&mut home, OTHER, 1, pair(1), 2.0).is_empty());
        assert!(send(&mut home, OTHER, 1, pair(0), 9.0).is_empty());
        assert!(home.dealt(dealt(1, false)).is_empty());
        assert_eq!(
            send(&mut home, OWN, 1, pair(0), 1.0),
            sum(1, 2, 3.0, &[(pair(0), OWN), (pair(1), OTHER)])
        );
        // Another pass, and one that is over.
        assert!(send(&mut home, OTHER, 3, pair(1), 2.0).is_empty());
        assert!(home.dealt(dealt(3, false)).is_empty());
        assert!(send(&mut home, OWN, 1, pair(0), 1.0).is_empty());
        assert_eq!(send(&mut home, OWN, 3, pair(0), 1.0).len(), 1);
    }

    #[test]
    fn what_does_not_come_here_is_not_waited_for() {
        let mut home = home();
        assert!(home.dealt(dealt(1, false)).is_empty());
        assert!(send(&mut home, OWN, 1, pair(0), 1.0).is_empty());
        let part = sum(1, 1, 1.0, &[(pair(0), OWN)]);
        assert_eq!(home.dealt(dealt(1, true)), part);
        assert!(home.dealt(dealt(1, true)).is_empty(), "once");
        // It comes all the same.
        let of = [(pair(0), OWN), (pair(1), OTHER)];
        assert_eq!(send(&mut home, OTHER, 1, pair(1), 2.0), sum(1, 2, 3.0, &of));
    }

    #[test]
    fn what_is_not_finite_is_said_and_what_is_recalled_let_go() {
        let mut home = home();
        home.dealt(dealt(1, false));
        send(&mut home, OWN, 1, pair(0), f32::MAX);
        let overflow = vec![FromWorker::Overflow(Pass(1), CHUNK)];
        assert_eq!(send(&mut home, OTHER, 1, pair(1), f32::MAX), overflow);
        home.dealt(dealt(2, false));
        send(&mut home, OWN, 2, pair(0), 1.0);
        assert!(home.route(&route(2, None)).is_empty());
        assert!(send(&mut home, OTHER, 2, pair(1), 1.0).is_empty());
        assert!(home.open.as_ref().is_some_and(|open| open.sums.is_empty()));
    }

    #[test]
    fn what_waits_is_bounded_for_each_sender() {
        let mut early = Early::default();
        let slice = |bytes| Slice { node: pair(0), chunk: CHUNK, values: vec![0; bytes].into() };
        early.keep(Pass(9), 1, slice(EARLY_BYTES_MAX - 1));
        early.keep(Pass(9), 1, slice(2));
        early.keep(Pass(9), 1, slice(1));
        assert_eq!((early.slices.len(), early.bytes), (2, EARLY_BYTES_MAX));
    }
}
