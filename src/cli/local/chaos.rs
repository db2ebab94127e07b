//! What `--chaos` asks for, and the plan of faults that follows from it.
//!
//! Touches no process and no clock: the same seed, rates and number of workers plan the same faults at the same times.
//! What a fault does to a run depends on how far the run is by then.

use std::str::FromStr;
use std::time::Duration;

use lockstep_proto::random::{Purpose, Random};

use lockstep_run::report::FaultKind;

/// Faults a minute of each kind, in the order of [`FaultKind::ALL`], where nothing else is asked for: an example of a
/// second meets several.
const RATES_DEFAULT: [f64; 4] = [60.0, 60.0, 60.0, 60.0];

const RATE_MAX: f64 = 6000.0;

/// One kill in so many is of all workers at once.
const KILL_ALL_ONE_IN: u32 = 8;

/// Longest pause between a worker's end and the start of its replacement.
const PAUSE_MAX: Duration = Duration::from_millis(300);

/// How long a worker is stopped: short is more usual, each doubling as likely as the next.
const STOP_MIN: Duration = Duration::from_millis(100);
const STOP_MAX: Duration = Duration::from_secs(2);

/// How long a worker is slowed down.
const SLOW_MIN: Duration = Duration::from_millis(500);
const SLOW_MAX: Duration = Duration::from_secs(3);

/// No run lasts until then, in seconds.
const NEVER: f64 = 1e9;

/// What `--chaos` asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chaos {
    pub(super) seed: u64,
    /// Faults a minute, in the order of [`FaultKind::ALL`].
    rates: [f64; 4],
}

impl FromStr for Chaos {
    type Err = String;

    fn from_str(text: &str) -> Result<Chaos, String> {
        let names = FaultKind::ALL.map(FaultKind::name).join(", ");
        let mut parts = text.split(',');
        let seed = parts.next().unwrap_or_default();
        let seed = seed.parse().map_err(|_| {
            format!(
                "found seed {seed:?}, wanted a whole number from 0 to {}, then perhaps rates such as kill=30, of {names}",
                u64::MAX
            )
        })?;
        let mut given = [None; 4];
        for part in parts {
            let (name, rate) = part.split_once('=').ok_or_else(|| {
                format!("found {part:?}, wanted NAME=RATE with a NAME of {names}")
            })?;
            let kind = FaultKind::ALL
                .iter()
                .position(|kind| kind.name() == name)
                .ok_or_else(|| format!("found the name {name:?}, wanted one of {names}"))?;
            let rate = rate.parse().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate)).ok_or_else(|| {
                format!("found {part:?}, wanted a RATE from 0 to {RATE_MAX} faults a minute for each of {names}")
            })?;
            if given[kind].replace(rate).is_some() {
                return Err(format!("found {name} twice, wanted each of {names} once at most"));
            }
        }
        let rates = std::array::from_fn(|kind| given[kind].unwrap_or(RATES_DEFAULT[kind]));
        Ok(Chaos { seed, rates })
    }
}

/// One fault. Workers are counted from 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// The worker is killed, and replaced that long after its end.
    Kill { worker: usize, pause: Duration },
    /// The same for all of them at once.
    KillAll { pause: Duration },
    /// The worker is stopped.
    Stop { worker: usize, lasting: Duration },
    /// The worker is slowed down.
    Slow { worker: usize, lasting: Duration },
    /// The coordinator is killed, and started again at once.
    Coordinator,
}

/// A fault and when it is due, counted from the beginning.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) at: Duration,
    pub(super) fault: Fault,
}

/// All faults in the order of their times: one Poisson process for each kind, so that the rate of one kind changes
/// nothing in the others. It has no end, unless every rate is 0.
#[derive(Clone, Debug)]
pub(super) struct FaultPlan {
    workers: u32,
    streams: [Stream; 4],
}

impl FaultPlan {
    pub(super) fn new(chaos: &Chaos, workers: usize) -> FaultPlan {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let stream = |kind: usize| Stream::new(chaos.seed, kind, chaos.rates[kind]);
        FaultPlan { workers, streams: std::array::from_fn(stream) }
    }
}

impl Iterator for FaultPlan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let earlier = |a: &&mut Stream, b: &&mut Stream| a.seconds.total_cmp(&b.seconds);
        let stream = self.streams.iter_mut().min_by(earlier)?;
        if stream.seconds >= NEVER {
            return None;
        }
        let at = Duration::from_secs_f64(stream.seconds);
        let fault = stream.draw(self.workers);
        stream.advance();
        Some(Planned { at, fault })
    }
}

/// The faults of one kind.
#[derive(Clone, Debug)]
struct Stream {
    kind: FaultKind,
    per_second: f64,
    random: Random,
    /// When the next one is due.
    seconds: f64,
}

impl Stream {
    fn new(seed: u64, kind: usize, per_minute: f64) -> Stream {
        let mut stream = Stream {
            kind: FaultKind::ALL[kind],
            per_second: per_minute / 60.0,
            random: Random::new(seed, Purpose::Chaos, kind as u64, 0),
            seconds: 0.0,
        };
        stream.advance();
        stream
    }

    /// Goes on to the next: the gaps of a Poisson process are exponential. A rate of 0 makes an endless one.
    fn advance(&mut self) {
        self.seconds += -(1.0 - self.random.unit_f64()).ln() / self.per_second;
        // 0 divided by 0.
        if self.seconds.is_nan() {
            self.seconds = f64::INFINITY;
        }
    }

    fn draw(&mut self, workers: u32) -> Fault {
        let random = &mut self.random;
        match self.kind {
            FaultKind::Kill => {
                let of_all = random.below(KILL_ALL_ONE_IN) == 0;
                let worker = random.below(workers) as usize;
                let pause = PAUSE_MAX.mul_f64(random.unit_f64());
                if of_all { Fault::KillAll { pause } } else { Fault::Kill { worker, pause } }
            }
            FaultKind::Stop => {
                let worker = random.below(workers) as usize;
                let most = STOP_MAX.as_secs_f64() / STOP_MIN.as_secs_f64();
                Fault::Stop { worker, lasting: STOP_MIN.mul_f64(most.powf(random.unit_f64())) }
            }
            FaultKind::Slow => {
                let worker = random.below(workers) as usize;
                let more = (SLOW_MAX - SLOW_MIN).mul_f64(random.unit_f64());
                Fault::Slow { worker, lasting: SLOW_MIN + more }
            }
            FaultKind::Coordinator => Fault::Coordinator,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, seconds: u64) -> Vec<Planned> {
        let plan = FaultPlan::new(&text.parse().unwrap(), 4);
        plan.take_while(|planned| planned.at < Duration::from_secs(seconds)).collect()
    }

    fn is_kind(fault: &Fault, kind: FaultKind) -> bool {
        kind == match fault {
            Fault::Kill { .. } | Fault::KillAll { .. } => FaultKind::Kill,
            Fault::Stop { .. } => FaultKind::Stop,
            Fault::Slow { .. } => FaultKind::Slow,
            Fault::Coordinator => FaultKind::Coordinator,
        }
    }

    #[test]
    fn what_can_be_asked_for() {
        let rates = |text: &str| text.parse::<Chaos>().unwrap().rates;
        assert_eq!("7".parse(), Ok(Chaos { seed: 7, rates: RATES_DEFAULT }));
        assert_eq!(rates("7,slow=0"), [60.0, 60.0, 0.0, 60.0]);
        assert_eq!(rates("0,coordinator=30,kill=0.5,stop=0,slow=6e3"), [0.5, 0.0, 6000.0, 30.0]);
    }

    #[test]
    fn what_cannot() {
        for (text, found) in [
            ("", "seed \"\""),
            ("x", "seed \"x\""),
            ("-1", "seed \"-1\""),
            ("kill=1", "seed \"kill=1\""),
            ("18446744073709551616", "seed \"18446744073709551616\""),
            ("7,", "\"\""),
            ("7,kill", "\"kill\""),
            ("7,kill=", "\"kill=\""),
            ("7,kill=-1", "\"kill=-1\""),
            ("7,kill=nan", "\"kill=nan\""),
            ("7,kill=inf", "\"kill=inf\""),
            ("7,kill=6001", "\"kill=6001\""),
            ("7,foo=1", "the name \"foo\""),
            ("7, kill=1", "the name \" kill\""),
            ("7,kill=1,kill=2", "kill twice"),
        ] {
            let problem = text.parse::<Chaos>().unwrap_err();
            assert!(problem.starts_with(&format!("found {found}, wanted ")), "{text}: {problem}");
            assert!(problem.contains("kill, stop, slow, coordinator"), "{text}: {problem}");
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(plan("7", 60), plan("7", 60));
        assert_ne!(plan("7", 60), plan("8", 60));
        let first: Vec<u128> = plan("7", 60).iter().map(|one| one.at.as_millis()).take(4).collect();
        assert_eq!(first, FROZEN_MS);
    }

    const FROZEN_MS: [u128; 4] = [226, 1555, 1564, 1662];

    #[test]
    fn the_rate_of_one_kind_changes_nothing_in_the_others() {
        let mut all = plan("7", 600);
        all.retain(|planned| !is_kind(&planned.fault, FaultKind::Stop));
        assert_eq!(all, plan("7,stop=0", 600));
        assert_eq!(plan("7,kill=0,stop=0,slow=0,coordinator=0", 1 << 40), []);
        assert_eq!(plan("7,kill=1e-300,stop=0,slow=0,coordinator=0", 1 << 40), []);
    }

    #[test]
    fn rates_are_kept_on_average() {
        let faults = plan("3,kill=600,stop=60,slow=6,coordinator=300", 6000);
        assert!(faults.is_sorted_by_key(|planned| planned.at));
        for (kind, wanted) in FaultKind::ALL.into_iter().zip([60_000.0, 6_000.0, 600.0, 30_000.0]) {
            let found = faults.iter().filter(|planned| is_kind(&planned.fault, kind)).count();
            // Four standard deviations.
            assert!((found as f64 - wanted).abs() < 4.0 * f64::sqrt(wanted), "{kind:?}: {found}");
        }
    }

    #[test]
    fn victims_and_lengths_are_in_range() {
        let (mut kills, mut of_all, mut stops) = ([0; 4], 0, Vec::new());
        for planned in plan("5,kill=600", 600) {
            match planned.fault {
                Fault::Kill { worker, pause } => {
                    kills[worker] += 1;
                    assert!(pause <= PAUSE_MAX);
                }
                Fault::KillAll { pause } => {
                    of_all += 1;
                    assert!(pause <= PAUSE_MAX);
                }
                Fault::Stop { lasting, .. } => stops.push(lasting),
                Fault::Slow { worker, lasting } => {
                    assert!(worker < 4 && (SLOW_MIN..=SLOW_MAX).contains(&lasting));
                }
                Fault::Coordinator => {}
            }
        }
        assert!(kills.iter().all(|&count| count > 1000), "{kills:?}");
        assert!((500..1000).contains(&of_all), "{of_all}");
        assert!(stops.iter().all(|lasting| (STOP_MIN..=STOP_MAX).contains(lasting)));
        let short = stops.iter().filter(|&&lasting| lasting < Duration::from_millis(500)).count();
        assert!(short * 2 > stops.len(), "{short} of {}", stops.len());
    }
}
