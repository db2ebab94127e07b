//! Names of things that both sides talk about. Newtypes, so that a step is never taken for a pass.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $label:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($label, " {}"), self.0)
            }
        }
    };
}

id!(
    /// A worker's place in one run, given by the coordinator at join and never used again in that run.
    WorkerId(u64), "worker"
);
id!(
    /// How many updates the weights have seen: step 0 is the initial weights, step `n` makes weights `n`. Where gradients of several
    /// steps make one update, a step of the schedule is a batch, and one of weights an update.
    Step(u64), "step"
);
id!(
    /// One unit of dealt work: a training step or an evaluation. Numbered from 0 through the run.
    Pass(u64), "pass"
);
id!(
    /// One of the `S` fixed parts of a table.
    Shard(u32), "shard"
);
id!(
    /// Index into [`Layout::chunks`](crate::layout::Layout::chunks).
    Chunk(u32), "chunk"
);

/// Which table of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The rows that the weights learn from.
    Train,
    /// Measured after every epoch.
    Validation,
    /// Measured once, at the end.
    Test,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Table::Train => "train",
            Table::Validation => "validation",
            Table::Test => "test",
        })
    }
}

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Gradient and loss sums of batch `batch` (from 0) of epoch `epoch` (from 1).
    Train {
        /// Epoch, counted from 1.
        epoch: u32,
        /// Batch in the epoch, counted from 0.
        batch: u64,
    },
    /// Loss and metric sums of a whole table.
    Evaluate {
        /// The table to measure.
        table: Table,
    },
}

/// A contiguous range of shards, `start..end`, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First shard.
    pub start: u32,
    /// One past the last shard.
    pub end: u32,
}

impl Span {
    /// The shards of the span, in order.
    pub fn shards(self) -> impl ExactSizeIterator<Item = Shard> {
        (self.start..self.end).map(Shard)
    }

    /// Number of shards.
    pub fn len(self) -> u32 {
        self.end - self.start
    }

    /// Always false for a span made by this project; here because clippy wants it beside `len`.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether all of the other's shards are this one's too.
    pub fn contains(self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two have a shard in common.
    pub fn overlaps(self, other: Span) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shards {}..{}", self.start, self.end)
    }
}
