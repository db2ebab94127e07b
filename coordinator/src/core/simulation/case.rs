//! What a seed stands for: a small job with values that depend on its weights, and who comes and goes.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use lockstep_proto::batches::Batches;
use lockstep_proto::ids::{Chunk, Step, Table, Task, WorkerId};
use lockstep_proto::layout::{Layout, TensorShape};
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::Precision;

use super::checkpoint::Checkpoint;
use crate::backlog::MESSAGES_MAX;
use crate::engine::Schedule;
use crate::optimizer::Optimizer;
use crate::policy::{CosineDecay, LearningRate};
use crate::reduction::Rule;
use crate::spec::{RunSpec, SumBounds};

/// Most values of a chunk. A layer is a chunk here.
const CHUNK_LEN_MAX: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) schedule: Schedule,
    pub(super) chunk_lens: Vec<usize>,
    pub(super) rule: Rule,
    pub(super) learning_rate: LearningRate,
    pub(super) workers_min: usize,
    pub(super) workers_start: usize,
    /// Whether chunks are worked on by threads, which may overtake each other.
    pub(super) pooled: bool,
    pub(super) threads: usize,
    pub(super) visits: Vec<Visit>,
    /// When all who do not stay are lost at once.
    pub(super) blackouts: Vec<Duration>,
    /// When the coordinator ends and starts again from its newest checkpoint, and whether it is killed or told to stop.
    pub(super) restarts: Vec<(Duration, Ending)>,
    /// When the coordinator's process is stopped dead, and for how long.
    pub(super) standstills: Vec<(Duration, Duration)>,
    /// Longest time in which the disk takes in a checkpoint.
    pub(super) write_ms_max: u32,
    /// When somebody who is no member says something, as if it were.
    pub(super) strangers: Vec<Duration>,
    /// Passes from one checkpoint to the next.
    pub(super) checkpoint_passes: u64,
    pub(super) audit_fraction: f64,
}

/// One worker's membership.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) joins_at: Duration,
    pub(super) leaves: Option<(When, Leaving)>,
    /// Longest pause between two of its messages.
    pub(super) pause_ms_max: u32,
    /// When it stops dead, and for how long.
    pub(super) stops: Option<(When, Duration)>,
    /// Short messages that wait for it; with more it is taken not to read.
    pub(super) messages_max: usize,
    /// What it does against the contract.
    pub(super) lie: Option<Lie>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Killed,
    ToldToStop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Some of its values are wrong.
    Values,
    /// It says that something is not finite: what it was dealt, or anything else.
    Faults,
    /// It says that it is done without having sent all values.
    HollowDone,
    /// It sends some values or none, and never says that it is done.
    Withholds,
    /// It says anything that fits into a message, at any time.
    Anything,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// So long after it joined.
    After(Duration),
    /// When it has sent this many messages: in the middle of its work.
    Sent(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Leaving {
    ConnectionLost,
    Goodbye,
}

impl Case {
    pub(super) fn drawn(seed: u64) -> Case {
        let random = &mut Random::new(seed, Purpose::Split, 0, 0);
        let schedule = draw_schedule(random);
        let chunk_len = |random: &mut Random| 1 + random.below(CHUNK_LEN_MAX as u32) as usize;
        let chunk_lens = (0..=random.below(4)).map(|_| chunk_len(random)).collect();
        let clip_norm = one_in(random, 2).then(|| 0.05 + random.unit_f32());
        let optimizer = if one_in(random, 2) {
            Optimizer::Sgd { momentum: 0.9, nesterov: true }
        } else {
            Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, weight_decay: None }
        };
        let workers = 1 + random.below(20);
        let workers_min = 1 + if one_in(random, 2) { 0 } else { random.below(workers.min(4)) };
        let spared = if one_in(random, 2) { 0 } else { random.below(workers - workers_min + 1) };
        let staying = workers_min + spared;
        let blackouts = (0..random.below(6)).map(|_| up_to_ms(random, 1_000)).collect();
        let passing = workers - staying + random.below(20);
        let visits = (0..staying + passing).map(|place| draw_visit(random, place < staying));
        let mut visits: Vec<Visit> = visits.collect();
        let audit_fraction = match random.below(6) {
            0 => 1.0,
            1 => 0.2,
            _ => 0.0,
        };
        // Wrong values are found only where everything is audited. What is audited is settled only with two that are honest;
        // two liars might agree.
        let lie = match random.below(8) {
            0 => Some(Lie::Faults),
            1 => Some(Lie::HollowDone),
            2 => Some(Lie::Withholds),
            3 | 4 => Some(Lie::Anything),
            _ => (audit_fraction == 1.0).then_some(Lie::Values),
        };
        if (staying >= 2 || audit_fraction == 0.0)
            && let Some(visit) = visits.get_mut(staying as usize)
        {
            visit.lie = lie;
            if one_in(random, 2) {
                visit.leaves = None;
            }
        }
        random.shuffle(&mut visits);
        let restarts = if one_in(random, 3) { 1 + random.below(4) } else { 0 };
        let standstills = if one_in(random, 4) { 1 + random.below(3) } else { 0 };
        let strangers = if one_in(random, 4) { 1 + random.below(20) } else { 0 };
        let precision = if seed.is_multiple_of(3) { Precision::Bf16 } else { Precision::F32 };
        Case {
            restarts: (0..restarts).map(|_| draw_restart(random)).collect(),
            // Shorter than a silence that workers would leave for.
            standstills: (0..standstills)
                .map(|_| (up_to_ms(random, 2_000), up_to_ms(random, 4_000)))
                .collect(),
            write_ms_max: if one_in(random, 4) { 5_000 } else { 20 },
            strangers: (0..strangers).map(|_| up_to_ms(random, 2_000)).collect(),
            threads: 1 + random.below(3) as usize,
            checkpoint_passes: u64::from(1 + random.below(4)),
            audit_fraction,
            seed,
            schedule,
            chunk_lens,
            rule: Rule { optimizer, clip_norm, precision },
            learning_rate: learning_rate(seed),
            workers_min: workers_min as usize,
            workers_start: random.below(staying + 1) as usize,
            pooled: one_in(random, 2),
            visits,
            blackouts,
        }
    }

    /// The same job with one worker that stays.
    pub(super) fn undisturbed(&self) -> Case {
        let visit = Visit {
            joins_at: Duration::ZERO,
            leaves: None,
            pause_ms_max: 1,
            stops: None,
            messages_max: MESSAGES_MAX,
            lie: None,
        };
        Case {
            workers_min: 1,
            workers_start: 1,
            pooled: false,
            visits: vec![visit],
            blackouts: Vec::new(),
            restarts: Vec::new(),
            standstills: Vec::new(),
            strangers: Vec::new(),
            audit_fraction: 0.0,
            ..self.clone()
        }
    }

    /// Whether a worker may ever be found wrong: it lies, or it may leave too much unread. Visits are numbered from 1.
    pub(super) fn may_be_shut_out(&self, worker: WorkerId) -> bool {
        let visit = &self.visits[worker.0 as usize - 1];
        visit.lie.is_some() || visit.messages_max < MESSAGES_MAX
    }

    /// What the coordinator is asked, from where an earlier execution was.
    pub(super) fn spec(&self, start: &Checkpoint) -> RunSpec {
        let Schedule { train, validation_rows, test_rows, epochs, .. } = self.schedule;
        let shape = |&len: &usize| [TensorShape::new("kernel", [len])];
        let shapes: Vec<_> = self.chunk_lens.iter().map(shape).collect();
        let any =
            SumBounds { low: -f64::from(f32::MAX), high: f64::from(f32::MAX), is_whole: false };
        RunSpec {
            run_id: String::new(),
            network: String::new(),
            numeric_profile: String::new(),
            layout: Arc::new(Layout::new(&shapes).in_chunks_of(CHUNK_LEN_MAX)),
            // The second of the sums is the rows.
            sum_bounds: vec![any, SumBounds { low: 1.0, high: 1.0, is_whole: true }],
            start: start.snapshot.clone(),
            batches: train,
            validation_rows,
            test_rows,
            epochs,
            shuffle: false,
            seed: self.seed,
            optimizer: self.rule.optimizer,
            learning_rate: self.learning_rate.clone(),
            clip_norm: self.rule.clip_norm,
            precision: self.rule.precision,
            workers_min: self.workers_min,
            audit_fraction: self.audit_fraction,
            workers_start: self.workers_start,
            threads: self.threads,
        }
    }

    pub(super) fn tree(&self) -> ShardTree {
        self.schedule.tree
    }

    pub(super) fn initial_weights(&self, chunk: usize) -> Vec<f32> {
        let start: usize = self.chunk_lens[..chunk].iter().sum();
        (start..start + self.chunk_lens[chunk])
            .map(|at| noise(self.seed, [u64::MAX, 0, at as u64]))
            .collect()
    }

    /// Rows of a shard in a pass.
    pub(super) fn rows(&self, task: Task, shard: u32) -> u64 {
        let whole = |rows: Option<u64>| {
            (
                Batches::whole(
                    rows.expect("only tables of the job are dealt"),
                    self.tree().shards(),
                ),
                0,
            )
        };
        let (batches, batch) = match task {
            Task::Train { batch, .. } => (self.schedule.train, batch),
            Task::Evaluate { table: Table::Validation } => whole(self.schedule.validation_rows),
            Task::Evaluate { .. } => whole(self.schedule.test_rows),
        };
        let places = batches.microbatch(batch, shard);
        places.end - places.start
    }

    /// A node's gradient sum over one chunk; `None` if it has no rows.
    pub(super) fn gradient(
        &self,
        weights: &[Vec<f32>],
        (step, task): (Step, Task),
        node: Node,
        chunk: Chunk,
    ) -> Option<Vec<f32>> {
        let all: f32 = weights.iter().flatten().sum();
        let precision = self.rule.precision;
        add_up(self.tree(), node, &|sum| precision.round(sum), &|shard| {
            let rows = self.rows(task, shard);
            let slice = weights[chunk.0 as usize].iter().enumerate();
            let value = |(at, weight): (usize, &f32)| {
                let place = u64::from(chunk.0) << 32 | at as u64;
                let noise = noise(self.seed, [step.0, u64::from(shard), place]);
                rows as f32 * noise + 0.1 * weight + 0.01 * all
            };
            (rows > 0).then(|| slice.map(value).collect())
        })
    }

    /// A node's loss sum and rows; `None` if it has no rows.
    pub(super) fn sums(
        &self,
        weights: &[Vec<f32>],
        (step, task): (Step, Task),
        node: Node,
    ) -> Option<Vec<f64>> {
        let all: f32 = weights.iter().flatten().sum();
        add_up(self.tree(), node, &|_| {}, &|shard| {
            let rows = self.rows(task, shard);
            let noise = noise(self.seed, [step.0, u64::from(shard), u64::MAX]);
            (rows > 0).then(|| vec![rows as f64 * f64::from(noise) + f64::from(all), rows as f64])
        })
    }
}

/// The definition: children first, left before right, absent ones skipped, every sum rounded.
pub(super) fn add_up<T: AddAssign>(
    tree: ShardTree,
    node: Node,
    round: &impl Fn(&mut [T]),
    leaf: &impl Fn(u32) -> Option<Vec<T>>,
) -> Option<Vec<T>> {
    let span = tree.span(node)?;
    let Some((left, right)) = node.children() else {
        let mut sum = leaf(span.start)?;
        round(&mut sum);
        return Some(sum);
    };
    match (add_up(tree, left, round, leaf), add_up(tree, right, round, leaf)) {
        (Some(mut left), Some(right)) => {
            for (left, right) in left.iter_mut().zip(right) {
                *left += right;
            }
            round(&mut left);
            Some(left)
        }
        (one, other) => one.or(other),
    }
}

pub(super) fn one_in(random: &mut Random, count: u32) -> bool {
    random.below(count) == 0
}

pub(super) fn up_to_ms(random: &mut Random, most: u32) -> Duration {
    Duration::from_micros(u64::from(random.below(most * 1000 + 1)))
}

fn draw_schedule(random: &mut Random) -> Schedule {
    let shards = 1 + random.below(20);
    let rows = 1 + random.below(60);
    let smallest = rows.div_ceil(8);
    let batch_size = u64::from(smallest + random.below(rows - smallest + 1));
    let mut table = || (!one_in(random, 3)).then(|| u64::from(1 + random.below(30)));
    let (validation_rows, test_rows) = (table(), table());
    Schedule {
        tree: ShardTree::new(shards),
        train: Batches { rows: u64::from(rows), shards, batch_size },
        validation_rows,
        test_rows,
        epochs: 1 + random.below(3),
    }
}

fn draw_visit(random: &mut Random, stays: bool) -> Visit {
    let joins_within_ms = if one_in(random, 3) { 1_000 } else { 50 };
    let leaving = if one_in(random, 4) { Leaving::Goodbye } else { Leaving::ConnectionLost };
    let leaves = (!stays).then_some((draw_when(random), leaving));
    // A stop that is noticed as silence ends the membership: not for those who stay.
    let longest_ms = if stays || one_in(random, 2) { 2_000 } else { 20_000 };
    let stops = one_in(random, 4).then(|| (draw_when(random), up_to_ms(random, longest_ms)));
    Visit {
        joins_at: up_to_ms(random, joins_within_ms),
        leaves,
        pause_ms_max: match random.below(40) {
            0 => 1_000,
            1..8 => 100,
            8..16 => 2,
            _ => 20,
        },
        stops,
        // Those who stay read what they are told.
        messages_max: if !stays && one_in(random, 8) {
            1 + random.below(6) as usize
        } else {
            MESSAGES_MAX
        },
        lie: None,
    }
}

fn draw_restart(random: &mut Random) -> (Duration, Ending) {
    let ending = if one_in(random, 2) { Ending::Killed } else { Ending::ToldToStop };
    (up_to_ms(random, 2_000), ending)
}

fn draw_when(random: &mut Random) -> When {
    match random.below(4) {
        0 => When::After(up_to_ms(random, 2_000)),
        _ => When::Sent(2 + random.below(8)),
    }
}

/// One that changes at every step, for every other seed: a coordinator that begins anew has to go on with the same.
fn learning_rate(seed: u64) -> LearningRate {
    match seed.is_multiple_of(2) {
        true => CosineDecay::new(0.001, 20).alpha(0.1).warmup(5, 0.05).into(),
        false => LearningRate::from(0.05),
    }
}

/// Uniform over `[-1, 1)`: the seed and the place, mixed (Steele, Lea and Flood 2014, SplitMix64).
fn noise(seed: u64, place: [u64; 3]) -> f32 {
    let mix = |bits: u64| {
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    let bits = place
        .iter()
        .fold(seed, |bits, word| mix(bits.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(*word)));
    (bits >> 40) as f32 / (1u32 << 23) as f32 - 1.0
}
