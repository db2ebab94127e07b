//! What a seed stands for: a small job, and who comes and goes.

use std::sync::Arc;
use std::time::Duration;

use lockstep_coordinator::core::MESSAGES_MAX;
use lockstep_coordinator::{Coding, CrewRule, Homes, RunSpec, Snapshot};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::tree::ShardTree;

use crate::draw::{one_in, up_to_ms};
use crate::job::Job;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Case {
    pub(crate) job: Arc<Job>,
    pub(crate) seed: u64,
    pub(crate) workers_min: usize,
    pub(crate) workers_start: usize,
    /// Whether chunks are worked on by threads, which may overtake each other.
    pub(crate) pooled: bool,
    pub(crate) threads: usize,
    pub(crate) visits: Vec<Visit>,
    /// When all who do not stay are lost at once.
    pub(crate) blackouts: Vec<Duration>,
    /// When the coordinator ends and starts again from its newest checkpoint, and whether it is killed or told to stop.
    pub(crate) restarts: Vec<(Duration, Ending)>,
    /// Whether the coordinator is killed, once, as soon as the run has ended early and that is saved, and the test table is still to
    /// be measured.
    pub(crate) dies_at_the_end: bool,
    /// When the coordinator's process is stopped dead, and for how long.
    pub(crate) standstills: Vec<(Duration, Duration)>,
    /// Longest time in which the disk takes in a checkpoint.
    pub(crate) write_ms_max: u32,
    /// When somebody who is no member says something, as if it were.
    pub(crate) strangers: Vec<Duration>,
    /// Passes from one checkpoint to the next.
    pub(crate) checkpoint_passes: u64,
    pub(crate) audit_fraction: f64,
    pub(crate) coding: Coding,
    /// Whether workers add up gradients.
    pub(crate) homes: Homes,
    /// Whether passes may be dealt to fewer workers than there are.
    pub(crate) crews: Option<CrewRule>,
}

/// One worker's membership.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) joins_at: Duration,
    pub(crate) leaves: Option<(When, Leaving)>,
    /// Longest pause between two of its messages.
    pub(crate) pause_ms_max: u32,
    /// When it stops dead, and for how long.
    pub(crate) stops: Option<(When, Duration)>,
    /// Short messages that wait for it; with more it is taken not to read.
    pub(crate) messages_max: usize,
    /// What it does against the contract.
    pub(crate) lie: Option<Lie>,
    /// Longest pause between two parts of the rows that it asks for.
    pub(crate) rows_ms_max: u32,
    /// Whether rows may not come at all.
    pub(crate) lacks_rows: bool,
    /// Deals of fewer operations are computed on the spot.
    pub(crate) small_flops_max: u64,
    /// Messages that wait for its link.
    pub(crate) outbox_max: usize,
    /// Whether its results are cut and ordered in any other way than as it is shipped.
    pub(crate) recuts: bool,
    /// Whether it reads weights in the coordinator's memory.
    pub(crate) shares: bool,
    /// Whether it is always told the same time.
    pub(crate) clock_stands: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Killed,
    ToldToStop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Some of its values are wrong.
    Values,
    /// It says that something is not finite: what it was dealt, or anything else.
    Divergences,
    /// It says that it is done without having sent all values.
    HollowDone,
    /// It sends some values or none, and never says that it is done.
    Withholds,
    /// It says anything that fits into a message, at any time.
    Anything,
    /// It keeps or alters what it exchanges with other workers, and what it adds up for them.
    Exchange,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// So long after it joined.
    After(Duration),
    /// When it has sent this many messages: in the middle of its work.
    Sent(u32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaving {
    ConnectionLost,
    Goodbye,
}

impl Case {
    /// The case of a seed.
    pub fn drawn(seed: u64) -> Case {
        let random = &mut Random::new(seed, Purpose::Split, 0, 0);
        let job = Arc::new(Job::drawn(seed, random));
        let workers = 1 + random.below(20);
        let workers_min = 1 + if one_in(random, 2) { 0 } else { random.below(workers.min(4)) };
        let spared = if one_in(random, 2) { 0 } else { random.below(workers - workers_min + 1) };
        let staying = workers_min + spared;
        let blackouts = (0..random.below(6)).map(|_| up_to_ms(random, 1_000)).collect();
        let passing = workers - staying + random.below(20);
        let visits = (0..staying + passing).map(|place| draw_visit(random, place < staying));
        let mut visits: Vec<Visit> = visits.collect();
        let coding = [Coding::Auto, Coding::On, Coding::Off][random.below(3) as usize];
        let audit_fraction = match random.below(6) {
            0 => 1.0,
            1 => 0.2,
            _ => 0.0,
        };
        // Wrong values are found only where everything is audited. What is audited is settled only with two that are honest;
        // two liars might agree.
        let lie = match random.below(8) {
            0 => Some(Lie::Divergences),
            1 => Some(Lie::HollowDone),
            2 => Some(Lie::Withholds),
            3 | 4 => Some(Lie::Anything),
            _ => (audit_fraction == 1.0).then_some(Lie::Values),
        };
        let (homes, lie) = draw_homes(seed, lie);
        if (staying >= 2 || audit_fraction == 0.0)
            && let Some(visit) = visits.get_mut(staying as usize)
        {
            visit.lie = lie;
            if one_in(random, 2) {
                visit.leaves = None;
            }
            // Whoever is to find a lie has to be there in time.
            for honest in &mut visits[..staying as usize] {
                honest.lacks_rows &= lie.is_none();
                honest.rows_ms_max = honest.rows_ms_max.min(100);
            }
        }
        // What is not passed on in time is found out by the clock.
        visits.iter_mut().for_each(|visit| visit.clock_stands &= homes == Homes::Off);
        random.shuffle(&mut visits);
        let restarts = if one_in(random, 3) { 1 + random.below(4) } else { 0 };
        let standstills = if one_in(random, 4) { 1 + random.below(3) } else { 0 };
        let strangers = if one_in(random, 4) { 1 + random.below(20) } else { 0 };
        Case {
            restarts: (0..restarts).map(|_| draw_restart(random)).collect(),
            dies_at_the_end: one_in(&mut Random::new(seed, Purpose::Split, 3, 0), 2),
            // Shorter than a silence that workers would leave for.
            standstills: (0..standstills)
                .map(|_| (up_to_ms(random, 2_000), up_to_ms(random, 4_000)))
                .collect(),
            write_ms_max: if one_in(random, 4) { 5_000 } else { 20 },
            strangers: (0..strangers).map(|_| up_to_ms(random, 2_000)).collect(),
            threads: 1 + random.below(3) as usize,
            checkpoint_passes: u64::from(1 + random.below(4)),
            audit_fraction,
            coding,
            homes,
            crews: draw_crews(seed),
            seed,
            job,
            workers_min: workers_min as usize,
            workers_start: random.below(staying + 1) as usize,
            pooled: one_in(random, 2),
            visits,
            blackouts,
        }
    }

    /// The same job with one worker that stays.
    pub fn undisturbed(&self) -> Case {
        let visit = Visit {
            joins_at: Duration::ZERO,
            leaves: None,
            pause_ms_max: 1,
            stops: None,
            messages_max: MESSAGES_MAX,
            lie: None,
            rows_ms_max: 1,
            lacks_rows: false,
            small_flops_max: u64::MAX,
            outbox_max: 16,
            recuts: false,
            shares: false,
            clock_stands: false,
        };
        Case {
            workers_min: 1,
            workers_start: 1,
            pooled: false,
            visits: vec![visit],
            blackouts: Vec::new(),
            restarts: Vec::new(),
            dies_at_the_end: false,
            standstills: Vec::new(),
            strangers: Vec::new(),
            audit_fraction: 0.0,
            coding: Coding::Auto,
            homes: Homes::Off,
            crews: None,
            ..self.clone()
        }
    }

    /// The visit of a worker. They are numbered from 1, and those who join again are after all others.
    pub(crate) fn visit(&self, worker: WorkerId) -> &Visit {
        &self.visits[(worker.0 as usize - 1) % self.visits.len()]
    }

    /// The name of the same worker when it joins again.
    pub(crate) fn renamed(&self, worker: WorkerId) -> WorkerId {
        WorkerId(worker.0 + self.visits.len() as u64)
    }

    /// How often it joined again by now.
    pub(crate) fn times_renamed(&self, worker: WorkerId) -> u64 {
        (worker.0 - 1) / self.visits.len() as u64
    }

    /// Whether a worker may ever be found wrong: it lies, or it may leave too much unread.
    pub(crate) fn may_be_shut_out(&self, worker: WorkerId) -> bool {
        let visit = self.visit(worker);
        visit.lie.is_some() || visit.messages_max < MESSAGES_MAX
    }

    /// What the coordinator is asked, from where an earlier execution was.
    pub(crate) fn spec(&self, start: Snapshot) -> RunSpec {
        RunSpec {
            workers_min: self.workers_min,
            audit_fraction: self.audit_fraction,
            coding: self.coding,
            homes: self.homes,
            crews: self.crews,
            workers_start: self.workers_start,
            threads: self.threads,
            ..self.job.spec(start)
        }
    }

    /// Of the weights that change.
    pub(crate) fn chunks(&self) -> usize {
        self.job.network.layout().trained().count()
    }

    pub(crate) fn tree(&self) -> ShardTree {
        self.job.tree()
    }
}

/// Two of three cases have homes, wherever that can be or by turns; in some of these somebody lies about them.
fn draw_homes(seed: u64, lie: Option<Lie>) -> (Homes, Option<Lie>) {
    let random = &mut Random::new(seed, Purpose::Split, 4, 0);
    if one_in(random, 3) {
        return (Homes::Off, lie);
    }
    let lies = one_in(random, 4) && lie != Some(Lie::Values);
    let homes = if one_in(random, 4) { Homes::Auto } else { Homes::On };
    (homes, if lies { Some(Lie::Exchange) } else { lie })
}

/// Three of four cases have crews, which are looked for as often as can be in so few passes.
fn draw_crews(seed: u64) -> Option<CrewRule> {
    let random = &mut Random::new(seed, Purpose::Split, 8, 0);
    let short = Duration::from_millis([5, 50, 60_000][random.below(3) as usize]);
    let (row_passes, pause) = (2 + random.below(2), up_to_ms(random, 100));
    let least = 1 + random.below(2) as usize;
    (!one_in(random, 4)).then_some(CrewRule { short, row_passes, pause, least })
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
        rows_ms_max: [1, 20, 20, 500][random.below(4) as usize],
        lacks_rows: one_in(random, 6),
        small_flops_max: [0, 0, 500, u64::MAX][random.below(4) as usize],
        outbox_max: if one_in(random, 3) { 1 + random.below(3) as usize } else { 16 },
        recuts: one_in(random, 2),
        shares: one_in(random, 3),
        clock_stands: one_in(random, 10),
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
