//! Choices by chance.

use std::time::Duration;

use lockstep_proto::random::Random;

/// True once in so many times.
pub(crate) fn one_in(random: &mut Random, count: u32) -> bool {
    random.below(count) == 0
}

/// So many milliseconds, or less.
pub(crate) fn up_to_ms(random: &mut Random, most: u32) -> Duration {
    Duration::from_micros(u64::from(random.below(most * 1000 + 1)))
}
