//! Policies: what may change over a run as a pure function of its own exact history. The learning rate is a function of the
//! step alone, and needs no place in a checkpoint, but for one that is reduced on a plateau; this, and early stopping, are functions
//! of the sums over the validation table, and what they have to remember is part of every snapshot.
//!
//! Refuses whatever two runs of one job may not share: clocks, workers, threads, the system's mathematical library. So
//! whoever resumes or replays a run decides the same.
//!
//! A new schedule is one new file here, which has its parameters, their ranges and defaults, and its formula, and one line
//! in [`SCHEDULES`]. Job files, the run folder's job, `check` and the Rust API follow from these.

mod constant;
mod cosine;
mod early_stopping;
mod exponential;
mod learning_rate;
mod math;
mod piecewise;
mod plateau;
mod schedule;

pub use constant::ConstantRate;
pub use cosine::CosineDecay;
pub use early_stopping::{
    Best, EarlyStopping, METRIC_DEFAULT, Measure, Mode, PATIENCE_DEFAULT, Watch, Watched,
};
pub use exponential::ExponentialDecay;
pub use learning_rate::{LearningRate, RateSummary};
pub use piecewise::PiecewiseConstantDecay;
pub use plateau::{Plateau, ReduceOnPlateau};
pub use schedule::{RateSchedule, STEPS_MAX};

/// Makes a schedule whose required parameters are still to be filled in.
pub type MakeSchedule = fn() -> Box<dyn RateSchedule>;

/// Every schedule by its name in a job, in the order in which messages list them.
pub const SCHEDULES: &[(&str, MakeSchedule)] = &[
    ("constant", || Box::new(ConstantRate::new(0.0))),
    ("piecewise", || Box::new(PiecewiseConstantDecay::new(Vec::new(), Vec::new()))),
    ("exponential", || Box::new(ExponentialDecay::new(0.0, 1, 1.0))),
    ("cosine", || Box::new(CosineDecay::new(0.0, 1))),
    ("plateau", || Box::new(ReduceOnPlateau::new(0.0))),
];

#[cfg(test)]
mod tests {
    use lockstep_parameters::names;

    use super::*;

    /// That a schedule has these rates after so many steps. They are Keras 3.15's own, computed in `f32`.
    #[track_caller]
    pub(super) fn agrees_with_keras(schedule: impl RateSchedule, rates: &[(u64, f64)]) {
        let rate = LearningRate::from(schedule);
        rate.check().unwrap();
        let largest = rates.iter().fold(0.0f64, |largest, (_, rate)| largest.max(*rate));
        for &(step, wanted) in rates {
            let difference = (f64::from(rate.after(step)) - wanted).abs();
            assert!(
                difference <= 3e-7 * largest,
                "step {step}: {}, not {wanted}",
                rate.after(step)
            );
        }
    }

    #[test]
    fn every_schedule_is_listed_under_its_own_name() {
        for (name, make) in SCHEDULES {
            let mut schedule = make();
            assert_eq!(schedule.name(), *name);
            let names = names(schedule.parameters());
            let warms_up = schedule.watches().is_none();
            assert_eq!(names.contains(&"warmup_steps"), warms_up, "{names:?}");
            assert!(!names.contains(&"schedule"), "{names:?}");
        }
    }

    /// What ends in weights: a change here is a change of every run with a schedule. The same rates come of powers and cosines
    /// to 60 digits (mpmath's), rounded to `f64`.
    #[test]
    fn frozen_bits() {
        let schedules = [
            LearningRate::from(CosineDecay::new(0.001, 400).alpha(0.05).warmup(30, 0.01)),
            LearningRate::from(ExponentialDecay::new(0.1, 77, 0.93).warmup(30)),
            LearningRate::from(
                PiecewiseConstantDecay::new([100, 200], [0.1, 0.03, 0.01]).warmup(7),
            ),
            LearningRate::from(ConstantRate::new(0.003).warmup(70)),
        ];
        let hash = |rate: LearningRate| {
            let mut hasher = blake3::Hasher::new();
            for step in 0..500 {
                hasher.update(&rate.after(step).to_le_bytes());
            }
            hasher.finalize().to_hex()[..16].to_string()
        };
        assert_eq!(
            schedules.map(hash),
            ["7949c033e5581646", "4b35fdef420ae4bd", "fc886f7652259854", "db30c50a05064076"]
        );
    }
}
