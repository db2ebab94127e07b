//! Which shards' rows a member has, and which of them it is to let go of.
//!
//! The member does what it is told in the order in which it is told, and lets go of nothing by itself: so both agree on
//! what it has. Decides nothing about what it is dealt.

use lockstep_proto::ids::{Pass, Span};

/// The shards of one member.
#[derive(Debug)]
pub(super) struct Holdings {
    /// By shard: whether it has the rows, or was told to get them.
    has: Vec<bool>,
    /// By shard that it has: the pass for which it last needed them.
    used: Vec<Pass>,
    count: u32,
}

impl Holdings {
    pub(super) fn none(shards: u32) -> Holdings {
        let shards = shards as usize;
        Holdings { has: vec![false; shards], used: vec![Pass(0); shards], count: 0 }
    }

    /// By shard: whether it has the rows.
    pub(super) fn has(&self) -> &[bool] {
        &self.has
    }

    /// How many shards it has.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// How many shards of the span it would have to fetch.
    pub(super) fn lacks(&self, span: Span) -> u32 {
        self.has[places(span)].iter().filter(|&&has| !has).count() as u32
    }

    /// It has these, or is told to get them, for this pass.
    pub(super) fn hold(&mut self, span: Span, pass: Pass) {
        self.count += self.lacks(span);
        self.has[places(span)].fill(true);
        self.used[places(span)].fill(pass);
    }

    /// Lets go of what was not needed for longest, until no more than `most` shards are left, but of none of those that are
    /// needed. Says which.
    pub(super) fn trim(&mut self, most: u32, needed: &[Span]) -> Vec<Span> {
        if self.count <= most {
            return Vec::new();
        }
        let is_needed =
            |shard: u32| needed.iter().any(|span| places(*span).contains(&(shard as usize)));
        let mut others: Vec<u32> = (0..self.has.len() as u32)
            .filter(|&shard| self.has[shard as usize] && !is_needed(shard))
            .collect();
        others.sort_by_key(|&shard| self.used[shard as usize]);
        others.truncate((self.count - most) as usize);
        others.sort_unstable();
        for &shard in &others {
            self.has[shard as usize] = false;
        }
        self.count -= others.len() as u32;
        let runs = others.chunk_by(|a, b| a + 1 == *b);
        runs.map(|run| Span { start: run[0], end: run[run.len() - 1] + 1 }).collect()
    }
}

fn places(span: Span) -> std::ops::Range<usize> {
    span.start as usize..span.end as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, end: u32) -> Span {
        Span { start, end }
    }

    #[test]
    fn the_longest_unused_go_first_and_what_is_needed_stays() {
        let mut holdings = Holdings::none(10);
        for (pass, held) in [(3, span(0, 4)), (1, span(6, 10)), (2, span(8, 9))] {
            holdings.hold(held, Pass(pass));
        }
        assert_eq!((holdings.count(), holdings.lacks(span(3, 8))), (8, 2));
        assert_eq!(holdings.trim(8, &[]), []);
        assert_eq!(holdings.trim(6, &[span(7, 8)]), [span(6, 7), span(9, 10)]);
        assert_eq!(
            holdings.trim(3, &[span(1, 3), span(7, 8)]),
            [span(0, 1), span(3, 4), span(8, 9)]
        );
        // All that is left is needed.
        assert_eq!(holdings.trim(0, &[span(1, 3), span(7, 8)]), []);
        assert_eq!(holdings.count(), 3);
        holdings.hold(span(0, 10), Pass(4));
        assert_eq!((holdings.count(), holdings.lacks(span(0, 10))), (10, 0));
        assert_eq!(holdings.trim(0, &[]), [span(0, 10)]);
        assert_eq!(holdings.has(), [false; 10]);
    }
}
