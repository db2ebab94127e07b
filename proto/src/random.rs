//! Every random number of a run: ChaCha8 keyed by (seed, purpose, and two counters such as epoch and shard).
//!
//! A stream depends on its key alone, never on a worker, a thread, a clock or what was drawn before. The ways
//! from bits to numbers are written out here, so that a new version of a library cannot change them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What the numbers are for. Values are part of the numerics contract: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights; counters: layer among those that have tensors, tensor of the layer (of a dense one: 0 kernel, 1 bias).
    InitialWeights,
    /// Which rows go to a table given as a fraction; counters: 0 test, 1 validation.
    Split,
    /// The one permutation of the training table before it is dealt to shards.
    TableOrder,
    /// A shard's order of rows in an epoch; counters: epoch, shard.
    ShardOrder,
    /// Faults that are injected on purpose: changes no number of a run; counter: kind of fault.
    Chaos,
    /// Which spans are audited: changes no number of a run; counters: pass, first shard.
    Audit,
    /// Which values of a row a layer drops; counters: step, and shard (upper half) with place in the microbatch (lower).
    Dropout {
        /// Among all layers of the job.
        layer: u32,
    },
    /// How a layer moves the pixels of a row; counters as of dropout.
    Augmentation {
        /// Among all layers of the job.
        layer: u32,
    },
    /// Initial vectors of embeddings; counters: 0, place among the network's embeddings.
    InitialEmbeddings,
    /// What a model is asked whose column of cells is shuffled: changes no number of a run; counters: 0, which rows are used;
    /// place of the column from 1, which time.
    Importance,
}

impl Purpose {
    /// Its part of the key: the kind in the lower half, what the purpose has in it in the upper.
    fn word(self) -> u64 {
        match self {
            Purpose::InitialWeights => 1,
            Purpose::Split => 2,
            Purpose::TableOrder => 3,
            Purpose::ShardOrder => 4,
            Purpose::Chaos => 5,
            Purpose::Audit => 6,
            Purpose::Dropout { layer } => 7 | u64::from(layer) << 32,
            Purpose::InitialEmbeddings => 8,
            Purpose::Augmentation { layer } => 9 | u64::from(layer) << 32,
            Purpose::Importance => 10,
        }
    }
}

/// One keyed stream.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream of this key, from its beginning.
    pub fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Random {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose.word(), a, b]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Random(ChaCha8Rng::from_seed(key))
    }

    /// Uniform over `0..bound`, exactly (Lemire 2019, "Fast random integer generation in an interval").
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "no number is below 0");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let wide = u64::from(self.0.next_u32()) * u64::from(bound);
            if wide as u32 >= threshold {
                return (wide >> 32) as u32;
            }
        }
    }

    /// Uniform over `[0, 1)` on a grid of 2^-24: every value is exact in `f32`.
    pub fn unit_f32(&mut self) -> f32 {
        unit_of(self.0.next_u32())
    }

    /// Fills `out` with what as many calls of [`Random::unit_f32`] would give, several times as fast.
    pub fn fill_unit_f32(&mut self, out: &mut [f32]) {
        const WORD_BYTES: usize = size_of::<u32>();
        let mut words = [0; 64 * WORD_BYTES];
        for out in out.chunks_mut(64) {
            let words = &mut words[..out.len() * WORD_BYTES];
            self.0.fill_bytes(words);
            for (unit, &word) in out.iter_mut().zip(words.as_chunks().0) {
                *unit = unit_of(u32::from_le_bytes(word));
            }
        }
    }

    /// Uniform over `[0, 1)` on a grid of 2^-53.
    pub fn unit_f64(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Fisher and Yates' shuffle, from the last place down.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` items; tables are bounded below that.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        let len = u32::try_from(items.len()).expect("tables hold fewer than 2^32 rows");
        for last in (1..len).rev() {
            items.swap(last as usize, self.below(last + 1) as usize);
        }
    }
}

/// The upper 24 bits as a number.
fn unit_of(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_for_all_time() {
        let mut random = Random::new(42, Purpose::ShardOrder, 1, 3);
        let drawn: Vec<u32> = (0..4).map(|_| random.below(1000)).collect();
        assert_eq!(drawn, FROZEN);
        let mut items: Vec<u32> = (0..6).collect();
        Random::new(42, Purpose::TableOrder, 0, 0).shuffle(&mut items);
        assert_eq!(items, FROZEN_SHUFFLE);
    }

    #[test]
    fn keys_differ_in_every_part() {
        let first = |seed, purpose, a, b| Random::new(seed, purpose, a, b).unit_f64().to_bits();
        let base = first(1, Purpose::Split, 0, 0);
        for other in [
            first(2, Purpose::Split, 0, 0),
            first(1, Purpose::TableOrder, 0, 0),
            first(1, Purpose::Split, 1, 0),
            first(1, Purpose::Split, 0, 1),
            first(1, Purpose::Dropout { layer: 0 }, 0, 0),
        ] {
            assert_ne!(base, other);
        }
        let layers = [0, 1].map(|layer| first(1, Purpose::Dropout { layer }, 0, 0));
        assert_ne!(layers[0], layers[1]);
    }

    #[test]
    fn many_units_are_as_many_single_ones() {
        for len in [0, 1, 63, 64, 65, 200] {
            let random = Random::new(5, Purpose::Dropout { layer: 3 }, 7, 9);
            let (mut many, mut single) = (random.clone(), random);
            let mut units = vec![f32::NAN; len];
            for _ in 0..3 {
                many.fill_unit_f32(&mut units);
                assert!(units.iter().all(|&unit| unit == single.unit_f32()), "{len}");
            }
        }
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut random = Random::new(7, Purpose::Split, 0, 0);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit_f32())));
    }

    const FROZEN: [u32; 4] = [416, 154, 890, 882];
    const FROZEN_SHUFFLE: [u32; 6] = [5, 0, 1, 3, 2, 4];
}
