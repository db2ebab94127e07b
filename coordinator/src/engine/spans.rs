//! Cutting the shards into one span for each worker. Pure arithmetic; knows no workers.

use lockstep_proto::ids::Span;
use lockstep_proto::tree::ShardTree;

/// Cuts all shards into `workers` spans, as equal as whole shards allow; among equal cuts the one whose
/// spans need the fewest tree nodes, since every node is one more vector on the wire. With more workers than
/// shards there are as many spans as shards.
///
/// # Panics
/// If there are no workers.
pub(super) fn cut(tree: ShardTree, workers: usize) -> Vec<Span> {
    assert!(workers > 0, "no worker to cut for");
    let shards = tree.shards() as usize;
    let workers = workers.min(shards);
    let (short, long) = (shards / workers, shards.div_ceil(workers));
    let nodes = |start: usize, end: usize| {
        tree.nodes(Span { start: start as u32, end: end as u32 }).len() as u32
    };
    // best[w][end] = (fewest nodes in all for the first w spans to end at `end`, where the last one starts)
    let mut best = vec![vec![None::<(u32, usize)>; shards + 1]; workers + 1];
    best[0][0] = Some((0, 0));
    for worker in 0..workers {
        for start in 0..shards {
            let Some((before, _)) = best[worker][start] else { continue };
            for length in short..=long.min(shards - start) {
                let end = start + length;
                let total = before + nodes(start, end);
                if best[worker + 1][end].is_none_or(|(known, _)| total < known) {
                    best[worker + 1][end] = Some((total, start));
                }
            }
        }
    }
    let mut spans = Vec::with_capacity(workers);
    let mut end = shards;
    for worker in (1..=workers).rev() {
        let (_, start) =
            best[worker][end].expect("short and long lengths always add up to all shards");
        spans.push(Span { start: start as u32, end: end as u32 });
        end = start;
    }
    spans.reverse();
    spans
}

/// Cuts a list of shards (in order) into contiguous spans for `workers` workers, as equal as may be. Returns
/// pairs of worker place and span.
pub(super) fn share(shards: &[u32], workers: usize) -> Vec<(usize, Span)> {
    let mut shares = Vec::new();
    let size = shards.len().div_ceil(workers.max(1)).max(1);
    for (place, part) in shards.chunks(size).enumerate() {
        for run in part.chunk_by(|a, b| a + 1 == *b) {
            shares.push((place, Span { start: run[0], end: run[run.len() - 1] + 1 }));
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_tile_the_shards_and_differ_by_one_at_most() {
        for shards in [1, 2, 5, 16, 17, 48, 100] {
            let tree = ShardTree::new(shards);
            for workers in 1..=20 {
                let spans = cut(tree, workers);
                assert_eq!(spans.len(), workers.min(shards as usize));
                assert_eq!((spans[0].start, spans[spans.len() - 1].end), (0, shards));
                assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start));
                let lengths: Vec<u32> = spans.iter().map(|span| span.len()).collect();
                let (min, max) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
                assert!(max - min <= 1, "{lengths:?}");
            }
        }
    }

    #[test]
    fn powers_of_two_are_one_node_each() {
        let tree = ShardTree::new(16);
        for workers in [1, 2, 4, 8, 16] {
            let spans = cut(tree, workers);
            assert!(spans.iter().all(|&span| tree.nodes(span).len() == 1), "{workers}");
        }
        let nodes: usize = cut(tree, 3).iter().map(|&span| tree.nodes(span).len()).sum();
        assert_eq!(nodes, 7);
    }

    #[test]
    fn shares_are_contiguous_runs() {
        let span = |start, end| Span { start, end };
        assert_eq!(share(&[3, 4, 5, 9], 2), [(0, span(3, 5)), (1, span(5, 6)), (1, span(9, 10))]);
        assert_eq!(share(&[7], 3), [(0, span(7, 8))]);
        assert_eq!(share(&[], 3), []);
    }
}
