//! Cutting shards into spans for workers. Pure arithmetic; knows no workers.

use lockstep_proto::ids::Span;
use lockstep_proto::tree::ShardTree;

/// Someone to cut a span for.
pub(super) struct Seat<'a> {
    /// Rows a second, or anything in proportion to it; positive.
    pub(super) speed: f64,
    /// By shard: whether its rows are there already.
    pub(super) holds: &'a [bool],
}

/// Cuts all shards into one span for each seat, in their order, so that the slowest is done as early as whole
/// shards allow. Among such cuts the one whose spans need the fewest tree nodes, since every node is one more vector
/// on the wire each step; among these the one that moves the fewest shards, which happens once. A seat that is too
/// slow for one shard, or comes after the last one, gets an empty span.
///
/// # Panics
/// If there are no seats.
pub(super) fn cut(tree: ShardTree, seats: &[Seat<'_>]) -> Vec<Span> {
    assert!(!seats.is_empty(), "no worker to cut for");
    let shards = tree.shards() as usize;
    let most = longest(shards, seats);
    let nodes = |start: usize, end: usize| {
        let span = Span { start: start as u32, end: end as u32 };
        if start == end { 0 } else { tree.nodes(span).len() as u32 }
    };
    // best[seat][end] = (fewest nodes, then shards moved, for the seats before to end at `end`; where the last starts)
    let mut best = vec![vec![None::<((u32, u32), usize)>; shards + 1]; seats.len() + 1];
    best[0][0] = Some(((0, 0), 0));
    for (place, seat) in seats.iter().enumerate() {
        // From the end, so that among equals the first seats get more.
        for start in (0..=shards).rev() {
            let Some(((nodes_before, moved_before), _)) = best[place][start] else { continue };
            let least = most[place].saturating_sub(1);
            for length in least..=most[place].min(shards - start) {
                let end = start + length;
                let moved = seat.holds[start..end].iter().filter(|&&holds| !holds).count() as u32;
                let total = (nodes_before + nodes(start, end), moved_before + moved);
                if best[place + 1][end].is_none_or(|(known, _)| total < known) {
                    best[place + 1][end] = Some((total, start));
                }
            }
        }
    }
    let mut spans = Vec::with_capacity(seats.len());
    let mut end = shards;
    for place in (1..=seats.len()).rev() {
        let (_, start) =
            best[place][end].expect("longest and next shorter lengths add up to all shards");
        spans.push(Span { start: start as u32, end: end as u32 });
        end = start;
    }
    spans.reverse();
    spans
}

/// The most shards for each seat if the slowest is to be done as early as can be. Together at least all shards, and
/// fewer than one more for each seat.
fn longest(shards: usize, seats: &[Seat<'_>]) -> Vec<usize> {
    let mut lengths = vec![0usize; seats.len()];
    let time = |place: usize, length: usize| length as f64 / seats[place].speed;
    let mut slowest = 0.0f64;
    for _ in 0..shards {
        let next = |&place: &usize| time(place, lengths[place] + 1);
        let place = (0..seats.len()).min_by(|a, b| next(a).total_cmp(&next(b)));
        let place = place.expect("there are seats");
        lengths[place] += 1;
        slowest = slowest.max(time(place, lengths[place]));
    }
    for (place, length) in lengths.iter_mut().enumerate() {
        if *length < shards && time(place, *length + 1) <= slowest {
            *length += 1;
        }
    }
    lengths
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

    fn cut_for(shards: u32, speeds: &[f64]) -> Vec<Span> {
        let nothing = vec![false; shards as usize];
        let seat = |&speed| Seat { speed, holds: &nothing };
        let seats: Vec<_> = speeds.iter().map(seat).collect();
        cut(ShardTree::new(shards), &seats)
    }

    fn lengths(spans: &[Span]) -> Vec<u32> {
        spans.iter().map(|span| span.len()).collect()
    }

    #[test]
    fn spans_tile_the_shards_and_differ_by_one_at_most() {
        for shards in [1, 2, 5, 16, 17, 48, 100] {
            for workers in 1..=20 {
                let spans = cut_for(shards, &vec![3.7; workers]);
                assert_eq!(spans.len(), workers);
                assert_eq!((spans[0].start, spans[spans.len() - 1].end), (0, shards));
                assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start));
                let lengths = lengths(&spans);
                let (min, max) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
                assert!(max - min <= 1, "{lengths:?}");
            }
        }
    }

    #[test]
    fn powers_of_two_are_one_node_each() {
        let tree = ShardTree::new(16);
        for workers in [1, 2, 4, 8, 16] {
            let spans = cut_for(16, &vec![1.0; workers]);
            assert!(spans.iter().all(|&span| tree.nodes(span).len() == 1), "{workers}");
        }
        let nodes: usize = cut_for(16, &[1.0; 3]).iter().map(|&span| tree.nodes(span).len()).sum();
        assert_eq!(nodes, 7);
    }

    #[test]
    fn lengths_follow_speed() {
        assert_eq!(lengths(&cut_for(16, &[4.0, 4.0, 1.0, 4.0])), [5, 5, 1, 5]);
        assert_eq!(lengths(&cut_for(16, &[1.0, 0.5])), [11, 5]);
        assert_eq!(lengths(&cut_for(16, &[1.0, 1e-6])), [16, 0]);
        assert_eq!(lengths(&cut_for(48, &[1.0, 2.0, 3.0])), [8, 16, 24]);
        assert_eq!(lengths(&cut_for(4096, &[1.0; 100])).iter().sum::<u32>(), 4096);
    }

    #[test]
    fn the_slowest_is_done_as_early_as_can_be() {
        for (shards, speeds) in [(7, vec![1.0, 3.0]), (9, vec![0.3, 0.7, 1.9]), (6, vec![5.0, 1.0])]
        {
            let time = |lengths: &[u32]| {
                let times = lengths.iter().zip(&speeds).map(|(&len, speed)| f64::from(len) / speed);
                times.fold(0.0, f64::max)
            };
            let found = time(&lengths(&cut_for(shards, &speeds)));
            let mut cuts = vec![vec![]];
            for _ in &speeds {
                let longer = |cut: &Vec<u32>, len| [&cut[..], &[len]].concat();
                cuts = cuts.iter().flat_map(|c| (0..=shards).map(move |l| longer(c, l))).collect();
            }
            let whole = cuts.iter().filter(|cut| cut.iter().sum::<u32>() == shards);
            let best = whole.map(|cut| time(cut)).fold(f64::INFINITY, f64::min);
            assert_eq!(found, best, "{shards} {speeds:?}");
        }
    }

    #[test]
    fn shards_stay_where_they_are_if_nothing_speaks_against_it() {
        let tree = ShardTree::new(3);
        let holds = [[true, false, false], [false, true, true]];
        let seats = holds.each_ref().map(|holds| Seat { speed: 1.0, holds });
        // 0..2 and 2..3 are a node each; 0..1 and 1..3 are three: nodes come before moves.
        assert_eq!(lengths(&cut(tree, &seats)), [2, 1]);
        let tree = ShardTree::new(4);
        for wanted in [[1, 1, 2], [2, 1, 1]] {
            let mut start = 0;
            let holds = wanted.map(|len| {
                let held = start..start + len;
                start += len;
                [0, 1, 2, 3].map(|shard| held.contains(&shard))
            });
            let seats = holds.each_ref().map(|holds| Seat { speed: 1.0, holds });
            assert_eq!(lengths(&cut(tree, &seats)), wanted);
        }
    }

    #[test]
    fn shares_are_contiguous_runs() {
        let span = |start, end| Span { start, end };
        assert_eq!(share(&[3, 4, 5, 9], 2), [(0, span(3, 5)), (1, span(5, 6)), (1, span(9, 10))]);
        assert_eq!(share(&[7], 3), [(0, span(7, 8))]);
        assert_eq!(share(&[], 3), []);
    }
}
