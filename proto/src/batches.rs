//! Which positions of an epoch make which batch, shard and microbatch. Pure arithmetic on counts: no rows.
//!
//! Position `p` of an epoch belongs to shard `p mod S`, at local place `p div S`; batch `k` is positions
//! `[k B, (k + 1) B)`, cut off at the table's end.

use std::ops::Range;

use crate::ids::Span;

/// A table of `rows` rows, dealt to `shards` shards, read in batches of `batch_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// Rows in the table; positive.
    pub rows: u64,
    /// `S`; positive.
    pub shards: u32,
    /// `B`; positive, at most `rows`.
    pub batch_size: u64,
}

impl Batches {
    /// A table that is read whole, as one batch.
    pub fn whole(rows: u64, shards: u32) -> Batches {
        Batches { rows, shards, batch_size: rows }
    }

    /// Batches in an epoch; the last may be smaller than the others.
    pub fn count(self) -> u64 {
        self.rows.div_ceil(self.batch_size)
    }

    /// Rows of a batch.
    pub fn batch_rows(self, batch: u64) -> u64 {
        let positions = self.positions(batch);
        positions.end - positions.start
    }

    /// Rows of a shard.
    pub fn shard_rows(self, shard: u32) -> u64 {
        self.places_before(self.rows, shard)
    }

    /// A shard's local places in a batch; empty if the batch has no row of that shard.
    pub fn microbatch(self, batch: u64, shard: u32) -> Range<u64> {
        let positions = self.positions(batch);
        self.places_before(positions.start, shard)..self.places_before(positions.end, shard)
    }

    /// Rows of a span of shards in a batch.
    pub fn span_rows(self, batch: u64, span: Span) -> u64 {
        let positions = self.positions(batch);
        self.span_rows_before(positions.end, span) - self.span_rows_before(positions.start, span)
    }

    /// The shards that have rows in a batch, as two spans of which the second may be empty: positions that follow each other
    /// belong to shards that do, round and round.
    pub fn spans(self, batch: u64) -> [Span; 2] {
        let positions = self.positions(batch);
        let rows = positions.end - positions.start;
        if rows >= u64::from(self.shards) {
            return [Span { start: 0, end: self.shards }, Span { start: 0, end: 0 }];
        }
        // Both are below the number of shards.
        let (start, rows) = ((positions.start % u64::from(self.shards)) as u32, rows as u32);
        let beyond = (start + rows).saturating_sub(self.shards);
        [Span { start, end: start + rows - beyond }, Span { start: 0, end: beyond }]
    }

    /// How many of the positions below `position` belong to shards of a span: a whole round of shards has one for each.
    fn span_rows_before(self, position: u64, span: Span) -> u64 {
        let (shards, start, end) =
            (u64::from(self.shards), u64::from(span.start), u64::from(span.end));
        let (rounds, rest) = (position / shards, position % shards);
        rounds * (end - start) + rest.clamp(start, end) - start
    }

    fn positions(self, batch: u64) -> Range<u64> {
        let start = (batch * self.batch_size).min(self.rows);
        start..(start + self.batch_size).min(self.rows)
    }

    /// How many of the positions below `position` belong to `shard`.
    fn places_before(self, position: u64, shard: u32) -> u64 {
        let shards = u64::from(self.shards);
        position / shards + u64::from(position % shards > u64::from(shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microbatches_hold_every_position_once() {
        for (rows, shards, batch_size) in
            [(404, 16, 10), (17, 5, 17), (7, 16, 3), (100, 1, 9), (64, 16, 32)]
        {
            let batches = Batches { rows, shards, batch_size };
            let mut next = vec![0; shards as usize];
            for batch in 0..batches.count() {
                let mut seen = 0;
                for shard in 0..shards {
                    let places = batches.microbatch(batch, shard);
                    assert_eq!(places.start, next[shard as usize]);
                    next[shard as usize] = places.end;
                    seen += places.end - places.start;
                    for place in places {
                        let position = place * u64::from(shards) + u64::from(shard);
                        assert_eq!(position / batch_size, batch);
                    }
                }
                assert_eq!(seen, batches.batch_rows(batch));
                assert_eq!(seen, batches.span_rows(batch, Span { start: 0, end: shards }));
                for shard in 0..shards {
                    let spans = batches.spans(batch).map(|span| span.start..span.end);
                    let is_inside = spans.iter().any(|span| span.contains(&shard));
                    assert_eq!(is_inside, !batches.microbatch(batch, shard).is_empty());
                }
                for (start, end) in (0..=shards).flat_map(|end| (0..=end).map(move |at| (at, end)))
                {
                    let rows = |shard| {
                        let places = batches.microbatch(batch, shard);
                        places.end - places.start
                    };
                    let wanted: u64 = (start..end).map(rows).sum();
                    assert_eq!(batches.span_rows(batch, Span { start, end }), wanted);
                }
            }
            for shard in 0..shards {
                assert_eq!(next[shard as usize], batches.shard_rows(shard));
            }
            assert_eq!(next.iter().sum::<u64>(), rows);
        }
    }
}
