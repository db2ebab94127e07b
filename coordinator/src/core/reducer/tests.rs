use super::*;
use crate::spec::{Coding, Homes};
use crate::update::Optimizer;
use lockstep_proto::batches::Batches;
use lockstep_proto::layout::TensorShape;
use lockstep_proto::penalties::Penalties;
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;

const CHUNKS: u32 = 96;

/// Chunks of 256 KiB, a row in each of two shards.
fn reducer(clip_norm: Option<f32>) -> Reducer {
    let units = 1024 * CHUNKS as usize;
    let layout = Arc::new(Layout::new(&[[TensorShape::new("kernel", [64, units])]]));
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };
    let published = layout.chunks().iter().map(|chunk| 4 * chunk.range.len());
    let published = published.map(ChunkVersions::own).collect();
    let spec = RunSpec {
        run_id: String::new(),
        network: String::new(),
        numeric_profile: String::new(),
        start: Snapshot::fresh(vec![0.0; layout.len()], &layout, &optimizer, false),
        layout,
        penalties: Penalties::default(),
        undecayed: Vec::new(),
        rectified: Vec::new(),
        sum_bounds: Vec::new(),
        step_sums: 0,
        batches: Batches { rows: 2, shards: 2, batch_size: 2 },
        is_weighted: false,
        validation_rows: None,
        test_rows: None,
        epochs: 1,
        early_stopping: None,
        shuffle: false,
        seed: 0,
        optimizer,
        averaging: None,
        steps_per_update: 1,
        learning_rate: 1.0.into(),
        plateau: None,
        clip_norm,
        precision: Precision::F32,
        workers_min: 1,
        audit_fraction: 0.0,
        coding: Coding::Off,
        homes: Homes::Off,
        crews: None,
        workers_start: 1,
        threads: 1,
    };
    Reducer::new(&spec, ShardTree::new(2), published, INLINE_BYTES_MAX)
}

/// Does all jobs, no more at a time than there are places for; how often each led to what.
fn do_jobs(reducer: &mut Reducer) -> [u32; 3] {
    let [mut pending, mut held, mut published] = [0; 3];
    loop {
        let jobs: Vec<Job> = std::iter::from_fn(|| reducer.next_job()).collect();
        if jobs.is_empty() {
            return [pending, held, published];
        }
        assert!(jobs.len() <= jobs_max(1));
        for job in jobs.into_iter().rev() {
            match reducer.finished(job.run()) {
                Reduced::Pending => pending += 1,
                Reduced::Held => held += 1,
                Reduced::Published { .. } => published += 1,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// As when a span that was compared is waived: all of its values at once, whether there is room or not.
fn fold_all(reducer: &mut Reducer) {
    let tree = ShardTree::new(2);
    let (step, number, is_made, is_measured) = (Step(1), 1, true, false);
    let update = Update { step, number, is_made, is_measured, rows: 2, learning_rate: 1.0 };
    reducer.begin(&LeafSet::new(tree, |_| true), update);
    let values = Bytes::from(4f32.to_le_bytes().repeat(1 << 16));
    for node in [0, 1].map(Node::leaf) {
        for chunk in (0..CHUNKS).map(Chunk) {
            let folded = reducer.fold(Slice { node, chunk, values: values.clone() });
            assert!(matches!(folded, Reduced::Pending), "{folded:?}");
        }
    }
    assert!(!reducer.has_room(), "nothing more is read until then");
}

#[test]
fn no_result_of_many_folds_is_lost() {
    let mut reducer = reducer(None);
    fold_all(&mut reducer);
    // The first child of each is only kept.
    assert_eq!(do_jobs(&mut reducer), [0, 0, CHUNKS]);
    assert!(reducer.has_room());
    assert!(reducer.weights().iter().all(|&weight| weight == -4.0));
}

#[test]
fn a_large_network_is_clipped_by_jobs() {
    let norm = 4.0 * f64::from(CHUNKS << 16).sqrt() as f32;
    let mut reducer = reducer(Some(norm / 2.0));
    fold_all(&mut reducer);
    assert_eq!(do_jobs(&mut reducer), [0, CHUNKS, 0]);
    assert!(reducer.update().is_empty());
    let blocks = reducer.norm_blocks.len() as u32;
    assert_eq!(do_jobs(&mut reducer), [blocks, 0, CHUNKS]);
    assert!(reducer.weights().iter().all(|&weight| weight == -2.0));
}
