//! A step takes no memory once its size is known.

use allocation_counter::measure;
use lockstep_model::{Activation, Batch, Dropout, Loss, NodeGradient, Workspace};
use lockstep_proto::ids::Span;
use lockstep_proto::tree::ShardTree;
use lockstep_proto::values::Precision;

use crate::common::{data, dense, embedding, microbatches, parameters, training};

/// The lists of what is to be added, a few words for each microbatch: no values.
const LISTS_BYTES_MAX: u64 = 2048;

#[test]
fn the_second_step_allocates_no_values() {
    let layers = vec![
        dense(150, Activation::Relu),
        dense(60, Activation::Gelu),
        Dropout::new(0.25).into(),
        dense(10, Activation::Softmax),
    ];
    let network = embedding(100, vec![(500, 4)], layers, Loss::CROSS_ENTROPY, &[]);
    let params = parameters(&network);
    // Few enough rows to be computed on this thread, whose allocations are counted.
    let (x, y) = data(&network, 7);
    let leaves = microbatches(&[(0, 2), (1, 2), (2, 3)]);
    let nodes = ShardTree::new(3).nodes(Span { start: 0, end: 3 });
    let mut workspace = Workspace::new(&network);
    let mut step = || {
        let mut sink = |gradient: NodeGradient<'_>| assert!(!gradient.values.is_empty());
        let (x, y, precision) = (x.view(), y.view(), Precision::F32);
        let batch =
            Batch { x, y, weights: None, rows: training(&leaves), nodes: &nodes, precision };
        let sums = network.gradient(&params, &batch, &mut workspace, &mut sink);
        assert_eq!(sums.unwrap().len(), 1);
    };
    let (first, second) = (measure(&mut step), measure(&mut step));
    assert!(first.bytes_total > 4 * network.layout().layers()[2].len() as u64, "{first:?}");
    assert!(second.bytes_total < LISTS_BYTES_MAX, "{second:?}");
    assert_eq!(second.bytes_current, 0, "{second:?}");
}
